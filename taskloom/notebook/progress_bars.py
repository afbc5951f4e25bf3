"""One progress bar for each run that lasts: when it appears, what it counts, when it ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from taskloom import config
from taskloom.bus import runs
from taskloom.diagnostics.progress_bar import is_on_screen
from taskloom.views.progress import NestedCount, Progress, ProgressState

if TYPE_CHECKING:
    from taskloom.bus import Run


class Bar(Protocol):
    """What draws one run's progress."""

    def draw(self, state: ProgressState) -> None:
        """Show the state; the first call makes the bar appear."""

    def finish(self, state: ProgressState) -> None:
        """Leave one line that stays."""


class Cancellable(Protocol):
    """What a bar is about: a run, or several."""

    def cancel(self) -> None: ...


NewBar = Callable[[Cancellable], Bar]


class ProgressBars:
    """A listener for `taskloom.subscribe` that draws one bar for each run and counts nested runs in their parent's.

    Parameters
    ----------
    new_bar : callable
        Makes the bar of a run that started just now; nothing may appear before `Bar.draw`.

    Notes
    -----
    A bar appears when its run lasts longer than the setting ``notebook.progress_delay``, so that short runs leave no
    output, or outlives its cell, to which nothing can be added later. It gives way to a
    `taskloom.diagnostics.ProgressBar` that somebody has asked for. The setting ``notebook.progress`` is asked when a
    run starts.
    """

    def __init__(self, new_bar: NewBar) -> None:
        self._new_bar = new_bar
        self._lock = Lock()  # `close` is called in another thread than the listener's
        self._followed: dict[int, _Followed | None] = {}  # nested runs lead to their outermost parent; None: no bar
        self._early: dict[int, list[Run]] = {}  # by parent: nested runs that were over before we heard of their parent
        self._closed = False

    def run_started(self, run: Run) -> None:
        """Remember the run; no bar yet."""
        with self._lock:
            if self._closed or run.id in self._followed:
                return
            if run.parent is None:
                wanted = config.get("notebook.progress")
                self._follow(run, _Followed(run, self._new_bar(run)) if wanted else None)
            elif run.parent in self._followed:
                self._follow(run, self._followed[run.parent])
            elif any(other.id == run.parent and other.status != "running" for other in runs):
                self._follow(run, None)  # a task of a run that is over is being replayed
            else:
                self._early.setdefault(run.parent, []).append(run)

    def leave_out(self, run: Run) -> None:
        """Draw no bar for a run that another view shows from its start, unless there is one already."""
        with self._lock:
            followed = self._followed.get(run.id)
            if followed is None or not followed.drawn:
                self._followed[run.id] = None

    def end_of_cell(self) -> None:
        """Draw the bars of runs that are not over yet, in the cell that started them and is about to end."""
        for run in runs:
            if run.status == "running":
                self.run_started(run)  # nobody may have told of it yet, and then it would be in the next cell
                with self._lock:
                    followed = self._followed.get(run.id)
                    if followed is not None:
                        followed.appear() if run.is_at_work else followed.update()

    def show(self, run: Run) -> None:
        """Draw a bar of a run in the cell that asks for one, besides that of the cell that started it."""
        with self._lock:
            followed = self._followed.get(run.id)
            if self._closed or run.status != "running":
                return
            if followed is None:
                self._follow(run, followed := _Followed(run, self._new_bar(run)))
            elif followed.drawn:
                followed.repeat(self._new_bar(run))
            followed.appear()

    def _follow(self, run: Run, followed: _Followed | None) -> None:
        self._followed[run.id] = followed
        if followed is not None:
            followed.add(run)
        for early in self._early.pop(run.id, ()):
            self._follow(early, followed)
            if early.status != "running":
                self._end(early)

    def run_updated(self, run: Run) -> None:
        """Draw the run's bar, once it lasts long enough."""
        with self._lock:
            followed = self._followed.get(run.id)
            if followed is not None and followed.run is run:
                followed.update()

    def run_finished(self, run: Run) -> None:
        """Leave one line where a bar was."""
        with self._lock:
            self._end(run)

    def _end(self, run: Run) -> None:
        followed = self._followed.pop(run.id, None)
        if followed is not None:
            followed.end(run)

    def close(self) -> None:
        """Leave a line where a bar still is and draw no more."""
        with self._lock:
            self._closed = True
            for followed in set(self._followed.values()):
                if followed is not None:
                    followed.end(followed.run)
            self._followed.clear()
            self._early.clear()


class _Followed:
    """A run that nobody started from inside another, its bar, and the runs inside it."""

    def __init__(self, run: Run, bar: Bar) -> None:
        self.run = run
        self._bars = [bar]
        self._progress = Progress(run)
        self._delay: float = config.get("notebook.progress_delay")
        self.drawn = False
        self._nested: dict[int, Run] = {}
        self._ended = NestedCount(runs=0, total=0, done=0)

    def add(self, run: Run) -> None:
        if run is not self.run:
            self._nested[run.id] = run

    def end(self, run: Run) -> None:
        if run is not self.run:
            del self._nested[run.id]
            self._ended = _add(self._ended, run)
        elif self.drawn:
            state = self._state()
            for bar in self._bars:
                bar.finish(state)

    def update(self) -> None:
        if self.drawn or self.run.duration >= self._delay:
            self.appear()

    def appear(self) -> None:
        """Draw how far it is."""
        if self.drawn or not is_on_screen(self.run):
            self.drawn = True
            state = self._state()
            for bar in self._bars:
                bar.draw(state)

    def repeat(self, bar: Bar) -> None:
        """Have one more bar."""
        self._bars.append(bar)

    def _state(self) -> ProgressState:
        nested = self._ended
        for run in self._nested.values():
            nested = _add(nested, run)
        return self._progress.state(nested)


def _add(count: NestedCount, run: Run) -> NestedCount:
    return NestedCount(runs=count["runs"] + 1, total=count["total"] + run.n_tasks, done=count["done"] + run.n_done)
