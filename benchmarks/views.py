"""What the views cost the kernel: followed live, and drawn of a run that is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time

import taskloom
from benchmarks import contenders, graphs
from benchmarks.recording import two_microseconds
from benchmarks.report import Promise, Report, at_most
from benchmarks.rounds import Effort, interleave
from taskloom.views.figures.dashboard import Dashboard
from taskloom.views.figures.page import Page
from taskloom.views.progress import Progress
from taskloom.views.stream_picture import picture_html

SLOWDOWN = 10  # percent that the dashboard may add to a run of 2 µs tasks
CORE = 5  # percent of one core that all views may take

ENGINES = {"sync": contenders.taskloom_sync, "threads": contenders.taskloom_threads}


class Views:
    """Follows runs as a notebook with a progress bar and an open dashboard does; adds up the time that takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._dashboard = Dashboard()
        self._page = Page(self._dashboard.root)

    def run_started(self, run: taskloom.Run) -> None:
        begun = thread_time()
        self._progress = Progress(run)
        self._dashboard.follow(run)
        self._page.patch()
        self.seconds += thread_time() - begun

    def run_updated(self, run: taskloom.Run) -> None:
        begun = thread_time()
        self._progress.state()
        self._dashboard.update()
        self._page.patch()
        self.seconds += thread_time() - begun

    def run_finished(self, run: taskloom.Run) -> None:
        begun = thread_time()
        self._progress.state()
        self._dashboard.update()
        self._page.patch()
        picture_html(run)
        self.seconds += thread_time() - begun


def measure(effort: Effort) -> Report:
    rows: list[list[str]] = []
    promises: list[Promise] = []
    n = effort.choose(500_000, 2_000)
    case = graphs.flat(n, two_microseconds())
    for name, engine in ENGINES.items():
        alone = partial(engine, *case)
        measured = interleave({"alone": alone, "watched": partial(_watched, alone)}, effort.rounds)
        percent = 100 * (measured.ratio("watched", "alone") - 1)
        rows.append([f"{n:,} tasks of 2 µs with an open dashboard, {name}", f"{percent:+.1f} %"])
        promises.append(at_most(f"time that an open dashboard adds, tasks of 2 µs: {name}", percent, SLOWDOWN, " %"))
    n = effort.choose(50_000, 200)
    percent = _share(n)
    rows.append([f"all views of {n:,} tasks of 0.2 ms, of one core", f"{percent:.1f} %"])
    promises.append(at_most("all views, of one core", percent, CORE, " %"))
    rows.append([f"the dashboard of {n:,} tasks, when they are over", f"{1e3 * _drawing():.0f} ms"])
    notes = (
        "The views are read ten times a second, and their changes written as the messages that a page gets. When a "
        "run is over, its dashboard and the picture that stays are drawn once more, before the call returns."
    )
    return Report("Views", ("what", "cost"), rows, notes, promises)


def _watched(call: Callable[[], object]) -> None:
    with taskloom.subscribe(Views()):
        call()


def _share(n: int) -> float:
    """Percent of one core that all views take while a run lasts."""
    views = Views()
    case = graphs.flat(n, _fifth_of_a_millisecond)
    with taskloom.subscribe(views):
        contenders.taskloom_sync(*case)
    run = taskloom.last_run()
    assert run is not None
    return 100 * views.seconds / run.duration


def _fifth_of_a_millisecond(_: object) -> None:
    end = perf_counter() + 2e-4
    while perf_counter() < end:
        pass


def _drawing() -> float:
    run = taskloom.last_run()
    assert run is not None
    dashboard = Dashboard()
    begun = perf_counter()
    dashboard.follow(run)
    return perf_counter() - begun
