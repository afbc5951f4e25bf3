"""Workers, connections and schedulers that go while tasks run."""

import asyncio
import threading
import time
from collections.abc import Callable
from operator import add
from pathlib import Path
from typing import Any

import distributed
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import PATIENCE, DaskProcesses

from .conftest import DEADLINE

Soon = Callable[[Callable[[], Any]], Any]


def test_tasks_of_a_worker_that_dies_run_elsewhere(
    own: DaskProcesses, ends: list[Run], soon: Soon, busy: Callable[[], None], tmp_path: Path
) -> None:
    with Client(own.address) as client:
        quick = client.map(lambda i: i, range(10))
        after = client.submit(sum, quick)
        futures = quick + client.map(lambda i, after: busy() or i, range(10, 30), after=after)
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done == 11 and {worker for worker, _, _ in run.running} == {0, 1})
        own.kill("worker-0")
        (tmp_path / "over").touch()
        assert sum(client.gather(futures)) == sum(range(30))
        soon(lambda: ends)
    assert (run.status, run.n_done, run.n_tasks) == ("finished", 31, 31)
    lost = next(worker for worker in run.workers if worker.name == "worker-0")
    assert lost.left is not None
    assert lost.left < run.duration
    assert all(run.tasks.stop)


def test_worker_that_joins_takes_its_part(own: DaskProcesses, soon: Soon, ends: list[Run]) -> None:
    with Client(own.address) as client:
        futures = client.map(lambda i: time.sleep(0.1), range(2000), pure=False)
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done)
        own.start_worker("newcomer")
        own.wait_for_workers(3)
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
        soon(lambda: sum(len(run.running) for run in taskloom.runs[-2:]) == 2)
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
        comm = client.scheduler_comm
        client.loop.add_callback(comm.comm.abort)
        soon(lambda: client.status == "running" and client.scheduler_comm not in (None, comm))
        if waits:
            soon(lambda: ends)
        assert client.get({"x": (add, 1, 2), "y": (add, "x", 1)}, "y") == 4
        soon(lambda: any(run.n_done == 2 and run.status == "finished" for run in ends))


def test_what_is_submitted_while_it_connects_is_recorded(shared: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(shared.address) as client:
        connect, may_connect, reached = client._ensure_connected, threading.Event(), threading.Event()

        async def connect_when_it_may(**options: Any) -> None:
            reached.set()  # by now the client has given up what it had sent
            while not may_connect.is_set():
                await asyncio.sleep(0.01)
            await connect(**options)

        client._ensure_connected = connect_when_it_may
        client.loop.add_callback(client.scheduler_comm.comm.abort)
        assert reached.wait(DEADLINE)
        assert client.status == "connecting"
        futures = client.map(lambda i: i, range(5), pure=False)
        may_connect.set()
        assert client.gather(futures) == list(range(5))
        (run,) = soon(lambda: ends)
    assert (run.status, run.n_done, run.n_tasks) == ("finished", 5, 5)


def test_scheduler_that_comes_back(own: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    with Client(own.address, timeout=PATIENCE) as client:
        lost = client.map(lambda i: time.sleep(0.2) or i, range(1000))
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done)
        for name in ("scheduler", *own.workers):
            own.kill(name)
        own.start_scheduler(port=int(own.address.rpartition(":")[2]))
        own.start_worker("fresh")
        soon(lambda: run.status == "cancelled" and client.status == "running")
        assert client.get({"x": (add, 1, 2), "y": (add, "x", 1)}, "y") == 4
        last = ends[-1]
        assert (last.status, last.n_done) == ("finished", 2)
        assert [worker.name for worker in last.workers] == ["fresh"]
        assert all(future.status in ("cancelled", "finished") for future in lost)


def test_futures_that_go_before_a_slow_scheduler_has_told_of_them(client: Any, ends: list[Run], soon: Soon) -> None:
    class Slow:
        def __dask_tokenize__(self) -> float:
            return time.time()

        def __reduce__(self) -> Any:
            return time.sleep, (1.5,)

    future = client.submit(str, Slow())
    del future
    (run,) = soon(lambda: ends)
    assert run.n_tasks == 1
    assert (run.status, run.n_done) in [("cancelled", 0), ("finished", 1)]


def test_futures_of_what_the_scheduler_cannot_read(client: Any, ends: list[Run], soon: Soon) -> None:
    class Unreadable:
        def __dask_tokenize__(self) -> float:
            return time.time()

        def __reduce__(self) -> Any:
            return divmod, (1, 0)

    future = client.submit(str, Unreadable())
    assert "deserializ" in str(future.exception())
    (run,) = soon(lambda: ends)
    assert (run.status, run.n_tasks) == ("failed", 0)
