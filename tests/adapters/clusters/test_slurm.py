"""dask-jobqueue on a real SLURM: its workers are jobs, and they have dask only."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.array
import numpy
import psutil
import pytest
from dask_jobqueue import SLURMCluster
from distributed import Client

from tests.adapters.clusters.processes import ONLY_DASK, PATIENCE, REPOSITORY, wait_for
from tests.adapters.clusters.slurm import jobs, missing, slurm
from tests.adapters.clusters.tasks import slurm_job


@pytest.fixture(scope="module")
def slurm_is_there() -> Iterator[None]:
    if missing():
        pytest.skip(f"SLURM is not installed (no {missing()}): as root on Debian, make slurm installs it")
    with slurm():
        yield


@pytest.fixture
def cluster(slurm_is_there: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SLURMCluster]:
    """A cluster of two jobs; sbatch hands this environment on to them."""
    monkeypatch.setenv("PYTHONPATH", ONLY_DASK)
    with SLURMCluster(
        job_name="loom",
        cores=1,
        memory="1GiB",
        interface="lo",
        local_directory=str(tmp_path),
        log_directory=str(tmp_path),
        scheduler_options={"dashboard": False},
    ) as cluster:
        cluster.scale(jobs=2)
        yield cluster
    wait_for(lambda: not jobs(), lambda: f"jobs that are still there: {jobs()}")


def test_collections_are_computed_as_numpy_does(cluster: SLURMCluster) -> None:
    numbers = numpy.arange(10_000.0).reshape(100, 100)
    array = dask.array.from_array(numbers, chunks=(20, 20))
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        assert jobs() == ["loom", "loom"]
        assert set(client.run(slurm_job).values()) == {"loom"}
        numpy.testing.assert_allclose((array @ array.T).sum(axis=0).compute(), (numbers @ numbers.T).sum(axis=0))


def test_jobs_come_and_go_with_the_size_of_the_cluster(cluster: SLURMCluster) -> None:
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        cluster.scale(jobs=1)
        wait_for(lambda: len(jobs()) == 1, lambda: f"jobs that are still there: {jobs()}")
        assert client.submit(slurm_job).result(timeout=PATIENCE) == "loom"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_slurm_ends_with_the_process_that_started_it(slurm_is_there: None, end: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.adapters.clusters.slurm", "sh", "-c", "echo $SLURM_CONF; exec cat"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True, cwd=REPOSITORY) as process:  # at its end cat has read all
        assert process.stdout
        folder = Path(process.stdout.readline().strip()).parent
        started = psutil.Process(process.pid).children()
        assert {"munged", "slurmctld", "slurmd"} < {child.name() for child in started}
        process.send_signal(end)
    assert not psutil.wait_procs(started, timeout=PATIENCE)[1]
    assert folder.name.startswith("slurm-")
    if end == signal.SIGKILL:
        shutil.rmtree(folder)
    assert not folder.exists()
