"""METG on worker processes, with tasks that hold the interpreter lock: see metg.py for what METG is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

from benchmarks import contenders
from benchmarks.contenders import WORKERS, process_pool
from benchmarks.metg import SHAPES, WIDTH, metg
from benchmarks.report import Report, micro
from benchmarks.rounds import Effort, interleave

LENGTHS = (5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3)  # seconds


class Count:
    """A task of a certain length in pure Python, which ignores its inputs."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, *inputs: object) -> None:
        for _ in range(self.steps):
            pass

    def repeat(self, calls: int) -> None:
        for _ in range(calls):
            self()

    def seconds(self) -> float:
        """How long one call takes where nothing disturbs: the least of many."""
        return min(_timed(self) for _ in range(200))


def measure(effort: Effort) -> Report:
    step = Count(10_000).seconds() / 10_000
    works = [Count(max(1, round(length / step))) for length in effort.choose(LENGTHS, (20e-6, 500e-6))]
    lengths = [work.seconds() for work in works]
    players = {
        "taskloom processes": contenders.taskloom_processes,
        "dask processes, warm pool": contenders.dask_processes,
        "ProcessPoolExecutor": partial(contenders.executor, pool=process_pool()),
    }
    for player in players.values():  # everybody's workers are up
        player(*SHAPES["flat"](2 * WORKERS, works[-1]))
    rows = []
    for shape, build in SHAPES.items():
        efficiencies: dict[str, list[float]] = {name: [] for name in players}
        for length, work in zip(lengths, works, strict=True):
            n = effort.choose(_task_count(length), 2 * WIDTH)
            case = build(n, work)
            turns: dict[str, Callable[[], object]] = {name: partial(get, *case) for name, get in players.items()}
            measured = interleave(turns | {"ideal": partial(_bare_loops, work, len(case.dsk))}, effort.rounds)
            for name, found in efficiencies.items():
                found.append(measured.ratio("ideal", name))
        for name, found in efficiencies.items():
            rows.append([f"{shape}, {name}", *[f"{share:.0%}" for share in found], metg(lengths, found)])
    header = ("efficiency at", *[f"{micro(seconds)} µs" for seconds in lengths], "METG(50%), µs")
    notes = (
        f"Tasks count in a loop of Python, which holds the interpreter lock. Efficiency is the time of {WORKERS} warm "
        "processes that make the same calls in one bare loop each, by the time of the run, in the same round."
    )
    return Report("METG of worker processes", header, rows, notes)


def _task_count(length: float) -> int:
    """As many tasks as one worker does in 0.1 s, within bounds, in whole rows of the stencil."""
    return WIDTH * round(min(2000, max(100, 0.1 / length)) / WIDTH)


def _bare_loops(work: Count, calls: int) -> None:
    for future in [process_pool().submit(work.repeat, calls // WORKERS) for _ in range(WORKERS)]:
        future.result()


def _timed(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun
