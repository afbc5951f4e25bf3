"""What a run record keeps of a task that failed, and how that runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskloom.errors import WorkerDied
from taskloom.graph import Key


@dataclass(frozen=True, slots=True)
class Failure:
    """The task that ended a run, with the inputs it had, kept for replay until the next run.

    Where they are elsewhere, `recall` brings the function and the inputs.
    """

    key: Key
    exception: BaseException | str
    worker: int
    attempt: int = 1
    function: Callable[..., Any] | None = None
    inputs: tuple[Any, ...] = ()
    recall: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]] | None = None

    def replay(self) -> Any:
        """Run the task once more, in this thread, with the inputs it had.

        Raises
        ------
        ValueError
            The inputs are not kept any more: another run has begun since, or the record was read from a file.
        """
        if self.recall is not None:
            function, inputs = self.recall()
            return function(*inputs)
        if self.function is None:
            raise ValueError(
                f"The inputs of {self.key!r} are not at hand: they are kept only in the process that ran the task, and "
                "only until another run begins."
            )
        return self.function(*self.inputs)

    @property
    def ended_worker(self) -> bool:
        """Whether the task brought down the process that ran it, and would do so again."""
        error = self.exception
        return error.startswith(f"{WorkerDied.__name__}:") if isinstance(error, str) else isinstance(error, WorkerDied)

    def without_inputs(self) -> Failure:
        """What is kept once another run has begun: text instead of objects."""
        error = self.exception
        try:
            text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        except Exception:  # a user's __str__ may do anything
            text = type(error).__name__
        return Failure(self.key, text, self.worker, self.attempt)
