"""Taking turns: who comes first has it first, and whoever waits may be interrupted or give up."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from threading import Lock, get_ident


class Turns:
    """A queue for something that one thread at a time can have.

    Attributes
    ----------
    holder : the thread whose turn it is, or 0.

    Examples
    --------
    >>> turns = Turns()
    >>> with turns.take() as mine:
    ...     mine
    True
    """

    def __init__(self) -> None:
        self.holder = 0
        self._lock = Lock()
        self._queue: deque[Turn] = deque()  # the first one has its turn

    def take(self) -> Turn:
        """A turn, for a ``with`` statement."""
        return Turn(self)


class Turn:
    """A place in the queue. The value of the ``with`` block is whether it is this one's turn: not so if it gave up."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._gate = Lock()
        self._gate.acquire()

    def give_up(self) -> None:
        """Wait no longer, from any thread."""
        self._open()

    def _open(self) -> None:
        with suppress(RuntimeError):  # it is open
            self._gate.release()

    def __enter__(self) -> bool:
        turns = self._turns
        try:
            with turns._lock:
                turns._queue.append(self)
                first = turns._queue[0] is self
            if not first:
                self._gate.acquire()
                first = turns._queue[0] is self
        except BaseException:
            self.__exit__()
            raise
        if first:
            turns.holder = get_ident()
        return first

    def __exit__(self, *_: object) -> None:
        turns = self._turns
        with turns._lock:
            if self not in turns._queue:
                return
            first = turns._queue[0] is self
            turns._queue.remove(self)
            if first:
                turns.holder = 0
                if turns._queue:
                    turns._queue[0]._open()
