"""Which results were alive when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.bus import Callback
from taskloom.diagnostics.base import Closable, RunRecorder
from taskloom.graph import Graph, Key, task_name

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from taskloom.diagnostics.figures import NameGroups
    from taskloom.diagnostics.finished_run import FinishedRun


class CacheData(NamedTuple):
    """A result: its key, its task, its size by the metric, and from when to when the engine kept it."""

    key: Key
    task: Any
    metric: Any
    cache_time: float
    free_time: float


class CacheProfiler(RunRecorder[CacheData]):
    """Records which results the engine kept, how large they were, and when it let go of them.

    A result is let go of when the last task that takes it has finished, a requested one at the end of its run.

    Parameters
    ----------
    metric : callable, optional
        Called with each result; returns its size as a number. Without one, results are counted: each has the size 1,
        and runs are as fast as without a profiler. With one, it sees every result through a `taskloom.Callback`,
        with what that costs; runs inside tasks are left out then, and an exception it raises ends the run.
    metric_name : str, optional
        What the drawing calls the metric; by default the function's name, or ``"count"``.

    Attributes
    ----------
    results : list of CacheData
        Rows ``(key, task, metric, cache_time, free_time)``, in the order in which results were let go of. Times are
        seconds on the clock of `time.perf_counter`.

    Examples
    --------
    >>> import taskloom
    >>> with CacheProfiler() as profiler:
    ...     taskloom.get({"x": (max, 1, 10), "y": (str, "x"), "z": (len, "y")}, ["z"])
    [2]
    >>> [(row.key, row.metric) for row in profiler.results]
    [('x', 1), ('y', 1), ('z', 1)]
    """

    def __init__(self, metric: Callable[[Any], Any] | None = None, metric_name: str | None = None) -> None:
        super().__init__()
        self._metric = metric
        default = "count" if metric is None else getattr(metric, "__name__", type(metric).__name__)
        self._metric_name = metric_name or default

    def _attach(self) -> Closable:
        if self._metric is None:
            return super()._attach()
        measure = _Measure(self._metric, self._add)
        stack = ExitStack()
        stack.enter_context(Callback(start_state=measure.start, posttask=measure.take, finish=measure.finish))
        return stack

    def _add(self, row: CacheData) -> None:
        self._results.append(row)

    def _rows(self, run: FinishedRun) -> list[CacheData]:
        free_times = _free_times(run)
        rows = [
            CacheData(run.keys[task], run.task(task), 1, run.stop[task], free_times[task]) for task in run.finished()
        ]
        rows.sort(key=lambda row: row.free_time)
        return rows

    def _times(self, row: CacheData) -> tuple[float, ...]:
        return row.cache_time, row.free_time

    def _weights(self) -> dict[str, float]:
        weights: defaultdict[str, float] = defaultdict(float)
        for row in self.results:
            weights[task_name(row.key)] += abs(row.metric)
        return weights

    def _plot(self, origin: float, length: float, groups: NameGroups, options: dict[str, Any]) -> figure:
        from taskloom.diagnostics.figures import cache_figure

        return cache_figure(self.results, origin, length, groups, self._metric_name, options)


def _free_times(run: FinishedRun) -> list[float]:
    """Per task when its result was let go of."""
    last_use = [0.0] * len(run.keys)
    for task, dependencies in enumerate(run.dependencies):
        used = run.stop[task] or run.end  # never finished: its inputs were kept until the run was over
        for dependency in dependencies:
            last_use[dependency] = max(last_use[dependency], used)
    for task in run.kept():
        last_use[task] = run.end
    return last_use


class _Measure:
    """The functions of a `Callback` that measures results; runs that overlap in time are kept apart."""

    def __init__(self, metric: Callable[[Any], Any], add: Callable[[CacheData], None]) -> None:
        self._metric = metric
        self._add = add
        self._live: dict[int, dict[Key, tuple[Any, float]]] = {}  # by identity of a run's state: size, cache time

    def start(self, dsk: Graph, state: dict[str, Any]) -> None:
        self._live[id(state)] = {}

    def take(self, key: Key, value: Any, dsk: Graph, state: dict[str, Any], worker: str) -> None:
        live = self._live[id(state)]
        live[key] = (self._metric(value), now := perf_counter())
        for other in state["dependencies"][key]:
            if other in state["released"] and other in live:
                self._add(CacheData(other, dsk[other], *live.pop(other), now))

    def finish(self, dsk: Graph, state: dict[str, Any], errored: bool) -> None:
        now = perf_counter()
        for key, measured in self._live.pop(id(state), {}).items():
            self._add(CacheData(key, dsk[key], *measured, now))
