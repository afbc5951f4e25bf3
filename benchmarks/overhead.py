"""Microseconds per task that does nothing, end to end, on four graphs of about 10,000 tasks."""

from __future__ import annotations

from functools import partial

from benchmarks import contenders, graphs
from benchmarks.graphs import Case
from benchmarks.report import Report, at_least, micro, times
from benchmarks.rounds import Effort, Times, interleave

SYNC = {"flat": 12, "chain": 10, "tree": 8, "stencil": 12}  # times faster than dask's sync get, at least
THREADS = {"flat": 20, "chain": 20, "tree": 10, "stencil": 15}  # than dask's threaded get

PLAYERS = {
    "sync": contenders.taskloom_sync,
    "dask sync": contenders.dask_sync,
    "threads": contenders.taskloom_threads,
    "dask threads": contenders.dask_threads,
    "executor": contenders.executor,
}


def measure(effort: Effort) -> Report:
    rows, promises = [], []
    for name, case in _cases(effort).items():
        measured = _measure_case(case, effort.rounds, with_map=name == "flat")
        rows.append(_row(name, len(case.dsk), measured))
        promises += [
            at_least(f"sync is faster than dask's sync get: {name}", measured.ratio("dask sync", "sync"), SYNC[name]),
            at_least(
                f"threads are faster than dask's threads: {name}",
                measured.ratio("dask threads", "threads"),
                THREADS[name],
            ),
        ]
    header = (
        "graph, tasks",
        "sync",
        "dask sync",
        "ratio",
        "threads",
        "dask threads",
        "ratio",
        "ThreadPoolExecutor",
        "ratio",
        "its .map",
    )
    notes = (
        f"µs per task, compiling included; {contenders.WORKERS} workers. Ratios are medians over rounds of the times "
        "of one round: dask's sync get by sync, dask's threads by threads, the executor by threads."
    )
    promises.sort(key=lambda promise: promise.what)
    return Report("Overhead per task", header, rows, notes, promises)


def _cases(effort: Effort) -> dict[str, Case]:
    n = effort.choose(10_000, 500)
    return {
        "flat": graphs.flat(n),
        "chain": graphs.chain(n),
        "tree": graphs.tree(effort.choose(5_000, 250)),
        "stencil": graphs.stencil(100, n // 100),
    }


def _measure_case(case: Case, rounds: int, with_map: bool) -> Times:
    players = PLAYERS | ({"map": contenders.executor_map} if with_map else {})
    return interleave({name: partial(player, *case) for name, player in players.items()}, rounds)


def _row(name: str, n: int, measured: Times) -> list[str]:
    per_task = {player: micro(measured.median(player) / n) for player in measured.seconds}
    return [
        f"{name}, {n:,}",
        per_task["sync"],
        per_task["dask sync"],
        times(measured.ratio("dask sync", "sync")),
        per_task["threads"],
        per_task["dask threads"],
        times(measured.ratio("dask threads", "threads")),
        per_task["executor"],
        times(measured.ratio("executor", "threads")),
        per_task.get("map", "–"),
    ]
