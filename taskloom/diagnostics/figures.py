"""The Bokeh figures of the profilers. Times on their axes are seconds since the first profiler began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bokeh.colors import RGB
from bokeh.layouts import gridplot
from bokeh.models import ColumnDataSource, HoverTool, LinearAxis, Range1d
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

from taskloom.bus.summary import seconds
from taskloom.graph import task_name
from taskloom.views.labels import key_label, name_label, one_line
from taskloom.views.palette import NAME_COLORS, OTHER_COLOR, name_colors

if TYPE_CHECKING:
    from taskloom.diagnostics.cache_profiler import CacheData
    from taskloom.diagnostics.resource_profiler import ResourceData
    from taskloom.diagnostics.task_profiler import TaskData

TOP_NAMES = len(NAME_COLORS)  # names with a colour of their own; all others share one
MOST_BARS = 10_000  # a browser stays quick with so many
MOST_STEPS = 2_000
WORKER_LENGTH = 24  # characters
LEGEND_LENGTH = 90  # characters in one line
INK, FAINT = "#333333", "#E6E6E6"
CPU_COLOR, MEMORY_COLOR = NAME_COLORS[0], "#B26B00"  # the palette's orange, dark enough for text


class NameGroups:
    """What gets a colour and a place in the legend of its own: the weightiest names; the others share one.

    `colors` has the colour of each label.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        order = sorted(weights, key=weights.__getitem__, reverse=True)
        shown = order if len(order) <= TOP_NAMES else order[: TOP_NAMES - 1]
        self._labels = {name: name_label(name) for name in shown}
        self._other = f"{len(order) - len(shown)} more names" if len(shown) < len(order) else "other"
        self.colors = {self._labels[name]: color for name, color in name_colors(shown).items()}
        self.colors[self._other] = OTHER_COLOR

    def label(self, name: str) -> str:
        return self._labels.get(name, self._other)


def stack(figures: list[figure]) -> Any:
    """Put figures below each other, with one time axis for all."""
    left = max(plot.min_border_left or 0 for plot in figures)
    right = max(plot.min_border_right or 0 for plot in figures)
    for plot in figures:
        plot.x_range = figures[0].x_range
        plot.min_border_left, plot.min_border_right = left, right
    for plot in figures[:-1]:
        plot.xaxis.axis_label = None
    page = gridplot([[plot] for plot in figures], toolbar_options={"logo": None})
    page.update(spacing=8)
    return page


def task_figure(
    rows: Sequence[TaskData], origin: float, length: float, groups: NameGroups, options: dict[str, Any]
) -> figure:
    """A bar per task, a row per worker."""
    if not rows:
        return _empty("No task has finished while the profiler was on.", "Tasks", length, options)
    rows = sorted(rows, key=lambda row: row.start_time)  # so that tasks lie on top of the task that started them
    shown = sorted(nlargest(MOST_BARS, rows, key=_duration), key=lambda row: row.start_time)
    title = f"{len(rows):,} task{'s' * (len(rows) != 1)}"
    if len(shown) < len(rows):
        title = f"The longest {len(shown):,} of {title}"
    labels = {worker: _worker_label(worker) for worker in dict.fromkeys(row.worker_id for row in rows)}
    workers = list(dict.fromkeys(labels.values()))
    names = [groups.label(task_name(row.key)) for row in shown]
    edges = {name: RGB.from_hex_string(color).darken(0.1).to_hex() for name, color in groups.colors.items()}
    source = ColumnDataSource(
        {
            "left": [row.start_time - origin for row in shown],
            "right": [row.end_time - origin for row in shown],
            "worker": [labels[row.worker_id] for row in shown],
            "key": [key_label(row.key) for row in shown],
            "took": [seconds(_duration(row)) for row in shown],
            "name": names,
            "color": [groups.colors[name] for name in names],
            "edge": [edges[name] for name in names],
        }
    )
    defaults = {
        "title": title,
        "y_range": workers[::-1],
        "height": min(600, max(200, 130 + 26 * len(workers))),
        "min_border_left": 60 + 7 * max(map(len, workers)),
    }
    plot = _figure(length, {**defaults, **options})
    # The line makes the shortest task visible, and two of one name that follow each other tell apart.
    bars: Any = plot.hbar(
        "worker", left="left", right="right", height=0.8, source=source, fill_color="color", line_color="edge"
    )
    present = [label for label in groups.colors if label in names]
    items: list[Any] = [LegendItem(label=label, renderers=[bars], index=names.index(label)) for label in present]
    plot.add_layout(Legend(items=items))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=_tooltips(key="@key", took="@took", worker="@worker")))
    plot.yaxis.axis_label = "Worker"
    plot.ygrid.visible = False
    return _finish(plot, present)


def _duration(row: TaskData) -> float:
    return row.end_time - row.start_time


