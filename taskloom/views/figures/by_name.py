"""Progress by task name: how many tasks of each are done, of how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bokeh.plotting import figure

from taskloom.views.figures.name_bars import NameBars
from taskloom.views.progress import TOP_NAMES, Progress

if TYPE_CHECKING:
    from taskloom.bus import Run


class ProgressByName:
    """A bar for each task name. `root` is the figure."""

    def __init__(self) -> None:
        self._bars = NameBars("Progress by task name", name="name", text="done")
        self.root: figure = self._bars.root
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
        rows = state["names"]
        names = [row["name"] for row in rows]
        self._bars.draw(
            names,
            least=TOP_NAMES + 1,
            name=names,
            share=[row["done"] / (row["total"] or 1) for row in rows],
            color=[row["color"] for row in rows],
            text=[f"{mark}{row['done']:,} of {row['total']:,}" for row in rows],
        )
