"""Clusters of dask as they are deployed."""

from collections.abc import Iterator

import pytest

from tests.adapters.clusters.processes import DaskProcesses


@pytest.fixture
def dask_processes() -> Iterator[DaskProcesses]:
    """A real scheduler with two real workers of one thread each, on loopback."""
    with DaskProcesses() as cluster:
        yield cluster
