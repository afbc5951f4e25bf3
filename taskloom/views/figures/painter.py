"""When figures are drawn: on a thread of their own, and never so often that a run would notice.

The bus tells its listeners of runs on one thread, and a run waits at its end until all have been told. So a listener
only says that there is something new, and returns. What is drawn then is whatever is new by that time: of a hundred
short runs in a row perhaps ten, of a long one ten states a second, and of the last one always the end.

A drawing needs the interpreter's lock, which tasks need too. So after each one the painter rests for as long as makes
drawing a small share of the time, however long a drawing takes.
"""

from __future__ import annotations

import threading
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskloom.bus import Run

SHARE = 0.03  # of one core
SHORTEST_REST = 0.1  # seconds
YOUNG = 0.2  # seconds: most runs are over by then, and nobody could have seen them begin


def is_worth_drawing(run: Run) -> bool:
    """Whether a run is over, or has lasted so long that one wants to see how far it is."""
    return run.status != "running" or run.duration > YOUNG


def can_be_stopped(run: Run | None) -> bool:
    """Whether a run goes on, and is this process's own."""
    return run is not None and run.status == "running" and not run.foreign


class Painter:
    """A thread that calls `draw` soon after each `wake`, once for all that came meanwhile, until `close` is called.

    Parameters
    ----------
    draw : callable without arguments
        If it raises, there is a `RuntimeWarning`, and it is not called again.

    Examples
    --------
    >>> drawn = threading.Event()
    >>> painter = Painter(drawn.set)
    >>> painter.wake()
    >>> drawn.wait(10)
    True
    >>> painter.close()
    """

    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw = draw
        self._drawing = threading.Lock()
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskloom-painter", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new. Returns at once."""
        self._wanted.set()

    def flush(self) -> None:
        """Draw now, in this thread, unless all has been drawn."""
        with self._drawing:
            if self._wanted.is_set() and not self._closed.is_set():
                self._wanted.clear()
                try:
                    self._draw()
                except Exception:
                    self._closed.set()
                    text = f"taskloom cannot draw a view, which stands still from now on:\n{traceback.format_exc()}"
                    warnings.warn(text, RuntimeWarning, stacklevel=2)

    def close(self) -> None:
        """End the thread, and wait for that. Whoever calls this must hold no lock that `draw` takes."""
        self._closed.set()
        self._wanted.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        rest = 0.0
        while not self._closed.wait(rest):
            self._wanted.wait()
            begun = thread_time()
            self.flush()
            rest = max(SHORTEST_REST, (thread_time() - begun) / SHARE)


class PaintedRun(ABC):
    """A listener on the bus that has the newest run painted, and never keeps it waiting.

    While no run of this process goes on it shows what other clients of a cluster do.

    Parameters
    ----------
    run : Run or None
        What to show until the next one starts.
    """

    looks_on = True

    def __init__(self, run: Run | None) -> None:
        self._run = run
        self._painter = Painter(self._draw)

    @abstractmethod
    def _draw(self) -> None:
        """Draw how far the run is, in the painter's thread."""

    def run_started(self, run: Run) -> None:
        """Turn to the run, unless it was started by a task of another."""
        if run.parent is None and not (run.foreign and self._is_occupied()):
            self._run = run

    def _is_occupied(self) -> bool:
        """Whether a run of this process is shown that goes on."""
        return can_be_stopped(self._run)

    def run_updated(self, run: Run) -> None:
        """Something happened."""
        if run.foreign and run is not self._run and run.status == "running" and not self._is_occupied():
            self._run = run
        if run is self._run and is_worth_drawing(run):
            self._painter.wake()

    run_finished = run_updated

    def stop(self) -> None:
        """Stop the run that is shown."""
        run = self._run
        if run is not None and can_be_stopped(run):
            run.cancel()
