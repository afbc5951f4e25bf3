"""Clients that the user makes are followed while somebody wants that."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from operator import add
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

import taskloom
from taskloom.adapters.distributed import events, follow, unfollow
from taskloom.bus import Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import DaskProcesses

from .test_runs import Soon


@pytest.fixture
def following() -> Iterator[None]:
    follow()
    yield
    unfollow()


def test_clients_are_followed_from_then_on(shared: DaskProcesses, ends: list[Run], following: None) -> None:
    with distributed.Client(shared.address):
        assert dask.delayed(add)(1, 2).compute() == 3
    assert [run.n_done for run in ends] == [1]


def test_clients_that_are_open_are_followed_too(shared: DaskProcesses, ends: list[Run]) -> None:
    with distributed.Client(shared.address) as client:
        assert client.get({"before": (add, 1, 2)}, "before") == 3
        follow()
        try:
            assert client.get({"meanwhile": (add, 1, 2)}, "meanwhile") == 3
        finally:
            unfollow()
        assert client.get({"after": (add, 1, 2)}, "after") == 3
    assert [run.graph.keys for run in ends] == [["meanwhile"]]


def test_dask_enabled_means_followed(shared: DaskProcesses, ends: list[Run]) -> None:
    taskloom.enable_dask()
    try:
        with distributed.Client(shared.address):
            assert dask.delayed(add)(1, 2).compute() == 3
    finally:
        taskloom.disable_dask()
    with distributed.Client(shared.address):
        assert dask.delayed(add)(1, 2).compute() == 3
    assert [run.engine for run in ends] == ["dask.distributed"]


def test_futures_of_our_own_clusters_stay_here(shared: DaskProcesses, following: None) -> None:
    with Client(n_workers=1, processes=False) as ours:
        future = ours.submit(add, 1, 2)
        with distributed.Client(shared.address) as theirs:
            with pytest.raises(TypeError) as refused:
                theirs.get({"x": (add, future, 1)}, "x")
            assert "through its own client" in str(refused.value.__cause__ or refused.value.__context__)
            assert theirs.submit(add, 2, 3).result(timeout=10) == 5
        assert future.result() == 3


def test_the_first_client_may_be_the_first_to_import_distributed(shared: DaskProcesses) -> None:
    program = f"""
import sys
import dask, taskloom
taskloom.enable_dask()
assert "distributed" not in sys.modules
with taskloom.distributed.Client({shared.address!r}):
    assert dask.delayed(sum)([1, 2]).compute() == 3
assert taskloom.last_run().engine == "dask.distributed"
taskloom.disable_dask()
"""
    subprocess.run([sys.executable, "-c", "import taskloom.distributed" + program], check=True, timeout=60)


def test_it_can_be_said_twice_and_leaves_nothing(shared: DaskProcesses) -> None:
    plain = distributed.Client.__init__
    follow()
    follow()
    with distributed.Client(shared.address) as client:
        unfollow()
        unfollow()
        assert distributed.Client.__init__ is plain
        assert not {"get", "_graph_to_futures", "_close"} & set(vars(client))


def test_following_again_at_once(own: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    def told(client: Any) -> list[str]:
        names = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))
        return [name for name in names if name.startswith("taskloom")]

    with distributed.Client(own.address) as client:
        for number in range(20):
            follow()
            if number % 2:  # else it is left before the scheduler has answered
                assert client.get({("x", number): (add, 1, 2)}, ("x", number)) == 3
            unfollow()
        follow()
        soon(lambda: len(told(client)) == 1)
        assert client.get({"last": (add, 1, 2)}, "last") == 3
        unfollow()
        soon(lambda: not told(client))
    assert [run.n_done for run in ends] == [1] * 11
    said = own.log("scheduler")
    assert not [line for line in said.splitlines() if "ERROR" in line or "overwriting" in line]


def test_chosen_clients_stay(shared: DaskProcesses, ends: list[Run]) -> None:
    with Client(shared.address) as client:
        follow()
        unfollow()
        client.get({"x": (add, 1, 2)}, "x")
    assert len(ends) == 1


def test_asynchronous_client(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    async def main() -> None:
        async with Client(shared.address, asynchronous=True) as client:
            assert await client.compute(dask.delayed(add)(1, 2)) == 3
            assert await client.submit(add, 3, 4) == 7
            with pytest.raises(ZeroDivisionError):
                await client.submit(divmod, 1, 0)

    asyncio.run(main())
    soon(lambda: ends)
    assert [(run.status, run.n_tasks, run.n_done) for run in ends] == [("failed", 3, 2)]


def test_dask_still_knows_the_method_of_the_client(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(shared.address) as client:
        assert dask.base.get_scheduler() == client.get
        (x,) = dask.persist(dask.delayed(add)(1, 2))
        assert x.key in client.futures
        assert client.gather(client.futures and distributed.futures_of(x)) == [3]


def test_plugin_needs_nothing_that_a_scheduler_has_not() -> None:
    source = Path(events.__file__).read_text()
    assert "import taskloom" not in source
    assert "from taskloom" not in source


def test_no_scheduler_there() -> None:
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        Client("127.0.0.1:9", timeout=0.3)


def test_client_that_is_forgotten_goes(shared: DaskProcesses, soon: Soon) -> None:
    import gc
    from weakref import ref

    client: Any = Client(shared.address)
    client.submit(add, 1, 2).result()
    client.close()
    weak = ref(client)
    del client
    soon(lambda: gc.collect() is not None and weak() is None)
