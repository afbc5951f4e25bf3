"""Clusters of two worker processes with one thread each: taskloom's and its peers'. Each ends with its `with` block."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from operator import methodcaller
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any, NamedTuple
from unittest.mock import patch

import dask
import dask.distributed
from dask._task_spec import convert_legacy_graph

import taskloom.distributed
from benchmarks import graphs
from benchmarks.contenders import WORKERS
from benchmarks.graphs import Case
from benchmarks.rounds import Effort, Times, interleave

MOST_ROUNDS = 3  # of what takes distributed ten seconds and more


class Peer(NamedTuple):
    """How somebody is given tasks one by one."""

    submit: Callable[..., Any]
    result: Callable[[Any], Any]  # of one future
    gather: Callable[[Sequence[Any]], Any]  # of many


def peer(client: Any) -> Peer:
    return Peer(client.submit, methodcaller("result"), client.gather)


@contextmanager
def taskloom_cluster() -> Iterator[Any]:
    with (
        taskloom.distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        taskloom.distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def dask_cluster() -> Iterator[Any]:
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        dask.distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        dask.distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def frisky_cluster() -> Iterator[Any]:
    import frisky

    cluster = frisky.LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, silence_summary=True)
    with cluster, cluster.get_client() as client:
        yield client


@contextmanager
def process_pool() -> Iterator[Peer]:
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        yield Peer(pool.submit, methodcaller("result"), lambda futures: [future.result() for future in futures])


@contextmanager
def ray_cluster() -> Iterator[Peer]:
    """Ray on this machine only: no dashboard, no reports of usage, and nothing that stays in the home directory."""
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with TemporaryDirectory(prefix="ray-") as folder, patch.dict(os.environ, settings):
        import ray

        ray.init(
            "local",
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        try:
            null = ray.remote(graphs.null)
            yield Peer(lambda _, *args: null.remote(*args), ray.get, ray.get)
        finally:
            ray.shutdown()


def is_installed(name: str) -> bool:
    return find_spec(name) is not None


@contextmanager
def clients() -> Iterator[dict[str, Any]]:
    """Those who take whole graphs, by name."""
    with ExitStack() as stack:
        opened = {
            "taskloom": stack.enter_context(taskloom_cluster()),
            "distributed": stack.enter_context(dask_cluster()),
        }
        if is_installed("frisky"):
            opened["frisky"] = stack.enter_context(frisky_cluster())
        yield opened


def turns(clients: dict[str, Any], case: Case) -> dict[str, Callable[[], object]]:
    """Everybody's `client.get`. Dask and frisky get task objects of dask, so that making those is not their time."""
    theirs = convert_legacy_graph(case.dsk)
    forms = {"taskloom": case.dsk, "distributed": theirs, "frisky": theirs}
    return {name: partial(client.get, forms[name], case.keys) for name, client in clients.items()}


def warm_up(clients: dict[str, Any]) -> None:
    for turn in turns(clients, graphs.tree(50)).values():
        turn()


def measure_graph(clients: dict[str, Any], case: Case, effort: Effort) -> Times:
    rounds = min(effort.rounds, MOST_ROUNDS)
    return interleave(turns(clients, case), rounds, warm_up=False, between=partial(settle, effort))


def settle(effort: Effort) -> None:
    """Schedulers tell their workers after a run what they may forget: nobody else is to pay for that."""
    sleep(effort.choose(0.5, 0.05))
