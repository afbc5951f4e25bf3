"""Those who compute the graphs: taskloom and its peers, two workers each where there are several. Pools stay warm."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any

import dask.multiprocessing
import dask.threaded
from dask.local import get_sync

import taskloom

WORKERS = 2


def taskloom_sync(dsk: Any, keys: Any) -> Any:
    return taskloom.get(dsk, keys)


def taskloom_threads(dsk: Any, keys: Any) -> Any:
    return taskloom.threaded.get(dsk, keys, num_workers=WORKERS)


def taskloom_processes(dsk: Any, keys: Any) -> Any:
    return taskloom.multiprocessing.get(dsk, keys, num_workers=WORKERS)


def dask_processes(dsk: Any, keys: Any) -> Any:
    return dask.multiprocessing.get(dsk, keys, num_workers=WORKERS, pool=process_pool())


def dask_sync(dsk: Any, keys: Any) -> Any:
    return get_sync(dsk, keys)


def dask_threads(dsk: Any, keys: Any) -> Any:
    return dask.threaded.get(dsk, keys, num_workers=WORKERS)  # keeps one pool per calling thread and size


@cache
def thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS)


@cache
def process_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))


def executor(dsk: Any, keys: Any, pool: Executor | None = None) -> Any:
    """An executor as one would use it by hand: submit what is ready, wait for anything, look what is next."""
    pool = pool or thread_pool()
    inputs = {key: [argument for argument in task[1:] if argument in dsk] for key, task in dsk.items()}
    missing = {key: len(needed) for key, needed in inputs.items()}
    dependents: dict[Any, list[Any]] = {key: [] for key in dsk}
    for key, needed in inputs.items():
        for other in needed:
            dependents[other].append(key)
    results: dict[Any, Any] = {}
    finished: SimpleQueue[tuple[Any, Future[Any]]] = SimpleQueue()

    def submit(key: Any) -> None:
        function, *arguments = dsk[key]
        future = pool.submit(function, *[results.get(argument, argument) for argument in arguments])
        future.add_done_callback(lambda future: finished.put((key, future)))

    for key, count in missing.items():
        if not count:
            submit(key)
    while len(results) < len(dsk):
        key, future = finished.get()
        results[key] = future.result()
        for dependent in dependents[key]:
            missing[dependent] -= 1
            if not missing[dependent]:
                submit(dependent)
    return [results[key] for key in keys]


def executor_map(dsk: Any, keys: Any) -> Any:
    """`ThreadPoolExecutor.map`, for a graph of independent tasks with one argument each."""
    return list(thread_pool().map(_call, [dsk[key] for key in keys]))


def _call(task: Any) -> Any:
    return task[0](task[1])
