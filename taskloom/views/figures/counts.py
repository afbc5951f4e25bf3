"""How many tasks were running, ready and waiting, over time."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure

from taskloom.views.figures.style import add_hover, new_figure, place_legend, replace, time_range
from taskloom.views.palette import NAME_COLORS
from taskloom.views.sampling import sample

if TYPE_CHECKING:
    from taskloom.bus import Run

LOOKED_AT = 500  # of more tasks, a sample is read
SAMPLED = 5_000  # the same once a run has ended, when its history is drawn
MOST_POINTS = 400
LINES = {"running": NAME_COLORS[0], "ready": NAME_COLORS[1], "waiting": NAME_COLORS[3]}

Columns = dict[str, Any]


class Counts:
    """A line for each state. `root` is the figure."""

    def __init__(self, x_range: DataRange1d | None = None) -> None:
        time = x_range or time_range()
        self.root: figure = new_figure("Tasks by state", x_range=time, y_range=DataRange1d(start=0), height=208)
        self._source = ColumnDataSource(_no_points())
        lines = [
            self.root.line("time", name, source=self._source, line_color=color, line_width=2, legend_label=name)
            for name, color in LINES.items()
        ]
        add_hover(self.root, lines[:1], time="@time{0.00} s", **{name: f"@{{{name}}}{{0,0}}" for name in LINES})
        place_legend(self.root)
        self._run: Run | None = None

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._run, self._ended = run, False
        replace(self._source, _no_points())
        self.update()

    def update(self) -> None:
        """Add how many there are now; at the end of the run, draw all from the record."""
        run = self._run
        if run is None or self._ended:
            return
        self._ended = run.status != "running"
        if self._ended:
            replace(self._source, _history(run))
        else:
            counts = zip(("time", *LINES), _now(run), strict=True)
            self._source.stream({name: [value] for name, value in counts}, rollover=4 * MOST_POINTS)


def _no_points() -> Columns:
    return {"time": [], **{name: [] for name in LINES}}


def _now(run: Run) -> tuple[float, int, int, int]:
    """The time, and how many tasks are running, ready and waiting: the latter two by a sample."""
    total, given_up = len(run.graph), run.unfinished
    running = len(run.running)
    left = max(0, total - len(run.done) - running - len(given_up))
    begun, inputs = run.start, run.graph.inputs
    done = run.stop.__getitem__
    unstarted = [task for task in sample(total, LOOKED_AT) if not begun[task] and task not in given_up]
    ready = sum(all(map(done, inputs(task))) for task in unstarted)
    share = ready / len(unstarted) if unstarted else 0.0
    return run.duration, running, round(share * left), left - round(share * left)


def _history(run: Run) -> Columns:
    """All states at evenly spaced moments, from when each task became ready, started and ended."""
    total, length = len(run.start), run.duration
    if not total:
        return _no_points()
    cells = MOST_POINTS  # also of few tasks: what happens within a cell is drawn at its start
    chosen = sample(total, SAMPLED)
    weight = total / len(chosen)
    changes = {name: [0.0] * (cells + 1) for name in ("ready", "started", "stopped")}

    def count(name: str, time: float) -> None:
        if time < inf:
            changes[name][min(cells, max(0, int(time / length * cells)))] += weight

    zero, unfinished = run.zero, run.unfinished
    never = [task for task in chosen if task in unfinished and not run.start[task]]
    total -= round(weight * len(never))
    for task in chosen:
        if task in unfinished and not run.start[task]:  # cancelled, or in need of one that failed
            continue
        inputs = run.graph.inputs(task)
        count("ready", max((_stopped(run, before) for before in inputs), default=0.0))
        count("started", run.start[task] - zero if run.start[task] else inf)
        count("stopped", run.stop[task] - zero if task in unfinished else _stopped(run, task))
    ready = started = stopped = 0.0
    rows = _no_points()
    for cell in range(cells + 1):
        ready += changes["ready"][cell]
        started += changes["started"][cell]
        stopped += changes["stopped"][cell]
        rows["time"].append(length * cell / cells)
        rows["running"].append(round(max(0, started - stopped)))
        rows["ready"].append(round(max(0, ready - started)))
        rows["waiting"].append(round(max(0, total - ready)))
    return rows


def _stopped(run: Run, task: int) -> float:
    """When a task finished, in seconds since the run started; infinity if it has not."""
    stop = run.stop[task]
    return stop - run.zero if stop and task not in run.unfinished else inf
