"""How many tasks were running, ready and waiting, over time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure

from taskloom.views.figures.style import add_hover, new_figure, place_legend, replace
from taskloom.views.palette import NAME_COLORS

if TYPE_CHECKING:
    from taskloom.bus import Run

EXACT_TASKS = 2_000  # of a larger run that goes on, ready and waiting tasks are not told apart: it would slow it
MOST_READ = 60_000  # a larger run keeps, once it has ended, what was seen while it went on
SAMPLED = 10_000  # of more tasks, every second, third, ... stands for its neighbours
MOST_POINTS = 400
LINES = {"running": NAME_COLORS[0], "ready": NAME_COLORS[1], "waiting": NAME_COLORS[3], "not started": "#8C8C8C"}


class Counts:
    """A line for each state. `root` is the figure."""

    def __init__(self, x_range: DataRange1d | None = None) -> None:
        time = x_range or DataRange1d(range_padding=0)
        self.root: figure = new_figure("Tasks by state", x_range=time, y_range=DataRange1d(start=0), height=190)
        self._source = ColumnDataSource({"time": [], **{name: [] for name in LINES}})
        lines = [
            self.root.line("time", name, source=self._source, line_color=color, line_width=2, legend_label=name)
            for name, color in LINES.items()
        ]
        add_hover(self.root, lines[:1], time="@time{0.00} s", **{name: f"@{{{name}}}" for name in LINES})
        place_legend(self.root)
        self._run: Run | None = None

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._run, self._ended = run, False
        replace(self._source, {"time": [], **{name: [] for name in LINES}})
        self.update()

    def update(self) -> None:
        """Add how many there are now; at the end of the run, draw all from the record."""
        run = self._run
        if run is None or self._ended:
            return
        self._ended = run.status != "running"
        if self._ended and len(run.start) <= MOST_READ:
            replace(self._source, _history(run))
        else:
            self._source.stream({column: [value] for column, value in _now(run).items()}, rollover=4 * MOST_POINTS)


def _now(run: Run) -> dict[str, float | None]:
    if run.n_tasks <= EXACT_TASKS:
        states = Counter(run.tasks.status)
        running, ready, waiting = states["running"], states["ready"], states["waiting"]
        return dict(zip(("time", *LINES), (run.duration, running, ready, waiting, None), strict=True))
    running = len(run.running)
    left = max(0, run.n_tasks - run.n_done - running)
    return dict(zip(("time", *LINES), (run.duration, running, None, None, left), strict=True))


def _history(run: Run) -> dict[str, list[float | None]]:
    """All states at evenly spaced moments, from when each task became ready, started and ended."""
    length = run.duration
    cells = min(MOST_POINTS, max(2, len(run.start)))
    width = length / cells or 1.0
    changes = {"ready": [0] * (cells + 2), "started": [0] * (cells + 2), "stopped": [0] * (cells + 2)}
    columns = {"ready": run.ready, "started": run.tasks.start, "stopped": run.tasks.stop}
    step = -(-len(run.start) // SAMPLED) or 1
    for name, times in columns.items():
        change = changes[name]
        for time in times[::step]:
            # 0.0 is "not yet" for what starts and ends, and "from the beginning" for what is ready
            if time == time and (time or name == "ready"):
                change[min(cells, max(0, int(time / width)))] += step
    ready = started = stopped = 0
    rows: dict[str, list[float | None]] = {"time": [], **{name: [] for name in LINES}}
    total = len(run.start)
    for cell in range(cells + 1):
        ready += changes["ready"][cell]
        started += changes["started"][cell]
        stopped += changes["stopped"][cell]
        rows["time"].append(min(length, cell * width))
        rows["running"].append(max(0, started - stopped))
        rows["ready"].append(max(0, ready - started))
        rows["waiting"].append(max(0, total - ready))
        rows["not started"].append(None)
    return rows
