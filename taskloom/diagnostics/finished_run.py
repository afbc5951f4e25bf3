"""What profilers keep of a run: the record's arrays, and the plan, which the record itself lets go of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskloom.graph import Key, Plan, Recipe, identity

if TYPE_CHECKING:
    from taskloom.bus import Run


class FinishedRun:
    """A run that is over.

    Attributes
    ----------
    keys, start, stop, worker : columns by task number; times on the clock of `time.perf_counter`, 0.0 for never,
        `worker` a number in `workers`.
    workers : list of str, their names.
    dependencies : list of tuples of task numbers.
    end : float, when the run ended.
    """

    def __init__(self, run: Run) -> None:
        self._graph = run.graph
        self._plan = run.graph.plan
        self.keys = run.graph.keys
        self.start, self.stop, self.worker, self._done = run.start, run.stop, run.worker, run.done
        self.workers = [worker.name for worker in run.workers]
        self.end = run.zero + run.duration
        self._data = {} if self._plan is None else {slot: key for key, slot in self._plan.data.items()}

    @property
    def dependencies(self) -> list[tuple[int, ...]]:
        return self._graph.dependencies

    def finished(self) -> list[int]:
        """The numbers of the tasks that finished, in the order in which they started."""
        return sorted(self._done, key=self.start.__getitem__)

    def kept(self) -> set[int]:
        """The numbers of the tasks whose results the caller asked for."""
        if self._plan is None:
            return set(range(len(self.keys))).difference(*self.dependencies)
        return {slot for slot in self._plan.requested if slot >= 0}

    def task(self, number: int) -> Any:
        """A task as it stands in the graph.

        Another run that ended in the same instant may have made the record let go of its plan: then functions are
        given by name, and of the arguments those that other tasks computed.
        """
        if self._plan is None:
            inputs = [self.keys[other] for other in self.dependencies[number]]
            return (self._graph.functions[number], *inputs)
        return _unfold(self._plan, number, self._data)


def _unfold(plan: Plan, number: int, data: dict[int, Key]) -> Any:
    args = plan.args[number]
    leaves = [
        plan.keys[slot] if slot >= 0 else data[slot] if slot in data else plan.constants[-slot - 1]
        for slot in ((args,) if isinstance(args, int) else args)
    ]
    function = plan.functions[number]
    if function is identity:  # a key that stands for another
        return leaves[0]
    return function.nest(leaves) if isinstance(function, Recipe) else (function, *leaves)
