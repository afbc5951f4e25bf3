"""Where the time of a run went: total, mean and longest, by function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING

from bokeh.plotting import figure

from taskloom.bus.summary import seconds
from taskloom.views.figures.name_bars import NameBars
from taskloom.views.labels import name_label
from taskloom.views.palette import NAME_COLORS
from taskloom.views.sampling import sample

if TYPE_CHECKING:
    from taskloom.bus import Run

SAMPLED = 200  # tasks looked at in one update of a run that goes on
MOST_READ = 10_000  # tasks looked at once a run has ended
TOP = 12  # functions


@dataclass(slots=True)
class _Time:
    count: float = 0.0
    total: float = 0.0
    longest: float = 0.0


class FunctionTimes:
    """How long each function of a run took, kept up to date.

    Of a run that goes on, a sample of the tasks is read; once it has ended, all, or of a large one a larger sample.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._seen = 0
        self._ended = False
        self.times: dict[str, _Time] = {}

    def update(self) -> None:
        """Read the tasks that have finished since the last call; those that did not finish, too, once the run ended."""
        run = self._run
        if self._ended:
            return
        self._ended = run.status != "running"
        if self._ended:
            self.times = {}
            self._seen = 0
        last = len(run.done)
        chosen = sample(last - self._seen, MOST_READ if self._ended else SAMPLED)
        if chosen:
            self._add([run.done[self._seen + index] for index in chosen], (last - self._seen) / len(chosen))
        if self._ended:
            self._add([task for task in {*run.unfinished, *run.failures} if run.start[task]], 1)
        self._seen = last

    def _add(self, tasks: Iterable[int], weight: float) -> None:
        run = self._run
        start, stop, function, times = run.start, run.stop, run.graph.function, self.times
        for task in tasks:
            took = max(0.0, stop[task] - start[task])
            name = function(task)
            time = times.get(name)
            if time is None:
                time = times[name] = _Time()
            time.count += weight
            time.total += weight * took
            if took > time.longest:
                time.longest = took


class Profile:
    """A bar for each function, the most time first. `root` is the figure."""

    def __init__(self) -> None:
        self._bars = NameBars("Profile: time in tasks by function", name="function", count="tasks", mean="mean",
                              longest="longest")  # fmt: skip
        self.root: figure = self._bars.root
        self._functions: FunctionTimes | None = None

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._functions = FunctionTimes(run)
        self.update()

    def update(self) -> None:
        """Add what finished since the last call."""
        if self._functions is None:
            return
        self._functions.update()
        found = nlargest(TOP, self._functions.times.items(), key=lambda item: item[1].total)
        names, times = [name_label(name) for name, _ in found], [time for _, time in found]
        most = max((time.total for time in times), default=0.0) or 1.0
        means = [seconds(time.total / time.count) for time in times]
        counts = [f"{time.count:,.0f}" for time in times]
        self._bars.draw(
            names,
            name=names,
            share=[time.total / most for time in times],
            color=[NAME_COLORS[0]] * len(names),
            text=[f"{seconds(time.total)} in {count} × {mean}"
                  for time, count, mean in zip(times, counts, means, strict=True)],
            count=counts,
            mean=means,
            longest=[seconds(time.longest) for time in times],
        )  # fmt: skip
