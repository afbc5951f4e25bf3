"""METG: how long tasks must be for two workers to be half as fast as two bare loops.

Named after "minimum effective task granularity" (Slaughter et al., Task Bench, SC 2020). A task hashes a buffer, for
which Python lets go of the interpreter lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from time import perf_counter

from benchmarks import contenders, graphs
from benchmarks.contenders import WORKERS, thread_pool
from benchmarks.graphs import Case
from benchmarks.report import Report, micro
from benchmarks.rounds import Effort, interleave

LENGTHS = (3e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6)  # seconds
SMALLEST = 2048  # bytes: hashlib keeps the lock for less
WIDTH = 20  # of the stencil

SHAPES: dict[str, Callable[[int, Callable[..., object]], Case]] = {
    "flat": graphs.flat,
    "stencil": lambda n, function: graphs.stencil(WIDTH, n // WIDTH, function),
}
PLAYERS = {
    "taskloom threads": contenders.taskloom_threads,
    "dask threads": contenders.dask_threads,
    "ThreadPoolExecutor": contenders.executor,
}


class Work:
    """A task of a certain length, which ignores its inputs."""

    def __init__(self, size: int) -> None:
        self._buffer = bytes(size)

    def __call__(self, *inputs: object) -> None:
        sha256(self._buffer)

    def seconds(self, calls: int) -> float:
        """How long one call takes in a single thread that nothing disturbs: the least of five."""
        return min(_timed(partial(self.repeat, calls)) / calls for _ in range(5))

    def repeat(self, calls: int) -> None:
        for _ in range(calls):
            self()


def measure(effort: Effort) -> Report:
    lengths = effort.choose(LENGTHS, (5e-6, 200e-6))
    works = {length: Work(size) for length, size in zip(lengths, _sizes(lengths), strict=True)}
    real = {length: work.seconds(100) for length, work in works.items()}
    rows = []
    for shape, build in SHAPES.items():
        efficiencies: dict[str, list[float]] = {name: [] for name in PLAYERS}
        for length, work in works.items():
            n = effort.choose(_task_count(length), 2 * WIDTH)
            case = build(n, work)
            turns: dict[str, Callable[[], object]] = {name: partial(get, *case) for name, get in PLAYERS.items()}
            measured = interleave(turns | {"ideal": partial(_bare_loops, work, len(case.dsk))}, effort.rounds)
            for name, found in efficiencies.items():
                found.append(measured.ratio("ideal", name))
        for name, found in efficiencies.items():
            rows.append([f"{shape}, {name}", *[f"{share:.0%}" for share in found], metg(list(real.values()), found)])
    header = ("efficiency at", *[f"{micro(seconds)} µs" for seconds in real.values()], "METG(50%), µs")
    notes = (
        f"Efficiency is the time of {WORKERS} threads that make the same calls in bare loops, so that the limits of "
        "the hardware and of the interpreter lock are in it, by the time of the run, in the same round. Lengths are "
        "those of a call in a single thread; METG is interpolated between the columns, so `<` and `>` mean that it "
        "lies outside of them."
    )
    return Report("METG: shortest tasks at which two workers pay", header, rows, notes)


def _sizes(lengths: Sequence[float]) -> list[int]:
    """Bytes whose hash takes about as long as each of `lengths`."""
    small, large = SMALLEST, 256 * SMALLEST
    base, top = Work(small).seconds(1000), Work(large).seconds(20)
    per_byte = (top - base) / (large - small)
    return [small + max(0, round((length - base) / per_byte)) for length in lengths]


def _task_count(length: float) -> int:
    """As many tasks as one worker does in 50 ms, within bounds, in whole rows of the stencil."""
    return WIDTH * round(min(2000, max(100, 0.05 / length)) / WIDTH)


def _bare_loops(work: Work, calls: int) -> None:
    futures = [thread_pool().submit(work.repeat, calls // WORKERS) for _ in range(WORKERS)]
    for future in futures:
        future.result()


def metg(lengths: Sequence[float], efficiencies: Sequence[float]) -> str:
    """The shortest length from which on efficiency stays at one half, interpolated over the lengths' logarithms."""
    points = list(zip(map(math.log, lengths), efficiencies, strict=True))
    if points[-1][1] < 0.5:
        return f"> {micro(lengths[-1])}"
    for (x, low), (right, high) in zip(points[-2::-1], points[:0:-1], strict=True):
        if low < 0.5:
            return micro(math.exp(x + (right - x) * (0.5 - low) / (high - low)))
    return f"< {micro(lengths[0])}"


def _timed(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun
