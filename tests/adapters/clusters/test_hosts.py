"""A cluster of three hosts, each with an address of its own: what goes on between them and when one is cut off."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array
import numpy
import pytest
from distributed import Client, wait

import taskloom
import taskloom.distributed
from tests.adapters.clusters import hosts as network
from tests.adapters.clusters.processes import PATIENCE, REPOSITORY, DaskProcesses, Host, wait_for
from tests.adapters.clusters.tasks import bytes_received, when_all_may

#: How soon silence is taken for loss: the defaults are half a minute and five minutes. Of TCP dask wants at least 11 s.
IMPATIENT = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "4s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "4s",
}


@pytest.fixture
def cluster(three_hosts: list[Host]) -> Iterator[DaskProcesses]:
    """The scheduler on the first host, and a worker on each of the others."""
    first, *others = three_hosts
    with DaskProcesses(workers=0, host=first, config=IMPATIENT) as cluster:
        for number, host in enumerate(others):
            cluster.start_worker(f"worker-{number}", host)
        cluster.wait_for_workers(2)
        yield cluster


def test_data_moves_between_the_hosts(cluster: DaskProcesses, three_hosts: list[Host]) -> None:
    numbers = numpy.arange(10_000.0).reshape(100, 100)
    array = dask.array.from_array(numbers, chunks=(50, 50))
    with Client(cluster.address) as client:
        here = client.persist(array, workers=["worker-0"])
        there = client.persist(array.T, workers=["worker-1"])
        wait([here, there])
        numpy.testing.assert_allclose((here @ there).compute(), numbers @ numbers.T)
        addresses = {address.split("/")[2].partition(":")[0] for address in client.scheduler_info()["workers"]}
        moved = sum(client.run(bytes_received).values())
    assert addresses == {host.address for host in three_hosts[1:]}
    assert moved >= numbers.nbytes // 2


def test_what_moves_between_the_hosts_is_in_the_record(cluster: DaskProcesses) -> None:
    with taskloom.distributed.Client(cluster.address) as client:
        block = client.submit(bytes, 10_000_000, workers=["worker-0"], pure=False)
        size = client.submit(len, block, workers=["worker-1"], pure=False)
        assert size.result(timeout=PATIENCE) == 10_000_000
        run = _ended()
    (move,) = run.transfers
    assert [run.workers[worker].name for worker in (move.source, move.target)] == ["worker-0", "worker-1"]
    assert run.graph.keys[move.task] == block.key
    assert move.nbytes >= 10_000_000


def test_a_run_does_without_a_host_that_is_cut_off_and_its_record_says_so(
    cluster: DaskProcesses, three_hosts: list[Host], tmp_path: Path
) -> None:
    numbers = dask.array.arange(800, chunks=100)
    with taskloom.distributed.Client(cluster.address) as client:
        waiting = numbers.map_blocks(when_all_may, tmp_path, dtype=numbers.dtype)
        total = client.compute(waiting.sum(), optimize_graph=False)  # so that either host has made some numbers
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2, lambda: "no task runs on one of the hosts")
        network.unplug(three_hosts[2])
        (tmp_path / "go").touch()
        assert total.result(timeout=PATIENCE) == sum(range(800))
        run = _ended()
    assert run.status == "finished"
    assert run.n_done == run.n_tasks == len(run.graph.keys)
    assert {worker.name: worker.left < run.duration for worker in run.workers} == {"worker-0": False, "worker-1": True}


def test_the_record_of_a_run_ends_when_the_scheduler_is_cut_off(
    cluster: DaskProcesses, three_hosts: list[Host], tmp_path: Path
) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.tcp": "12s", "distributed.comm.timeouts.connect": "4s"}),
        taskloom.distributed.Client(cluster.address) as client,
    ):
        future = client.submit(when_all_may, 1, tmp_path, pure=False)
        wait_for(lambda: list(tmp_path.iterdir()), lambda: "no task runs")
        wait_for(lambda: taskloom.last_run().running, lambda: "nobody was told of it")
        network.unplug(three_hosts[0])
        run = _ended()
        del future
    assert run.status == "cancelled"
    assert (run.n_done, run.n_tasks) == (0, 1)


def test_tasks_are_in_the_record_by_our_clock_whatever_that_of_their_host(three_hosts: list[Host]) -> None:
    first, second, third = three_hosts
    with DaskProcesses(workers=0, host=first._replace(clock_ahead=50)) as cluster:
        cluster.start_worker("ahead", second._replace(clock_ahead=100))
        cluster.start_worker("behind", third._replace(clock_ahead=-100))
        cluster.wait_for_workers(2)
        with taskloom.distributed.Client(cluster.address) as client:
            naps = [client.submit(time.sleep, 0.3, workers=[name], pure=False) for name in ("ahead", "behind")]
            client.gather(naps)
            run = _ended()
    assert abs(run.started - time.time()) < PATIENCE
    for start, stop in zip(run.tasks.start, run.tasks.stop, strict=True):
        assert 0 <= start < stop <= run.duration
        assert 0.29 < stop - start < 10


def test_the_clocks_of_hosts_may_differ(three_hosts: list[Host]) -> None:
    first, second, third = three_hosts
    with DaskProcesses(workers=0, host=first) as cluster, Client(cluster.address) as client:
        cluster.start_worker("ahead", second._replace(clock_ahead=100))
        cluster.start_worker("behind", third._replace(clock_ahead=-100))
        cluster.wait_for_workers(2)
        told = {name: client.submit(time.time, workers=[name], pure=False).result() for name in ("ahead", "behind")}
    assert told["ahead"] - time.time() == pytest.approx(100, abs=40)
    assert told["behind"] - time.time() == pytest.approx(-100, abs=40)


def test_hosts_that_a_killed_process_left_are_removed_by_the_next(three_hosts: list[Host]) -> None:
    program = "from tests.adapters.clusters.hosts import hosts, OURS\nwith hosts(1): print(OURS, flush=True); input()"
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY) as process:
        assert process.stdout
        prefix = process.stdout.readline().strip()
        process.kill()
    assert any(name.startswith(prefix) for name in os.listdir("/var/run/netns"))
    subprocess.run(command, input="\n", check=True, text=True, capture_output=True, cwd=REPOSITORY, timeout=PATIENCE)
    assert not any(name.startswith(prefix) for name in [*os.listdir("/var/run/netns"), *os.listdir("/sys/class/net")])
    assert any(name.startswith(network.OURS) for name in os.listdir("/var/run/netns"))


def _ended() -> taskloom.Run:
    """The newest run, as soon as it has ended."""
    run = taskloom.last_run()
    assert run
    wait_for(lambda: run.status != "running", lambda: f"it goes on: {run}")
    return run
