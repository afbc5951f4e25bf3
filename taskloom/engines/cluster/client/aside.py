"""What a client does on threads of its own: it gives up futures that nobody has, and calls users' functions."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import sleep
from typing import Any
from weakref import ref

from taskloom.engines.cluster.client.state import State

LINGER = 0.05  # seconds after which a future that nobody has any more is given up, if nothing is sent before

_log = logging.getLogger("taskloom")


class Hold(ref[Any]):
    """That there is a future. When it has gone, this is put into a queue.

    That is done by code in C: a future may go at any point of any thread, and code in Python, such as a `__del__`,
    could be stopped there by an interrupt, which would then be ignored, and the future never given up.
    """

    __slots__ = ("state",)

    state: State


class Sweeper:
    """A thread that gives up futures a little after they have gone, unless somebody does so before.

    Attributes
    ----------
    left : where they are put, see `Hold`.
    found : those that were taken from there.
    """

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self.left: SimpleQueue[Hold] = SimpleQueue()
        self.found: deque[Hold] = deque()
        self._closed = False
        self._end = Hold(self)
        Thread(target=self._serve, name="taskloom-futures", daemon=True).start()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.found) or not self.left.empty()

    def take(self) -> deque[Hold]:
        """All that are there; they are moved by code in C, too, so that none gets lost on the way."""
        with suppress(Empty):
            self.found.extend(iter(self.left.get_nowait, self))
        if self._closed:  # what was meant for the thread may be among them
            self.left.put(self._end)
            return deque()
        return self.found

    def go_on(self) -> None:
        """Have the thread do what is left to do."""
        with suppress(IndexError):
            self.left.put(self.found.pop())

    def close(self) -> None:
        """End the thread: there is nobody any more to give them up to."""
        self._closed = True
        self.left.put(self._end)

    def _serve(self) -> None:
        while (hold := self.left.get()) is not self._end:
            self.found.append(hold)
            del hold
            sleep(LINGER)
            self._sweep()


class Callbacks:
    """A thread that calls functions in turn."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        Thread(target=self._serve, name="taskloom-callbacks", daemon=True).start()

    def put(self, action: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._queue.put((action, args))

    def close(self) -> None:
        """End the thread once it has called what is in the queue."""
        self._queue.put(None)

    def _serve(self) -> None:
        while (call := self._queue.get()) is not None:
            action, args = call
            try:
                action(*args)
            except BaseException:
                _log.exception("taskloom: %r, which was to be called for a future, raised", action)
            del call, action, args  # a future must not be held here
