"""Workers, connections and schedulers that go while tasks run."""

import threading
import time
from collections.abc import Callable
from operator import add
from typing import Any

import distributed
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import DaskProcesses

Soon = Callable[[Callable[[], Any]], Any]


def test_tasks_of_a_worker_that_dies_run_elsewhere(own: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(own.address) as client:
        futures = client.map(lambda i: time.sleep(0.1) or i, range(30))
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done > 5 and len(run.workers) == 2)
        own.kill("worker-0")
        assert sum(client.gather(futures)) == sum(range(30))
        soon(lambda: ends)
    assert (run.status, run.n_done, run.n_tasks) == ("finished", 30, 30)
    lost = next(worker for worker in run.workers if worker.name == "worker-0")
    assert lost.left is not None
    assert lost.left < run.duration
    assert all(run.tasks.stop)


def test_worker_that_joins_takes_its_part(own: DaskProcesses, soon: Soon, ends: list[Run]) -> None:
    with Client(own.address) as client:
        futures = client.map(lambda i: time.sleep(0.1), range(200), pure=False)
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done)
        own.start_worker("newcomer")
        soon(lambda: "newcomer" in [worker.name for worker in run.workers])
        newcomer = next(worker for worker in run.workers if worker.name == "newcomer")
        assert newcomer.joined > 0
        del futures


def test_restart_ends_the_run(own: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(own.address) as client:
        future = client.submit(time.sleep, 30)
        run = soon(taskloom.last_run)
        soon(lambda: run.running)
        client.restart(wait_for_workers=False)
        soon(lambda: ends)
        assert run.status == "cancelled"
        assert future.cancelled()
        own.start_worker("after")
        assert client.submit(add, 1, 2).result() == 3
        soon(lambda: len(ends) == 2)
        assert ends[1].n_done == 1


def test_scheduler_that_is_killed_ends_the_run(own: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    errors: list[BaseException] = []

    def get() -> None:
        try:
            client.get({"x": (time.sleep, 60)}, "x")
        except BaseException as error:
            errors.append(error)

    with Client(own.address, timeout=5) as client:
        future = client.submit(time.sleep, 59)
        caller = threading.Thread(target=get)
        caller.start()
        soon(lambda: taskloom.last_run() and len(taskloom.bus.runs[-2:]) == 2 and taskloom.last_run().n_tasks)
        own.kill("scheduler")
        caller.join(60)
        assert not caller.is_alive()
        assert isinstance(errors[0], distributed.client.FutureCancelledError)
        soon(lambda: len(ends) == 2)
        assert {run.status for run in ends} == {"cancelled"}
        assert future.cancelled()


@pytest.mark.parametrize("waits", [True, False])
def test_connection_that_breaks_is_made_again(shared: DaskProcesses, ends: list[Run], soon: Soon, waits: bool) -> None:
    with Client(shared.address) as client:
        assert client.submit(add, 1, 2).result() == 3
        client.loop.add_callback(client.scheduler_comm.comm.abort)
        soon(lambda: client.status == "running" and not client.scheduler_comm.closed())
        if waits:
            soon(lambda: ends)
        time.sleep(0.2)  # the client may submit by now; that it is told of the old connection's end takes longer
        assert client.get({"x": (add, 1, 2), "y": (add, "x", 1)}, "y") == 4
        soon(lambda: any(run.n_done == 2 and run.status == "finished" for run in ends))
