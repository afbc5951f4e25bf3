"""The record of futures: it grows while tasks are submitted, and outlives failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from taskloom.bus.failure import Failure
from taskloom.bus.run import Run, Status
from taskloom.bus.run_graph import RunGraph
from taskloom.graph import Key, Plan


class GrowingRun(Run):
    """A run to which tasks are added while it goes on.

    Tasks that fail do not end it; what ends it is `settled`, which the bus asks at each tick. All attributes of `Run`
    hold for the tasks that are there so far.

    Parameters
    ----------
    engine : name of the engine.
    settled : callable, is given the run and returns whether nothing more is to come, and it has been closed with `end`.

    Examples
    --------
    >>> run = GrowingRun("distributed", settled=lambda run: False)
    >>> run.extend(["x", "y"], ["load", "inc"], [(), (0,)])
    0
    >>> run.n_tasks, run.tasks.status
    (2, ['ready', 'waiting'])
    """

    def __init__(self, engine: str, settled: Callable[[GrowingRun], bool]) -> None:
        super().__init__(RunGraph([], [], []), engine)
        self.parent = None  # futures are nobody's part: the one that submits them goes on
        self._settled = settled
        self._quiet_since: Callable[[], float | None] = _never
        self._recall: Callable[[int, bool], Plan] | None = None

    # -- for engines ----------------------------------------------------------------------------------------------

    def extend(self, keys: Sequence[Key], functions: Sequence[str], dependencies: Iterable[tuple[int, ...]]) -> int:
        """Add tasks; returns the number of the first. One thread at a time may call this.

        Dependencies are task numbers of this run, each once and smaller than the task's own.
        """
        row, graph = self.n_tasks, self.graph
        if len(self.start) != row or len(graph.keys) != row:
            self._cut(row)
        n = len(keys)
        self.start.extend([0.0] * n)
        self.stop.extend([0.0] * n)
        self.worker.extend([0] * n)
        graph.extend(keys, functions, dependencies)
        self.n_tasks = row + n  # last: what is counted is there
        return row

    def append(self, key: Key, function: str) -> None:
        """Add a task without dependencies, as `extend` would."""
        row, graph = self.n_tasks, self.graph
        if len(self.start) != row or len(graph.keys) != row:
            self._cut(row)
        self.start.append(0.0)
        self.stop.append(0.0)
        self.worker.append(0)
        graph.append(key, function)
        self.n_tasks = row + 1

    def on_quiet(self, since: Callable[[], float | None]) -> None:
        """Set what tells the clock reading since when nothing is outstanding, if nothing is."""
        self._quiet_since = since

    @property
    def is_at_work(self) -> bool:
        return self.status == "running" and self._quiet_since() is None

    def on_recall(self, recall: Callable[[int, bool], Plan]) -> None:
        """Set what brings functions and inputs from where they are, for `plan_for`."""
        self._recall = recall

    @property
    def keeps_inputs(self) -> bool:
        return self._recall is not None

    def plan_for(self, task: int, fresh: bool = False) -> Plan:
        recall = self._recall
        return super().plan_for(task, fresh) if recall is None else recall(task, fresh)

    def let_go(self) -> None:
        super().let_go()
        self._recall = None

    def _cut(self, row: int) -> None:
        """Take away what an interrupt in the middle of `extend` has left."""
        del self.start[row:], self.stop[row:], self.worker[row:]
        self.graph.cut(row)

    def fail_tasks(self, failure: Failure, tasks: Iterable[int], stop: float) -> None:
        """Note tasks that will not be done because of a failure: the one that raised, until `stop`, and those that need
        it."""
        for task in tasks:
            self.failures[task] = failure
            self.unfinished.add(task)
            if self.start[task]:
                self.stop[task] = stop
        if self.failure is None:
            self.failure = failure

    def revive(self, tasks: Iterable[int]) -> None:
        """Note that tasks which had failed or been cancelled are done after all, or are to be."""
        for task in self.unfinished.intersection(tasks):
            self.unfinished.discard(task)
            self.failures.pop(task, None)
        if self.failure is not None and self.failure not in self.failures.values():
            self.failure = next(iter(self.failures.values()), None)

    def end(self, status: Status, duration: float | None = None) -> None:
        """Close the record."""
        given_up = self.unfinished
        super().end(status, duration)
        self.unfinished = self.unfinished | given_up
        self.current = ()
        self._quiet_since = _never

    @property
    def duration(self) -> float:
        """Seconds from the start to the end, or until now; without the time in which nothing is to be done, so far."""
        quiet = self._quiet_since() if self.status == "running" else None
        return super().duration if quiet is None else quiet - self.zero

    def ends_by_itself(self) -> bool:
        return self.status == "running" and self._settled(self)


def _never() -> None:
    return None
