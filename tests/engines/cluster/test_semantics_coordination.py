"""What clients share beside tasks, against both libraries: locks, events, queues, variables, datasets and topics.

Where taskloom differs on purpose, the test asks `side.is_ours`, and its name is in `DIFFERENCES` with the reason.
"""

# ruff: noqa: F811 - fixtures are imported

import asyncio
import contextlib
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

import taskloom.distributed

from .sides import (  # noqa: F401
    QUIET,
    Side,
    asking,
    client,
    cluster,
    gate,
    in_loop,
    inc,
    limit,
    shared,
    side,
    until,
    wait_for,
    workers,
)

pytestmark = QUIET

DIFFERENCES = {
    "test_a_closed_queue_is_empty": "close() is for all; dask keeps the queue for other objects of that name",
    "test_a_queue_takes_any_value": "a list stays one; dask makes it a tuple",
    "test_a_semaphore_that_was_closed_says_so": "those who wait get an error; dask lets them wait",
    "test_events_take_any_value": "whatever can be pickled; dask takes what msgpack takes",
    "test_multilocks_that_were_not_had": "an object that has not acquired is not locked; dask says that it is",
    "test_so_many_values_in_time": "a number and a timeout go together; dask refuses that",
}


def here(is_ours: bool) -> Any:
    """The library, inside of a task."""
    return taskloom.distributed if is_ours else distributed


@pytest.fixture
def other(side: Side, cluster: Any) -> Iterator[Any]:
    """A second client."""
    with side.Client(cluster, set_as_default=False) as client:
        yield client


@contextlib.contextmanager
def in_thread(function: Any, *args: Any) -> Iterator[list[Any]]:
    """A call in a thread of its own; the list has what it returned, or raised, at the end of the block."""
    results: list[Any] = []

    def call() -> None:
        try:
            results.append(function(*args))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    yield results
    thread.join()


# -- locks -------------------------------------------------------------------------------------------------------------


def test_a_lock_is_had_by_one(side: Side, client: Any) -> None:
    lock = side.Lock("one")
    assert lock.acquire()
    assert not side.Lock("one").acquire(timeout=0.05)
    lock.release()
    assert side.Lock("one").acquire(timeout="10s")


def test_a_lock_is_tried(side: Side, client: Any) -> None:
    first, second = side.Lock("tried"), side.Lock("tried")
    assert first.acquire(blocking=False)
    assert not second.acquire(blocking=False)
    first.release()
    assert second.acquire(blocking=False)
    second.release()


def test_a_lock_that_is_only_tried_has_no_timeout(side: Side, client: Any) -> None:
    with pytest.raises(ValueError, match="non-blocking"):
        side.Lock("either").acquire(blocking=False, timeout=1)


def test_a_lock_is_locked(side: Side, client: Any) -> None:
    lock = side.Lock("locked")
    assert not lock.locked()
    with lock:
        assert side.Lock("locked").locked()
    assert not lock.locked()


def test_a_lock_that_nobody_has_cannot_be_released(side: Side, client: Any) -> None:
    with pytest.raises(RuntimeError, match="Released too often"):
        side.Lock("free").release()


def test_locks_have_names(side: Side, client: Any) -> None:
    first, second = side.Lock(), side.Lock()
    assert isinstance(first.name, str)
    assert first.name != second.name
    with first, second:
        pass


def test_a_lock_goes_into_tasks(side: Side, client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "count")
    Path(path).write_text("0")

    def count(_: int, lock: Any) -> None:
        with lock:
            n = int(Path(path).read_text())
            time.sleep(0.001)
            Path(path).write_text(str(n + 1))

    client.gather([client.submit(count, i, side.Lock("counting")) for i in range(20)])
    assert Path(path).read_text() == "20"


def test_a_lock_is_made_inside_of_tasks(side: Side, client: Any) -> None:
    def try_it(is_ours: bool) -> bool:
        return here(is_ours).Lock("inside").acquire(timeout=0.05)

    with side.Lock("inside"):
        assert not client.submit(try_it, side.is_ours, pure=False).result()
    assert client.submit(try_it, side.is_ours, pure=False).result()


