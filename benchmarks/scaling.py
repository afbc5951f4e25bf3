"""From 10,000 to 1,000,000 tasks: how time per task grows, and how much memory a task takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from benchmarks import contenders, graphs
from benchmarks.graphs import Case
from benchmarks.report import Report, at_most, micro, times
from benchmarks.rounds import Effort, Times, interleave

GROWTH = 2  # times that of the loop, at most
BYTES = 400  # per task, at most

BUILDERS: dict[str, Callable[[int], Case]] = {"flat": graphs.flat, "chain": graphs.chain}
ENGINES = {"sync": contenders.taskloom_sync, "threads": contenders.taskloom_threads}


def measure(effort: Effort) -> Report:
    few, many = effort.choose((10_000, 1_000_000), (1_000, 20_000))
    traced = effort.choose(200_000, 5_000)
    rows, promises = [], []
    for shape in BUILDERS:
        small = _measure_times(shape, few, 3 * effort.rounds)  # short, so there can be more of them
        large = _measure_times(shape, many, effort.rounds)
        for name in ("loop", *ENGINES):
            row = [f"{shape}, {name}", micro(small.median(name) / few), micro(large.median(name) / many)]
            row.append(times(large.median(name) / many / (small.median(name) / few)))
            if name == "loop":
                row += ["1.0×", "–"]
            else:
                growth = large.ratio(name, "loop") / small.ratio(name, "loop")
                memory = _in_fresh_process(shape, name, traced)
                row += [times(growth), f"{memory:.0f}"]
                promises += [
                    at_most(f"growth against the loop's, {few:,} to {many:,}: {shape}, {name}", growth, GROWTH, "×"),
                    at_most(f"memory beyond the graph, per task: {shape}, {name}", memory, BYTES, " bytes"),
                ]
            rows.append(row)
    header = ("graph, engine", f"{few:,} tasks", f"{many:,} tasks", "growth", "by the loop's", "bytes per task")
    notes = (
        "µs per task. *loop* is a bare topological loop over the same dictionary: caches take their share of it as of "
        "an engine, so the growth that counts is that of an engine's time in loops of the same round. Runs of "
        f"{many:,} tasks follow each other, so each also pays for shortening the record of the one before. "
        f"Bytes are the peak of what is allocated from the call of the engine on ({traced:,} tasks, `tracemalloc` "
        "started when the graph is there, a fresh process each): the plan, the results, the run record."
    )
    return Report("Scaling", header, rows, notes, promises)


def _measure_times(shape: str, n: int, rounds: int) -> Times:
    case = BUILDERS[shape](n)
    players: dict[str, Callable[[], object]] = {"loop": partial(graphs.topological_loop, case.dsk)}
    players |= {name: partial(engine, *case) for name, engine in ENGINES.items()}
    return interleave(players, rounds)


def _in_fresh_process(shape: str, engine: str, n: int) -> float:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(bytes_per_task, shape, engine, n).result()


def bytes_per_task(shape: str, engine: str, n: int) -> float:
    """The peak of what one run allocates, by the number of tasks. To be called in a process of its own."""
    ENGINES[engine](*graphs.flat(10))  # loads what is loaded late, starts threads
    case = BUILDERS[shape](n)
    gc.collect()
    tracemalloc.start()
    answer = ENGINES[engine](*case)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del answer
    return peak / n
