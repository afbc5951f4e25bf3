"""What leads to a cluster of dask's, as it leads dask's own client there, and what stays with taskloom."""

import asyncio
from collections.abc import Iterator
from operator import add
from typing import Any

import dask
import distributed
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.distributed import Client, LocalCluster
from taskloom.errors import ConfigError
from tests.adapters.clusters.processes import DaskProcesses
from tests.engines.cases import PATIENCE, check_child

OURS = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
VARIABLE = "DASK_SCHEDULER_ADDRESS"

SAYS_WHOSE = """
import sys
from taskloom.distributed import Client

assert "dask" not in sys.modules
with Client() as client:
    print(type(client).__module__, client.submit(abs, -1).result())
"""

ENGINE = """
from operator import add
import taskloom

if __name__ == "__main__":
    with taskloom.config.set({"distributed.n_workers": 1, "distributed.threads_per_worker": 1}):
        print(taskloom.compute(taskloom.delayed(add)(1, 2), scheduler="distributed"), taskloom.last_run().engine)
"""


class Gateway:
    """A cluster object that is none of distributed's: dask-gateway has such a class."""

    security = None
    status = "running"
    asynchronous = False
    dashboard_link = ""

    def __init__(self, address: str) -> None:
        self.scheduler_address = address


@pytest.fixture
def in_process() -> Iterator[distributed.LocalCluster]:
    """A cluster of dask's whose scheduler and worker are threads."""
    options: dict[str, Any] = {**OURS, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def configured(shared: DaskProcesses) -> Iterator[None]:
    """Dask's configuration names a scheduler."""
    with dask.config.set({"scheduler-address": shared.address}):
        yield


def test_a_cluster_object_needs_only_an_address(shared: DaskProcesses, ends: list[Run]) -> None:
    cluster = Gateway(shared.address)
    with Client(cluster) as client:
        assert isinstance(client, distributed.Client)
        assert client.cluster is cluster
        assert client.get({"x": (add, 1, 2)}, "x") == 3
    assert ends[0].engine == "dask.distributed"


def test_no_timeout_is_that_of_dask(shared: DaskProcesses) -> None:
    with Client(shared.address, timeout=None) as client:
        assert client.submit(abs, -1).result() == 1
    client = taskloom.distributed.get_client(shared.address)
    try:
        assert client.submit(abs, -2).result() == 2
    finally:
        client.close()


def test_one_of_our_own_stays_here_also_of_a_class_beside() -> None:
    class Named(LocalCluster):
        pass

    with Named(**OURS) as cluster, Client(cluster) as client:
        assert type(client) is Client


def test_what_has_no_address_is_refused() -> None:
    with pytest.raises(TypeError, match="connects to a LocalCluster or to an address"):
        Client(object())  # type: ignore[arg-type]


def test_addresses_in_this_process_are_told_apart(in_process: distributed.LocalCluster) -> None:
    with LocalCluster(**OURS) as own, Client(own.scheduler_address) as ours:
        assert type(ours) is Client
        with Client(in_process.scheduler_address) as theirs:
            assert isinstance(theirs, distributed.Client)
            assert theirs.submit(add, 1, 2).result() == 3
    for nobody in (own.scheduler_address, "inproc://10.0.0.1/1/1", "inproc://"):
        with pytest.raises(ConfigError, match="There is no cluster inproc"):
            Client(nobody)


def test_without_an_address_the_configured_one_counts(configured: None, shared: DaskProcesses) -> None:
    with Client(timeout=PATIENCE, set_as_default=False) as client:
        assert isinstance(client, distributed.Client)
        assert client.scheduler.address == shared.address

    async def submit() -> Any:
        async with Client(asynchronous=True) as client:
            return await client.submit(add, 1, 2)

    assert asyncio.run(submit()) == 3


def test_who_describes_a_cluster_gets_one(configured: None) -> None:
    with Client(**OURS) as ours:
        assert type(ours) is Client
        with Client() as theirs:
            assert isinstance(theirs, distributed.Client), "a client of our own that is open changes nothing"
    with LocalCluster(**OURS) as cluster, Client(cluster) as client:
        assert type(client) is Client


def test_the_engine_has_its_own_cluster(shared: DaskProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, shared.address)
    assert check_child(ENGINE) == "(3,) distributed\n"


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_configuration_may_name_none(nothing: str | None) -> None:
    with (
        dask.config.set({"scheduler-address": nothing}),
        taskloom.config.set({"distributed.n_workers": 1, "distributed.threads_per_worker": 1}),
        Client() as client,
    ):
        assert type(client) is Client


def test_the_variable_counts_before_anybody_has_imported_dask(
    shared: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, shared.address)
    assert check_child(SAYS_WHOSE, limit=3 * PATIENCE) == "distributed.client 1\n"
