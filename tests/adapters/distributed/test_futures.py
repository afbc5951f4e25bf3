"""Futures of dask's clients stand for their results in collections, whichever engine computes those."""

import asyncio
from collections.abc import Iterator
from operator import add
from typing import Any

import dask
import dask.array as da
import pytest

import taskloom
from taskloom import delayed
from taskloom.adapters.dask.drawings import DaskSource
from taskloom.distributed import Client
from taskloom.engines.worker.pool import pool
from tests.adapters.clusters.processes import DaskProcesses


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with DaskProcesses(has_taskloom=True) as cluster, Client(cluster.address) as client:
        yield client


@pytest.fixture(params=["its own", "sync", "threads", "processes", "distributed"])
def scheduler(request: pytest.FixtureRequest, client: Any) -> Iterator[Any]:
    """The client whose futures they are, and each engine."""
    if request.param == "its own":
        yield client
    elif request.param == "distributed":
        with Client(n_workers=1, threads_per_worker=1) as ours:
            yield ours
    else:
        yield request.param
    pool.close()


def test_in_delayed_values(client: Any, scheduler: Any) -> None:
    future = client.submit(add, 1, 1)
    assert delayed(add)(future, 1).compute(scheduler=scheduler) == 3
    assert delayed(sum)([future, {"x": future}["x"]]).compute(scheduler=scheduler) == 4
    assert delayed(future).compute(scheduler=scheduler) == 2


def test_in_delayed_values_of_dask(client: Any, scheduler: Any) -> None:
    future = client.submit(add, 1, 1)
    one, two = dask.delayed(add)(future, 1), dask.delayed(sum)([future, future])
    assert taskloom.compute(one, two, dask.delayed(future), scheduler=scheduler) == (3, 4, 2)


def test_in_mixtures(client: Any, scheduler: Any) -> None:
    future = client.submit(add, 1, 1)
    value = delayed(add)(dask.delayed(add)(future, 1), future)
    assert taskloom.compute(value, dask.delayed(abs)(future), scheduler=scheduler) == (5, 2)


def test_in_persisted_collections(client: Any, scheduler: Any) -> None:
    x = client.persist(da.ones((4, 4), chunks=2))
    whole, total = taskloom.compute(x, x.sum(), scheduler=scheduler)
    assert (whole.shape, total) == ((4, 4), 16)


def test_futures_of_our_own_in_mixtures(client: Any) -> None:
    with Client(n_workers=1, threads_per_worker=1, processes=False) as ours:
        value = delayed(add)(dask.delayed(add)(ours.submit(add, 1, 1), 1), 1)
        assert [value.compute(scheduler=scheduler) for scheduler in ("sync", ours)] == [4, 4]


def test_our_cluster_holds_the_result(client: Any) -> None:
    future = client.submit(add, 1, 1)
    with Client(n_workers=1, threads_per_worker=1, processes=False) as ours:
        assert ours.compute(delayed(future)).result() == 2
        (kept,) = ours.persist([dask.delayed(add)(future, 1)])
        assert taskloom.compute(kept, scheduler=ours) == (3,)


def test_those_that_failed_raise(client: Any, scheduler: Any) -> None:
    future = client.submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        delayed(len)(future).compute(scheduler=scheduler)


def test_what_no_client_knows_is_named(client: Any) -> None:
    future = client.submit(add, 1, 1)
    value = dask.delayed(add)(future, 1)
    future.client.cancel([future])
    future.release()
    with pytest.raises(taskloom.GraphError, match=r"'add-.*' needs 'add-.*', which is not in the graph"):
        taskloom.compute(value, scheduler="sync")


def test_those_of_asynchronous_clients_are_refused(shared: DaskProcesses) -> None:
    async def main() -> None:
        async with Client(shared.address, asynchronous=True) as client:
            future = client.submit(add, 1, 1)
            with pytest.raises(TypeError, match="belongs to an asynchronous client"):
                delayed(add)(future, 1).compute(scheduler="sync")
            assert await future == 2

    asyncio.run(main())


def test_dasks_collections_need_no_taskloom_on_the_cluster(shared: DaskProcesses) -> None:
    with Client(shared.address) as client:
        future = client.submit(add, 1, 1)
        assert taskloom.compute(dask.delayed(add)(future, 1), da.ones(4, chunks=2).sum()) == (3, 4)


def test_what_a_cluster_holds_is_drawn(client: Any) -> None:
    held = (da.ones(8, chunks=2) + 1).persist()
    for graph in DaskSource().graphs([held.sum()], optimized=False, may_compute=True).values():
        drawn = {key: len(dependencies) for key, dependencies in zip(graph.keys, graph.dependencies, strict=True)}
        assert [drawn[key] for key in held.__dask_keys__()] == [0] * 4
        assert len(drawn) > 4
