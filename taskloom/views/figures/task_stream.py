"""The task stream: a row for each worker, a bar for each task, from when it started to when it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, Range1d
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

from taskloom.views.bars import COLUMNS, MOST_BARS, Bar, Bars
from taskloom.views.figures.style import add_hover, new_figure, place_legend, replace, time_range
from taskloom.views.labels import one_line
from taskloom.views.lanes import MOST_LANES, Lanes
from taskloom.views.moves import MOVE_COLOR, Move, moves
from taskloom.views.waits import Wait, Waits

if TYPE_CHECKING:
    from taskloom.bus import Run

SOURCE = "taskloom-task-stream"
NEW_BARS = 50  # stretches of tasks in one update: more do not fit into a tenth of a second of the picture
AT_ONCE = 500  # stretches in one drawing, for each second that the run took: drawing must not take longer than running
MOST_NAMED = 6  # task names in a legend
WORKER_LENGTH = 16  # characters


class TaskStream:
    """A figure that shows one run after another.

    Parameters
    ----------
    x_range : DataRange1d, optional
        Time, shared with other figures. It grows with the run until somebody pans or zooms, and then stays.
    most_bars : int, optional
        Of more tasks, some share a bar.

    Attributes
    ----------
    root : the figure.
    """

    _bars: Bars
    _lanes: Lanes
    _waiting: Waits
    _n_failed: int

    def __init__(self, x_range: DataRange1d | None = None, most_bars: int = MOST_BARS) -> None:
        self._most = most_bars
        time = x_range or time_range()
        self._rows = Range1d(start=0.5, end=-0.5)  # the first worker on top
        self.root: figure = new_figure(
            "Tasks by worker",
            x_range=time,
            y_range=self._rows,
            css_classes=["taskloom-task-stream"],
            x_axis_label="Time (s)",
        )
        self._done = ColumnDataSource({column: [] for column in COLUMNS}, name=SOURCE)
        self._running = ColumnDataSource({column: [] for column in COLUMNS})
        self._failed = ColumnDataSource({column: [] for column in COLUMNS})
        self._waits = ColumnDataSource(_wait_columns([]))
        self._moves = ColumnDataSource(_move_columns([]))
        self._drawn = self._add_bars(self._done, 1.0)
        bars = [self._drawn, self._add_bars(self._running, 0.6)]
        waits = self.root.hbar("worker", left="start", right="stop", height=0.2, source=self._waits,
                               fill_color="color", line_color=None)  # fmt: skip
        failed = self.root.scatter("start", "row", source=self._failed, marker="inverted_triangle", size=13,
                                   fill_color="color", line_color="white")  # fmt: skip
        add_hover(self.root, [*bars, failed], task="@key", name="@name", took="@took", status="@status")
        add_hover(self.root, [waits], waited="@what")
        moved = self.root.scatter("time", "place", source=self._moves, marker="diamond", size=9,
                                  fill_color=MOVE_COLOR, fill_alpha=0.8, line_color=None)  # fmt: skip
        add_hover(self.root, [moved], moved="@key", **{"from": "@source", "to": "@target"}, size="@size")
        self.root.ygrid.visible = False
        self._ticks = FixedTicker(ticks=[])  # one for all time: Bokeh looks through the page for each new model
        self.root.yaxis[0].ticker = self._ticks
        self._run: Run | None = None
        self._seen = 0  # tasks that are done and drawn

    def _add_bars(self, source: ColumnDataSource, alpha: float) -> Any:
        # The line keeps the shortest task visible.
        return self.root.hbar("row", left="start", right="stop", height="height", source=source, fill_color="color",
                              fill_alpha=alpha, line_color="edge")  # fmt: skip

    def explain(self) -> None:
        """Add a legend of the task names shown: for a figure that stands alone, with a run that is over."""
        rows: dict[str, int] = {}
        for row, (name, status) in enumerate(zip(self._done.data["name"], self._done.data["status"], strict=True)):
            if status != "failed":
                rows.setdefault(name, row)
        items = [
            LegendItem(label={"value": name}, renderers=[self._drawn], index=row)
            for name, row in list(rows.items())[:MOST_NAMED]
        ]
        if len(rows) > MOST_NAMED:
            items.append(LegendItem(label={"value": f"and {len(rows) - MOST_NAMED} more"}))
        self.root.add_layout(Legend(items=items, name="names"))
        place_legend(self.root)

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._run, self._bars, self._ended = run, Bars(run), run.status != "running"
        self._moved = 0
        replace(self._moves, _move_columns([]))
        self._redraw(run)
        self._draw_running(run)

    def update(self) -> None:
        """Add what happened since the last call."""
        run = self._run
        if run is None or self._ended:
            return
        self._ended = run.status != "running"
        last, failed = len(run.done), len(run.failures)
        if self._ended or failed < self._n_failed:
            self._redraw(run)
        elif last > self._seen or failed > self._n_failed:
            bars = self._bars.finished(self._seen, last, NEW_BARS) if last > self._seen else []
            bars += self._bars.failed(self._n_failed)
            self._seen, self._n_failed = last, failed
            if len(self._done.data["key"]) + len(bars) > self._most:
                self._redraw(run)
            else:
                placed = self._lanes.place(bars)
                self._done.stream(self._bars.columns(placed))
                self._failed.stream(self._bars.columns(_failed(placed)), rollover=MOST_BARS)
                self._waits.stream(_wait_columns(self._waiting.before(placed)), rollover=MOST_BARS)
        self._draw_running(run)

    def _draw_running(self, run: Run) -> None:
        replace(self._running, self._bars.columns(self._lanes.place_for_now(self._bars.running())))
        if len(run.transfers) != self._moved:
            self._moved = len(run.transfers)
            replace(self._moves, _move_columns(moves(run)))
        self._name_rows(run)

    def _redraw(self, run: Run) -> None:
        """Draw all that was done so far, with fewer bars where they had become too many."""
        self._seen = last = len(run.done)
        self._n_failed = len(run.failures)
        workers = max(1, len(run.workers))
        most = last if last <= self._most // 2 else max(100, self._most // (8 * min(workers, 16)))
        most = min(most, max(AT_ONCE, int(AT_ONCE * run.duration)))
        bars = self._bars.finished(0, last, most or 1)
        unfinished = self._bars.failed(0) if run.status == "running" else self._bars.unfinished()
        self._lanes = Lanes(run)
        placed = self._lanes.place([*bars, *unfinished[: self._most]])
        replace(self._done, self._bars.columns(placed))
        # However short a task that failed was, it is what people look for.
        replace(self._failed, self._bars.columns(_failed(placed)))
        self._waiting = Waits(run)
        replace(self._waits, _wait_columns(self._waiting.before(placed)[-MOST_BARS:]))

    def _name_rows(self, run: Run) -> None:
        count = max(1, len(run.workers))
        names: dict[Any, Any] = {row: one_line(worker.name, WORKER_LENGTH) for row, worker in enumerate(run.workers)}
        axis = self.root.yaxis[0]
        if axis.major_label_overrides != names or self._rows.start != count - 0.5:
            step = -(-count // 40)
            self._ticks.ticks = list(range(0, count, step))
            axis.major_label_overrides = names
            self._rows.update(start=count - 0.5, reset_start=count - 0.5)
            lanes = max([min(MOST_LANES, worker.threads) for worker in run.workers], default=1)
            self.root.height = min(480, max(160, 90 + max(26, 12 * lanes) * count))


def _failed(bars: Sequence[Bar]) -> list[Bar]:
    return [bar for bar in bars if bar.status == "failed"]


def _wait_columns(waits: Sequence[Wait]) -> dict[str, Any]:
    return {field: [wait[number] for wait in waits] for number, field in enumerate(Wait._fields)}


def _move_columns(found: Sequence[Move]) -> dict[str, Any]:
    return {field: [move[number] for move in found] for number, field in enumerate(Move._fields)}
