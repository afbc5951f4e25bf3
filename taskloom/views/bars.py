"""The bars of a task stream: which tasks get one of their own, and which share one.

A bar stands for one task, or for many that ran one after another on a worker. Nothing here looks at every task of a
crowd: of each stretch of tasks only the two ends are read, so that following a run costs the same however short its
tasks are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.bus.summary import seconds
from taskloom.graph import task_name
from taskloom.views.labels import key_label, name_label
from taskloom.views.lanes import HEIGHT
from taskloom.views.palette import FAILED_COLOR, OTHER_COLOR, colors_of, name_colors

if TYPE_CHECKING:
    from taskloom.bus import Run

MOST_BARS = 20_000  # a browser draws so many without a pause
END = 8  # tasks looked at on each side of a stretch
MOST_NAMES = 600  # with a colour that tells them from most others
#: What a row of a task stream says: the columns of `Run.tasks`, and what a bar needs beyond them.
COLUMNS = ("key", "name", "worker", "start", "stop", "cpu", "nbytes", "status", "color", "edge", "took", "tasks",
           "row", "height")  # fmt: skip


class Bar(NamedTuple):
    """A task, or the longest of several that share the bar; times in seconds since the run started."""

    task: int
    worker: int
    start: float
    stop: float
    status: str
    tasks: int
    row: float  # where its middle is, see `Lanes`
    height: float


class Bars:
    """Makes the bars of one run.

    Examples
    --------
    >>> import taskloom
    >>> taskloom.get({("load", i): (abs, -i) for i in range(3)}, ("load", 2))
    2
    >>> bars = Bars(taskloom.last_run())
    >>> [(bar.task, bar.tasks) for bar in bars.finished(0, 1, most=10)]
    [(0, 1)]
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._colors = colors_of(run.graph)

    def finished(self, first: int, last: int, most: int) -> list[Bar]:
        """The bars of the tasks ``Run.done[first:last]``, of `most` stretches of tasks if there are more tasks."""
        step = max(1, -(-(last - first) // most))
        done = self.run.done
        if step == 1:
            return [self._one(task) for task in done[first:last]]
        return [bar for begin in range(first, last, step) for bar in self._stretch(begin, min(begin + step, last))]

    def unfinished(self) -> list[Bar]:
        """The bars of tasks that failed, or were under way when they were cancelled or the run ended."""
        run = self.run
        return [self._one(task) for task in sorted({*run.unfinished, *run.failures}) if run.start[task]]

    def failed(self, first: int) -> list[Bar]:
        """The bars of tasks that failed, without the `first` ones of them and those that never began."""
        run = self.run
        return [self._one(task) for task in list(run.failures)[first:] if run.start[task]]

    def running(self) -> list[Bar]:
        """The bars of the tasks that run now, each up to this moment."""
        now = self.run.duration
        return [_bar(task, worker, start, max(now, start), "running", 1) for worker, task, start in self.run.running]

    def color_of(self, bar: Bar) -> str:
        """The colour of a bar: that of its task's name, or that of failure."""
        return FAILED_COLOR if bar.status == "failed" else self.color(task_name(self.run.graph.keys[bar.task]))

    def columns(self, bars: Sequence[Bar]) -> dict[str, Any]:
        """Bars as columns: those of `Run.tasks`, and what else is drawn. Lists travel in one message."""
        rows = [self._row(bar) for bar in bars]
        return {field: [row[number] for row in rows] for number, field in enumerate(COLUMNS)}

    def _row(self, bar: Bar) -> tuple[Any, ...]:
        key = self.run.graph.keys[bar.task]
        label = key_label(key) if bar.tasks == 1 else f"about {bar.tasks:,} tasks, such as {key_label(key)}"
        cpu, nbytes = self.run.long.get(bar.task, (nan, nan)) if bar.tasks == 1 else (nan, nan)
        color = self.color_of(bar)
        took = seconds(bar.stop - bar.start)
        return (label, name_label(task_name(key)), bar.worker, bar.start, bar.stop, _known(cpu), _known(nbytes),
                bar.status, color, _darker(color), took, bar.tasks, bar.row, bar.height)  # fmt: skip

    def color(self, name: str) -> str:
        """The colour of a task name; names that are met late get one of those that are left."""
        if name not in self._colors:
            self._colors = {**self._colors, **colors_of(self.run.graph)}
        if name not in self._colors:
            if len(self._colors) >= MOST_NAMES:
                return OTHER_COLOR
            self._colors = name_colors([*self._colors, name])
        return self._colors[name]

    def _one(self, task: int) -> Bar:
        run = self.run
        status = "failed" if task in run.failures else "cancelled" if task in run.unfinished else "finished"
        start = run.start[task] - run.zero
        stop = max(start, run.stop[task] - run.zero) if run.stop[task] else run.duration
        return _bar(task, run.worker[task], start, stop, status, 1)

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
            yield _bar(longest, worker, start, max(start, stop), "finished", count)


def _bar(task: int, worker: int, start: float, stop: float, status: str, tasks: int) -> Bar:
    return Bar(task, worker, start, stop, status, tasks, float(worker), HEIGHT)


@cache
def _darker(color: str) -> str:
    """A colour for the edge of a bar, so that two that touch tell apart."""
    red, green, blue = bytes.fromhex(color[1:])
    return f"#{red * 4 // 5:02x}{green * 4 // 5:02x}{blue * 4 // 5:02x}"


def _known(value: float) -> float | None:
    """NaN is no JSON."""
    return None if value != value else value
