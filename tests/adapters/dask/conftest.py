"""Dask on taskloom, on each engine."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

import dask
import pytest

import taskloom
from taskloom.distributed import Client
from taskloom.engines.worker.pool import pool

ENGINES = ("sync", "threads", "processes", "distributed")


@pytest.fixture(autouse=True, scope="session")
def servers_of_multiprocessing() -> None:
    """Start what the standard library starts once and never ends, before tests count processes."""
    forkserver.ensure_running()
    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """Dask runs on taskloom while a test lasts."""
    taskloom.enable_dask()
    yield
    taskloom.disable_dask()
    pool.close()


@pytest.fixture(params=ENGINES)
def scheduler(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each engine, with two workers."""
    with dask.config.set(num_workers=2):
        if request.param == "distributed":
            with Client(n_workers=2, threads_per_worker=1):
                yield "distributed"
        else:
            yield request.param


@contextmanager
def plain_dask() -> Iterator[None]:
    """A block in which Dask runs on its own schedulers, with threads that end with it."""
    taskloom.disable_dask()
    with ThreadPoolExecutor(2) as threads, dask.config.set(pool=threads):
        yield
    taskloom.enable_dask()
