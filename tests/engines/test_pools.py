"""Pools of the user's own: they run the tasks, all of them, and whatever happens to them has a name."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from time import sleep
from typing import Any

import pytest

import taskloom
from taskloom.threaded import get

from .cases import PATIENCE, in_thread, wait_for


def inc(x: int) -> int:
    return x + 1


def end(pool: Any) -> None:
    """Stop a pool of either kind, without waiting for its tasks."""
    if isinstance(pool, ThreadPoolExecutor):
        pool.shutdown(wait=False, cancel_futures=True)
    else:
        pool.terminate()


@pytest.fixture(params=[ThreadPoolExecutor, ThreadPool], ids=["executor", "thread-pool"])
def make_pool(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Any]]:
    """Makes pools of either kind, which end with the test."""
    pools = []

    def make(size: int) -> Any:
        pools.append(request.param(size))
        return pools[-1]

    yield make
    for pool in pools:
        end(pool)
        if isinstance(pool, ThreadPool):
            pool.join()


def test_the_caller_runs_no_task(make_pool: Callable[[int], Any]) -> None:
    dsk = {("x", i): (lambda _: threading.current_thread(), i) for i in range(20)}
    threads = get(dsk, list(dsk), pool=make_pool(2))
    assert threading.current_thread() not in threads
    assert not [thread for thread in threads if thread.name.startswith("taskloom")]


def test_a_pool_of_twenty_runs_twenty_tasks_at_once(make_pool: Callable[[int], Any]) -> None:
    barrier = threading.Barrier(20)
    dsk = {("x", i): (barrier.wait, PATIENCE) for i in range(20)}
    assert sorted(get(dsk, list(dsk), pool=make_pool(20))) == list(range(20))


def test_num_workers_limits_what_runs_in_a_pool(make_pool: Callable[[int], Any]) -> None:
    lock, running, most = threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def task(_: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(PATIENCE)
        sleep(0.002)  # what a third one needs to begin
        with lock:
            running[0] -= 1

    dsk = {("x", i): (task, i) for i in range(20)}
    get(dsk, list(dsk), pool=make_pool(8), num_workers=2)
    assert most == [2]


def test_a_pool_from_the_configuration(make_pool: Callable[[int], Any]) -> None:
    pool = make_pool(2)
    with taskloom.config.set(pool=pool):
        assert not get({"a": (lambda: threading.current_thread().name,)}, "a").startswith(("taskloom", "MainThread"))
        other = ThreadPoolExecutor(1, thread_name_prefix="the call's own")
        with other:
            assert get({"a": (lambda: threading.current_thread().name,)}, "a", pool=other).startswith("the call's own")


@pytest.mark.parametrize("where", ["call", "configuration"])
def test_a_pool_that_was_shut_down(make_pool: Callable[[int], Any], where: str, calls: list[Any]) -> None:
    pool = make_pool(2)
    end(pool)
    dsk = {"x": (calls.append, 1)}
    options, settings = ({"pool": pool}, {}) if where == "call" else ({}, {"pool": pool})
    with taskloom.config.set(settings), pytest.raises(taskloom.ConfigError, match="shut down") as raised:
        get(dsk, "x", **options)
    assert repr(pool) in str(raised.value)
    assert calls == []
    assert get({"x": (inc, 1)}, "x") == 2


def test_a_pool_that_is_closed_between_two_tasks(make_pool: Callable[[int], Any], calls: list[Any]) -> None:
    pool = make_pool(2)

    def close(x: int) -> int:
        pool.shutdown(wait=False) if isinstance(pool, Executor) else pool.close()
        return x

    with pytest.raises(taskloom.ConfigError, match="shut down") as raised:
        get({"x": (close, 1), "y": (calls.append, "x")}, "y", pool=pool)
    assert repr(pool)[:20] in str(raised.value)
    assert calls == []


def test_a_pool_that_is_ended_while_tasks_wait_in_it(make_pool: Callable[[int], Any], calls: list[Any]) -> None:
    """The pool has one thread, which is busy; the other tasks wait in its queue, and go with it."""
    pool = make_pool(1)
    started, go_on = threading.Event(), threading.Event()

    def task(_: int) -> None:
        started.set()
        wait_for(go_on)

    dsk: dict[Any, Any] = {("x", i): (task, i) for i in range(3)}
    call = in_thread(partial(get, pool=pool, num_workers=3), dsk | {"end": (calls.append, list(dsk))}, "end")
    wait_for(started)
    end(pool)
    go_on.set()
    with pytest.raises(taskloom.ConfigError, match="shut down") as raised:
        call()
    assert type(pool).__name__ in str(raised.value)
    assert calls == []


def test_what_waits_in_a_pool_does_not_start_behind_a_failure(
    make_pool: Callable[[int], Any], calls: list[Any]
) -> None:
    pool = make_pool(1)

    def fail(_: int) -> None:
        raise ValueError("bad")

    dsk: dict[Any, Any] = {"a": (fail, 1), **{("x", i): (calls.append, i) for i in range(5)}}
    with pytest.raises(ValueError, match="bad"):
        get(dsk, list(dsk), pool=pool, num_workers=6)
    pool.submit(int).result(PATIENCE) if isinstance(pool, Executor) else pool.apply(int)  # the queue is empty
    assert calls == []


@pytest.mark.parametrize("pool", ["threads", 4, object(), {}], ids=repr)
def test_what_is_no_pool(pool: Any, calls: list[Any]) -> None:
    with pytest.raises(taskloom.ConfigError, match="is no pool"):
        get({"x": (calls.append, 1)}, "x", pool=pool)
    assert calls == []


def test_an_executor_that_only_has_submit(calls: list[Any]) -> None:
    class Inline(Executor):
        def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            calls.append("submit")
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            return future

    assert get({"x": (inc, 1), "y": (inc, "x")}, "y", pool=Inline()) == 3
    assert calls == ["submit", "submit"]


def test_a_pool_serves_several_runs_at_once(make_pool: Callable[[int], Any]) -> None:
    pool = make_pool(3)

    def compute(n: int) -> int:
        dsk = {("x", i): (inc, i + n) for i in range(30)}
        return int(get(dsk | {"sum": (sum, list(dsk))}, "sum", pool=pool))

    results = [in_thread(compute, n) for n in range(6)]
    assert [result() for result in results] == [465 + 30 * n for n in range(6)]
    assert end(pool) is None


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_a_run_inside_a_task_of_the_same_pool_waits_for_no_place(observed: bool) -> None:
    """Its tasks run in the thread that waits for them."""
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}

    def outer(x: int) -> int:
        answer: int = taskloom.threaded.get({"y": (abs, -x), "z": (abs, "y")}, "z")
        return answer

    with ThreadPoolExecutor(2) as pool, taskloom.config.set(pool=pool):
        dsk = {("x", i): (outer, i) for i in range(6)}
        assert taskloom.threaded.get(dsk, list(dsk), **callbacks) == list(range(6))


def test_runs_inside_tasks_of_two_pools_wait_for_no_place() -> None:
    get = taskloom.threaded.get
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:

        def inner(x: int) -> Any:
            return get({"a": (abs, x)}, "a", pool=one)

        def outer(x: int) -> Any:
            return get({"a": (inner, x)}, "a", pool=other)

        assert in_thread(partial(get, pool=one), {"a": (outer, -3)}, "a")() == 3
