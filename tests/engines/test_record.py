"""The run record, as every engine writes it."""

import threading
from itertools import pairwise
from math import isnan
from time import sleep, thread_time, time
from typing import Any

import pytest

import taskloom

from .cases import PATIENCE, in_thread, wait_for
from .conftest import Engine


def inc(x: int) -> int:
    return x + 1


def last() -> taskloom.Run:
    run = taskloom.last_run()
    assert run is not None
    return run


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_times_and_order(engine: Engine, observed: bool) -> None:
    width = 60
    dsk: dict[Any, Any] = {("a", i): (inc, i) for i in range(width)}
    dsk |= {("b", i): (max, ("a", i), ("a", (i + 1) % width), ("a", (i + 7) % width)) for i in range(width)}
    dsk |= {"sum": (sum, [("b", i) for i in range(width)]), "unused": (inc, 1)}
    before = time()
    engine.get(dsk, "sum", **({"callbacks": taskloom.Callback()} if observed else {}))
    run = last()
    tasks = run.tasks
    assert (run.engine, run.status, run.parent) == (engine.case.engine, "finished", None)
    assert (run.n_tasks, run.n_done, run.n_failed, len(tasks)) == (2 * width + 1, 2 * width + 1, 0, 2 * width + 1)
    assert set(tasks.key) == set(dsk) - {"unused"}
    assert tasks.status == ["finished"] * run.n_tasks
    assert sorted(run.done) == list(range(run.n_tasks)), "each task once"
    assert run.running == []
    assert 0 <= run.started - before < PATIENCE
    position = {task: place for place, task in enumerate(run.done)}
    for task, dependencies in enumerate(run.graph.dependencies):
        assert 0 < tasks.start[task] <= tasks.stop[task] <= run.duration
        assert 0 <= tasks.worker[task] < len(run.workers)
        for other in dependencies:
            assert tasks.stop[other] <= tasks.start[task]
            assert position[other] < position[task]
    assert run.names == {"a": width, "b": width, "sum": 1}
    for worker in run.workers:
        assert worker.name
        assert worker.left is not None
        assert 0 <= worker.joined <= worker.left <= run.duration


def test_one_worker_runs_one_task_at_a_time(engine: Engine) -> None:
    dsk: dict[Any, Any] = {("a", i): (inc, i) for i in range(100)}
    engine.get(dsk | {"sum": (sum, list(dsk))}, "sum")
    tasks = last().tasks
    for worker in set(tasks.worker):
        mine = sorted(
            (tasks.start[task], tasks.stop[task]) for task in range(len(tasks)) if tasks.worker[task] == worker
        )
        assert all(stop <= start for (_, stop), (start, _) in pairwise(mine))


def test_long_tasks_have_cpu_time_and_size(local: Engine) -> None:
    def compute(_: Any) -> bytes:
        end = thread_time() + 0.01
        while thread_time() < end:
            pass
        return bytes(1000)

    def rest(_: Any) -> bytes:
        sleep(0.01)
        return bytes(10)

    if not local.case.own_workers:
        pytest.skip("a user's pool brings no figures but times")
    for _ in range(100):  # time in which the system holds a worker up between tasks counts as work of short ones
        local.get({"x": (compute, 0), "y": (rest, "x"), "z": (len, "y")}, "z")
        tasks = last().tasks
        x, y, z = map(tasks.key.index, "xyz")
        if tasks.cpu[x] > 0.008:
            break
    assert 0 < tasks.cpu[x] <= tasks.stop[x] - tasks.start[x]
    assert tasks.cpu[y] < tasks.cpu[x]
    assert (tasks.nbytes[x], tasks.nbytes[y]) == (1000, 10)
    assert isnan(tasks.nbytes[z])


def test_statuses_while_tasks_run(local: Engine) -> None:
    started, go_on = threading.Event(), threading.Event()

    def task(x: int) -> int:
        started.set()
        wait_for(go_on)
        return x

    dsk = {"x": (inc, 0), "y": (task, "x"), "z": (inc, "y"), "end": (inc, "z")}
    call = in_thread(local.get, dsk, "end")
    wait_for(started)
    run = last()
    assert run.status == "running"
    local.case.catch_up(lambda: run.n_done)
    assert dict(zip(run.tasks.key, run.tasks.status, strict=True)) == {
        "x": "finished",
        "y": "running",
        "z": "waiting",
        "end": "waiting",
    }
    ((_, number, since),) = run.running
    assert run.tasks.key[number] == "y"
    assert 0 < since <= run.duration
    assert (run.n_done, list(run.done)) == (1, [run.tasks.key.index("x")])
    go_on.set()
    assert call() == 3
    assert run.status == "finished"


def test_a_failed_run(local: Engine) -> None:
    dsk = {"x": (inc, 0), "bad": (divmod, "x", 0), "z": (inc, "bad")}
    with pytest.raises(ZeroDivisionError):
        local.get(dsk, "z")
    run = last()
    assert (run.status, run.n_done, run.n_failed) == ("failed", 1, 1)
    assert dict(zip(run.tasks.key, run.tasks.status, strict=True)) == {"x": "finished", "bad": "failed", "z": "waiting"}
    assert run.failure is not None
    assert run.failure.key == "bad"


def test_a_graph_of_nothing_but_data_is_a_run_too(engine: Engine) -> None:
    assert engine.get({"x": 1}, ["x", "x"]) == [1, 1]
    assert (last().status, last().n_tasks, last().workers[1:]) == ("finished", 0, [])


def test_listeners_hear_of_each_run_once_and_before_it_returns(local: Engine) -> None:
    heard: list[Any] = []

    class Listener:
        def run_started(self, run: taskloom.Run) -> None:
            heard.append(("started", run.id))

        def run_finished(self, run: taskloom.Run) -> None:
            heard.append((run.status, run.id))

    with taskloom.subscribe(Listener()):
        local.get({"x": (inc, 0)}, "x")
        first = last().id
        assert heard == [("started", first), ("finished", first)]
        heard.clear()
        with pytest.raises(ZeroDivisionError):
            local.get({"x": (divmod, 1, 0)}, "x")
        assert heard == [("started", last().id), ("failed", last().id)]
    local.get({"x": (inc, 0)}, "x")
    assert len(heard) == 2


def test_a_task_under_way_when_its_run_ends(local: Engine) -> None:
    """What failed and what was interrupted stop with the run, and no figure is impossible."""
    started, go_on = threading.Event(), threading.Event()

    def outlive(_: int) -> bool:
        started.set()
        return wait_for(go_on)

    def fail() -> None:
        if local.case.parallel:
            wait_for(started)
        sleep(0.002)
        raise ZeroDivisionError

    dsk: dict[Any, Any] = {"fail": (fail,), "after": (inc, "fail")}
    if local.case.parallel:
        dsk["outlives"] = (outlive, 1)
    try:
        with pytest.raises(ZeroDivisionError):
            local.get(dsk, list(dsk))
        run = last()
        status = dict(zip(run.tasks.key, run.tasks.status, strict=True))
        assert (status["fail"], status["after"]) == ("failed", "waiting")
        assert status.get("outlives", "cancelled") == "cancelled"
        assert run.summary().busy >= 0.002, "the time it took to fail counts"
    finally:
        go_on.set()
    for start, stop, cpu in zip(run.tasks.start, run.tasks.stop, run.tasks.cpu, strict=True):
        assert 0 <= start <= stop <= run.duration
        assert isnan(cpu) or cpu >= 0
