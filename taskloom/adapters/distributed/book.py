"""An open run record of tasks on a dask scheduler, which tells of them once it has the graph."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from time import perf_counter
from typing import Any

from taskloom.adapters.distributed.connection import Packed
from taskloom.bus import Failure, GrowingRun, Sample, Transfer
from taskloom.engines.cluster.client.books import FuturesBook, Workers
from taskloom.engines.cluster.client.others import ForeignRun, OthersBook
from taskloom.graph import Key, Plan

SILENCE = 10.0  # seconds without any news from a scheduler that has not ended what is awaited by nobody

_LOST = ("scheduler-connection-lost", "scheduler-restart")  # why dask cancels futures by itself


class Submission:
    """What a client has sent: a graph and the keys that it wants.

    Attributes
    ----------
    graph : callable, gives the graph as the scheduler has it.
    packed : the same with keys in the place of futures, where it has any.
    states : of the futures, as soon as there are.
    arrived : whether the scheduler has told of its tasks.
    """

    def __init__(self, keys: Collection[Any], graph: Callable[[], dict[Any, Any]]) -> None:
        self.keys = frozenset(keys)
        self.graph = cache(graph)
        self.packed: Packed | None = None
        self.states: list[Any] = []
        self.arrived = False

    @property
    def is_pending(self) -> bool:
        """Whether somebody awaits something of it."""
        return not self.states or any(state.status in ("pending", "lost") for state in self.states)

    @property
    def has_succeeded(self) -> bool:
        """Whether all that was wanted is there."""
        return bool(self.states) and all(state.status == "finished" for state in self.states)

    def let_go_of_futures(self) -> None:
        """Keep only the keys of those that the graph has: their results go once nobody else wants them."""
        if self.packed is not None:
            self.graph = cache(self.packed.graph)
            self.packed = None

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler was restarted meanwhile, or the connection lost."""
        return any(getattr(state.exception, "reason", None) in _LOST for state in self.states)

    @property
    def is_refused(self) -> bool:
        """Whether the scheduler could not make tasks of it."""
        return not self.arrived and any(state.status == "error" for state in self.states)


class ClusterRun(GrowingRun):
    """A record whose samples the cluster sends: its workers may be on other machines.

    Attributes
    ----------
    submissions : what was sent, as long as the run keeps its inputs: with futures what failed, or is not done so far.
    kept : futures of inputs that were computed again, for as long.
    """

    sampled_here = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.submissions: list[Submission] = []
        self.kept: list[Any] = []
        self._from_cluster: Callable[[int, bool], Plan] | None = None  # what is asked once nothing is kept here

    @property
    def can_recall(self) -> bool:
        return self._from_cluster is not None

    def plan_for(self, task: int, fresh: bool = False) -> Plan:
        bring = self._from_cluster
        return super().plan_for(task, fresh) if bring is None else bring(task, fresh)

    def ends_by_itself(self) -> bool:
        has_ended = super().ends_by_itself()
        self.let_go_of_futures()  # here, where no lock is held: they have finalizers
        return has_ended

    def let_go_of_futures(self) -> None:
        """Hold none for the sake of what is done: results on the cluster go when nobody else wants them."""
        if not self.failures:
            is_over = self.status != "running"
            for submission in list(self.submissions):
                if submission.packed is not None and (is_over or submission.has_succeeded):
                    submission.let_go_of_futures()

    def let_go(self) -> None:
        self._from_cluster = self._recall or self._from_cluster
        super().let_go()
        self.submissions.clear()  # which may hold much, and futures
        self.kept.clear()

    def _reduced(self, failure: Failure) -> Failure:
        return replace(super()._reduced(failure), recall=failure.recall)  # which holds nothing but the record


class SampledBook(FuturesBook):
    """An open record whose samples the cluster sends."""

    def sample(self, worker: int, time: float, cpu: float, rss: int, held: int) -> None:
        """A worker has told what it uses."""
        if worker in self._members:
            self.hold(worker, held)
            self.run.samples.append(Sample(max(0.0, time - self.run.zero), self._members[worker], cpu, rss, held))


class OthersOnCluster(ForeignRun):
    """The record of other clients' tasks, whose samples the cluster sends, too."""

    sampled_here = False


class SampledOthersBook(OthersBook, SampledBook):
    """Writes it."""


