"""A reduction over persisted data that are five times as large as the memory limits of all workers together."""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter
from typing import Any

import dask
import dask.distributed
import numpy
import psutil

import taskloom.distributed
from benchmarks.contenders import WORKERS
from benchmarks.report import Promise, Report
from benchmarks.rounds import Effort

MIB = 1 << 20
CHUNK = 16  # MiB
TIMES = 5  # as large as all memory
PATIENCE = 300.0  # seconds
SAMPLE_EVERY = 0.01  # seconds


@contextmanager
def taskloom_cluster(limit: int) -> Iterator[Any]:
    with taskloom.distributed.Client(
        n_workers=WORKERS, threads_per_worker=1, memory_limit=limit, dashboard_address=None
    ) as client:
        yield client


@contextmanager
def dask_cluster(limit: int) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory() as place,
        dask.config.set(temporary_directory=place),
        dask.distributed.LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            memory_limit=limit,
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        dask.distributed.Client(cluster) as client,
    ):
        yield client


PLAYERS: dict[str, Callable[[int], Any]] = {"taskloom": taskloom_cluster, "distributed": dask_cluster}


def measure(effort: Effort) -> Report:
    limit = effort.choose(256, 160) * MIB
    chunks = TIMES * WORKERS * limit // (CHUNK * MIB) if not effort.quick else 2 * WORKERS
    rows = []
    peaks = {}
    for name, cluster in PLAYERS.items():
        seconds, peak = _reduce(cluster, limit, chunks)
        peaks[name] = peak
        rows.append([name, "not done" if seconds is None else f"{seconds:.1f} s", f"{peak / MIB:.0f} MiB"])
    within = peaks["taskloom"] <= limit and rows[0][1] != "not done"
    return Report(
        "Cluster: five times the memory",
        ("", "time", "peak of a worker's memory"),
        rows,
        f"{chunks} arrays of {CHUNK} MiB are made, kept, summed up in pairs with their neighbours, and the sums added, "
        f"by {WORKERS} workers of {limit // MIB} MiB each. The peak is that of the largest worker process, looked at "
        f"every {1000 * SAMPLE_EVERY:.0f} ms; “not done”: not within {PATIENCE:.0f} s.",
        [
            Promise(
                "peak memory of a worker, data five times the memory limits",
                f"≤ {limit // MIB} MiB",
                f"{peaks['taskloom'] / MIB:.0f} MiB",
                within,
            )
        ],
    )


def _reduce(cluster: Callable[[int], Any], limit: int, chunks: int) -> tuple[float | None, float]:
    """The seconds that it takes, None if it does not end, and the peak of a worker's memory."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with cluster(limit) as client, _watched() as peak:
            begun = perf_counter()
            try:
                arrays = client.map(_chunk, range(chunks), pure=False)
                pairs = client.map(_pair, arrays, [*arrays[1:], arrays[0]], pure=False)
                total = client.submit(sum, pairs, pure=False).result(timeout=PATIENCE)
            except TimeoutError:
                return None, peak[0]
            seconds = perf_counter() - begun
            assert total == 2 * sum(range(chunks)) * (CHUNK << 17), total
            del arrays, pairs
    return seconds, peak[0]


def _chunk(i: int) -> Any:
    return numpy.full(CHUNK << 17, float(i))


def _pair(one: Any, other: Any) -> float:
    return float(one.sum() + other.sum())


@contextmanager
def _watched() -> Iterator[list[float]]:
    """The most memory that a child of this process takes meanwhile."""
    peak = [0.0]
    over = Event()
    children = psutil.Process().children(recursive=True)

    def watch() -> None:
        looks = 0
        nonlocal children
        while not over.wait(SAMPLE_EVERY):
            looks += 1
            if looks % 20 == 0:
                children = psutil.Process().children(recursive=True)
            for child in children:
                try:
                    peak[0] = max(peak[0], child.memory_info().rss)
                except psutil.Error:
                    pass

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
