"""CPU and memory over time, of each worker's process and of all together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure

from taskloom.views.figures.style import (
    CPU_COLOR,
    HELD_COLOR,
    MEMORY_COLOR,
    add_hover,
    new_figure,
    place_legend,
    replace,
    time_range,
)
from taskloom.views.labels import one_line

if TYPE_CHECKING:
    from taskloom.bus import Run, Sample

STRETCH = 0.5  # seconds of which the mean is shown: the system counts CPU time in steps of 10 ms
MOST_POINTS = 300  # of a line; a longer run's stretches are longer


class Resources:
    """Two figures, `cpu` and `memory`, over one time axis."""

    def __init__(self, x_range: DataRange1d | None = None) -> None:
        time = x_range or time_range()
        self.cpu, self._cpu = _plot("CPU (% of one core)", CPU_COLOR, time, "@y{0}%")
        self.memory, self._memory = _plot("Memory (MB)", MEMORY_COLOR, time, "@y{0,0} MB", "processes")
        self._held = _Lines(self.memory, HELD_COLOR, "@y{0,0.0} MB", "results they hold")
        place_legend(self.memory)
        self._run: Run | None = None

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._run, self._due = run, 0.0
        self.update()

    def update(self) -> None:
        """Draw the samples again, when another stretch of time is over."""
        run = self._run
        if run is None:
            return
        goes_on, now = run.status == "running", run.duration
        if goes_on and now < self._due:
            return
        stretch = max(STRETCH, now / MOST_POINTS)
        self._due = now + stretch
        samples = list(run.samples)
        names = [one_line(worker.name, 16) for worker in run.workers]
        self._cpu.draw(samples, [sample.cpu for sample in samples], names, stretch)
        self._memory.draw(samples, [sample.rss / 1e6 for sample in samples], names, stretch)
        held = [sample for sample in samples if sample.held] and samples  # most engines hold nothing in workers
        self._held.draw(held, [sample.held / 1e6 for sample in held], names, stretch)
        self.memory.legend.visible = bool(held)


class _Lines:
    """The line of the whole, and one for each worker where there are several."""

    def __init__(self, plot: figure, color: str, unit: str, label: str = "") -> None:
        self._whole = ColumnDataSource({"x": [], "y": []})
        self._each = ColumnDataSource({"xs": [], "ys": [], "name": []})
        named: dict[str, Any] = {"legend_label": label} if label else {}
        each = plot.multi_line("xs", "ys", source=self._each, line_color=color, line_alpha=0.6, line_width=1)
        whole = plot.line("x", "y", source=self._whole, line_color=color, line_width=2, **named)
        plot.scatter("x", "y", source=self._whole, color=color, size=3)
        add_hover(plot, [whole], time="@x{0.0} s", all=unit)
        add_hover(plot, [each], worker="@name", **({"line": label} if label else {}))

    def draw(self, samples: list[Sample], values: list[float], names: list[str], stretch: float) -> None:
        """Draw the means of the values over stretches of time."""
        sums: defaultdict[int, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for sample, value in zip(samples, values, strict=True):
            sums[sample.worker][int(sample.time / stretch)].append(value)
        means = {worker: {n: sum(found) / len(found) for n, found in line.items()} for worker, line in sums.items()}
        whole: defaultdict[int, float] = defaultdict(float)
        for line in means.values():
            for number, mean in line.items():
                whole[number] += mean
        replace(self._whole, {"x": [number * stretch for number in whole], "y": list(whole.values())})
        shown = means if len(means) > 1 else {}
        each: dict[str, list[Any]] = {
            "xs": [[number * stretch for number in line] for line in shown.values()],
            "ys": [list(line.values()) for line in shown.values()],
            "name": [names[worker] if worker < len(names) else str(worker) for worker in shown],
        }
        replace(self._each, each)


def _plot(title: str, color: str, time: DataRange1d, unit: str, label: str = "") -> tuple[figure, _Lines]:
    plot = new_figure(title, x_range=time, y_range=DataRange1d(start=0, only_visible=True), height=190)
    lines = _Lines(plot, color, unit, label)
    return plot, lines
