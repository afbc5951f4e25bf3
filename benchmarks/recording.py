"""What the run record costs, and what a listener adds to a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import taskloom
from benchmarks import contenders, graphs
from benchmarks.report import Promise, Report, at_most, micro
from benchmarks.rounds import Effort, interleave
from taskloom.bus import RunGraph
from taskloom.engines.measure import LONG
from taskloom.graph import Plan, compile_plan
from taskloom.views.progress import Progress

LISTENER = 5  # percent that a listener may add

ENGINES = {"sync": contenders.taskloom_sync, "threads": contenders.taskloom_threads}


class Watcher:
    """A listener that reads each run as the progress bar does."""

    def __init__(self) -> None:
        self._progress: dict[int, Progress] = {}

    def run_started(self, run: taskloom.Run) -> None:
        self._progress[run.id] = Progress(run)

    def run_updated(self, run: taskloom.Run) -> None:
        self._progress[run.id].state()

    def run_finished(self, run: taskloom.Run) -> None:
        self._progress.pop(run.id).state()


def measure(effort: Effort) -> Report:
    recording_rows, recording_promises = _measure_recording(effort)
    listening_rows, listening_promises = _measure_listening(effort)
    notes = (
        "µs per task. Recording is what the engines do for the record and nothing else: make the `Run`, read the clock "
        "once a task (one begins when the one before has ended), note both times, note the task as finished, see "
        "whether it was long enough for a closer look (on threads also note who is at what), and close the `Run`; done "
        "in a loop of the engine's shape, less the time of the empty loop. The listener reads the run ten times a "
        "second, as a progress bar does."
    )
    return Report(
        "Recording and listening",
        ("what", "µs per task", "relative"),
        recording_rows + listening_rows,
        notes,
        recording_promises + listening_promises,
    )


def _measure_recording(effort: Effort) -> tuple[list[list[str]], list[Promise]]:
    n = effort.choose(10_000, 500)
    plan = compile_plan(*graphs.flat(n))
    tasks = range(n)
    turns = {
        "empty": partial(_empty_loop, tasks),
        "clocks": partial(_four_clocks, tasks),
        "sync": partial(_record_as_sync, plan),
        "threads": partial(_record_as_threads, plan),
    }
    measured = interleave(turns, 10 * effort.rounds).without("empty")  # a few milliseconds each
    rows = [["four perf_counter() calls", micro(measured.median("clocks") / n), "1.00×"]]
    promises = []
    for name in ENGINES:
        ratio = measured.ratio(name, "clocks")
        rows.append([f"recording, {name}", micro(measured.median(name) / n), f"{ratio:.2f}×"])
        promises.append(at_most(f"recording, in four perf_counter() calls: {name}", ratio, 1, "×"))
    return rows, promises


def _measure_listening(effort: Effort) -> tuple[list[list[str]], list[Promise]]:
    n = effort.choose(50_000, 1_000)
    case = graphs.flat(n, two_microseconds())
    rows, promises = [], []
    for name, engine in ENGINES.items():
        alone = partial(engine, *case)
        measured = interleave({"alone": alone, "watched": partial(_watched, alone)}, 3 * effort.rounds)
        percent = 100 * (measured.ratio("watched", "alone") - 1)
        rows += [
            [f"{n:,} tasks of 2 µs, {name}", micro(measured.median("alone") / n), "–"],
            [f"the same with a listener, {name}", micro(measured.median("watched") / n), f"{percent:+.1f} %"],
        ]
        promises.append(at_most(f"time that a listener adds, tasks of 2 µs: {name}", percent, LISTENER, " %"))
    return rows, promises


def _empty_loop(tasks: range) -> None:
    for _ in tasks:
        pass


def _four_clocks(tasks: range) -> None:
    clock = perf_counter
    for _ in tasks:
        clock()
        clock()
        clock()
        clock()


def _record_as_sync(plan: Plan) -> None:
    run = taskloom.Run(RunGraph.of(plan), "sync")
    starts, stops, finished, clock = run.start, run.stop, run.done.append, perf_counter
    long = LONG
    start = clock()
    for task in range(len(plan)):
        starts[task] = start
        stops[task] = stop = clock()
        finished(task)
        if stop - start > long:
            continue
        start = stop
    run.end("finished")


def _record_as_threads(plan: Plan) -> None:
    """As on a run that several workers share, which have more to note."""
    run = taskloom.Run(RunGraph.of(plan), "threads")
    starts, stops, finished, clock = run.start, run.stop, run.done.append, perf_counter
    workers, current, number = run.worker, [-1, -1], 1
    long = LONG
    stop = clock()
    for task in range(len(plan)):
        current[number] = task
        workers[task] = number
        starts[task] = start = stop
        stops[task] = stop = clock()
        finished(task)
        took = stop - start
        if took > long:
            continue
    run.end("finished")


def two_microseconds() -> Callable[..., object]:
    """A task of at least 2 µs: a built-in function, so that it is as long in one process as in the next."""
    size = 100
    while True:
        numbers = range(size)
        begun = perf_counter()
        for _ in range(1000):
            sum(numbers)
        if (perf_counter() - begun) / 1000 >= 2e-6:
            return lambda _: sum(numbers)
        size = size * 5 // 4


def _watched(call: Callable[[], object]) -> None:
    with taskloom.subscribe(Watcher()):
        call()
