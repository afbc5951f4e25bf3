"""How a worker process hears from its coordinator and answers."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Protocol

from taskloom.engines.cluster.loose import Loose
from taskloom.engines.cluster.worker_store import Package
from taskloom.engines.worker.failure import pack_error
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.parcel import Parcel, decode, encode
from taskloom.engines.worker.waker import Waker

Message = tuple[str, tuple[Any, ...], Sequence[Any]]  # kind, fields, parcels

WOKEN: Message = ("woken", (), ())


class Channel(Protocol):
    """Both directions between a worker and its coordinator."""

    def next_work(self, alone: bool) -> Message | None:
        """Wait for a message of work; None when the coordinator is gone, `WOKEN` if `wake` was called, which nobody
        does while the caller is `alone`."""

    def next_question(self) -> Message | None:
        """Wait for a message of the other kind, which is answered at once."""

    def wake(self) -> None: ...

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None: ...

    def pack(self, value: Any) -> Package: ...

    def pack_error(self, error: BaseException) -> bytes | BaseException: ...


class LinkChannel:
    """To another process."""

    def __init__(self, work: Link, data: Link) -> None:
        self._work = work
        self._data = data
        self._waker = Waker()
        self._poll = select.poll()
        self._poll.register(work.fileno(), select.POLLIN)
        self._poll.register(self._waker, select.POLLIN)

    def next_work(self, alone: bool) -> Message | None:
        if not alone:
            ready = [file for file, _ in self._poll.poll()]
            if self._waker.fileno() in ready:
                self._waker.clear()
                return WOKEN
        return self._next(self._work)

    def next_question(self) -> Message | None:
        return self._next(self._data)

    def _next(self, link: Link) -> Message | None:
        try:
            received = link.receive()
        except OSError:
            return None
        return None if received is None else decode(*received)

    def wake(self) -> None:
        self._waker.wake()

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        self._work.send(*encode(kind, *fields, parcels=parcels))

    def pack(self, value: Any) -> Parcel:
        return Parcel.of(value)

    def pack_error(self, error: BaseException) -> bytes:
        return pack_error(error)

    def close(self) -> None:
        self._work.close()
        self._data.close()


class Packer:
    """How values and errors are handed over within one process: as they are."""

    def pack(self, value: Any) -> Loose:
        return Loose.of(value)

    def pack_error(self, error: BaseException) -> BaseException:
        return error
