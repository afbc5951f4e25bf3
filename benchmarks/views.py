"""What the views cost: the kernel, a run that is watched, and the page."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

import comm

import taskloom
from benchmarks import contenders, graphs
from benchmarks.recording import two_microseconds
from benchmarks.report import Promise, Report, at_least, at_most
from benchmarks.rounds import Effort, interleave
from taskloom.notebook.cells import Cell
from taskloom.notebook.dashboard_widget import LiveDashboard
from taskloom.notebook.live_output import LiveOutputs, LiveWidget
from taskloom.notebook.progress_bars import ProgressBars
from taskloom.notebook.progress_widget import NotebookBar

SLOWDOWN = 10  # percent that the views may add to a run of 2 µs tasks
CORE = 5  # percent of one core that all views may take
FRAMES = 30  # a second, that the page shows while it follows a run
DRAWERS = ("taskloom-ticker", "taskloom-painter")  # the threads in which views are drawn

ENGINES = {"sync": contenders.taskloom_sync, "threads": contenders.taskloom_threads}


class _Comm(comm.DummyComm):
    """Writes messages as a kernel does, and sends them nowhere."""

    def publish_msg(self, *_: Any, data: Any = None, **__: Any) -> None:
        json.dumps(data, allow_nan=False).encode()


class _Cells:
    """A notebook's only cell."""

    newest = Cell({}, copy_context())

    def display(self, *_: object) -> None: ...
    def update(self, *_: object) -> None: ...
    def close(self) -> None: ...


class _Outputs(LiveOutputs):
    def open(self, *arguments: Any) -> LiveWidget:
        self.newest = super().open(*arguments)
        return self.newest


class WatchedNotebook:
    """The progress bar and the dashboard of a notebook whose page shows them, without kernel and page."""

    def __init__(self) -> None:
        comm.create_comm = _Comm
        outputs = _Outputs(_Cells())  # type: ignore[arg-type]
        self._bars = ProgressBars(lambda run: NotebookBar(run, outputs))
        self._dashboard = LiveDashboard(outputs, None)
        for message in ({"type": "here"}, {"type": "ready", "library": False}):  # as the page says
            data = {"method": "custom", "content": message}
            outputs.newest.comm.handle_msg({"content": {"data": data}, "buffers": []})

    @contextmanager
    def open(self) -> Iterator[None]:
        with taskloom.subscribe(self._bars), taskloom.subscribe(self._dashboard):
            yield

    def settle(self) -> None:
        """Wait until all is drawn: a run does not."""
        self._dashboard.flush()

    def close(self) -> None:
        self._bars.close()
        self._dashboard.close()


def measure(effort: Effort) -> Report:
    notebook = WatchedNotebook()
    rows: list[list[str]] = []
    promises: list[Promise] = []

    def watched(call: Callable[[], object]) -> None:
        with notebook.open():
            call()

    for n in (effort.choose(50_000, 1_000), effort.choose(500_000, 2_000)):
        case = graphs.flat(n, two_microseconds())
        for name, engine in ENGINES.items():
            alone = partial(engine, *case)
            turns = {"alone": alone, "watched": partial(watched, alone)}
            measured = interleave(turns, effort.rounds, between=notebook.settle)
            percent = 100 * (measured.ratio("watched", "alone") - 1)
            what = f"{n:,} tasks of 2 µs, {name}"
            rows.append([f"time that the views add: {what}", f"{percent:+.1f} %"])
            promises.append(at_most(f"time that the views add: {what}", percent, SLOWDOWN, " %"))
    n = effort.choose(50_000, 200)
    percent = _share(notebook, n)
    rows.append([f"all views of {n:,} tasks of 0.2 ms, of one core", f"{percent:.1f} %"])
    promises.append(at_most("all views, of one core", percent, CORE, " %"))
    notebook.close()
    frames = _frames(effort.choose(8, 1))
    if frames is not None:
        rows.append(["the page, while the dashboard follows a run", f"{frames:.0f} frames/s"])
        promises.append(at_least("the page, while the dashboard follows a run", frames, FRAMES, " frames/s"))
    notes = (
        "A notebook's progress bar and dashboard, read ten times a second, their messages written as a kernel does. "
        "What is drawn once a run is over is drawn beside what follows: that is in the share of one core, and not in "
        "the time of the run. The page is the dashboard of `%dashboard --serve` in Chromium without a graphics card, "
        "beside the run that it shows, which keeps two threads busy; it is left out where there is no Chromium."
    )
    return Report("Views", ("what", "cost"), rows, notes, promises)


def _share(notebook: WatchedNotebook, n: int) -> float:
    """Percent of one core that all views take for a run: the CPU time of the threads in which they are drawn."""
    case = graphs.flat(n, _fifth_of_a_millisecond)
    notebook.settle()  # what was run before may still be waiting to be drawn
    before = _drawing()
    with notebook.open():
        contenders.taskloom_sync(*case)
    begun = time.thread_time()
    notebook.settle()
    settling = time.thread_time() - begun
    run = taskloom.last_run()
    assert run is not None
    return 100 * (_drawing() - before + settling) / run.duration


def _drawing() -> float:
    """CPU seconds of the threads that draw, so far."""
    idents = [thread.ident for thread in threading.enumerate() if thread.name in DRAWERS]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in idents if ident is not None)


def _fifth_of_a_millisecond(_: object) -> None:
    end = time.perf_counter() + 2e-4
    while time.perf_counter() < end:
        pass


def _frames(seconds: float) -> float | None:
    """Frames a second of the page, or None where there is no browser; in a process of its own, for its event loop."""
    command = [sys.executable, "-m", "benchmarks.frames", str(seconds)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return float(printed) if printed.strip() else None
