"""Clusters of dask as they are deployed."""

from collections.abc import Iterator

import pytest

from tests.adapters.clusters import hosts as network
from tests.adapters.clusters.processes import DaskProcesses, Host


@pytest.fixture
def dask_processes() -> Iterator[DaskProcesses]:
    """A real scheduler with two real workers of one thread each, on loopback."""
    with DaskProcesses() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def hosts_of_module() -> Iterator[list[Host]]:
    try:
        with network.hosts(3) as three:
            yield three
    except network.Impossible as reason:
        pytest.skip(str(reason))


@pytest.fixture
def three_hosts(hosts_of_module: list[Host]) -> list[Host]:
    """Three hosts, which reach each other and us."""
    for host in hosts_of_module:
        network.plug_in(host)
    return hosts_of_module
