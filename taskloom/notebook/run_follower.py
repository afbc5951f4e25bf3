"""The runs that one cell starts, each with a view that is drawn until the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from taskloom import bus

if TYPE_CHECKING:
    from taskloom.bus import Run
    from taskloom.views.graph_picture import Picture

MOST_GRAPHS = 10  # of the runs of one cell
MOST_TASKS = 200_000  # of a run that is drawn: whoever listens to runs must be quick


class View(Protocol):
    """What draws one run's graph, or those of a collection."""

    def draw(self) -> None:
        """Show how far the run is."""

    def rest(self) -> None:
        """Show what is known when nothing more will happen."""

    def close(self) -> None:
        """Leave something that stays."""

    def pictures(self) -> list[Picture]:
        """What `--save` writes."""


class RunFollower:
    """Follows the runs that start from now on until `end_of_cell`, each with a view, to their ends.

    Parameters
    ----------
    new_view : callable
        Makes the view of a run.
    """

    def __init__(self, new_view: Callable[[Run], View]) -> None:
        bus.begin_burst()  # futures that this cell submits are not part of an earlier one's run
        self._new_view = new_view
        self._from, self._until = time.time(), inf
        self._lock = Lock()
        self._live: dict[int, View] = {}
        self._seen: set[int] = set()
        self.views: list[View] = []
        self.left_out = 0
        self._subscription = bus.subscribe(self)

    @property
    def saw_run(self) -> bool:
        """Whether the cell started one, drawn or not."""
        return bool(self.views) or self.left_out > 0 or any(map(self._is_ours, bus.runs))  # it may not be told of yet

    @property
    def active(self) -> bool:
        """Whether a run may still be drawn."""
        return self._until == inf or bool(self._live) or any(map(self._is_going_on, bus.runs))

    def _is_going_on(self, run: Run) -> bool:
        return run.status == "running" and self._is_ours(run)

    def _is_ours(self, run: Run) -> bool:
        return run.parent is None and self._from <= run.started <= self._until

    def run_started(self, run: Run) -> None:
        """Take on a run that the cell started."""
        with self._lock:
            self._take_on(run)

    def _take_on(self, run: Run) -> None:
        if run.id in self._seen or not self._is_ours(run):
            return
        self._seen.add(run.id)
        if len(self.views) == MOST_GRAPHS or run.n_tasks > MOST_TASKS:
            self.left_out += 1
            return
        self._live[run.id] = view = self._new_view(run)
        self.views.append(view)

    def run_updated(self, run: Run) -> None:
        """Draw how far the run is."""
        with self._lock:
            if run.id in self._live:
                self._live[run.id].draw()

    def run_finished(self, run: Run) -> None:
        """Draw how it ended."""
        with self._lock:
            view = self._live.pop(run.id, None)
            if view is not None:
                view.rest()
            self._leave()

    def end_of_cell(self) -> None:
        """Take on no more runs; those that go on are drawn to their end, here, where nothing can be added later."""
        with self._lock:
            for run in bus.runs:
                if run.status == "running":
                    self._take_on(run)  # nobody may have told of it yet
            for view in self._live.values():
                view.draw()
            self._until = time.time()
            self._leave()

    def close(self) -> None:
        """Follow nothing any more."""
        with self._lock:
            self._until = 0.0
            self._live.clear()
            self._leave()

    def _leave(self) -> None:
        if not self.active:
            self._subscription.close()