def test_a_lock_waits_for_the_one_before(side: Side, client: Any) -> None:
    lock = side.Lock("next")
    lock.acquire()
    with in_thread(side.Lock("next").acquire, True, 10) as results:
        lock.release()
    assert results == [True]


def test_a_lock_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            lock = side.Lock("loop")
            async with lock:
                return await lock.locked()

    assert in_loop(side, cluster, steps)


def test_a_pickled_lock_is_the_same(side: Side, client: Any) -> None:
    lock = side.Lock("pickled")
    with lock:
        assert not pickle.loads(pickle.dumps(lock)).acquire(blocking=False)


# -- semaphores --------------------------------------------------------------------------------------------------------


def test_so_many_leases(side: Side, client: Any) -> None:
    semaphore = side.Semaphore(max_leases=2, name="two")
    assert semaphore.acquire()
    assert semaphore.acquire()
    assert not semaphore.acquire(timeout=0.05)
    assert semaphore.release() is True
    assert semaphore.acquire(timeout=10)
    semaphore.release()
    semaphore.release()
    semaphore.close()


def test_leases_are_counted(side: Side, client: Any) -> None:
    semaphore = side.Semaphore(3, "counted")
    assert semaphore.get_value() == 0
    with semaphore, semaphore:
        assert semaphore.get_value() == 2
    assert semaphore.get_value() == 0
    semaphore.close()


def test_leases_given_back_too_often(side: Side, client: Any) -> None:
    semaphore = side.Semaphore(2, "often")
    with pytest.raises(RuntimeError, match="Released too often"):
        semaphore.release()


def test_semaphores_of_a_name_are_equal(side: Side, client: Any) -> None:
    first = side.Semaphore(2, "equal")
    first.acquire()
    with pytest.raises(ValueError, match="Inconsistent max leases"):
        side.Semaphore(3, "equal").acquire()
    first.release()
    first.close()


def test_a_semaphore_goes_into_tasks(side: Side, client: Any, tmp_path: Path) -> None:
    path = str(tmp_path)
    semaphore = side.Semaphore(1, "in-tasks")

    def enter(i: int, semaphore: Any) -> int:
        with semaphore:
            file = Path(path, "inside")
            assert not file.exists()
            file.touch()
            time.sleep(0.002)
            file.unlink()
        return i

    assert client.gather(client.map(enter, range(10), semaphore=semaphore)) == list(range(10))
    semaphore.close()


def test_a_pickled_semaphore_has_its_number(side: Side, client: Any) -> None:
    semaphore = pickle.loads(pickle.dumps(side.Semaphore(7, "seven")))
    assert (semaphore.name, semaphore.max_leases) == ("seven", 7)


def test_a_semaphore_that_was_closed_says_so(side: Side, client: Any) -> None:
    semaphore = side.Semaphore(1, "closed")
    semaphore.acquire()
    if side.is_ours:
        other = side.Semaphore(1, "closed")
        other.register()  # or it would make a new one, if it came after that
        with in_thread(other.acquire) as results:
            semaphore.close()
        assert isinstance(results[0], RuntimeError)
    else:
        semaphore.close()
    with pytest.raises(RuntimeError, match="not known"):
        semaphore.acquire()


def test_a_semaphore_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            semaphore = await side.Semaphore(2, "in-loop")
            async with semaphore:
                value = await semaphore.get_value()
            await semaphore.close()
            return value

    assert in_loop(side, cluster, steps) == 1


# -- several locks -----------------------------------------------------------------------------------------------------


def test_several_locks(side: Side, client: Any) -> None:
    with side.MultiLock(["x", "y"]) as lock:
        assert lock.locked()
        assert side.MultiLock(["z"]).acquire(timeout=10)
        other = side.MultiLock(["y", "w"])
        with in_thread(other.acquire) as results:
            lock.release()
        assert results == [True]
        other.release()
        lock.acquire()


