"""Schedulers that take no plugin are asked: what is recorded then, also when the connection breaks."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from operator import add
from pathlib import Path
from typing import Any

import distributed
import pytest

import taskloom
from taskloom.adapters.distributed import following
from taskloom.bus import Run
from taskloom.distributed import Client
from tests.adapters.clusters.processes import PATIENCE, DaskProcesses

from .conftest import DEADLINE
from .test_others import Onlooker
from .test_runs import Soon

REFUSE = """
def dask_setup(scheduler):
    def refuse(**_):
        raise ValueError("no plugins here")
    scheduler.handlers["register_scheduler_plugin"] = refuse
"""

pytestmark = pytest.mark.filterwarnings("ignore:The scheduler at .* takes no plugin:RuntimeWarning")

N = 137  # tasks of `graph`, and one for their sum


def graph(name: str) -> dict[Any, Any]:
    return {(name, i): (add, i, 1) for i in range(N)} | {name: (sum, [(name, i) for i in range(N)])}


TOTAL = sum(range(1, N + 1))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait longer for what a new connection tells: a slow scheduler is asked many things before."""
    monkeypatch.setattr(following, "LATE", DEADLINE)


@pytest.fixture(scope="module")
def refusing() -> Iterator[DaskProcesses]:
    """A cluster for tests that leave it as it was."""
    with DaskProcesses(preload=REFUSE) as cluster:
        yield cluster


@pytest.fixture
def client(refusing: DaskProcesses, ends: list[Run], soon: Soon) -> Iterator[Any]:
    with connected(refusing, ends, soon) as client:
        yield client


@contextmanager
def connected(cluster: DaskProcesses, ends: list[Run], soon: Soon) -> Iterator[Any]:
    """A client that has been refused."""
    with Client(cluster.address, timeout=PATIENCE) as client:
        client.submit(add, 1, 1, pure=False).result()  # by then the scheduler has answered
        soon(lambda: ends)
        ends.clear()
        yield client


