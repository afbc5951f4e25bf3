"""All figures of a run on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bokeh.layouts import column
from bokeh.models import Column

from taskloom.views.bars import MOST_BARS
from taskloom.views.figures.by_name import ProgressByName
from taskloom.views.figures.counts import Counts
from taskloom.views.figures.profile import Profile
from taskloom.views.figures.resources import Resources
from taskloom.views.figures.style import in_a_row, time_range
from taskloom.views.figures.task_stream import TaskStream

if TYPE_CHECKING:
    from taskloom.bus import Run


class Dashboard:
    """A page that shows one run after another.

    Parameters
    ----------
    most_bars : int, optional
        Of more tasks, some share a bar in the task stream.

    Attributes
    ----------
    root : the page, a Bokeh layout.
    run : the run that it shows, or None.
    """

    def __init__(self, most_bars: int = MOST_BARS) -> None:
        time = time_range()
        self._stream, self._names = TaskStream(time, most_bars), ProgressByName()
        self._resources, self._counts, self._profile = Resources(time), Counts(time), Profile()
        self._parts = (self._stream, self._names, self._resources, self._counts, self._profile)
        self.root: Column = column(
            self._stream.root,
            in_a_row(self._names.root, self._counts.root),
            in_a_row(self._resources.cpu, self._resources.memory),
            self._profile.root,
            sizing_mode="stretch_width",
        )
        self.run: Run | None = None

    def show(self, run: Run | None) -> None:
        """Show a run as it is now, in any thread: follow it if it is another, else add what happened."""
        if run is not None:
            with run.trimming:
                self.update() if run is self.run else self.follow(run)

    def follow(self, run: Run) -> None:
        """Show another run."""
        self.run = run
        for part in self._parts:
            part.follow(run)

    def update(self) -> None:
        """Add what happened since the last call."""
        for part in self._parts:
            part.update()
