"""A large array from one worker of a cluster to another, and the start of a cluster; beside distributed's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import clusters, graphs
from benchmarks.contenders import WORKERS
from benchmarks.report import Promise, Report, at_least, at_most, micro, times
from benchmarks.rounds import Effort, Times

LARGE = 100 << 20  # bytes
COPIES = 1.5  # times one copy into fresh memory that an array may take to another worker

OPENERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "taskloom": clusters.taskloom_cluster,
    "distributed": clusters.dask_cluster,
}


def measure(effort: Effort) -> Report:
    size = effort.choose(LARGE, LARGE // 100)
    moved, read = _hand_over(size, effort.rounds)
    started = _start(effort.rounds)
    rows = [
        [
            what,
            *[micro(measured.median(name)) if name in measured.seconds else "–" for name in (*OPENERS, "copy")],
            times(measured.ratio("distributed", "taskloom")),
        ]
        for what, measured in (
            (f"{size >> 20} MiB to another worker", moved),
            ("the same, and read once", read),
            ("start, to the first result", started),
        )
    ]
    notes = (
        f"µs; {WORKERS} worker processes with a thread each. The array's way is from the end of the task that made it "
        "on one worker to the start of the task that takes it on the other one; both were submitted together. A copy "
        "is one into fresh memory in this process, and then read once. taskloom maps what it hands over, so the reader "
        "pays for its pages. A start is that of `LocalCluster` and `Client`, with the result of a null task."
    )
    header = ("what", *OPENERS, "copy", "distributed by taskloom")
    return Report("Cluster: hand-over and start", header, rows, notes, _promises(size, moved, started))


def _promises(size: int, moved: Times, started: Times) -> list[Promise]:
    ours, theirs, copy = (micro(moved.median(name)) for name in (*OPENERS, "copy"))
    return [
        at_most(
            f"cluster: {size >> 20} MiB to another worker ({ours} µs), in copies into fresh memory ({copy} µs)",
            moved.ratio("taskloom", "copy"),
            COPIES,
            "×",
        ),
        at_least(
            f"cluster: an array to another worker is faster than with distributed ({theirs} µs)",
            moved.ratio("distributed", "taskloom"),
            1,
        ),
        at_least("cluster: its start is faster than distributed's", started.ratio("distributed", "taskloom"), 1),
    ]


def _hand_over(size: int, rounds: int) -> tuple[Times, Times]:
    moved: dict[str, list[float]] = {name: [] for name in (*OPENERS, "copy")}
    read: dict[str, list[float]] = {name: [] for name in moved}
    with clusters.taskloom_cluster() as ours, clusters.dask_cluster() as theirs:
        for _ in range(rounds + 1):
            for name, client in zip(OPENERS, (ours, theirs), strict=True):
                _note(_move(client, size), moved[name], read[name])
            _note(_copy(size), moved["copy"], read["copy"])
    return _without_first(moved), _without_first(read)


def _note(seconds: tuple[float, float], moved: list[float], read: list[float]) -> None:
    moved.append(seconds[0])
    read.append(seconds[1])


def _move(client: Any, size: int) -> tuple[float, float]:
    first, second = list(client.scheduler_info()["workers"])
    made = client.submit(_make, size, workers=[first], pure=False)
    taken: tuple[float, float] = client.submit(_take, made, workers=[second], pure=False).result()
    return taken


def _copy(size: int) -> tuple[float, float]:
    array = np.ones(size // 8)
    begun = perf_counter()
    copied = array.copy()
    moved = perf_counter() - begun
    copied.sum()
    return moved, perf_counter() - begun


def _make(size: int) -> Any:
    array = np.ones(size // 8)
    array[-1] = perf_counter()  # one clock for all processes of this machine
    return array


def _take(array: Any) -> tuple[float, float]:
    here = perf_counter()
    made = float(array[-1])
    array.sum()
    return here - made, perf_counter() - made


def _without_first(seconds: dict[str, list[float]]) -> Times:
    """The first round warms everything, and does not count."""
    return Times({name: taken[1:] for name, taken in seconds.items()})


def _start(rounds: int) -> Times:
    seconds: dict[str, list[float]] = {name: [] for name in OPENERS}
    for number in range(rounds + 1):
        for name, opener in OPENERS.items():
            begun = perf_counter()
            with opener() as client:
                client.submit(graphs.null, number).result()
                seconds[name].append(perf_counter() - begun)
    return _without_first(seconds)
