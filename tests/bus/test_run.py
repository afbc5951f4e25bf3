"""The run record: what it says while a run lasts and afterwards, and what it lets go of."""

import gc
import threading
import time
import weakref
from array import array
from collections.abc import Callable
from functools import partial
from math import isnan
from operator import add
from typing import Any

import numpy as np
import pytest

import taskloom
from taskloom import Run, threaded
from taskloom.bus import event_bus
from taskloom.bus.ticker import INTERVAL
from taskloom.engines.measure import LONG

PATIENCE = 20.0  # seconds until a test gives up

GETS = [taskloom.get, partial(threaded.get, num_workers=2)]
each_engine = pytest.mark.parametrize("get", GETS, ids=["sync", "threads"])


def last_run() -> Run:
    run = taskloom.last_run()
    assert run is not None
    return run


def compute() -> None:
    taskloom.get({"a": (abs, -1)}, "a")


def fail(*args: Any) -> None:
    raise ZeroDivisionError("no", args)


def wait_until(condition: Callable[[], bool]) -> None:
    """Large records are cut down in the background, and helpers let go of a run a moment after its end."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# -- runs that have ended ---------------------------------------------------------------------------------------------


@each_engine
def test_a_finished_run(get: Any) -> None:
    before = time.time()
    dsk = {("x", i): (abs, -i) for i in range(5)} | {"sum-1": (sum, [("x", i) for i in range(5)]), "data": 1}
    assert get(dsk, "sum-1") == 10
    run = last_run()
    assert (run.status, run.n_tasks, run.n_done, run.n_failed) == ("finished", 6, 6, 0)
    assert run.engine == ("sync" if get is taskloom.get else "threads")
    assert before <= run.started <= time.time()
    assert 0 < run.duration < PATIENCE
    assert run.duration == run.duration, "it has stopped"
    assert run.parent is None
    assert run.failure is None
    assert run.running == []
    assert run.names == {"x": 5, "sum": 1}
    assert sorted(run.done) == list(range(6))
    assert run.done[-1] == 5

    tasks = run.tasks
    assert len(tasks) == 6
    assert set(tasks.key) == {*[("x", i) for i in range(5)], "sum-1"}
    assert tasks.name == ["x"] * 5 + ["sum"]
    assert tasks.status == ["finished"] * 6
    assert all(0 <= start <= stop <= run.duration for start, stop in zip(tasks.start, tasks.stop, strict=True))
    assert isinstance(tasks.start, array)
    assert isinstance(tasks.worker, array)
    assert all(worker in range(len(run.workers)) for worker in tasks.worker)
    assert list(run.ready) == [0.0] * 5 + [max(tasks.stop[:5])]
    assert run.graph.keys == tasks.key
    assert run.graph.functions[:5] == ["abs"] * 5
    assert [sorted(needs) for needs in run.graph.dependencies] == [[]] * 5 + [[0, 1, 2, 3, 4]]
    for worker in run.workers:
        assert worker.threads == 1
        assert 0 <= worker.joined <= (worker.left or 0) <= run.duration


def test_columns_by_name() -> None:
    compute()
    tasks = last_run().tasks
    for column in tasks.columns:
        assert len(tasks[column]) == 1
    with pytest.raises(KeyError, match="'keys' is no column"):
        tasks["keys"]
    assert "1 rows" in repr(tasks)
    (row,) = tasks.rows([0])
    assert {name: row[name] for name in ("key", "name", "worker")} == {"key": "a", "name": "a", "worker": 0}
    assert (row["start"], row["stop"]) == (tasks.start[0], tasks.stop[0])


@each_engine
def test_a_failed_run(get: Any) -> None:
    dsk = {"a": (abs, -1), "b": (abs, "a"), "bad": (fail, "b", "constant"), "after": (str, "bad")}
    with pytest.raises(ZeroDivisionError) as caught:
        get(dsk, "after")
    run = last_run()
    assert (run.status, run.n_tasks, run.n_done, run.n_failed) == ("failed", 4, 2, 1)
    assert dict(zip(run.tasks.key, run.tasks.status, strict=True)) == {
        "a": "finished",
        "b": "finished",
        "bad": "failed",
        "after": "waiting",
    }
    assert run.running == []
    assert isnan(run.ready[run.tasks.key.index("after")])
    failure = run.failure
    assert failure is not None
    assert (failure.key, failure.exception, failure.attempt, failure.inputs) == (
        "bad",
        caught.value,
        1,
        (1, "constant"),
    )
    assert failure.worker in range(len(run.workers))
    assert "failed at 'bad'" in repr(run)


@each_engine
def test_a_cancelled_run(get: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get({"a": (abs, -1), "b": (lambda x: interrupt(), "a"), "c": (str, "b")}, "c")
    run = last_run()
    assert (run.status, run.n_done, run.n_failed, run.failure) == ("cancelled", 1, 0, None)
    run.cancel()
    assert run.status == "cancelled", "nothing happens to a run that has ended"


@each_engine
def test_a_run_inside_a_task_knows_its_parent(get: Any) -> None:
    parents: dict[Any, int | None] = {}

    class Note:
        def run_finished(self, run: Run) -> None:
            parents[run.tasks.key[0]] = run.parent

    with taskloom.subscribe(Note()):
        get({"outer": (compute,)}, "outer")
    outer = last_run()
    assert outer.tasks.key == ["outer"]
    assert parents == {"outer": None, "a": outer.id}
    compute()
    assert last_run().parent is None


def test_a_run_with_nothing_to_do() -> None:
    assert taskloom.get({"a": 1}, ["a"]) == [1]
    run = last_run()
    assert (run.status, run.n_tasks, run.n_done, len(run.tasks), run.names) == ("finished", 0, 0, 0, {})
    assert run.critical_path() == []
    assert "0/0" in repr(run)
    assert str(run.summary())
    assert len(run.to_frame()) == 0


# -- runs that last ---------------------------------------------------------------------------------------------------


@each_engine
def test_counts_and_what_runs_now_while_a_run_lasts(get: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait(x: int) -> int:
        reached.set()
        assert go_on.wait(PATIENCE)
        return x

    dsk = {"a": (abs, -1), "b": (wait, "a"), "c": (abs, "b"), "other": (fail, "c")}
    thread = threading.Thread(target=get, args=(dsk, "c"))
    thread.start()
    try:
        assert reached.wait(PATIENCE)
        run = taskloom.runs[-1]
        assert (run.status, run.n_tasks, run.n_done) == ("running", 3, 1)
        assert run.tasks.status == ["finished", "running", "waiting"]
        ((worker, task, start),) = run.running
        assert run.tasks.key[task] == "b"
        assert worker == run.tasks.worker[task]
        assert 0 < start == run.tasks.start[task] < run.duration
        assert run.tasks.stop[task] == 0.0
        assert run.summary().by_name
        assert run.duration < run.duration, "it grows"
    finally:
        go_on.set()
        thread.join()
    assert run.n_done == 3
    assert run.status == "finished"
    assert run.running == []


def test_samples_are_taken_while_a_run_lasts() -> None:
    sampled = threading.Event()

    class Watch:
        def run_updated(self, run: Run) -> None:
            if len(run.samples) >= 2:
                sampled.set()

    with taskloom.subscribe(Watch()):
        assert taskloom.get({"a": (sampled.wait, PATIENCE)}, "a") is True
    run = last_run()
    times = [sample.time for sample in run.samples]
    assert times == sorted(times)
    assert 2 <= len(times) <= run.duration / INTERVAL + 2
    for sample in run.samples:
        assert sample.worker == 0
        assert sample.cpu >= 0
        assert sample.rss > 1_000_000


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_SAMPLES", 2)
    ticks = 0
    enough = threading.Event()

    class Watch:
        def run_updated(self, run: Run) -> None:
            nonlocal ticks
            ticks += 1
            assert len(run.samples) <= 2
            if ticks == 4:
                enough.set()

    with taskloom.subscribe(Watch()):
        assert taskloom.get({"a": (enough.wait, PATIENCE)}, "a") is True
    assert last_run().samples


@each_engine
def test_long_tasks_are_measured_and_short_ones_not(get: Any) -> None:
    def work() -> Any:
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        return np.zeros(1000)

    for _ in range(100):  # time in which the system holds a worker up between tasks counts as work of short ones
        get({"long": (work,), "short": (len, "long")}, "short")
        tasks = last_run().tasks
        if tasks.cpu[0] > 0.004:
            break
    assert tasks.nbytes[0] == 8000
    assert 0.004 < tasks.cpu[0] <= tasks.stop[0] - tasks.start[0]
    assert isnan(tasks.nbytes[1])
    assert isnan(tasks.cpu[1]) == (tasks.stop[1] - tasks.start[1] <= LONG)  # the system may hold it up


# -- as a table -------------------------------------------------------------------------------------------------------


def test_to_frame() -> None:
    dsk = {("x", 0): (abs, -1), b"y": (add, ("x", 0), 1), 3: (fail, b"y")}
    with pytest.raises(ZeroDivisionError):
        taskloom.get(dsk, 3)
    frame = last_run().to_frame()
    assert list(frame.columns) == ["key", "name", "worker", "start", "stop", "cpu", "nbytes", "status"]
    assert frame.index.name == "task"
    assert list(frame["key"]) == [("x", 0), b"y", 3]
    assert list(frame["name"]) == ["x", "y", "int"]
    assert list(frame["status"]) == ["finished", "finished", "failed"]
    assert frame["stop"].dtype == float


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_rows_beyond_the_budget_go_and_counts_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_ROWS", 40)
    dsk: dict[Any, Any] = {("load", i): (abs, i) for i in range(60)}
    dsk |= {("clean", i): (abs, ("load", i)) for i in range(60)}
    taskloom.get(dsk, [("clean", i) for i in range(60)])
    run = last_run()
    before = run.summary()
    assert len(run.tasks) == 120, "the newest keeps its rows"
    compute()
    wait_until(lambda: len(run.graph) == 40)
    assert len(run.tasks) == 40
    assert (run.n_tasks, run.n_done, run.n_failed) == (120, 120, 0)
    assert run.names == {"load": 60, "clean": 60}
    after = run.summary()
    counts = {row.name: (row.count, row.done) for row in after.by_name}
    assert counts == {"load": (60, 60), "clean": (60, 60)}
    totals = {row.name: row.total for row in before.by_name}
    assert {row.name: row.total for row in after.by_name} == pytest.approx(totals)
    assert after.busy == pytest.approx(before.busy)
    # What is left fits together.
    assert len(run.done) == len(run.graph.keys) == len(run.graph.dependencies) == len(run.graph.functions) == 40
    assert all(len(run.tasks[column]) == 40 for column in run.tasks.columns)
    assert run.tasks.status == ["finished"] * 40
    assert all(0 <= need < task for task, needs in enumerate(run.graph.dependencies) for need in needs)
    assert all(run.tasks.key[needs[0]] == ("load", run.tasks.key[task][1])
               for task, needs in enumerate(run.graph.dependencies) if needs)  # fmt: skip
    assert run.critical_path()
    assert "120/120" in repr(run)


def test_the_oldest_rows_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_ROWS", 100)
    runs = []
    for _ in range(4):
        taskloom.get({("x", i): (abs, -i) for i in range(40)}, [("x", i) for i in range(40)])
        runs.append(last_run())
    wait_until(lambda: [len(run.graph) for run in runs] == [20, 40, 40, 40])
    compute()
    wait_until(lambda: [len(run.graph) for run in runs] == [0, 20, 40, 40])
    assert [run.n_done for run in runs] == [40] * 4
    assert runs[0].names == {"x": 40}
    assert [row.done for row in runs[0].summary().by_name] == [40]


def test_a_failed_run_is_still_a_failed_run_when_its_rows_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_ROWS", 10)
    dsk: dict[Any, Any] = {i: (abs, i - 1) for i in range(101, 130)} | {100: (abs, 0), 130: (fail, 129)}
    with pytest.raises(ZeroDivisionError):
        taskloom.get(dsk, 130)
    run = last_run()
    compute()
    wait_until(lambda: len(run.graph) == 10)
    assert (run.n_tasks, run.n_done, run.n_failed, run.status) == (31, 30, 1, "failed")
    assert run.failure is not None
    assert run.failure.key == 130


class Thing:
    """Something that a record must not hold on to."""

    def __call__(self, *args: Any) -> "Thing":
        return Thing()


@each_engine
def test_a_record_holds_no_results_constants_or_functions_once_another_run_has_begun(get: Any) -> None:
    constant, data, function = Thing(), Thing(), Thing()
    alive = [weakref.ref(constant), weakref.ref(data), weakref.ref(function)]
    result = get({"data": data, "a": (function, constant, "data"), "b": (function, "a", [constant])}, "b")
    alive.append(weakref.ref(result))
    del constant, data, function, result
    wait_until(lambda: alive[3]() is None)  # results are not even held by the newest record
    run = last_run()
    compute()
    gc.collect()
    wait_until(lambda: not any(thing() for thing in alive))
    assert run.graph.plan is None
    assert run.graph.functions == ["Thing", "Thing"]
    assert run.graph.dependencies == [(), (0,)]


@each_engine
def test_inputs_of_a_failure_are_kept_for_replay_until_another_run_begins(get: Any) -> None:
    calls: list[Any] = []

    def check(thing: Any, text: str) -> str:
        calls.append(thing)
        if len(calls) == 1:
            raise ValueError("not yet")
        return f"replayed with {text}"

    with pytest.raises(ValueError, match="not yet"):
        get({"made": (Thing,), "bad": (check, "made", "text")}, "bad")
    run = last_run()
    assert run.failure is not None
    assert run.failure.replay() == "replayed with text"
    assert calls[0] is calls[1]
    alive = weakref.ref(calls.pop())
    calls.clear()
    assert alive() is not None

    compute()
    gc.collect()
    wait_until(lambda: alive() is None)
    assert (run.failure.key, run.failure.exception) == ("bad", "ValueError: not yet")
    with pytest.raises(ValueError, match=r"inputs of 'bad' are not at hand"):
        run.failure.replay()


def begins_with(look: Callable[[], None]) -> taskloom.Callback:
    """Looks before the first task of a run."""
    return taskloom.Callback(pretask=lambda *_: look())


@each_engine
def test_a_run_that_begins_finds_what_the_last_one_kept_gone(get: Any) -> None:
    constant = Thing()
    alive = weakref.ref(constant)
    get({"a": (type, constant)}, "a")
    del constant
    gc.collect()
    assert alive() is not None, "kept for a replay"
    found: list[Any] = []
    with begins_with(lambda: found.append(alive())):
        get({"a": (abs, -1)}, "a")
    assert found == [None]


@each_engine
def test_a_run_that_begins_finds_the_inputs_of_a_failure_gone(get: Any) -> None:
    made: list[weakref.ref[Any]] = []

    def make() -> Thing:
        thing = Thing()
        made.append(weakref.ref(thing))
        return thing

    with pytest.raises(ZeroDivisionError):
        get({"made": (make,), "bad": (fail, "made")}, "bad")
    gc.collect()
    assert made[0]() is not None, "kept for a replay"
    found: list[Any] = []
    gc.disable()
    try:
        with begins_with(lambda: (gc.collect(), found.append(made[0]()))):  # type: ignore[arg-type,func-returns-value]
            get({"a": (abs, -1)}, "a")
    finally:
        gc.enable()
    assert found == [None]


@each_engine
def test_a_run_takes_what_the_last_one_kept(get: Any) -> None:
    data = Thing()
    assert get({"data": data, "a": (type, "data")}, "a") is Thing
    assert get({"data": data, "a": (type, "data"), "b": (id, "data")}, ["a", "b"]) == [Thing, id(data)]


@each_engine
def test_runs_inside_a_task_leave_what_the_last_run_and_theirs_keep(get: Any) -> None:
    found: list[Any] = []

    def nested(_: Any) -> None:
        compute()
        compute()
        run = last_run()
        found.append(run.plan_for(0).constants)

    constant = Thing()
    get({"outer": (nested, constant)}, "outer")
    assert found == [[constant]]
    assert constant in last_run().plan_for(0).constants


def test_a_run_in_another_thread_leaves_what_one_under_way_keeps() -> None:
    def elsewhere() -> None:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join(PATIENCE)

    taskloom.get({"outer": (elsewhere,)}, "outer")
    outer = taskloom.runs[-2]
    assert outer.graph.keys == ["outer"]
    assert outer.keeps_inputs


def test_a_replay_that_fails_raises_the_tasks_own_error() -> None:
    with pytest.raises(ZeroDivisionError):
        taskloom.get({"bad": (fail, 1)}, "bad")
    failure = last_run().failure
    assert failure is not None
    with pytest.raises(ZeroDivisionError, match="no"):
        failure.replay()


def test_the_failure_of_an_outer_run_is_kept_when_one_inside_it_failed() -> None:
    def inner() -> Any:
        return taskloom.get({"inner": (fail,)}, "inner")

    with pytest.raises(ZeroDivisionError):
        taskloom.get({"outer": (inner,)}, "outer")
    failure = last_run().failure
    assert failure is not None
    assert failure.key == "outer"
    with pytest.raises(ZeroDivisionError):
        failure.replay()


@pytest.mark.parametrize(("length", "fewest", "most"), [(1, 900, 900), (10_000, 1, 50)])
def test_rows_with_long_keys_go_sooner(length: int, fewest: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_ROWS", 1_000)
    monkeypatch.setattr(event_bus, "LARGE", 10)
    graph = {("x" * length, number): (abs, number) for number in range(900)}
    taskloom.get(graph, list(graph))
    run = last_run()
    compute()
    wait_until(lambda: fewest <= len(run.tasks) <= most)
    assert run.n_done == 900
