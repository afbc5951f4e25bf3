"""Messages between a cluster and a client in another process: both ends of such a connection send and hear alike."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from taskloom.engines.worker.link import Link
from taskloom.engines.worker.parcel import Parcel, decode, encode

Message = tuple[str, tuple[Any, ...], list[Parcel]]

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
        _open.add(self)

    def fileno(self) -> int:
        """What can be read when messages have come; -1 when it is closed."""
        return self.link.fileno()

    def put(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Have a message sent by the next calls of `send_waiting`. Its parcels are given away."""
        message, files = encode(kind, *fields, parcels=parcels)
        for parcel in parcels:
            parcel.files = ()
        self.waiting.append((message, files))

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
                    self.gone = f"the connection is lost ({error.strerror})"
            self.waiting.popleft()
            _close(files)

    def receive(self) -> Message | None:
        """The next message that is there, or None. Its parcels belong to the caller."""
        if self.gone:
            return None
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
        try:
            return decode(message, files)
        except BaseException as error:
            self.gone = f"the other end has sent what cannot be read ({error!r})"
            _close(files)
            return None

    def close(self) -> None:
        """Give it up. What is not sent yet is lost."""
        self.gone = self.gone or "the connection is closed"
        _open.discard(self)
        self.link.close()
        with suppress(IndexError):
            while True:
                _close(self.waiting.popleft()[1])


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
