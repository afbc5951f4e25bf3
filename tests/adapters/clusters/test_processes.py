"""A scheduler and workers that dask's command line starts: what the other tests of real clusters build on."""

import dask.array
import numpy
import pytest
from distributed import Client

from tests.adapters.clusters.processes import DaskProcesses, wait_for
from tests.adapters.clusters.tasks import imports_taskloom


def no_more() -> str:
    return "the scheduler did not see it"


def test_collections_are_computed_as_numpy_does(dask_processes: DaskProcesses) -> None:
    numbers = numpy.arange(10_000.0).reshape(100, 100)
    array = dask.array.from_array(numbers, chunks=(20, 20))
    with Client(dask_processes.address) as client:
        assert client.get_versions(check=True)
        numpy.testing.assert_allclose((array @ array.T).sum(axis=0).compute(), (numbers @ numbers.T).sum(axis=0))


@pytest.mark.parametrize("has_taskloom", [False, True])
def test_the_cluster_has_dask_and_taskloom_where_that_is_said(has_taskloom: bool) -> None:
    with DaskProcesses(workers=1, has_taskloom=has_taskloom) as cluster, Client(cluster.address) as client:
        assert client.run_on_scheduler(imports_taskloom) is has_taskloom
        assert list(client.run(imports_taskloom).values()) == [has_taskloom]


def test_a_worker_that_is_killed_is_lost_and_another_may_join(dask_processes: DaskProcesses) -> None:
    with Client(dask_processes.address) as client:
        futures = client.map(lambda number: number * 2, range(10), pure=False)
        assert client.gather(futures) == list(range(0, 20, 2))
        dask_processes.kill("worker-0")
        dask_processes.start_worker("worker-9")
        names = {"worker-1", "worker-9"}
        wait_for(lambda: {worker["name"] for worker in _workers(client)} == names, no_more)
        assert client.gather(futures) == list(range(0, 20, 2))  # what was lost is computed again


def test_settings_reach_the_processes() -> None:
    with (
        DaskProcesses(
            workers=1, config={"DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS": "['run_function']"}
        ) as cluster,
        Client(cluster.address) as client,
        pytest.raises(ValueError, match="run_function"),
    ):
        client.run_on_scheduler(imports_taskloom)


def _workers(client: Client) -> list[dict[str, str]]:
    return list(client.scheduler_info(n_workers=-1)["workers"].values())