def resource_figure(rows: Sequence[ResourceData], origin: float, length: float, options: dict[str, Any]) -> figure:
    """CPU on the left axis, memory on the right one."""
    if not rows:
        return _empty("No sample was taken: nothing ran while the profiler was on.", "CPU and memory", length, options)
    cpu = [row.cpu for row in rows]
    cpu[0] = cpu[1] if len(cpu) > 1 else cpu[0]  # CPU use is that since the sample before: the first has none
    memory = [row.mem for row in rows]
    source = ColumnDataSource({"time": [row.time - origin for row in rows], "cpu": cpu, "memory": memory})
    defaults = {
        "title": f"CPU up to {max(cpu):,.0f}%, memory up to {max(memory):,.0f} MB",
        "y_range": (0, 1.08 * max(100.0, *cpu)),
        "min_border_right": 80,
    }
    plot = _figure(length, {**defaults, **options})
    plot.extra_y_ranges = {"memory": Range1d(start=0, end=1.08 * max(memory))}
    plot.add_layout(LinearAxis(y_range_name="memory"), "right")
    plot.step("time", "cpu", mode="before", source=source, color=CPU_COLOR, line_width=2, legend_label="CPU")
    line = plot.line("time", "memory", source=source, color=MEMORY_COLOR, line_width=2, y_range_name="memory",
                     legend_label="Memory")  # fmt: skip
    plot.scatter("time", "memory", source=source, color=MEMORY_COLOR, size=4, y_range_name="memory")
    tooltips = _tooltips(time="@time{0.00} s", CPU="@cpu{0}%", memory="@memory{0,0.0} MB")
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips, mode="vline"))
    labels = ("CPU (% of one core)", "Memory (MB)")
    for axis, label, color in zip(plot.yaxis, labels, (CPU_COLOR, MEMORY_COLOR), strict=True):
        axis.axis_label = label
        axis.axis_label_text_color = axis.major_label_text_color = color
    return _finish(plot)


def cache_figure(
    rows: Sequence[CacheData], origin: float, length: float, groups: NameGroups, metric: str, options: dict[str, Any]
) -> figure:
    """How much is alive over time, by task name."""
    if not rows:
        return _empty("No result was kept while the profiler was on.", "Results alive", length, options)
    times, alive = _alive(rows, groups)
    total = [sum(values) for values in zip(*alive.values(), strict=True)]
    title = f"Results alive: at most {max(total):,.6g} ({metric})"
    defaults = {"title": title, "y_range": (min(0.0, *total), 1.08 * max(total, default=1.0) or 1.0)}
    plot = _figure(length, {**defaults, **options})
    columns: dict[str, Sequence[Any]] = {"time": [time - origin for time in times], "total": total}
    below = [0.0] * len(times)
    for number, values in enumerate(alive.values()):
        columns[f"low{number}"], below = below, [a + b for a, b in zip(below, values, strict=True)]
        columns[f"high{number}"] = below
        columns[f"of{number}"] = values
    source = ColumnDataSource(data=columns)
    for number, label in enumerate(alive):
        plot.varea_step("time", f"low{number}", f"high{number}", step_mode="after", source=source,
                        color=groups.colors[label], legend_label=label)  # fmt: skip
    line = plot.step("time", "total", mode="after", source=source, color=INK, line_width=1)
    parts = {label: f"@of{number}{{0,0.[00]}}" for number, label in enumerate(alive)}
    tooltips = _tooltips(time="@time{0.000} s", total="@total{0,0.[00]}", **parts)
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips, mode="vline"))
    plot.yaxis.axis_label = f"Results alive ({metric})"
    return _finish(plot, alive)


def _alive(rows: Iterable[CacheData], groups: NameGroups) -> tuple[list[float], dict[str, list[float]]]:
    """The moments at which something changes, and per label how much is alive from each moment on."""
    changes: dict[str, defaultdict[float, float]] = {label: defaultdict(float) for label in groups.colors}
    moments = set()
    for row in rows:
        change = changes[groups.label(task_name(row.key))]
        change[row.cache_time] += row.metric
        change[row.free_time] -= row.metric
        moments |= {row.cache_time, row.free_time}
    times = sorted(moments)
    alive = {label: list(accumulate(map(change.__getitem__, times))) for label, change in changes.items() if change}
    if len(times) > MOST_STEPS:  # of each stretch of moments the one at which most is alive
        total = [sum(values) for values in zip(*alive.values(), strict=True)]
        step = -(-len(times) // MOST_STEPS)
        kept = [
            max(range(first, min(first + step, len(times))), key=total.__getitem__)
            for first in range(0, len(times), step)
        ]
        kept = sorted({0, *kept, len(times) - 1})
        times = [times[moment] for moment in kept]
        alive = {label: [values[moment] for moment in kept] for label, values in alive.items()}
    return times, alive


def _figure(length: float, options: dict[str, Any]) -> figure:
    defaults = {
        "x_range": (0.0, length or 1.0),
        "width": 900,
        "height": 260,
        "min_border_left": 80,
        "min_border_right": 20,
        "tools": "xpan,xwheel_zoom,box_zoom,reset,save",
        "active_drag": "xpan",
        "background_fill_color": "white",
        "outline_line_color": None,
    }
    return figure(**{**defaults, **options})


def _empty(text: str, title: str, length: float, options: dict[str, Any]) -> figure:
    plot = _figure(length, {"title": title, "y_range": (0, 1), **options})
    plot.text([(length or 1.0) / 2], [0.5], [text], text_align="center", text_baseline="middle", text_color=INK)
    plot.yaxis.visible = plot.grid.visible = False
    return _finish(plot)


def _finish(plot: figure, names: Collection[str] = ()) -> figure:
    """Style the axes, and move the legend to where it is in nobody's way and does not change the plot's width."""
    plot.xaxis.axis_label = "Time (s)"
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = "#999999"
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = FAINT
    plot.toolbar.logo = None
    for legend in list(plot.legend):
        plot.center.remove(legend)
        legend.update(orientation="horizontal", border_line_color=None, padding=0, margin=4, spacing=12)
        legend.update(label_text_font_size="12px", glyph_width=14, glyph_height=14, label_standoff=4)
        if sum(map(len, names)) > LEGEND_LENGTH:
            legend.ncols = 3
        plot.add_layout(legend, "above")
    return plot


def _worker_label(worker: object) -> str:
    """A worker's name, of a long one the end, which tells it from others."""
    name = str(worker)
    return one_line(name if len(name) <= WORKER_LENGTH else f"…{name[1 - WORKER_LENGTH :]}", WORKER_LENGTH)


def _tooltips(**fields: str) -> list[tuple[str, str]]:
    return list(fields.items())