def test_some_of_several_locks(side: Side, client: Any) -> None:
    with side.MultiLock(["some-1", "some-2"]):
        lock = side.MultiLock(["some-1", "some-3"])
        assert lock.acquire(num_locks=1, timeout=10)
        lock.release()


def test_several_locks_of_others(side: Side, client: Any) -> None:
    lock = side.MultiLock(["not-mine"])
    with pytest.raises(ValueError, match="not yet acquired"):
        lock.release()


def test_multilocks_that_were_not_had(side: Side, client: Any) -> None:
    with side.MultiLock(["had"]):
        lock = side.MultiLock(["had"])
        assert not lock.acquire(timeout=0.05)
        if side.is_ours:
            assert not lock.locked()
        else:
            assert lock.locked()


# -- events ------------------------------------------------------------------------------------------------------------


def test_an_event_is_set_and_cleared(side: Side, client: Any) -> None:
    event = side.Event("set")
    assert not event.is_set()
    event.set()
    assert side.Event("set").is_set()
    assert event.wait(timeout=10)
    event.clear()
    assert not event.is_set()


def test_an_event_is_not_set_in_time(side: Side, client: Any) -> None:
    assert side.Event("never").wait(timeout="20ms") is False


def test_an_event_lets_tasks_go_on(side: Side, client: Any) -> None:
    event = side.Event("go")
    futures = [client.submit(event.wait, 10, pure=False) for _ in range(2)]
    event.set()
    assert client.gather(futures) == [True, True]
    event.clear()


def test_an_event_is_set_by_a_task(side: Side, client: Any) -> None:
    event = side.Event("by-task")
    future = client.submit(event.set)
    assert event.wait(timeout=10)
    future.result()
    event.clear()


def test_an_event_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            event = await side.Event("in-loop")
            waiting = asyncio.ensure_future(event.wait(10))
            await event.set()
            result = await waiting, await event.is_set()
            await event.clear()
            return result

    assert in_loop(side, cluster, steps) == (True, True)


# -- queues ------------------------------------------------------------------------------------------------------------


def test_values_are_queued_in_order(side: Side, client: Any) -> None:
    queue = side.Queue("order")
    for i in range(5):
        queue.put(i)
    assert queue.qsize() == 5
    assert [queue.get() for _ in range(5)] == list(range(5))
    assert queue.qsize() == 0


def test_futures_are_queued(side: Side, client: Any) -> None:
    queue = side.Queue("futures")
    queue.put(client.submit(inc, 10))
    future = queue.get()
    assert isinstance(future, side.Future)
    assert future.result() == 11


def test_futures_of_failures_are_queued(side: Side, client: Any) -> None:
    queue = side.Queue("failures")
    queue.put(client.submit(int, "no number"))
    future = queue.get()
    with pytest.raises(ValueError, match="invalid literal"):
        future.result()


def test_a_future_in_a_queue_is_kept(side: Side, client: Any, other: Any) -> None:
    queue = side.Queue("kept")
    future = client.submit(inc, 20)
    future.result()
    queue.put(future)
    del future
    assert side.Queue("kept", client=other).get().result() == 21


def test_an_empty_queue_says_so_in_time(side: Side, client: Any) -> None:
    with pytest.raises(side.TimeoutError):
        side.Queue("empty").get(timeout=0.05)


def test_a_full_queue_says_so_in_time(side: Side, client: Any) -> None:
    queue = side.Queue("full", maxsize=2)
    queue.put(1)
    queue.put(2)
    with pytest.raises(side.TimeoutError):
        queue.put(3, timeout="50ms")
    assert queue.get() == 1
    queue.put(3, timeout=10)
    assert queue.get(batch=True) == [2, 3]


def test_a_put_waits_for_room(side: Side, client: Any) -> None:
    queue = side.Queue("room", maxsize=1)
    queue.put(1)
    with in_thread(side.Queue("room").put, 2):
        assert [queue.get(timeout=10), queue.get(timeout=10)] == [1, 2]


