"""Messages between a cluster and a client in another process: both ends of such a connection send and hear alike."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from taskloom.engines.worker.link import MOST_FILES, Link
from taskloom.engines.worker.parcel import Parcel, decode, encode

Message = tuple[str, tuple[Any, ...], list[Parcel]]

_LATER = {errno.ETOOMANYREFS, errno.ENOBUFS}  # the system has too much on its way already

_open: WeakSet[Messages] = WeakSet()


class Messages:
    """One end of a connection, on a link that does not wait.

    `gone` says why the other end is not there any more, and is empty while it is. An end that sends what cannot be read
    is not there for us. Nothing here raises an error that another process could cause.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.gone = ""
        self.waiting: deque[tuple[bytes, list[int]]] = deque()  # what is not sent yet
        self._files: list[int] = []  # that came ahead of the message that they belong to
        _open.add(self)

    def fileno(self) -> int:
        """What can be read when messages have come; -1 when it is closed."""
        return self.link.fileno()

    def put(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Have a message sent by the next calls of `send_waiting`. Its parcels are given away."""
        message, files = encode(kind, *fields, parcels=parcels)
        for parcel in parcels:
            parcel.file = -1
        sent = []
        while len(files) > MOST_FILES:  # these go ahead, with messages that say nothing
            sent.append((b"", files[:MOST_FILES]))
            files = files[MOST_FILES:]
        self.waiting.extend([*sent, (message, files)])  # in one go: other threads do the same

    def send_waiting(self) -> None:
        """Send what the other end takes. One thread should do it."""
        while self.waiting:
            message, files = self.waiting[0]
            if not self.gone:
                try:
                    self.link.send(message, files)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in _LATER:
                        return
                    self.gone = f"the connection is lost ({error.strerror})"
            self.waiting.popleft()
            _close(files)

    def receive(self) -> Message | None:
        """The next message that is there, or None. Its parcels belong to the caller."""
        while not self.gone:
            try:
                received = self.link.receive()
            except BlockingIOError:
                return None
            except Exception as error:
                self.gone = f"the connection is lost ({error!r})"
                return None
            if received is None:
                self.gone = "the other end has closed the connection"
                return None
            message, files = received
            self._files += files
            if message:
                return self._decoded(message)
        return None

    def _decoded(self, message: bytes) -> Message | None:
        try:
            kind, fields, parcels = decode(message, self._files)
        except BaseException as error:
            self.gone = f"the other end has sent what cannot be read ({error!r})"
            return None
        self._files = []
        return kind, fields, parcels

    def close(self) -> None:
        """Give it up. What is not sent yet is lost."""
        self.gone = self.gone or "the connection is closed"
        _open.discard(self)
        self.link.close()
        with suppress(IndexError):
            while True:
                _close(self.waiting.popleft()[1])
        _close(self._files)
        self._files = []


def _close(files: Sequence[int]) -> None:
    for file in files:
        with suppress(OSError):
            os.close(file)


def _close_in_child() -> None:
    """A fork is not an end of it, and would keep the other one from seeing that this one is gone."""
    for messages in list(_open):
        messages.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
