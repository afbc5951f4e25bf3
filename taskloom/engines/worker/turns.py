"""Taking turns: who comes first has it first, and whoever waits may be interrupted or give up.

An interrupt may come between any two steps, in the clean-up too. So there is one queue, one mark that a turn is over,
and nothing else that could disagree with them: whose turn it is is always worked out anew.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from math import inf
from threading import Lock, get_ident
from time import monotonic

LOOK_AGAIN = 0.2  # seconds after which one that waits looks by itself, should nobody have called it
PATIENCE = 3.0  # seconds that it waits for one that is away


class Turns:
    """A queue for something that one thread at a time can have.

    Attributes
    ----------
    away : since when whoever has its turn has been inside of somebody else's code, as `time.monotonic` tells it; inf
        while it is not.

    Examples
    --------
    >>> turns = Turns()
    >>> turn = Turn(turns)
    >>> try:
    ...     turn.comes(), turns.mine()
    ... finally:
    ...     turn.over = True
    ...     turns.call_next()
    (True, True)
    >>> turns.mine()
    False
    """

    def __init__(self) -> None:
        self.away = inf
        self._queue: deque[Turn] = deque()

    def first(self) -> Turn | None:
        """Whose turn it is: the first one's that is not over."""
        for turn in self._queue.copy():
            if not turn.over:
                return turn
            with suppress(ValueError):  # somebody else has been here just now
                self._queue.remove(turn)
        return None

    def mine(self) -> bool:
        """Whether the calling thread has its turn."""
        first = self.first()
        return first is not None and first.thread == get_ident()

    def call_next(self) -> None:
        """Have the first one look. It would do so a little later in any case."""
        first = self.first()
        if first is not None:
            first.look()

    def join(self, turn: Turn) -> None:
        self._queue.append(turn)


class Turn:
    """A place in the queue, of the thread that made it.

    Attributes
    ----------
    over : to be set, by an assignment that is the first step of a ``finally``: no interrupt can come before that one.
    """

    def __init__(self, turns: Turns) -> None:
        self.thread = get_ident()
        self.over = False
        self._turns = turns
        self._given_up = False
        self._gate = Lock()
        self._gate.acquire()

    def comes(self) -> bool:
        """Wait for it. It does not come if this one gives up, or if who is before it has been away for too long: that
        one may be waiting, in a callback, for what this one is about to do."""
        turns = self._turns
        turns.join(self)
        before = None
        since = 0.0
        while (first := turns.first()) is not self:
            now = monotonic()
            if first is not before:
                before, since = first, now
            if self._given_up or now - max(since, turns.away) > PATIENCE:
                return False
            self._gate.acquire(timeout=LOOK_AGAIN)
        return True

    def give_up(self) -> None:
        """Wait no longer, from any thread."""
        self._given_up = True
        self.look()

    def look(self) -> None:
        """Look now whether anything has changed, from any thread."""
        with suppress(RuntimeError):  # it is about to
            self._gate.release()