def test_a_get_waits_for_a_value(side: Side, client: Any) -> None:
    queue = side.Queue("later")
    with in_thread(side.Queue("later").get, 10) as results:
        queue.put("value")
    assert results == ["value"]


def test_all_values_at_once(side: Side, client: Any) -> None:
    queue = side.Queue("all")
    assert queue.get(batch=True) == []
    for i in range(3):
        queue.put(i)
    assert queue.get(batch=True) == [0, 1, 2]


def test_so_many_values_at_once(side: Side, client: Any) -> None:
    queue = side.Queue("many")
    for i in range(5):
        queue.put(i)
    assert queue.get(batch=3) == [0, 1, 2]
    assert queue.qsize() == 2
    queue.get(batch=True)


def test_so_many_values_in_time(side: Side, client: Any) -> None:
    queue = side.Queue("many-in-time")
    queue.put(1)
    if side.is_ours:
        with pytest.raises(TimeoutError):
            queue.get(batch=2, timeout=0.05)
        assert queue.get(batch=True) == [1]
    else:
        with pytest.raises(NotImplementedError):
            queue.get(batch=2, timeout=0.05)


def test_a_queue_between_tasks(side: Side, client: Any) -> None:
    queue = side.Queue("between")

    def produce(queue: Any) -> None:
        for i in range(10):
            queue.put(i)

    def consume(queue: Any) -> int:
        return sum(queue.get(timeout=10) for _ in range(10))

    produced = client.submit(produce, queue)
    assert client.submit(consume, queue).result() == 45
    produced.result()


def test_tasks_put_futures(side: Side, client: Any) -> None:
    def produce(is_ours: bool) -> None:
        with contextlib.nullcontext(here(is_ours).get_client()) as client:
            here(is_ours).Queue("from-tasks").put(client.submit(pow, 3, 3))

    queue = side.Queue("from-tasks")
    done = client.submit(produce, side.is_ours)
    assert queue.get(timeout=10).result(10) == 27
    done.result()


def test_a_queue_takes_any_value(side: Side, client: Any) -> None:
    queue = side.Queue("any")
    queue.put({"x": {2}, "y": inc, "z": [1]})
    value = queue.get()
    assert value["x"] == {2}
    assert value["y"](1) == 2
    if side.is_ours:
        assert value["z"] == [1]
    else:
        assert value["z"] == (1,)


def test_a_closed_queue_is_empty(side: Side, client: Any) -> None:
    queue, again = side.Queue("closing"), side.Queue("closing")
    queue.put(1)
    queue.close()
    if side.is_ours:
        assert again.qsize() == 0
    else:
        assert again.get() == 1


def test_a_queue_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            queue = await side.Queue("in-loop")
            getting = asyncio.ensure_future(queue.get())
            await queue.put(client.submit(inc, 30))
            future = await getting
            return await future, await queue.qsize()

    assert in_loop(side, cluster, steps) == (31, 0)


# -- variables ---------------------------------------------------------------------------------------------------------


def test_a_variable_is_set_and_got(side: Side, client: Any, other: Any) -> None:
    variable = side.Variable("v")
    variable.set({"x": (1, 2.5, "text")})
    assert side.Variable("v", client=other).get() == {"x": (1, 2.5, "text")}
    variable.set(2)
    assert variable.get() == 2
    variable.delete()


def test_a_variable_holds_a_future(side: Side, client: Any, other: Any) -> None:
    variable = side.Variable("future")
    future = client.submit(inc, 40)
    future.result()
    variable.set(future)
    del future
    found = side.Variable("future", client=other).get()
    assert isinstance(found, side.Future)
    assert found.result() == 41
    variable.delete()


def test_a_variable_that_is_not_set_in_time(side: Side, client: Any) -> None:
    with pytest.raises(side.TimeoutError):
        side.Variable("unset").get(timeout=0.05)


