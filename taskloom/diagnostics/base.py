"""What all diagnostics have in common: when they watch, and how profilers keep and draw what they saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from taskloom.bus import Run, subscribe
from taskloom.diagnostics.finished_run import FinishedRun

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from taskloom.diagnostics.figures import NameGroups

Row = TypeVar("Row")


class Closable(Protocol):
    """What ends with `close`: a subscription, for one."""

    def close(self) -> object: ...


class Diagnostic:
    """Watches the runs of all threads: within a ``with`` block, or from `register` to `unregister`.

    Runs that had started before are left alone: a diagnostic opened inside a task does not watch the run around it.
    """

    _attached: Closable | None = None
    _since = 0.0

    def register(self) -> None:
        """Watch every run that starts from now on, in any thread."""
        if self._attached is None:
            self._since = perf_counter()
            self._attached = self._attach()

    def unregister(self) -> None:
        """Watch no more.

        Raises
        ------
        KeyError
            It is not registered.
        """
        attached, self._attached = self._attached, None
        if attached is None:
            raise KeyError(f"This {type(self).__name__} is not registered.")
        attached.close()

    def __enter__(self) -> Self:
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        if self._attached is not None:
            self.unregister()

    def _attach(self) -> Closable:
        return subscribe(self)

    def _watches(self, run: Run) -> bool:
        return run.zero >= self._since


class Recorder(Diagnostic, ABC, Generic[Row]):
    """A diagnostic that keeps rows of results, which can be drawn.

    Attributes
    ----------
    start_time, end_time : float or None
        When the last ``with`` block began and ended: seconds on the clock of `time.perf_counter`, like all times here.
    """

    def __init__(self) -> None:
        self.start_time: float | None = None
        self.end_time: float | None = None
        self._results: list[Row] = []

    @property
    def results(self) -> list[Row]:
        """What was seen so far, as a list of named tuples."""
        return self._results

    def clear(self) -> None:
        """Forget all results. A ``with`` block does so when it begins; `register` does not."""
        self.start_time = self.end_time = None
        self._results = []

    def visualize(self, **kwargs: Any) -> Any:
        """Draw the results with Bokeh: `taskloom.diagnostics.visualize` of this profiler alone.

        Parameters
        ----------
        **kwargs
            See `taskloom.diagnostics.visualize`.

        Returns
        -------
        bokeh.plotting.figure

        Raises
        ------
        ImportError
            Bokeh is not installed.
        """
        from taskloom.diagnostics.drawing import visualize

        return visualize(self, **kwargs)

    def __enter__(self) -> Self:
        self.clear()
        self.start_time = perf_counter()
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.end_time = perf_counter()

    def _span(self) -> tuple[float, float] | None:
        """From when to when a drawing of the results reaches, or None where there is nothing to draw."""
        times = [time for row in self.results for time in self._times(row)]
        times += [time for time in (self.start_time, self.end_time) if time is not None]
        return (min(times), max(times)) if times else None

    @abstractmethod
    def _times(self, row: Row) -> tuple[float, ...]:
        """The clock readings in a row."""

    @abstractmethod
    def _weights(self) -> dict[str, float]:
        """The task names in the results, and a number that says how much each matters."""

    @abstractmethod
    def _plot(self, origin: float, length: float, groups: NameGroups, options: dict[str, Any]) -> figure:
        """Draw `length` seconds from `origin` on."""


class RunRecorder(Recorder[Row]):
    """A recorder that reads finished run records, so that it costs a run nothing while it lasts.

    Rows are made when somebody looks at them: a listener should be quick, and a run may have a million tasks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unread: deque[FinishedRun] = deque()
        self._reading = Lock()

    def run_finished(self, run: Run) -> None:
        """Take note of a run: called by the bus."""
        if self._watches(run):
            self._unread.append(FinishedRun(run))

    @property
    def results(self) -> list[Row]:
        """What was seen so far, as a list of named tuples."""
        with self._reading:
            while self._unread:
                self._results += self._rows(self._unread.popleft())
            return self._results

    def clear(self) -> None:
        """Forget all results. A ``with`` block does so when it begins; `register` does not."""
        with self._reading:
            self._unread.clear()
            super().clear()

    @abstractmethod
    def _rows(self, run: FinishedRun) -> list[Row]:
        """The rows of one run."""
