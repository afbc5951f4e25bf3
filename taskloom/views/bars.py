"""The bars of a task stream: which tasks get one of their own, and which share one.

A bar stands for one task, or for many that ran one after another on a worker. Nothing here looks at every task of a
crowd: of each stretch of tasks only the two ends are read, so that following a run costs the same however short its
tasks are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.bus.summary import seconds
from taskloom.graph import Key, task_name
from taskloom.views.labels import key_label, name_label
from taskloom.views.palette import FAILED_COLOR, OTHER_COLOR, colors_by_name, name_colors

if TYPE_CHECKING:
    from taskloom.bus import Run

MOST_BARS = 20_000  # a browser draws so many without a pause
END = 8  # tasks looked at on each side of a stretch
MOST_NAMES = 600  # with a colour that tells them from most others


class Bar(NamedTuple):
    """A row of a task stream: the columns of `Run.tasks`, and what a bar needs beyond them."""

    key: str
    name: str
    worker: int
    start: float
    stop: float
    cpu: float | None
    nbytes: float | None
    status: str
    color: str
    edge: str
    took: str
    tasks: int


class Bars:
    """Makes the bars of one run.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({("load", i): (abs, -i) for i in range(3)}, ("load", 2))
    2
    >>> bars = Bars(taskloom.last_run())
    >>> [(bar.key, bar.tasks) for bar in bars.finished(0, 1, most=10)]
    [("('load', 2)", 1)]
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        keys = run.graph.keys
        self._colors = colors_by_name(keys)

    def color(self, name: str) -> str:
        """The colour of a task name; names that are met late get one of those that are left."""
        if name not in self._colors:
            if len(self._colors) >= MOST_NAMES:
                return OTHER_COLOR
            self._colors = name_colors([*self._colors, name])
        return self._colors[name]

    def finished(self, first: int, last: int, most: int) -> list[Bar]:
        """The bars of the tasks ``Run.done[first:last]``, of `most` stretches of tasks if there are more tasks."""
        step = max(1, -(-(last - first) // most))
        done = self.run.done
        if step == 1:
            return [self._one(task) for task in done[first:last]]
        return [bar for begin in range(first, last, step) for bar in self._stretch(begin, min(begin + step, last))]

    def unfinished(self) -> list[Bar]:
        """The bars of tasks that failed, or were under way when the run ended."""
        run = self.run
        tasks = run.unfinished if run.failed_task is None else {*run.unfinished, run.failed_task}
        return [self._one(task) for task in sorted(tasks) if run.start[task]]

    def running(self) -> list[Bar]:
        """The bars of the tasks that run now, each up to this moment."""
        run = self.run
        now = run.duration
        return [
            self._bar(run.graph.keys[task], worker, start, max(now, start), "running", 1)
            for worker, task, start in run.running
        ]

    def _one(self, task: int) -> Bar:
        run = self.run
        status = "failed" if task == run.failed_task else "cancelled" if task in run.unfinished else "finished"
        start = run.start[task] - run.zero
        stop = max(start, run.stop[task] - run.zero) if run.stop[task] else run.duration
        bar = self._bar(run.graph.keys[task], run.worker[task], start, stop, status, 1)
        measures = run.long.get(task)
        return bar if measures is None else bar._replace(cpu=_known(measures[0]), nbytes=_known(measures[1]))

    def _stretch(self, first: int, last: int) -> Iterator[Bar]:
        """A bar for each worker that is seen at the two ends of a stretch of finished tasks."""
        run = self.run
        done = run.done
        half = min(END, (last - first + 1) // 2)
        seen: dict[int, list[int]] = {}
        for task in (*done[first : first + half], *done[max(first + half, last - half) : last]):
            seen.setdefault(run.worker[task], []).append(task)
        total = sum(map(len, seen.values()))
        for worker, tasks in seen.items():
            start = min(map(run.start.__getitem__, tasks)) - run.zero
            stop = max(map(run.stop.__getitem__, tasks)) - run.zero
            longest = max(tasks, key=lambda task: run.stop[task] - run.start[task])
            count = max(1, round((last - first) * len(tasks) / total))
            yield self._bar(run.graph.keys[longest], worker, start, max(start, stop), "finished", count)

    def _bar(self, key: Key, worker: int, start: float, stop: float, status: str, count: int) -> Bar:
        name = task_name(key)
        color = FAILED_COLOR if status == "failed" else self.color(name)
        label = key_label(key) if count == 1 else f"about {count:,} tasks, such as {key_label(key)}"
        took = seconds(stop - start)
        return Bar(label, name_label(name), worker, start, stop, None, None, status, color, _darker(color), took, count)


@cache
def _darker(color: str) -> str:
    """A colour for the edge of a bar, so that two that touch tell apart."""
    red, green, blue = bytes.fromhex(color[1:])
    return f"#{red * 4 // 5:02x}{green * 4 // 5:02x}{blue * 4 // 5:02x}"


def _known(value: float) -> float | None:
    """NaN is no JSON."""
    return None if value != value else value


def columns(bars: Sequence[Bar]) -> dict[str, Any]:
    """Bars as columns: lists, which travel in one message."""
    return {field: [bar[number] for bar in bars] for number, field in enumerate(Bar._fields)}