def test_a_variable_is_waited_for(side: Side, client: Any) -> None:
    with in_thread(side.Variable("awaited").get, 10) as results:
        side.Variable("awaited").set("there")
    assert results == ["there"]
    side.Variable("awaited").delete()


def test_a_deleted_variable_is_not_set(side: Side, client: Any) -> None:
    variable = side.Variable("deleted")

    def is_set() -> bool:
        try:
            return bool(variable.get(timeout=0.05))
        except side.TimeoutError:
            return False

    variable.set(1)
    variable.delete()
    until(lambda: not is_set())  # what is deleted in dask is there for a moment
    with in_thread(variable.get, 10) as results:
        variable.set(2)
    assert results == [2]
    variable.delete()


def test_a_variable_in_tasks(side: Side, client: Any) -> None:
    def double(variable: Any) -> None:
        variable.set(2 * variable.get(timeout=10))

    variable = side.Variable("in-tasks")
    variable.set(21)
    client.submit(double, variable).result()
    assert variable.get() == 42
    variable.delete()


def test_a_variable_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            variable = side.Variable("in-loop")
            await variable.set(client.submit(inc, 50))
            return await (await variable.get())

    assert in_loop(side, cluster, steps) == 51


# -- datasets ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(client: Any) -> Iterator[None]:
    """Nothing is published at the end."""
    yield
    client.unpublish_dataset(list(client.list_datasets()))


def test_a_future_is_published(side: Side, client: Any, other: Any, published: None) -> None:
    client.publish_dataset(answer=client.submit(inc, 60))
    future = other.get_dataset("answer")
    assert isinstance(future, side.Future)
    assert future.result() == 61


def test_futures_in_containers_are_published(client: Any, other: Any, published: None) -> None:
    client.publish_dataset({"several": client.map(inc, range(70, 73))})
    assert other.gather(other.get_dataset("several")) == [71, 72, 73]


def test_a_dataset_by_a_name(client: Any, other: Any, published: None) -> None:
    client.publish_dataset([1, 2], name="by-name")
    client.publish_dataset(3, 4, name=("a", 0))
    assert other.get_dataset("by-name") == [1, 2]
    assert other.get_dataset(("a", 0)) == (3, 4)


def test_datasets_are_listed(client: Any, other: Any, published: None) -> None:
    client.publish_dataset(b=1, a=2)
    assert list(other.list_datasets()) == ["a", "b"]
    assert other.get_dataset(["b", "a"]) == [1, 2]


def test_a_dataset_is_published_once(client: Any, published: None) -> None:
    client.publish_dataset(once=1)
    with pytest.raises(KeyError, match="once"):
        client.publish_dataset(once=2)
    assert client.get_dataset("once") == 1
    client.publish_dataset(once=3, override=True)
    assert client.get_dataset("once") == 3


def test_an_unknown_dataset(client: Any) -> None:
    with pytest.raises(KeyError, match="unknown-dataset"):
        client.get_dataset("unknown-dataset")
    assert client.get_dataset("unknown-dataset", default=None) is None


def test_a_dataset_is_unpublished(client: Any, published: None) -> None:
    client.publish_dataset(gone=1, stays=2)
    client.unpublish_dataset("gone")
    assert list(client.list_datasets()) == ["stays"]


