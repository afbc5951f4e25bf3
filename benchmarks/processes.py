"""Worker processes: overhead per task, a warm run of one task, and a large array on its way to another worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, sleep
from typing import Any

import dask
import dask.multiprocessing
import numpy as np
from dask.distributed import Client, LocalCluster

from benchmarks import graphs
from benchmarks.contenders import WORKERS, process_pool, taskloom_processes
from benchmarks.graphs import Case
from benchmarks.report import Promise, Report, at_least, at_most, micro, times
from benchmarks.round_trip import echo, repeat
from benchmarks.rounds import Effort, interleave

COLD = {"flat": 25, "stencil": 10, "tree": 15}  # times faster than dask's engine as it comes, at least
WARM = 12  # times faster on the flat graph than dask's engine and ProcessPoolExecutor.map with warm pools
ROUND_TRIPS = 8  # that a warm run of one task may take
COPIES = 1.5  # times one copy into fresh memory that an array may take to another worker
LARGE = 100 << 20  # bytes


def measure(effort: Effort) -> Report:
    cases = {
        "flat": graphs.flat(effort.choose(2_000, 200)),
        "stencil": graphs.stencil(*effort.choose((30, 30), (8, 8))),
        "tree": graphs.tree(effort.choose(512, 32)),
    }
    rows, promises = [], []
    for name, case in cases.items():
        players: dict[str, Callable[[], object]] = {
            "ours": partial(taskloom_processes, *case),
            "dask": partial(_dask, *case),
            "dask warm": partial(_dask, *case, pool=process_pool()),
        }
        if name == "flat":
            players["map"] = partial(_map, case)
        measured = interleave(players, effort.rounds)
        n = len(case.dsk)
        per_task = [
            micro(measured.median(player) / n) if player in players else "–"
            for player in ("ours", "dask", "dask warm", "map")
        ]
        rows.append([f"{name}, {n:,}", *per_task, times(measured.ratio("dask", "ours"))])
        promises.append(
            at_least(f"processes are faster than dask's: {name}", measured.ratio("dask", "ours"), COLD[name])
        )
        if name == "flat":
            for other in ("dask warm", "map"):
                what = {"dask warm": "dask's with a warm pool", "map": "ProcessPoolExecutor.map"}[other]
                promises.append(
                    at_least(f"processes are faster than {what}: flat", measured.ratio(other, "ours"), WARM)
                )
    promises += [_one_task(effort), *_hand_over(effort)]
    header = ("graph, tasks", "processes", "dask", "dask, warm pool", "ProcessPoolExecutor.map", "ratio to dask")
    notes = f"µs per null task, {WORKERS} workers, compiling included. Ours are warm; dask starts some for each run."
    return Report("Worker processes", header, rows, notes, promises)


def _dask(dsk: Any, keys: Any, **options: Any) -> Any:
    return dask.multiprocessing.get(dsk, keys, num_workers=WORKERS, **options)


def _map(case: Case) -> list[Any]:
    return list(process_pool().map(graphs.null, range(len(case.dsk))))


def _one_task(effort: Effort) -> Promise:
    """A warm run of one task, in round trips between two processes."""
    calls = effort.choose(500, 20)
    case = graphs.flat(1)
    with echo() as ask:
        players = {
            "ours": partial(repeat, partial(taskloom_processes, *case), calls),
            "trip": partial(repeat, ask, calls),
        }
        measured = interleave(players, effort.rounds)
    ours, trip = (micro(measured.median(name) / calls) for name in players)
    what = f"one task, warm ({ours} µs), in round trips of a socket pair ({trip} µs)"
    return at_most(what, measured.ratio("ours", "trip"), ROUND_TRIPS, "")


def _hand_over(effort: Effort) -> list[Promise]:
    """From the end of the task that made an array to the start of the one, elsewhere, that takes it."""
    size = effort.choose(LARGE, LARGE // 100)
    dsk = {"a": (_make, size), "b": (_make, size), "c": (_delay, "a", "b")}
    players: dict[str, list[float]] = {"ours": [], "distributed": [], "copy": []}
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for _ in range(effort.rounds + 1):
            players["ours"] += taskloom_processes(dsk, ["c"])
            players["distributed"] += client.get(dsk, ["c"])
            array = np.ones(size // 8)
            begun = perf_counter()
            copied = array.copy()
            players["copy"].append(perf_counter() - begun)
            del array, copied
    ours, theirs, copies = [seconds[1:] for seconds in players.values()]
    return [
        at_most(
            f"an array of {size >> 20} MiB to another worker ({micro(median(ours))} µs), in copies into fresh memory "
            f"({micro(median(copies))} µs)",
            median(mine / copy for mine, copy in zip(ours, copies, strict=True)),
            COPIES,
            "×",
        ),
        at_least(
            f"an array to another worker is faster than with distributed ({micro(median(theirs))} µs)",
            median(their / mine for their, mine in zip(theirs, ours, strict=True)),
            1,
        ),
    ]


def _make(size: int) -> Any:
    sleep(0.05)  # so that both workers get one
    array = np.ones(size // 8)
    array[-1] = perf_counter()  # one clock for all processes of this machine
    return array


def _delay(*arrays: Any) -> float:
    return perf_counter() - max(float(array[-1]) for array in arrays)
