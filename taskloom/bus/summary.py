"""Figures a person reads, computed from a run record."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from taskloom.graph import task_name

if TYPE_CHECKING:
    from taskloom.bus.run import Run


LONGEST_NAME = 60  # characters of a task name that a printed summary shows


@dataclass(frozen=True, slots=True)
class NameSummary:
    """The tasks of one name; times in seconds, those of tasks that failed or were cancelled included.

    `p50` and `max` leave out rows that the record has dropped.
    """

    name: str
    count: int
    done: int
    total: float
    p50: float
    max: float


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """A run in figures.

    Attributes
    ----------
    by_name : list of `NameSummary`, the most time first.
    duration : seconds.
    busy : seconds spent in tasks, summed over workers.
    parallelism : tasks running at a time, on average.
    idle : share of the workers' time in which they ran no task, 0 to 1.
    critical_path : seconds along the longest chain of dependent tasks.
    """

    title: str
    by_name: list[NameSummary]
    duration: float
    busy: float
    parallelism: float
    idle: float
    critical_path: float

    def __str__(self) -> str:
        width = min(max([len(row.name) for row in self.by_name] + [4]), LONGEST_NAME)
        lines = [self.title, f"{'name':{width}}  {'done':>15}  {'total':>9}  {'p50':>9}  {'max':>9}"]
        lines += [
            f"{_printable(row.name[:width]):{width}}  {f'{row.done:,}/{row.count:,}':>15}  "
            f"{seconds(row.total):>9}  {seconds(row.p50):>9}  {seconds(row.max):>9}"
            for row in self.by_name
        ]
        lines.append(
            f"{seconds(self.busy)} of work in {seconds(self.duration)}: {self.parallelism:.2f} tasks at a time, "
            f"workers idle {self.idle:.0%}, longest chain {seconds(self.critical_path)}"
        )
        return "\n".join(lines)

    __repr__ = __str__  # what a notebook shows where it is a cell's last value


def _printable(name: str) -> str:
    """Line ends, terminal codes and lone surrogates are spaces."""
    return "".join(character if character.isprintable() else " " for character in name)


def seconds(value: float) -> str:
    """A time as people read it: `"1.5 ms"`."""
    for limit, unit, scale in ((1e-3, "µs", 1e6), (1.0, "ms", 1e3), (120.0, "s", 1.0)):
        if value < limit:
            return f"{value * scale:.3g} {unit}"
    return f"{value / 60:.1f} min"


def summarize(run: Run) -> Summary:
    times: dict[str, list[float]] = defaultdict(list)
    done: Counter[str] = Counter()
    for task, (key, start, stop) in enumerate(zip(run.graph.keys, run.start, run.stop, strict=False)):
        if stop:
            name = task_name(key)
            times[name].append(stop - start)
            done[name] += task not in run.unfinished
    rows = []
    for name, count in run.names.items():
        dropped, extra = run.dropped.get(name, (0, 0.0))
        known = times.get(name, [])
        rows.append(
            NameSummary(
                name,
                count,
                done[name] + dropped,
                sum(known) + extra,
                median(known) if known else 0.0,
                max(known, default=0.0),
            )
        )
    rows.sort(key=lambda row: row.total, reverse=True)
    busy = sum(row.total for row in rows)
    threads = sum(worker.threads for worker in run.workers)
    duration = run.duration
    parallelism = busy / duration if duration else 0.0
    longest = sum(run.stop[task] - run.start[task] for task in critical_path(run) if run.stop[task])
    return Summary(
        repr(run)[1:-1],
        rows,
        duration,
        busy,
        parallelism,
        max(0.0, 1 - parallelism / threads) if threads else 0.0,
        longest,
    )


def critical_path(run: Run) -> list[int]:
    begun, ended = run.start, run.stop
    if not begun:
        return []
    finish: list[float] = []  # seconds along the longest chain that ends with each task
    before: list[int] = []
    for task, dependencies in enumerate(run.graph.dependencies):  # dependencies have lower numbers
        last = max(dependencies, key=finish.__getitem__, default=-1)
        own = ended[task] - begun[task] if ended[task] else 0.0
        finish.append(own + (finish[last] if last >= 0 else 0.0))
        before.append(last)
    task = max(range(len(finish)), key=finish.__getitem__)
    path = []
    while task >= 0:
        path.append(task)
        task = before[task]
    return path[::-1]