def test_datasets_need_names(client: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        client.publish_dataset(name="nothing")
    with pytest.raises(ValueError, match="name"):
        client.publish_dataset([1, 2])


def test_the_mapping_of_datasets(client: Any, published: None) -> None:
    client.datasets["x"] = client.submit(inc, 80)
    assert "x" in client.datasets
    assert list(client.datasets) == ["x"]
    assert len(client.datasets) == 1
    assert client.datasets["x"].result() == 81
    del client.datasets["x"]
    assert not client.datasets


def test_a_persisted_collection_is_published(side: Side, client: Any, other: Any, published: None) -> None:
    value = side.delayed(inc)(90)
    (persisted,) = side.persist(value)
    client.publish_dataset(collection=persisted)
    del value, persisted
    with other.as_current():
        assert other.get_dataset("collection").compute(scheduler=other.get) == 91


def test_a_dataset_stays_when_its_client_has_gone(side: Side, client: Any, cluster: Any, published: None) -> None:
    with side.Client(cluster, set_as_default=False) as first:
        future = first.submit(inc, 100)
        future.result()
        first.publish_dataset(stays=future)
    assert client.get_dataset("stays").result() == 101


def test_tasks_get_datasets(side: Side, client: Any, published: None) -> None:
    def get(is_ours: bool) -> Any:
        return here(is_ours).get_client().get_dataset("for-tasks")

    client.publish_dataset({"for-tasks": [1, 2, 3]})
    assert client.submit(get, side.is_ours, pure=False).result() == [1, 2, 3]


def test_datasets_in_a_loop(side: Side, client: Any, cluster: Any, published: None) -> None:
    async def steps(client: Any) -> Any:
        await client.publish_dataset(looped=client.submit(inc, 110))
        future = await client.get_dataset("looped")
        names = [name async for name in client.datasets]
        with pytest.raises(TypeError):
            len(client.datasets)
        return await future, names

    assert in_loop(side, cluster, steps) == (111, ["looped"])


# -- topics ------------------------------------------------------------------------------------------------------------


def test_events_are_logged(client: Any, other: Any) -> None:
    before = time.time()
    client.log_event("logged", {"x": 1})
    client.log_event("logged", "text")
    events = other.get_events("logged")
    assert [message for _, message in events] == [{"x": 1}, "text"]
    assert before - 1 <= events[0][0] <= events[1][0] <= time.time() + 1


def test_an_event_of_several_topics(client: Any) -> None:
    client.log_event(["several-1", "several-2"], 7)
    events = client.get_events()
    assert [message for _, message in events["several-1"]] == [7]
    assert [message for _, message in events["several-2"]] == [7]


def test_a_topic_without_events(client: Any) -> None:
    assert client.get_events("no-such-topic") == ()


def test_events_are_heard(client: Any, other: Any) -> None:
    heard: list[Any] = []
    client.subscribe_topic("heard", heard.append)
    until(lambda: (other.log_event("heard", "ready?"), heard)[1])
    for i in range(5):
        other.log_event("heard", i)

    def numbers() -> list[int]:  # the last "ready?" may come as late as these
        return [message for _, message in heard if message != "ready?"]

    until(lambda: len(numbers()) >= 5)
    assert numbers() == list(range(5))
    client.unsubscribe_topic("heard")


def test_events_of_tasks_are_heard(side: Side, client: Any) -> None:
    def log(is_ours: bool) -> None:
        here(is_ours).get_client().log_event("from-tasks", [1, 2])

    heard: list[Any] = []
    client.subscribe_topic("from-tasks", heard.append)
    client.submit(log, side.is_ours, pure=False).result()
    until(lambda: heard)
    assert list(heard[0][1]) == [1, 2]
    client.unsubscribe_topic("from-tasks")


def test_what_is_not_heard_cannot_be_left(client: Any) -> None:
    with pytest.raises(ValueError, match="No event handler"):
        client.unsubscribe_topic("unheard")


def test_events_take_any_value(side: Side, client: Any) -> None:
    if side.is_ours:
        client.log_event("any", inc)
        assert client.get_events("any")[0][1](1) == 2
    else:
        with pytest.raises(TypeError):
            client.log_event("any", inc)


def test_events_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        heard: asyncio.Queue[Any] = asyncio.Queue()

        async def hear(event: Any) -> None:
            await heard.put(event[1])

        client.subscribe_topic("in-loop", hear)
        while heard.empty():  # dask may take what comes later first
            await client.log_event("in-loop", "hello")
            await asyncio.sleep(0.01)
        return await heard.get()

    assert in_loop(side, cluster, steps) == "hello"


def test_the_differences_are_listed() -> None:
    """Each test that asks which side it is on is in the table, and no other."""
    assert asking(__file__) == set(DIFFERENCES)
