"""The names of `taskloom.distributed` where dask's own client is in force: programs need no other import."""

from operator import add
from typing import Any

import dask.array as da
import distributed
import pytest

from taskloom import distributed as ours
from tests.adapters.clusters.processes import DaskProcesses
from tests.engines.cases import PATIENCE, check_child

NAMED = ["Event", "Lock", "Queue", "Semaphore", "Variable"]


def test_futures_are_waited_for(client: Any) -> None:
    futures = client.map(abs, range(3))
    assert len(ours.wait(futures).done) == 3
    assert {future.result() for future in ours.as_completed(futures)} == {0, 1, 2}
    assert dict(ours.as_completed(futures, with_results=True)) == dict(zip(futures, range(3), strict=True))
    ours.progress(futures, notebook=False)


def test_tasks_run_although_nobody_keeps_their_futures(client: Any) -> None:
    gate, done = distributed.Event("gate"), distributed.Event("done")
    ours.fire_and_forget(client.submit(lambda: gate.wait(30) and done.set()))
    gate.set()
    assert done.wait(30)


def test_futures_of_collections_are_found(client: Any) -> None:
    array = da.ones(4, chunks=2).persist(scheduler=client)
    assert set(ours.futures_of(array)) == set(distributed.futures_of(array))
    assert len(ours.wait(array).done) == 2


def test_it_is_the_client_that_is_meant(client: Any) -> None:
    assert ours.get_client() is client
    assert ours.default_client() is client


@pytest.mark.parametrize("name", NAMED)
def test_what_is_shared_is_of_its_cluster(client: Any, name: str) -> None:
    shared = getattr(ours, name)(name=f"named-{name}")
    assert isinstance(shared, getattr(distributed, name))


def test_tasks_mean_the_same_as_their_client() -> None:
    program = """
from operator import add
import distributed
from taskloom import distributed as ours

def acquire():
    return ours.Lock("taken").acquire(timeout=0.01)

def both():
    return ours.get_worker().address, ours.get_client().submit(add, 1, 2).result()

options = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": "127.0.0.1:0"}
with distributed.LocalCluster(**options) as cluster, ours.Client(cluster) as client:
    with ours.Lock("taken"):
        print(client.submit(acquire, pure=False).result())
    print(client.submit(acquire, pure=False).result())
    address, three = client.submit(both).result()
    print(address in client.scheduler_info()["workers"], three)
"""
    assert check_child(program, limit=3 * PATIENCE) == "False\nTrue\nTrue 3\n"


def test_tasks_that_ran_are_told(client: Any) -> None:
    with ours.get_task_stream() as stream:
        future = client.submit(add, 20, 1, pure=False)
        future.result()
    assert future.key in {task["key"] for task in stream.data}


def test_the_newest_client_counts(client: Any) -> None:
    with ours.Client(n_workers=1, threads_per_worker=1, processes=False) as own:
        assert type(ours.Lock("whose")) is ours.Lock
        assert ours.get_client() is own
        assert ours.wait(own.map(abs, range(3))).not_done == set()
        assert len(ours.wait(client.map(abs, range(3))).done) == 3  # futures are waited for by those whose they are
        with ours.Client(client.scheduler.address) as newer:
            assert isinstance(ours.Lock("whose"), distributed.Lock)
            assert isinstance(ours.Event(client=own), ours.Event)
            assert isinstance(newer, distributed.Client)
    assert isinstance(ours.Lock("whose"), distributed.Lock)


def test_once_it_is_closed_taskloom_asks_for_its_own(shared: DaskProcesses) -> None:
    ours.Client(shared.address).close()
    assert type(ours.Lock("whose")) is ours.Lock
    with pytest.raises(ValueError, match="No client is open"):
        ours.get_client()
