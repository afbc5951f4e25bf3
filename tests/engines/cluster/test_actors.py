"""Actors on clusters of processes and of threads, beyond what both libraries promise."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taskloom
from taskloom.distributed import Actor, Client, Future, LocalCluster, get_client, get_worker


@pytest.fixture(scope="module", params=[True, False], ids=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=request.param) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def own() -> Iterator[Client]:
    """A client of processes of its own, for a test that ends some of them."""
    with Client(n_workers=2, threads_per_worker=1) as client:
        yield client


class Thing:
    def __init__(self, value: Any = None) -> None:
        self.value = value

    @property
    def shown(self) -> str:
        return f"<{self.value}>"

    def get(self) -> Any:
        return self.value

    def put(self, value: Any) -> None:
        self.value = value

    def where(self) -> str:
        return get_worker().name

    def pid(self) -> int:
        return os.getpid()

    def wait_for(self, started: str, path: str) -> str:
        Path(started).touch()
        while not os.path.exists(path):
            time.sleep(0.002)
        return path

    def ask_itself(self, proxy: Any) -> Any:
        return proxy.get().result()

    def submit(self, x: int) -> Any:
        return get_client().submit(abs, x, pure=False).result()

    def lock(self) -> Any:
        return threading.Lock()

    def fail(self, error: BaseException) -> None:
        raise error

    def total(self, array: Any) -> Any:
        return array * 2


def ask(actor: Any) -> Any:
    return actor.get().result()


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.01)
    return found


def make(client: Client, value: Any = None, **options: Any) -> Any:
    return client.submit(Thing, value, actor=True, **options).result()


# -- calls ------------------------------------------------------------------------------------------------------------


def test_it_lives_in_a_worker(client: Client) -> None:
    future = client.submit(Thing, actor=True, workers=["worker-1"])
    assert future.result().where().result() == "worker-1"
    assert client.who_has([future]) == {future.key: ("worker-1",)}


def test_properties_are_read_there(client: Client) -> None:
    assert make(client, 5).shown == "<5>"


def test_a_private_attribute_is_not_asked_for(client: Client) -> None:
    """Tools that show objects look for such by the dozen."""
    actor = make(client)
    with pytest.raises(AttributeError, match="_repr_html_"):
        actor._repr_html_  # noqa: B018


def test_attributes_are_not_set_from_here(client: Client) -> None:
    actor = make(client)
    with pytest.raises(AttributeError, match="set by its methods"):
        actor.value = 3


def test_an_actor_submits_tasks(client: Client) -> None:
    assert make(client).submit(-4).result() == 4


def test_an_actor_that_calls_itself_does_not_wait_for_itself(client: Client) -> None:
    actor = make(client, 8)
    assert actor.ask_itself(actor).result(timeout=10) == 8


def test_large_arrays_leave_no_open_files(client: Client) -> None:
    actor, array = make(client), np.ones(100_000)
    assert actor.total(array).result().sum() == 200_000
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert actor.total(array).result().sum() == 200_000
    for _ in range(20):
        actor.total(array)  # of which nobody takes the result
    actor.get().result()
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_a_result_is_asked_for_by_several_threads(client: Client, tmp_path: Path) -> None:
    actor = make(client)
    future = actor.wait_for(str(tmp_path / "started"), str(tmp_path / "gate"))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(future.result(timeout=10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    (tmp_path / "gate").touch()
    for thread in threads:
        thread.join(10)
    assert found == [str(tmp_path / "gate")] * 4


def test_what_cannot_be_pickled(cluster: LocalCluster, client: Client) -> None:
    actor = make(client)
    if not cluster.processes:
        lock = threading.Lock()
        actor.put(lock).result()
        assert actor.get().result() is lock
        return
    with pytest.raises(TypeError, match="pickle"):
        actor.put(threading.Lock())
    with pytest.raises(TypeError, match="pickle"):
        actor.lock().result()
    assert actor.get().result() is None


def test_an_interrupt_raised_by_a_method_does_not_end_the_actor(client: Client) -> None:
    actor = make(client, 3)
    with pytest.raises(KeyboardInterrupt):
        actor.fail(KeyboardInterrupt()).result()
    with pytest.raises(SystemExit):
        actor.fail(SystemExit(3)).result()
    assert actor.get().result() == 3


def test_a_cancelled_task_that_waits_for_an_actor_ends(client: Client, tmp_path: Path) -> None:
    actor = make(client, workers=["worker-0"])
    gate = str(tmp_path / "gate")

    def waits(actor: Any) -> Any:
        return actor.wait_for(str(tmp_path / "started"), gate).result()

    future = client.submit(waits, actor, workers=["worker-1"])
    until((tmp_path / "started").exists)
    future.cancel()
    until(lambda: not any(client.processing().values()))
    assert client.submit(abs, -2, workers=["worker-1"], pure=False).result() == 2
    Path(gate).touch()
    assert actor.get().result() is None


# -- proxies ----------------------------------------------------------------------------------------------------------


def test_proxies_of_one_actor_are_equal(client: Client) -> None:
    actor = make(client, 1)
    other = pickle.loads(pickle.dumps(actor))
    assert isinstance(other, Actor)
    assert other == actor == copy.copy(actor)
    assert {other: 1}[actor] == 1
    assert other != make(client, 1)
    assert other.get().result() == 1


def test_a_proxy_in_another_client(cluster: LocalCluster, client: Client) -> None:
    future = client.submit(Thing, 6, actor=True)
    future.result()
    with Client(cluster, set_as_default=False) as other:
        actor = Future(future.key, other).result()
        assert actor.get().result() == 6
        assert actor.client is other or not cluster.processes


def test_a_proxy_without_a_client(client: Client, own: Client) -> None:
    packed = pickle.dumps(make(own, 1))
    own.close()
    actor = pickle.loads(packed)
    with pytest.raises(taskloom.TaskloomError, match="open a client"):
        actor.get()


def test_an_actor_is_there_as_long_as_a_proxy(client: Client) -> None:
    actor = make(client, 9)
    key = actor.key
    assert client.submit(ask, actor, pure=False).result() == 9
    assert actor.get().result() == 9
    if client.cluster.processes:  # type: ignore[union-attr]  # between threads the object itself is there
        assert key in client.who_has()
    del actor
    until(lambda: not any(key in keys for keys in client.has_what().values()))


def test_a_released_actor_says_so(own: Client) -> None:
    actor = make(own, 9)
    packed = pickle.dumps(actor)
    key = actor.key
    del actor
    until(lambda: not any(key in keys for keys in own.has_what().values()))
    actor = pickle.loads(packed)
    until(actor._future.done)
    with pytest.raises(taskloom.distributed.FutureCancelledError, match="Thing"):
        actor.get()


def test_no_thread_outlives_its_actor() -> None:
    """Here the workers are threads of this process, in which those of actors can be counted."""

    def count() -> int:
        return len([thread for thread in threading.enumerate() if thread.name.startswith("taskloom-actor")])

    until(lambda: gc.collect() >= 0 and not count())  # the errors of other tests hold theirs
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        actors = client.gather(client.map(Coroutine, range(3), actor=True))
        assert [actor.get().result() for actor in actors] == [0, 1, 2]
        assert count() == 6
        del actors[1:]
        until(lambda: count() == 2)
        pending = actors[0].sleep()
    until(lambda: not count())
    with pytest.raises(BaseException):  # noqa: B017, PT011  # it was cancelled
        pending.result(timeout=10)
    with pytest.raises(taskloom.WorkerDied, match="gone"):
        actors[0].get().result()


class Coroutine:
    def __init__(self, value: int) -> None:
        self.value = value

    async def get(self) -> int:
        return self.value

    async def sleep(self) -> None:
        import asyncio

        await asyncio.sleep(60)


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_call_is_told_that_the_worker_died(own: Client, tmp_path: Path) -> None:
    actor = make(own, key="the-actor")
    pid = actor.pid().result()
    pending = [actor.wait_for(str(tmp_path / "started"), str(tmp_path / "gate")), actor.get()]
    until((tmp_path / "started").exists)
    os.kill(pid, signal.SIGKILL)
    for future in pending:
        with pytest.raises(taskloom.WorkerDied, match="'the-actor' is gone: its worker ended in the midst"):
            future.result(timeout=10)
    with pytest.raises(taskloom.WorkerDied, match="'the-actor' is gone"):
        actor.get().result(timeout=10)
    other = make(own, 2)
    assert other.get().result() == 2


def test_a_task_that_needs_a_lost_actor_fails(own: Client) -> None:
    future = own.submit(Thing, 1, actor=True, key="the-actor", workers=["worker-0"])
    os.kill(future.result().pid().result(), signal.SIGKILL)
    until(lambda: future.status == "error")
    with pytest.raises(taskloom.WorkerDied, match="'the-actor' is gone with worker 'worker-0'"):
        own.submit(ask, future).result(timeout=10)
    future.retry()
    assert future.result(timeout=10).get().result(timeout=10) == 1


def test_an_actor_does_not_survive_scaling_down(own: Client) -> None:
    future = own.submit(Thing, 1, actor=True, key="the-actor")
    cluster: Any = own.cluster
    future.result()
    cluster.scale(0)
    until(lambda: not own.scheduler_info()["workers"])
    with pytest.raises(taskloom.WorkerDied, match="'the-actor' is gone"):
        future.result(timeout=10)


def test_a_closed_cluster_ends_calls(tmp_path: Path) -> None:
    with Client(n_workers=1, threads_per_worker=1) as client:
        future = make(client).wait_for(str(tmp_path / "started"), str(tmp_path / "gate"))
    with pytest.raises(RuntimeError):
        future.result(timeout=10)


def test_an_actor_that_is_not_made_in_a_worker() -> None:
    from taskloom.engines.cluster.worker.actors import MakeActor

    with pytest.raises(taskloom.TaskloomError, match="only by a worker"):
        MakeActor(Thing)("key")
