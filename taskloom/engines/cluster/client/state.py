"""What a client knows of one key: shared by all of its futures of that key."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

from taskloom.engines import worker
from taskloom.engines.base import add_note, advice
from taskloom.graph import Key, short_key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.aside import Hold
    from taskloom.engines.cluster.client.recall import Recall

Status = Literal["pending", "finished", "error", "cancelled", "lost"]

#: In the place of a result that is on a worker.
ELSEWHERE: Final[Any] = object()


class FutureCancelledError(CancelledError):
    """The result of a future was asked for that was cancelled, or whose cluster is gone."""


class State:
    """What becomes of a key.

    Attributes
    ----------
    value : the result if it is small or has been brought already, else `ELSEWHERE`.
    nbytes : the size of the result, as far as it can be told.
    count : how many futures there are, and one more if it is kept for a replay.
    keeper : of one that is kept.
    failure : of one that has failed.
    note : why it was cancelled or lost.
    """

    __slots__ = ("code", "count", "failure", "id", "keeper", "key", "nbytes", "note", "status", "value", "waiters")

    def __init__(self, id: int, key: Key, code: int = -1) -> None:
        self.id = id
        self.key = key
        self.code = code
        self.status: Status = "pending"
        self.value = ELSEWHERE
        self.nbytes = 0.0
        self.count = 0
        self.keeper: Hold | None = None
        self.failure: Failed | None = None
        self.note = ""
        self.waiters: list[Callable[[Any], Any]] | None = None

    def __repr__(self) -> str:
        return f"<State {self.id} {short_key(self.key)}: {self.status}>"

    @property
    def has_futures(self) -> bool:
        """Whether somebody has a future of it."""
        return self.count > (self.keeper is not None)

    @property
    def is_usable(self) -> bool:
        """Whether a further future of this key can be made."""
        return self.count > 0 and self.status not in ("cancelled", "lost")

    def when_done(self, action: Callable[[State], Any]) -> None:
        """Have a function called when it is no longer pending: in the connection's thread, or in this one at once.

        It must be quick, and may be called twice.
        """
        if self.status == "pending":
            if self.waiters is None:
                self.waiters = [action]
            else:
                self.waiters.append(action)
            if self.status == "pending":
                return
        action(self)

    def settle(self, status: Status) -> None:
        """It has an outcome, which was noted before."""
        self.status = status
        waiters = self.waiters
        if waiters is not None:
            while waiters:
                waiters.pop(0)(self)

    def finish(self, value: Any, nbytes: float) -> None:
        self.value = value
        self.nbytes = nbytes
        self.settle("finished")

    def error(self) -> BaseException | None:
        """What asking for the result raises, None where there is one."""
        if self.status == "error":
            assert self.failure is not None
            self.failure.keep(self)
            return self.failure.explained()
        if self.status in ("cancelled", "lost"):
            why = f": {self.note.removesuffix('.')}" if self.note else ""
            return FutureCancelledError(f"{short_key(self.key)} was {self.status}{why}.")
        return None


class Failed:
    """An exception as it came, shared by all futures that failed for it.

    It is unpacked for each who asks. `told` says which task raised it, where that is known, and `recall` leads to what
    brings the function and inputs of that, as long as somebody may replay it. `task` is its number in the run, where
    that has an earlier failure.

    Were it kept, so would be all frames that it is raised through, and with them the
    futures that they hold: for as long as one of those is not released.
    """

    __slots__ = ("_packed", "_recall", "_task", "_told", "_trace", "_unpack")

    def __init__(
        self,
        packed: Any,
        unpack: Callable[[Any], BaseException],
        told: str = "",
        recall: Callable[[], Recall | None] = lambda: None,
        task: int | None = None,
    ) -> None:
        self._task = task
        self._told = told
        self._recall = recall
        self._packed = packed
        self._unpack = unpack
        self._trace = packed.__traceback__ if isinstance(packed, BaseException) else None

    def keep(self, state: State) -> None:
        """Keep what failed until the failure cannot be replayed any more: somebody is told of it, perhaps by a future
        that nobody has after that."""
        recall = self._recall()
        if recall is not None:
            recall.keep(state)

    def error(self) -> BaseException:
        """The exception with the traceback that it came with, whatever frames it has passed since."""
        error = self._unpack(self._packed)
        return error.with_traceback(self._trace) if error is self._packed else error

    def explained(self) -> BaseException:
        """The exception with a note that says which task raised it, once."""
        error = self.error()
        with suppress(Exception):  # an exception of the user's own making may refuse attributes
            if self._told and not any(note.startswith(self._told) for note in getattr(error, "__notes__", ())):
                add_note(error, self._told + ("" if worker.inside else advice(error, self._task)))
        return error