class Gate:
    """Keeps a client from connecting again."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connect = client._ensure_connected
        self._may = threading.Event()
        self.reached = threading.Event()  # by then the client has given up what it had sent
        client._ensure_connected = self._connect_when_it_may

    async def _connect_when_it_may(self, **options: Any) -> None:
        self.reached.set()
        while not self._may.is_set():
            await asyncio.sleep(0.005)
        await self._connect(**options)

    def open(self) -> None:
        self._may.set()


def disconnect(client: Any) -> Gate:
    """Break the connection, which is not made again until the gate is opened."""
    gate = Gate(client)
    client.loop.add_callback(client.scheduler_comm.comm.abort)
    assert gate.reached.wait(DEADLINE)
    assert client.status == "connecting"
    return gate


@contextmanager
def in_thread(call: Callable[[], Any]) -> Iterator[Future[Any]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


def test_a_line_says_so_and_what_is_not_shown(refusing: DaskProcesses) -> None:
    with (
        pytest.warns(
            RuntimeWarning, match=r"takes no plugin of taskloom's .*no plugins here.* asked four times"
        ) as told,
        Client(refusing.address) as client,
    ):
        client.submit(add, 1, 1, pure=False).result()
    (line,) = [str(each.message) for each in told if "plugin" in str(each.message)]
    assert line.endswith("what other clients run is not.")
    assert "\n" not in line


def test_what_others_run_is_not_shown(client: Any, refusing: DaskProcesses, ends: list[Run], soon: Soon) -> None:
    onlooker = Onlooker()
    with taskloom.subscribe(onlooker), distributed.Client(refusing.address, set_as_default=False) as other:
        futures = client.map(lambda i: time.sleep(0.05) or i, range(10), pure=False)
        other.gather(other.map(lambda i: i, range(20), pure=False))
        client.gather(futures)
        soon(lambda: ends)
    assert [(run.status, run.n_done) for run in ends] == [("finished", 10)]
    assert not onlooker.seen


def test_runs_are_recorded(client: Any, ends: list[Run], soon: Soon, busy: Callable[[], None]) -> None:
    assert client.get({"x": (add, 1, 2), "y": (add, "x", 1)}, "y") == 4
    (run,) = ends
    assert (run.status, run.n_done, run.n_tasks) == ("finished", 2, 2)
    assert {worker.name for worker in run.workers} <= {"worker-0", "worker-1"}
    with pytest.raises(ZeroDivisionError) as caught:
        client.get({"a": (add, 1, -1), "b": (divmod, 1, "a"), "c": (add, "b", 1)}, "c")
    assert ends[1].failure is not None
    assert ends[1].failure.key == "b"
    assert caught.value.__notes__
    client.gather(client.map(lambda i: i, range(20), pure=False))
    soon(lambda: len(ends) == 3)
    assert ends[2].n_done == 20
    future = client.submit(busy, pure=False)
    soon(lambda: taskloom.runs[-1].running)
    future.cancel()
    soon(lambda: len(ends) == 4)
    assert ends[3].status == "cancelled"


def test_call_while_it_connects(client: Any, ends: list[Run], soon: Soon) -> None:
    gate = disconnect(client)
    with in_thread(lambda: client.get(graph("call"), "call")) as total:
        soon(lambda: taskloom.runs[-1].status == "running")
        gate.open()
        assert total.result(60) == TOTAL
    (run,) = soon(lambda: ends)
    assert (run.status, run.n_done, run.n_tasks) == ("finished", N + 1, N + 1)
    assert all(0 <= start <= stop for start, stop in zip(run.tasks.start, run.tasks.stop, strict=True))
    assert len(run.workers) == 2


def test_futures_while_it_connects(client: Any, ends: list[Run], soon: Soon) -> None:
    gate = disconnect(client)
    futures = client.map(lambda i: i, range(20), pure=False)
    futures += client.map(lambda i: i, range(30), pure=False)
    gate.open()
    assert len(client.gather(futures)) == 50
    (run,) = soon(lambda: ends)
    assert (run.status, run.n_done, run.n_tasks) == ("finished", 50, 50)
    assert len(run.workers) == 2


def test_failure_while_it_connects(client: Any, ends: list[Run], soon: Soon) -> None:
    gate = disconnect(client)
    broken = {"a": (add, 1, -1), "b": (divmod, 1, "a"), "c": (add, "b", 1)}
    with in_thread(lambda: client.get(broken, "c")) as answer:
        soon(lambda: taskloom.runs[-1].status == "running")
        gate.open()
        assert isinstance(answer.exception(60), ZeroDivisionError)
    (run,) = soon(lambda: ends)
    assert run.failure is not None
    assert (run.status, run.failure.key, run.n_done) == ("failed", "b", 1)


def test_futures_are_lost_with_the_connection(
    client: Any, ends: list[Run], soon: Soon, busy: Callable[[], None], tmp_path: Path
) -> None:
    with in_thread(lambda: client.get({"long": (busy,)}, "long")) as answer:
        future = client.submit(busy, pure=False)
        soon(lambda: sum(len(run.running) for run in taskloom.runs[-2:]) == 2)
        gate = disconnect(client)
        assert "scheduler-connection-lost" in str(answer.exception(60))
    gate.open()
    soon(lambda: len(ends) == 2)
    assert {(run.status, run.n_done) for run in ends} == {("cancelled", 0)}
    assert future.cancelled()
    (tmp_path / "over").touch()
    assert client.get(graph("after"), "after") == TOTAL
    assert (ends[2].status, ends[2].n_done, ends[2].n_tasks) == ("finished", N + 1, N + 1)


def test_connection_that_breaks_again_and_again(client: Any, ends: list[Run], soon: Soon) -> None:
    for number in range(5):
        comm = soon(lambda: client.status == "running" and client.scheduler_comm)
        client.loop.add_callback(comm.comm.abort)
        if number % 2:
            soon(lambda comm=comm: client.scheduler_comm is not comm)
        try:
            value = client.get(graph(f"again-{number}"), f"again-{number}")
        except distributed.client.FutureCancelledError:
            value = None
        run = ends[-1]
        if value is None:
            assert run.status == "cancelled"
        else:
            assert (value, run.status, run.n_done, run.n_tasks) == (TOTAL, "finished", N + 1, N + 1)
    soon(lambda: client.status == "running")
    assert len(ends) == 5


def test_scheduler_that_is_slow_to_answer(client: Any, ends: list[Run]) -> None:
    def identify_slowly(dask_scheduler: Any) -> None:
        async def identity(*args: Any, **options: Any) -> Any:
            await asyncio.sleep(2.5)
            return plain(*args, **options)

        plain = dask_scheduler.handlers["identity"]
        dask_scheduler.handlers["identity"] = identity

    def identify(dask_scheduler: Any) -> None:
        dask_scheduler.handlers["identity"] = dask_scheduler.identity

    client.run_on_scheduler(identify_slowly)
    try:
        assert client.get(graph("slow"), "slow") == TOTAL
    finally:
        client.run_on_scheduler(identify)
    (run,) = ends
    assert (run.status, run.n_done, run.n_tasks) == ("finished", N + 1, N + 1)


def test_scheduler_that_comes_back(ends: list[Run], soon: Soon) -> None:
    with DaskProcesses(preload=REFUSE, workers=1) as own, connected(own, ends, soon) as client:
        lost = client.map(lambda i: time.sleep(0.2) or i, range(1000))
        run = soon(taskloom.last_run)
        soon(lambda: run.n_done)
        for name in ("scheduler", *own.workers):
            own.kill(name)
        soon(lambda: client.status == "connecting")
        with in_thread(lambda: client.get(graph("back"), "back")) as total:
            own.start_scheduler(port=int(own.address.rpartition(":")[2]))
            own.start_worker("fresh")
            assert total.result(2 * PATIENCE) == TOTAL
        soon(lambda: len(ends) == 2)
        assert run.status == "cancelled"
        assert run.n_done < 1000
        last = next(each for each in ends if each is not run)
        assert (last.status, last.n_done, last.n_tasks) == ("finished", N + 1, N + 1)
        assert [worker.name for worker in last.workers] == ["fresh"]
        assert all(future.status == "cancelled" for future in lost)
