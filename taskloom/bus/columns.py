"""The tasks of a run as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import nan
from typing import TYPE_CHECKING, Any

from taskloom.graph import Key, task_name

if TYPE_CHECKING:
    from taskloom.bus.run import Run

COLUMNS = ("key", "name", "worker", "start", "stop", "cpu", "nbytes", "status")


class Tasks:
    """Columns over the tasks of a run, indexed by task number.

    `key`, `name`, `status` are lists; `worker` indexes `Run.workers`; `start` and `stop` are seconds since the run
    started (0.0: not yet); `cpu` (seconds) and `nbytes` are NaN where they were not taken; `status` is ``"waiting"``,
    ``"ready"``, ``"running"``, ``"finished"``, ``"failed"``, or ``"cancelled"`` for a task that was, or that was under
    way when its run ended. A column is a snapshot, made when it is asked for: views that follow a run read the rows
    that `Run.done` names with `rows` instead.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({("x", i): (abs, -i) for i in range(3)}, ("x", 2))
    2
    >>> tasks = taskloom.last_run().tasks
    >>> len(tasks), tasks.key, tasks["name"], tasks.status
    (1, [('x', 2)], ['x'], ['finished'])
    """

    columns = COLUMNS

    def __init__(self, run: Run) -> None:
        self._run = run

    def __len__(self) -> int:
        return len(self._run.graph)

    def __getitem__(self, column: str) -> Any:
        if column not in COLUMNS:
            raise KeyError(f"{column!r} is no column of a run's tasks; there are {', '.join(COLUMNS)}")
        return getattr(self, column)

    def __repr__(self) -> str:
        return f"<Tasks: {len(self)} rows of {', '.join(COLUMNS)}>"

    @property
    def key(self) -> list[Key]:
        return self._run.graph.keys

    @property
    def name(self) -> list[str]:
        return list(map(task_name, self._run.graph.keys))

    @property
    def worker(self) -> array[int]:
        return self._run.worker

    @property
    def start(self) -> array[float]:
        return self._since_start(self._run.start)

    @property
    def stop(self) -> array[float]:
        return self._since_start(self._run.stop)

    @property
    def cpu(self) -> array[float]:
        return self._measured(0)

    @property
    def nbytes(self) -> array[float]:
        return self._measured(1)

    @property
    def status(self) -> list[str]:
        run = self._run
        running = {task for _, task, _ in run.running}
        failed, unfinished, begun, ended = run.failures, run.unfinished, run.start, run.stop
        return [
            "failed"
            if task in failed
            else "cancelled"
            if task in unfinished
            else "finished"
            if ended[task]
            else "running"
            if begun[task] or task in running
            else "ready"
            if all(map(ended.__getitem__, dependencies)) and unfinished.isdisjoint(dependencies)
            else "waiting"
            for task, dependencies in enumerate(run.graph.dependencies)
        ]

    def rows(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """These tasks, a dictionary each, without `status`: cheap however large the run is."""
        run = self._run
        keys, zero = run.graph.keys, run.zero
        rows = []
        for task in numbers:
            cpu, nbytes = run.long.get(task, (nan, nan))
            rows.append(
                {
                    "key": keys[task],
                    "name": task_name(keys[task]),
                    "worker": run.worker[task],
                    "start": run.start[task] - zero if run.start[task] else 0.0,
                    "stop": run.stop[task] - zero if run.stop[task] else 0.0,
                    "cpu": cpu,
                    "nbytes": nbytes,
                }
            )
        return rows

    def _since_start(self, times: Iterable[float]) -> array[float]:
        zero = self._run.zero
        return array("d", [time - zero if time else 0.0 for time in times])

    def _measured(self, which: int) -> array[float]:
        column = array("d", [nan]) * len(self)
        for task, measures in list(self._run.long.items()):
            column[task] = measures[which]
        return column
