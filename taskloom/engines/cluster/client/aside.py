"""What a client does on threads of its own: it gives up futures that nobody has, and calls users' functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Any

LINGER = 0.05  # seconds after which a future that nobody has any more is given up, if nothing is sent before

_log = logging.getLogger("taskloom")


class Sweeper:
    """A thread that calls a function a little after it was woken, once for all who have done so until then."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._asked: SimpleQueue[bool] = SimpleQueue()  # a garbage collection may put to it, at any point of any thread
        self._pending = False
        Thread(target=self._serve, name="taskloom-futures", daemon=True).start()

    def wake(self) -> None:
        if not self._pending:
            self._pending = True
            self._asked.put(True)

    def close(self) -> None:
        self._asked.put(False)

    def _serve(self) -> None:
        while self._asked.get():
            sleep(LINGER)
            self._pending = False
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
