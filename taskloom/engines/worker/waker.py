"""Waking a thread that waits for files."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial


class Waker:
    """A file that can be read as soon as any thread calls `wake`, until `clear`.

    >>> import select
    >>> waker = Waker()
    >>> waker.wake()
    >>> bool(select.select([waker], [], [], 0)[0])
    True
    """

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        for sock in (self._inner, self._outer):
            sock.setblocking(False)
        #: Wakes by a single call of C, which no interrupt cuts in two; raises OSError when it is full of wakes.
        self.ring = partial(self._outer.send, b"\0")
        self.fileno = self._inner.fileno

    def wake(self) -> None:
        with suppress(OSError):  # it is full of wakes
            self.ring()

    def clear(self) -> None:
        with suppress(OSError):
            self._inner.recv(4096)

    def close(self) -> None:
        """Wake nobody any more."""
        self._inner.close()
        self._outer.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # there were no files left for it
            self.close()
