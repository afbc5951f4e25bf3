"""dask-jobqueue on a real SLURM: its workers are jobs, and they have dask only."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import dask.array
import nbclient
import nbformat
import numpy
import psutil
import pytest
from dask_jobqueue import SLURMCluster
from distributed import Client

import taskloom
import taskloom.distributed
from tests.adapters.clusters.processes import ONLY_DASK, PATIENCE, REPOSITORY, wait_for
from tests.adapters.clusters.slurm import jobs, missing, slurm
from tests.adapters.clusters.tasks import slurm_job

OPTIONS = {
    "job_name": "loom",
    "cores": 1,
    "memory": "1GiB",
    "interface": "lo",
    "job_script_prologue": [f"export PYTHONPATH={ONLY_DASK}"],
    "scheduler_options": {"dashboard": False},
}


def places(folder: Path) -> dict[str, str]:
    """Where workers put their files and SLURM what they say."""
    return {"local_directory": str(folder), "log_directory": str(folder)}


@pytest.fixture(scope="module")
def slurm_is_there() -> Iterator[None]:
    if missing():
        pytest.skip(f"SLURM is not installed (no {missing()}): as root on Debian, make slurm installs it")
    with slurm():
        yield


@pytest.fixture(scope="module")
def cluster_of_module(slurm_is_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SLURMCluster]:
    """A cluster without jobs."""
    with SLURMCluster(**OPTIONS, **places(tmp_path_factory.mktemp("jobs"))) as cluster:
        yield cluster
    wait_for(lambda: not jobs(), lambda: f"jobs that are still there: {jobs()}")


@pytest.fixture
def cluster(cluster_of_module: SLURMCluster) -> SLURMCluster:
    """A cluster of two jobs."""
    cluster_of_module.scale(jobs=2)
    cluster_of_module.wait_for_workers(2, timeout=PATIENCE)
    return cluster_of_module


def test_collections_are_computed_as_numpy_does(cluster: SLURMCluster) -> None:
    numbers = numpy.arange(10_000.0).reshape(100, 100)
    array = dask.array.from_array(numbers, chunks=(20, 20))
    with Client(cluster) as client:
        assert jobs() == ["loom", "loom"]
        assert set(client.run(slurm_job).values()) == {"loom"}
        numpy.testing.assert_allclose((array @ array.T).sum(axis=0).compute(), (numbers @ numbers.T).sum(axis=0))


def test_jobs_come_and_go_with_the_size_of_the_cluster(cluster: SLURMCluster) -> None:
    with Client(cluster) as client:
        cluster.scale(jobs=1)
        wait_for(lambda: len(jobs()) == 1, lambda: f"jobs that are still there: {jobs()}")
        assert client.submit(slurm_job).result(timeout=PATIENCE) == "loom"


def test_runs_on_jobs_are_recorded(cluster: SLURMCluster) -> None:
    with taskloom.distributed.Client(cluster):
        assert dask.array.arange(1000, chunks=10).sum().compute() == sum(range(1000))
        run = taskloom.last_run()
    assert run
    assert (run.engine, run.status) == ("dask.distributed", "finished")
    assert run.n_done == run.n_tasks == len(run.graph.keys) > 100
    assert {worker.name for worker in run.workers} == {"SLURMCluster-0", "SLURMCluster-1"}
    assert all(worker.pid != os.getpid() for worker in run.workers)


#: What a person does who has outgrown a machine: the cluster is another one, and the rest as it was.
CELLS = {
    "load": "%load_ext taskloom",
    "cluster": """
        import dask.array as da
        from dask_jobqueue import SLURMCluster
        from taskloom.distributed import Client
        cluster = SLURMCluster(**{options})
        cluster.scale(jobs=1)
        client = Client(cluster)
    """,
    "dashboard": "%dashboard",
    "compute": "print(da.arange(1000, chunks=10).sum().compute())",
    "graph": "%%graph\nda.arange(40, chunks=10).sum().compute()",
    "close": "client.close(); cluster.close()",
}


def test_a_notebook_shows_what_the_jobs_do(slurm_is_there: None, tmp_path: Path) -> None:
    options = OPTIONS | places(tmp_path) | {"job_name": "notebook"}
    sources = [textwrap.dedent(cell).strip().format(options=options) for cell in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    shown = {name: str(cell.outputs) for name, cell in zip(CELLS, notebook.cells, strict=True)}
    assert str(sum(range(1000))) in shown["compute"]
    assert "taskloom-progress" in shown["compute"]
    assert re.search(r"dask.distributed · (\d+)/\1 tasks · finished", shown["dashboard"])
    assert "data:image/svg+xml;base64," in shown["dashboard"]
    assert "taskloom-graph" in shown["graph"]
    wait_for(lambda: "notebook" not in jobs(), lambda: f"jobs that are still there: {jobs()}")


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
