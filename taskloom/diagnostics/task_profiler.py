"""When each task ran, and where."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.diagnostics.base import RunRecorder
from taskloom.graph import Key, task_name

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from taskloom.diagnostics.figures import NameGroups
    from taskloom.diagnostics.finished_run import FinishedRun


class TaskData(NamedTuple):
    """A task that ran: its key, the task as it stands in the graph, from when to when, and the worker's name."""

    key: Key
    task: Any
    start_time: float
    end_time: float
    worker_id: str


class Profiler(RunRecorder[TaskData]):
    """Records when each task ran, and where.

    It reads run records, so that runs are as fast as without it. Runs that tasks start themselves count like any
    other. A run is in the results once it has ended; of one that failed, the tasks that finished. The results hold
    the tasks' functions and arguments until `clear`.

    Attributes
    ----------
    results : list of TaskData
        Rows ``(key, task, start_time, end_time, worker_id)``, one per finished task, in the order in which the tasks
        of a run started. Times are seconds on the clock of `time.perf_counter`.

    Examples
    --------
    >>> import taskloom
    >>> with Profiler() as profiler:
    ...     taskloom.threaded.get({"x": 1, "y": (max, "x", 10)}, "y")
    10
    >>> row = profiler.results[0]
    >>> row.key, row.task, row.worker_id, row.end_time >= row.start_time
    ('y', (<built-in function max>, 'x', 10), 'MainThread', True)
    """

    def _rows(self, run: FinishedRun) -> list[TaskData]:
        keys, start, stop, worker, workers = run.keys, run.start, run.stop, run.worker, run.workers
        return [
            TaskData(keys[task], run.task(task), start[task], stop[task], workers[worker[task]])
            for task in run.finished()
        ]

    def _times(self, row: TaskData) -> tuple[float, ...]:
        return row.start_time, row.end_time

    def _weights(self) -> dict[str, float]:
        weights: defaultdict[str, float] = defaultdict(float)
        for row in self.results:
            weights[task_name(row.key)] += row.end_time - row.start_time
        return weights

    def _plot(self, origin: float, length: float, groups: NameGroups, options: dict[str, Any]) -> figure:
        from taskloom.diagnostics.figures import task_figure

        return task_figure(self.results, origin, length, groups, options)
