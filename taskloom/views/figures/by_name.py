"""Progress by task name: how many tasks of each are done, of how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bokeh.models import ColumnDataSource, FactorRange
from bokeh.plotting import figure

from taskloom.views.figures.style import FAINT, INK, add_hover, new_figure, replace
from taskloom.views.progress import Progress

if TYPE_CHECKING:
    from taskloom.bus import Run


class ProgressByName:
    """A bar for each task name. `root` is the figure."""

    def __init__(self) -> None:
        self._names = FactorRange()
        self.root: figure = new_figure(
            "Progress by task name", y_range=self._names, x_range=(0, 1.25), height=190, tools="", active_drag=None
        )
        self._source = ColumnDataSource({"name": [], "share": [], "color": [], "text": []})
        self.root.hbar("name", left=0, right=1, height=0.6, source=self._source, fill_color=FAINT, line_color=None)
        bars = self.root.hbar(
            "name", left=0, right="share", height=0.6, source=self._source, fill_color="color", line_color=None
        )
        self.root.text("share", "name", "text", source=self._source, x_offset=6, text_baseline="middle",
                       text_color=INK, text_font_size="12px")  # fmt: skip
        add_hover(self.root, [bars], name="@name", done="@text")
        self.root.xaxis.visible = self.root.grid.visible = False
        self._progress: Progress | None = None

    def follow(self, run: Run) -> None:
        """Show another run."""
        self._progress = Progress(run)
        self.update()

    def update(self) -> None:
        """Count again."""
        if self._progress is None:
            return
        state = self._progress.state()
        mark = "" if state["exact"] else "~"
        rows = state["names"][::-1]
        names = [row["name"] for row in rows]
        if self._names.factors != names:
            self._names.factors = names
        replace(
            self._source,
            {
                "name": names,
                "share": [row["done"] / (row["total"] or 1) for row in rows],
                "color": [row["color"] for row in rows],
                "text": [f"{mark}{row['done']:,}/{row['total']:,}" for row in rows],
            },
        )
