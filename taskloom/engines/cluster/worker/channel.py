"""How a worker process hears from its coordinator and answers."""

from __future__ import annotations

import select
import threading
from collections.abc import Sequence
from errno import EMFILE
from typing import Any, Protocol

from taskloom.engines.cluster.worker.store import Package
from taskloom.engines.worker.failure import pack_error
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.parcel import Parcel, decode, encode
from taskloom.engines.worker.waker import Waker
from taskloom.errors import SerializationError

_PACKAGE = "taskloom.engines.cluster"

Message = tuple[str, tuple[Any, ...], Sequence[Any]]  # kind, fields, parcels


class Gone(Exception):
    """The coordinator is."""


class Channel(Protocol):
    """Both directions between a worker and its coordinator."""

    def wait_for_work(self) -> None:
        """Wait until a message of work may be there, or somebody calls `wake`."""

    def take_work(self) -> Message | None:
        """The next message of work that is there, or None; raises `Gone`."""

    def next_question(self) -> Message:
        """Wait for a message of the other kind, which is answered at once; raises `Gone`."""

    def wake(self) -> None: ...

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None: ...

    def pack(self, value: Any) -> Package: ...

    def pack_error(self, error: BaseException) -> bytes | BaseException: ...


def packed_error(channel: Channel, error: BaseException) -> bytes | BaseException:
    """An exception as it is sent, without the frames that are ours."""
    trace = error.__traceback__
    while trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
        trace = trace.tb_next
    try:
        return channel.pack_error(error.with_traceback(trace))
    except BaseException as why:
        name, reason = type(error).__qualname__, type(why).__name__
        text = f"The exception {name} cannot leave its worker: pickling it raised {reason}."
        return channel.pack_error(SerializationError(text))


class LinkChannel:
    """To another process."""

    def __init__(self, work: Link, data: Link) -> None:
        work.sock.setblocking(False)
        self._work = work
        self._data = data
        self._waker = Waker()
        self._sending = threading.Lock()
        self._readable = select.poll()
        self._readable.register(work.fileno(), select.POLLIN)
        self._readable.register(self._waker, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(work.fileno(), select.POLLOUT)

    def wait_for_work(self) -> None:
        for file, _ in self._readable.poll():
            if file == self._waker.fileno():
                self._waker.clear()

    def take_work(self) -> Message | None:
        try:
            return _received(self._work)
        except BlockingIOError:
            return None

    def next_question(self) -> Message:
        return _received(self._data)

    def wake(self) -> None:
        self._waker.wake()

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        message, files = encode(kind, *fields, parcels=parcels)
        with self._sending:
            while True:
                try:
                    self._work.send(message, files)
                    return
                except BlockingIOError:
                    self._writable.poll()

    def pack(self, value: Any) -> Parcel:
        return Parcel.of(value)

    def pack_error(self, error: BaseException) -> bytes:
        return pack_error(error)

    def close(self) -> None:
        self._work.close()
        self._data.close()


def _received(link: Link) -> Message:
    try:
        received = link.receive()
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno == EMFILE:  # this worker ends, and says why
            raise
        raise Gone from error
    if received is None:
        raise Gone
    return decode(*received)
