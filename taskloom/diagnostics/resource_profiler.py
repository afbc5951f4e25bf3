"""How much memory and CPU the process used over time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from taskloom.diagnostics.base import Recorder

if TYPE_CHECKING:
    import psutil
    from bokeh.plotting import figure

    from taskloom.bus import Run
    from taskloom.diagnostics.figures import NameGroups

LOOK_FOR_CHILDREN = 1.0  # seconds between searches for new child processes, which read all of the process table
SHORTEST_INTERVAL = 0.05  # seconds: over less, the system's counters of CPU time are too coarse


class ResourceData(NamedTuple):
    """A sample: when, megabytes of memory (10**6 bytes), and CPU since the sample before, in percent of one core."""

    time: float
    mem: float
    cpu: float


class ResourceProfiler(Recorder[ResourceData]):
    """Samples memory and CPU use of this process and its children.

    Within a ``with`` block it samples all the time; when registered, only while something runs. A thread of its own
    takes the samples, and ends with the sampling.

    Parameters
    ----------
    dt : float, optional
        Seconds between samples.

    Attributes
    ----------
    results : list of ResourceData
        Rows ``(time, mem, cpu)``: seconds on the clock of `time.perf_counter`, megabytes, percent of one core (0.0
        in a first sample, which has nothing to compare with). One sample is taken at the start, one at the end.

    Raises
    ------
    ValueError
        `dt` is not above 0.

    Examples
    --------
    >>> import taskloom
    >>> with ResourceProfiler(dt=0.25) as profiler:
    ...     taskloom.get({"x": (max, 1, 10)}, "x")
    10
    >>> profiler.results[0].mem > 1
    True
    """

    def __init__(self, dt: float = 1) -> None:
        if not dt > 0:
            raise ValueError(f"dt={dt!r} cannot be used: it takes the seconds between samples, more than 0.")
        super().__init__()
        self._dt = dt
        self._lock = threading.Lock()  # the bus starts and stops the sampling on its thread, users on theirs
        self._sampling: _Sampling | None = None
        self._runs: set[int] = set()  # those that go on

    def __enter__(self) -> Self:
        self.clear()
        self.start_time = perf_counter()
        with self._lock:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.end_time = perf_counter()
            self._stop_unless_needed()

    def unregister(self) -> None:
        """Watch no more.

        Raises
        ------
        KeyError
            It is not registered.
        """
        super().unregister()
        with self._lock:
            self._runs.clear()
            self._stop_unless_needed()

    def close(self) -> None:
        """Stop sampling, whatever goes on. The next ``with`` block or run starts it again."""
        with self._lock:
            self._runs.clear()
            self._stop()

    def run_started(self, run: Run) -> None:
        """Sample while the run lasts: called by the bus."""
        with self._lock:
            if self._attached is not None and self._watches(run):
                self._runs.add(run.id)
                self._start()

    def run_finished(self, run: Run) -> None:
        """Stop with the last run: called by the bus."""
        with self._lock:
            self._runs.discard(run.id)
            self._stop_unless_needed()

    def _start(self) -> None:
        if self._sampling is None:
            self._sampling = _Sampling(self._dt, lambda sample: self._results.append(sample))

    def _stop_unless_needed(self) -> None:
        in_block = self.start_time is not None and self.end_time is None
        if not self._runs and not in_block:
            self._stop()

    def _stop(self) -> None:
        if self._sampling is not None:
            self._sampling.stop()
            self._sampling = None

    def _times(self, row: ResourceData) -> tuple[float, ...]:
        return (row.time,)

    def _weights(self) -> dict[str, float]:
        return {}

    def _plot(self, origin: float, length: float, groups: NameGroups, options: dict[str, Any]) -> figure:
        from taskloom.diagnostics.figures import resource_figure

        return resource_figure(self.results, origin, length, options)


class _Sampling:
    """A thread that takes a sample at once, then every `dt` seconds, and one when it is told to stop."""

    def __init__(self, dt: float, add: Callable[[ResourceData], None]) -> None:
        self._dt = dt
        self._add = add
        self._family = _Family()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskloom-resources", daemon=True)
        self._take()
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and wait for the thread to end."""
        self._over.set()
        self._thread.join()
        if perf_counter() - self._last >= SHORTEST_INTERVAL:
            self._take()

    def _run(self) -> None:
        due = perf_counter() + self._dt
        while not self._over.wait(max(0.0, due - perf_counter())):
            self._take()
            due = max(due + self._dt, perf_counter())

    def _take(self) -> None:
        self._last = perf_counter()
        self._add(ResourceData(self._last, *self._family.usage()))


class _Family:
    """This process and its children."""

    def __init__(self) -> None:
        import psutil

        self._own = psutil.Process()
        self._children: dict[psutil.Process, psutil.Process] = {}  # kept: each knows its CPU time of the last sample
        self._looked = float("-inf")

    def usage(self) -> tuple[float, float]:
        """Megabytes used now, and percent of one core since the last call."""
        import psutil

        if perf_counter() - self._looked >= LOOK_FOR_CHILDREN:
            self._look()
        memory, cpu = 0.0, 0.0
        for process in (self._own, *self._children.values()):
            try:
                used, percent = process.memory_info().rss, process.cpu_percent()
            except psutil.Error:  # it has just ended
                continue
            memory += used / 1e6
            cpu += percent
        return memory, cpu

    def _look(self) -> None:
        self._looked = perf_counter()
        self._children = {child: self._children.get(child, child) for child in self._own.children(recursive=True)}
