"""The run record: what happened in one run, whatever the engine. Engines append, views read."""

from __future__ import annotations

import itertools
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, MutableSequence
from contextvars import ContextVar
from dataclasses import replace
from math import nan
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from taskloom.bus.columns import Tasks
from taskloom.bus.failure import Failure
from taskloom.bus.run_graph import RunGraph
from taskloom.bus.workers import Sample, Transfer, Worker
from taskloom.graph import Plan, short_key, task_name

if TYPE_CHECKING:
    import pandas as pd

    from taskloom.bus.summary import Summary

Status = Literal["running", "finished", "failed", "cancelled"]

#: The run inside a task of which the current code executes, if any.
current_run: ContextVar[Run | None] = ContextVar("current_run", default=None)

#: What methods of this layer do that need a higher one, which puts it here, by a name of its own.
presenters: dict[str, Callable[..., Any]] = {}

_ids = itertools.count(1)


class Run:
    """The record of one run.

    Attributes
    ----------
    id : int, counting from 1 in each process.
    engine : name of the engine, such as ``"threads"``.
    parent : id of the run inside a task of which this one was started, or None.
    status : ``"running"``, ``"finished"``, ``"failed"`` or ``"cancelled"``.
    started : float, seconds since the epoch.
    n_tasks : int.
    graph : `RunGraph`, what views draw.
    tasks : `Tasks`, columns indexed by task number.
    done : array of task numbers in the order in which they finished; it only grows.
    workers : list of `Worker`.
    samples : list of `Sample`, ten a second while the run lasts.
    failure : `Failure`, the first one, or None where no task failed.
    failures : dict, task number to `Failure`: of a run of futures there may be many, of which the first is `failure`.
    transfers : list of `Transfer`.
    foreign : whether other clients of a cluster submitted these tasks: nobody here waits for them, or may stop them.
    sampled_here : whether the bus takes the samples: workers on other machines send their own.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({"a": (max, 1, 2), "b": (abs, "a")}, "b")
    2
    >>> run = taskloom.last_run()
    >>> run.engine, run.status, run.n_done, run.tasks.key
    ('sync', 'finished', 2, ['a', 'b'])
    """

    foreign = False
    sampled_here = True

    def __init__(self, graph: RunGraph, engine: str, number: int | None = None) -> None:
        n = len(graph)
        self.id = next(_ids) if number is None else number
        self.engine = engine
        outer = current_run.get()
        self.parent = None if outer is None else outer.id
        self.status: Status = "running"
        self.started = time.time()
        self.n_tasks = n
        self.graph = graph
        self.tasks = Tasks(self)
        self.workers: list[Worker] = []
        self.samples: list[Sample] = []
        self.transfers: list[Transfer] = []
        self.failure: Failure | None = None
        self.failures: dict[int, Failure] = {}
        self.unfinished: set[int] = set()  # tasks that failed, were cancelled, or had begun when the run ended
        # What engines write: clock readings per task, its worker where that is not the first, what finished when,
        # and what runs now (None: one task at a time, in order). Lists while it runs, which are the fastest to write.
        self.zero = perf_counter()
        self.start: MutableSequence[float] = [0.0] * n
        self.stop: MutableSequence[float] = [0.0] * n
        self.worker = array("H", bytes(2 * n))
        self.done = array("L")
        self.current: Collection[int] | None = None
        self.long: dict[int, tuple[float, float]] = {}  # CPU seconds and bytes of the tasks worth measuring
        self.stopped: list[str] = []  # not empty once no further task should start
        self.dropped: dict[str, tuple[int, float]] = {}  # name -> count and seconds of the rows left out
        self.dropped_failures = 0
        self.trimming = Lock()  # whoever reads rows of a run that may have ended, in a thread of its own, holds it
        self._names: dict[str, int] | None = None
        self._duration: float | None = None
        self._on_cancel: Callable[[], None] | None = None

    # -- for engines ----------------------------------------------------------------------------------------------

    def join(self, name: str, pid: int | None = None, threads: int = 1) -> int:
        """Add a worker; returns its number."""
        self.workers.append(Worker(name, pid or os.getpid(), threads, perf_counter() - self.zero))
        return len(self.workers) - 1

    def on_cancel(self, action: Callable[[], None]) -> None:
        """Set what `cancel` does beyond forbidding further tasks, such as waking those who wait."""
        self._on_cancel = action

    def cancelled(self) -> KeyboardInterrupt:
        """What the call that waits for a cancelled run raises."""
        return KeyboardInterrupt(f"run {self.id} was cancelled")

    def fail(self, task: int, plan: Plan, error: BaseException, inputs: Iterable[Any]) -> None:
        """Note the task that ends the run, the first one that does; an interrupt is nobody's failure.

        Inputs that an engine cannot bring from where they were are left out, all of them.
        """
        if self.failure is None and not isinstance(error, KeyboardInterrupt):
            at_hand = tuple(inputs)
            kept = (plan.functions[task], at_hand) if len(at_hand) == len(plan.slots(task)) else (None, ())
            self.failure = self.failures[task] = Failure(plan.keys[task], error, self.worker[task], 1, *kept)

    def end(self, status: Status, duration: float | None = None) -> None:
        """Close the record."""
        self._duration = perf_counter() - self.zero if duration is None else duration
        self._on_cancel = None
        if status != "finished":  # a task that outlives its run writes to what engines were given, not to the record
            self.start, self.stop, self.done = self.start[:], self.stop[:], self.done[:]
            self.unfinished = {t for t, start in enumerate(self.start) if start and not self.stop[t]}
            for task in self.unfinished:
                self.stop[task] = self.zero + self._duration
        for worker in self.workers:
            if worker.left is None:
                worker.left = self._duration
        self.status = status

    def ends_by_itself(self) -> bool:
        """Close the record if nothing more is to come; asked at each tick. An ordinary run is ended by its engine."""
        return False

    @property
    def is_at_work(self) -> bool:
        """Whether something is still to be done; the record of futures stays open for a while without."""
        return self.status == "running" and self.n_done + self.n_failed < self.n_tasks

    @property
    def keeps_inputs(self) -> bool:
        """Whether its tasks can be run again, so far: functions and constants are kept until another run begins."""
        return self.graph.plan is not None

    @property
    def can_recall(self) -> bool:
        """Whether functions and inputs that are not kept may be brought from a cluster, as long as that has them."""
        return False

    def plan_for(self, task: int, fresh: bool = False) -> Plan:
        """The plan, with the function of a task and all that is needed to compute its inputs where they are not kept,
        or, if they are to be `fresh`, where they are.

        Raises
        ------
        ValueError
            They are not kept any more.
        """
        if self.graph.plan is None:
            raise ValueError(f"Run {self.id} keeps no functions and inputs any more: another run has begun since.")
        return self.graph.plan

    def let_go(self) -> None:
        """Keep no functions, constants and inputs any more: another run has begun. It can be said twice."""
        self.graph.release_plan()
        if self.failure is not None:
            self.failure = self._reduced(self.failure)
            self.failures = {task: self._reduced(failure) for task, failure in self.failures.items()}

    def _reduced(self, failure: Failure) -> Failure:
        """What is kept of a failure once another run has begun."""
        return failure.without_inputs()

    # -- for everybody --------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the run, from any thread: no further task starts, and the call that waits for it raises
        `KeyboardInterrupt`. Does nothing once the run has ended."""
        if self.status == "running":
            self.stopped.append("cancelled")
            action = self._on_cancel
            if action is not None:
                action()

    @property
    def duration(self) -> float:
        """Seconds from the start to the end, or until now."""
        return perf_counter() - self.zero if self._duration is None else self._duration

    @property
    def n_done(self) -> int:
        """How many tasks have finished."""
        return len(self.done) + sum(count for count, _ in self.dropped.values())

    @property
    def n_failed(self) -> int:
        """How many tasks have failed: one, where the first failure ends the run."""
        return self.dropped_failures + len(self.failures)

    @property
    def failed_task(self) -> int | None:
        """The number of the first task that failed."""
        return next(iter(self.failures), None)

    @property
    def names(self) -> dict[str, int]:
        """Task names and how many tasks carry each, in the order of their first task."""
        counted = self._names
        if counted is None or sum(counted.values()) < self.n_tasks:  # a run may grow
            counted = self._names = dict(Counter(map(task_name, self.graph.keys)))
        return counted

    @names.setter
    def names(self, counts: dict[str, int]) -> None:
        self._names = counts

    @property
    def running(self) -> list[tuple[int, int, float]]:
        """What runs right now: worker number, task number, and when the task started."""
        return [
            (self.worker[task], task, self.start[task] - self.zero)
            for task in ([len(self.done)] if self.current is None else list(self.current))
            if 0 <= task < len(self.start) and self.start[task] and not self.stop[task] and self.status == "running"
        ]

    @property
    def ready(self) -> array[float]:
        """Per task when the last of its inputs was there: seconds since the start, NaN if that has not happened."""
        stop = self.tasks.stop
        for task in self.unfinished:
            stop[task] = 0.0
        return array(
            "d",
            [
                max(map(stop.__getitem__, dependencies), default=0.0)
                if all(map(stop.__getitem__, dependencies))
                else nan
                for dependencies in self.graph.dependencies
            ],
        )

    def trim(self, rows: int) -> None:
        """Keep only the `rows` tasks that finished last; counts and times by name stay exact."""
        with self.trimming:
            self._trim(rows)

    def _trim(self, rows: int) -> None:
        if len(self.start) <= rows:
            self.start, self.stop = array("d", self.start), array("d", self.stop)  # a quarter of a list's size
            return
        self.names  # noqa: B018 - counted while all rows are there
        order = sorted(range(len(self.start)), key=self.stop.__getitem__)
        for task in order[: len(order) - rows]:
            if self.stop[task] and task not in self.unfinished:
                name = task_name(self.graph.keys[task])
                count, seconds = self.dropped.get(name, (0, 0.0))
                self.dropped[name] = (count + 1, seconds + self.stop[task] - self.start[task])
        kept = sorted(order[len(order) - rows :])
        rank = {number: position for position, number in enumerate(kept)}
        kept_failures = {rank[task]: failure for task, failure in self.failures.items() if task in rank}
        self.dropped_failures += len(self.failures) - len(kept_failures)
        self.failures = kept_failures
        self.transfers = [replace(move, task=rank[move.task]) for move in self.transfers if move.task in rank]
        self.unfinished = {rank[task] for task in self.unfinished if task in rank}
        self.done = array("L", [rank[task] for task in self.done if task in rank])
        self.long = {rank[task]: measures for task, measures in self.long.items() if task in rank}
        self.start = array("d", [self.start[task] for task in kept])
        self.stop = array("d", [self.stop[task] for task in kept])
        self.worker = array("H", [self.worker[task] for task in kept])
        self.graph = self.graph.select(kept)

    def summary(self) -> Summary:
        """Figures a person reads: by task name how many, how long, the slowest; how parallel, how idle."""
        from taskloom.bus.summary import summarize

        return summarize(self)

    def critical_path(self) -> list[int]:
        """The chain of dependent tasks that took longest: no number of workers could be faster than that.

        Returns task numbers, in the order in which they ran.
        """
        from taskloom.bus.summary import critical_path

        return critical_path(self)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write all views of the run to one HTML file, which needs no network.

        Raises
        ------
        ImportError
            Bokeh is not installed.
        """
        presenters["report"](self, path)

    def to_frame(self) -> pd.DataFrame:
        """The tasks as a `pandas.DataFrame`, a row each, indexed by task number.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "Run.to_frame needs pandas: pip install pandas. Run.tasks has the same columns."
            ) from error
        rows = len(self.tasks)  # while they are read it may grow
        frame = pd.DataFrame({column: list(self.tasks[column])[:rows] for column in self.tasks.columns})
        frame[["start", "stop"]] = frame[["start", "stop"]].where(frame[["start", "stop"]] > 0)  # NaN: not yet
        return frame.rename_axis("task")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to a file of JSON lines, which `Run.load` reads back anywhere."""
        from taskloom.bus.run_file import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Read a record that `save` wrote.

        Raises
        ------
        ValueError
            The file is no run record, or was cut off.
        """
        from taskloom.bus.run_file import load

        return load(path)

    def __repr__(self) -> str:
        from taskloom.bus.summary import seconds

        text = f"<Run {self.id}: {self.engine}, {self.n_done:,}/{self.n_tasks:,} tasks, {self.status}"
        if self.failure is not None:
            text += f" at {short_key(self.failure.key)}"
        return f"{text}, {seconds(self.duration)}>"

    def _repr_html_(self) -> str:
        return str(presenters["run_card"](self))
