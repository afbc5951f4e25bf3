"""A progress bar in text, for scripts and terminals."""

from __future__ import annotations

import shutil
import sys
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, TextIO
from weakref import WeakSet

from taskloom.bus import current_run
from taskloom.diagnostics.base import Diagnostic
from taskloom.views.progress import Progress, ProgressState, filled, progress_state

if TYPE_CHECKING:
    from taskloom.bus import Run

TICK = 0.1  # seconds between two calls of the bus
NARROWEST = 10  # characters: a bar shrinks to that before text is cut
WIDEST_LINE = 160  # characters, where the output has no width of its own

_on_screen: WeakSet[ProgressBar] = WeakSet()  # bars that are registered and write where a person looks


class ProgressBar(Diagnostic):
    """Shows how far each run is: a line of text that is written over, and stays at the end.

    Runs that go on at the same time take turns: one is drawn at a time, and each leaves its line when it ends. A run
    that a task starts is part of that task and gets no line.

    Parameters
    ----------
    minimum : float, optional
        Seconds that a run has to last before anything is shown of it.
    width : int, optional
        Characters of the bar, fewer where the terminal is too narrow.
    dt : float, optional
        Seconds between drawings; not less than 0.1.
    out : text file, optional
        Where to write. By default to ``sys.stdout``, if that is a terminal or a notebook's output, else nowhere.

    Attributes
    ----------
    last_duration : float
        Seconds that the last run took.

    Examples
    --------
    >>> import io, taskloom
    >>> out = io.StringIO()
    >>> with ProgressBar(width=10, out=out):
    ...     taskloom.get({"x": (max, 1, 10), "y": (str, "x")}, "y")
    '10'
    >>> out.getvalue().strip().startswith("[##########] | 100% Completed | 2/2 · ")
    True
    """

    def __init__(self, minimum: float = 0, width: int = 40, dt: float = 0.1, out: TextIO | None = None) -> None:
        self.last_duration = 0.0
        self._minimum = minimum
        self._width = width
        self._dt = dt
        self._out = out
        self._lock = Lock()  # the bus draws on its thread, `unregister` is called in another
        self._line = _Line(None)
        self._around: int | None = None  # the run inside a task of which the bar was opened
        self._followed: dict[int, Progress] = {}
        self._owner: int | None = None  # the run on the line
        self._drawn = 0.0

    def register(self) -> None:
        """Show every run that starts from now on, in any thread."""
        if self._attached is None:
            self._line = _Line(_shown(self._out))
            if self._out is None:
                _on_screen.add(self)
            outer = current_run.get()
            self._around = None if outer is None else outer.id
        super().register()

    def unregister(self) -> None:
        """Show nothing more.

        Raises
        ------
        KeyError
            It is not registered.
        """
        super().unregister()
        _on_screen.discard(self)
        with self._lock:
            self._followed.clear()
            self._owner = None
            self._line.end()

    def run_started(self, run: Run) -> None:
        """Follow a run: called by the bus."""
        with self._lock:
            if self._attached is not None and self._watches(run):
                self._followed[run.id] = Progress(run)

    def run_updated(self, run: Run) -> None:
        """Draw a run, if the line is free: called by the bus."""
        with self._lock:
            progress = self._followed.get(run.id)
            if progress is None or run.duration < self._minimum or self._owner not in (None, run.id):
                return
            now = perf_counter()
            if self._owner is None or now - self._drawn > self._dt - TICK / 2:
                self._owner, self._drawn = run.id, now
                self._line.draw(progress.state(), self._width)

    def run_finished(self, run: Run) -> None:
        """Leave the line of a run: called by the bus."""
        with self._lock:
            if self._followed.pop(run.id, None) is None:
                return
            self.last_duration = run.duration
            if self._owner == run.id:
                self._owner = None
            if run.duration >= self._minimum:
                self._line.draw(progress_state(run), self._width)
                self._line.end()

    def follows(self, run: Run) -> bool:
        """Whether the run is one of those that this bar shows now."""
        return run.id in self._followed

    def _watches(self, run: Run) -> bool:
        return run.parent in (None, self._around) and super()._watches(run)


def is_on_screen(run: Run) -> bool:
    """Whether somebody has asked for a `ProgressBar` that shows this run, so that it needs no other."""
    return any(bar.follows(run) for bar in list(_on_screen))


class _Line:
    """The last line of a text file, which can be written over."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._length = 0  # characters that are on the line

    def draw(self, state: ProgressState, width: int) -> None:
        terminal = self._file is not None and self._file.isatty()
        text = bar_line(state, width, shutil.get_terminal_size().columns - 1 if terminal else WIDEST_LINE)
        self._write("\r" + text.ljust(self._length))
        self._length = len(text)

    def end(self) -> None:
        if self._length:
            self._write("\n")
            self._length = 0

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # closed, or nobody reads it any more: no reason to disturb the run
            self._file = None


def bar_line(state: ProgressState, width: int, longest: int) -> str:
    """Draw a bar of `width` characters and what there is to say, in at most `longest` characters.

    >>> import taskloom
    >>> taskloom.get({"x": (max, 1, 10)}, "x")
    10
    >>> bar_line(progress_state(taskloom.last_run()), 10, 80)
    '[##########] | 100% Completed | 1/1 · 0.0 s'
    """
    percent = filled(state, 100)
    if state["status"] == "running":
        percent = min(percent, 99)
    texts = [f"{state['count_text']} · {state['time_text']}", state["failure_text"], state["note_text"]]
    rest = f" | {percent:3}% Completed | {'  '.join(filter(None, texts))}"
    width = max(min(width, NARROWEST), min(width, longest - len(rest) - 2))
    line = f"[{'#' * filled(state, width):{width}}]{rest}"
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _shown(out: TextIO | None) -> TextIO | None:
    """Where to write, or None for nowhere."""
    if out is not None or sys.stdout is None:
        return out
    in_notebook = type(sys.stdout).__module__.startswith("ipykernel.")
    return sys.stdout if in_notebook or sys.stdout.isatty() else None