class SubmittedBook(SampledBook):
    """Writes what happens to submissions of one client.

    Parameters
    ----------
    connection : gives what says whether the connection that is there now is still there.
    """

    run: ClusterRun

    def __init__(
        self, run: ClusterRun, workers: Workers, burst: int, connection: Callable[[], Callable[[], bool]]
    ) -> None:
        super().__init__(run, workers, burst)
        self.submissions = run.submissions
        self.heard = self.touched  # when there was any news
        self._connection = connection
        self._alive = connection()  # the one over which they go
        self._sizes = array("d")  # bytes of results, by row
        self._moved: set[tuple[int, int]] = set()  # rows, and workers to which they went

    def expect(self, submission: Submission) -> None:
        """Tasks are to come."""
        if not self.submissions:  # it may be another one than when the record was opened
            self._alive = self._connection()
        self.submissions.append(submission)
        self.touched = perf_counter()

    def withdraw(self, submission: Submission) -> None:
        """They are not, after all."""
        self.submissions.remove(submission)

    def add(
        self,
        first: int,
        keys: Sequence[Key],
        functions: Sequence[str],
        dependencies: Iterable[Sequence[int]],
        wanted: Sequence[int] | None,
    ) -> None:
        super().add(first, keys, functions, dependencies, wanted)
        self._sizes.extend([0.0] * (self.run.n_tasks - len(self._sizes)))

    def takes(self, n: int) -> bool:
        return self._alive() and super().takes(n)

    def settle(self) -> None:
        """All of it is done, as somebody has what was wanted, even if the scheduler has not told of it so far."""
        now = perf_counter()
        rows = [row for row, stop in enumerate(self.run.stop) if not stop]
        for row in rows:
            self.run.start[row] = self.run.start[row] or now
            self.run.stop[row] = now
        self.note_done(rows)

    @property
    def is_complete(self) -> bool:
        """Whether it holds all that was to be heard."""
        return all(submission.arrived for submission in self.submissions) and not self.outstanding

    def _quiet_since(self) -> float | None:
        return super()._quiet_since() if self.is_complete else None

    @property
    def is_connected(self) -> bool:
        """Whether more can be heard of it."""
        return self._alive()

    def is_over(self) -> bool:
        if not self._alive():
            return True
        if any(submission.is_pending for submission in self.submissions):
            return False
        if any(not submission.arrived and not submission.is_refused for submission in self.submissions):
            return perf_counter() - self.touched > SILENCE  # of futures that are gone a slow scheduler may yet tell
        return super().is_over() or perf_counter() - max(self.heard, self.touched) > SILENCE

    def report(
        self,
        worker: int,
        ids: Sequence[int],
        rows: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        run, zero = self.run, self.run.zero
        repeated = [row for row in rows if run.stop[row] and row not in self.again and row not in run.unfinished]
        if repeated:
            self.do_again(repeated)
        for number, row in zip(ids, rows, strict=True):
            self._sizes[row] = sizes[number]
        super().report(worker, ids, rows, [max(time, zero) for time in times], values, sizes, cpu)

    def do_again(self, rows: Sequence[int]) -> None:
        failed = self.run.unfinished.intersection(rows)
        super().do_again(rows)
        for row in failed:
            self.run.start[row] = self.run.stop[row] = 0.0

    def note_moves(self, row: int, worker: int, sources: Iterable[tuple[int, float]]) -> None:
        """A task's worker had fetched inputs from these others, and when."""
        run, target = self.run, self.member(worker)
        for source, when in sources:
            origin = self.member(source)
            for dep in run.graph.dependencies[row]:
                if run.worker[dep] == origin != target and (dep, target) not in self._moved:
                    self._moved.add((dep, target))
                    time = max(0.0, when - run.zero)
                    run.transfers.append(Transfer(time, dep, origin, target, int(self._sizes[dep])))

    def sample(self, worker: int, time: float, cpu: float, rss: int, held: int) -> None:
        self.heard = perf_counter()
        super().sample(worker, time, cpu, rss, held)

    def end(self) -> None:
        """Close the record."""
        refused = any(submission.is_refused for submission in self.submissions)
        lost = any(submission.is_lost or not submission.arrived for submission in self.submissions)
        super().end()
        if (refused or lost) and self.run.status == "finished":
            self.run.status = "failed" if refused else "cancelled"

    def explain(self, failure: Failure, error: BaseException) -> None:
        """Put the exception itself in the place of its text."""
        run = self.run
        better = replace(failure, exception=error)
        for row, other in run.failures.items():
            if other is failure:
                run.failures[row] = better
        if run.failure is failure:
            run.failure = better
