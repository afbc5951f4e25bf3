"""Callbacks, with the order, arguments and `state` that those written for Dask count on, on every engine."""

import threading
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from operator import add
from typing import Any

import pytest

import taskloom
from taskloom import Callback

from .cases import PATIENCE, in_thread
from .conftest import Engine

STATE = {
    "cache",
    "dependencies",
    "dependents",
    "finished",
    "ready",
    "released",
    "running",
    "waiting",
    "waiting_data",
}


def inc(x: int) -> int:
    return x + 1


def fail(x: int) -> int:
    raise ValueError("bad")


#: Literal data, a key that stands for another, a shared task, and a task that nobody asked for.
GRAPH: dict[str, Any] = {
    "one": 1,
    "a": (inc, "one"),
    "b": (inc, "a"),
    "alias": "b",
    "c": (add, "a", "alias"),
    "culled": (inc, "a"),
}
TASKS = ["a", "alias", "b", "c"]


class Recorder(Callback):
    """Notes what was called, with which objects, in which thread, and checks the state on the way."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.graphs: list[Any] = []
        self.states: list[Any] = []
        self.threads: set[threading.Thread] = set()
        self.inside = 0
        self.total = 0

    def seen(self, event: Any, dsk: Any, state: Any = None) -> None:
        self.events.append(event)
        self.graphs.append(dsk)
        self.threads.add(threading.current_thread())
        if state is not None:
            self.states.append(state)
            assert set(state) >= STATE
            total = len(state["ready"]) + len(state["waiting"]) + len(state["running"]) + len(state["finished"])
            self.total = self.total or total
            assert total == self.total
            assert not state["released"] & set(state["cache"])

    def _start(self, dsk: Any) -> None:
        self.seen("start", dsk)

    def _start_state(self, dsk: Any, state: Any) -> None:
        self.seen("start_state", dsk, state)

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self.seen(("pretask", key), dsk, state)
        assert key in state["running"]
        assert key not in state["ready"]
        assert key not in state["waiting"]
        assert state["dependencies"][key] <= set(state["cache"])

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        self.seen(("posttask", key, result), dsk, state)
        assert worker
        assert key in state["finished"]
        assert key not in state["running"]
        assert state["cache"][key] == result or key in state["released"]
        assert not [user for user in state["dependents"][key] if key in state["waiting"].get(user, ())]

    def _finish(self, dsk: Any, state: Any, errored: bool) -> None:
        self.seen(("finish", errored), dsk, state or None)

    def of(self, kind: str) -> list[Any]:
        return [event[1] for event in self.events if isinstance(event, tuple) and event[0] == kind]


# -- order and arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["registered", "given"])
def test_order_thread_and_one_graph_and_state(local: Engine, how: str) -> None:
    recorder = Recorder()
    before = dict(GRAPH)
    if how == "registered":
        with recorder:
            assert local.get(GRAPH, ["c", "a"]) == [5, 2]
    else:
        assert local.get(GRAPH, ["c", "a"], callbacks=recorder) == [5, 2]
    events = recorder.events
    assert events[:2] == ["start", "start_state"]
    assert events[-1] == ("finish", False)
    assert sorted(recorder.of("pretask")) == sorted(recorder.of("posttask")) == TASKS, "neither data nor culled tasks"
    for key in TASKS:
        assert events.index(("pretask", key)) < [event[:2] for event in events].index(("posttask", key))
    assert len({id(dsk) for dsk in recorder.graphs}) == 1
    assert len({id(state) for state in recorder.states}) == 1
    assert recorder.threads == {threading.current_thread()}
    assert recorder.graphs[0] is not GRAPH
    assert before == GRAPH


def test_the_state_at_its_start_and_end(local: Engine) -> None:
    snapshots: dict[str, Any] = {}

    def copy(name: str) -> Callable[..., None]:
        def hook(dsk: Any, state: Any, *_: Any) -> None:
            snapshots[name] = deepcopy(dict(state))

        return hook

    local.get(GRAPH, ["c", "one"], callbacks=Callback(start_state=copy("start"), finish=copy("finish")))
    start, finish = snapshots["start"], snapshots["finish"]
    assert start["cache"] == {"one": 1}
    assert start["dependencies"] == {"one": set(), "a": {"one"}, "b": {"a"}, "alias": {"b"}, "c": {"a", "alias"}}
    assert start["dependents"] == {"one": {"a"}, "a": {"b", "c"}, "b": {"alias"}, "alias": {"c"}, "c": set()}
    assert list(start["ready"]) == ["a"]
    assert start["waiting"] == {"b": {"a"}, "alias": {"b"}, "c": {"a", "alias"}}
    assert start["waiting_data"] == {"one": {"a"}, "a": {"b", "c"}, "b": {"alias"}, "alias": {"c"}}
    assert not start["finished"] | start["running"] | start["released"]
    assert finish["finished"] == set(TASKS)
    assert finish["cache"] == {"one": 1, "c": 5}, "what was asked for, data included, stays"
    assert finish["released"] == {"a", "b", "alias"}
    assert not finish["running"] | set(finish["waiting"]) | set(finish["waiting_data"])


def test_the_graph_can_be_called(local: Engine) -> None:
    found = []

    def start(dsk: Any) -> None:
        found.append(dsk["free"]())

    def pretask(key: Any, dsk: Any, state: Any) -> None:
        if callable(dsk[key]):
            found.append(dsk[key](state["cache"]))

    dsk = {"free": (inc, 3), "b": (inc, "free")}
    assert local.get(dsk, "b", callbacks=Callback(start=start, pretask=pretask)) == 5
    assert found == [4, 4, 5]


def test_start_may_put_data_in_the_place_of_tasks(local: Engine) -> None:
    recorder = Recorder()

    def start(dsk: Any) -> None:
        dsk["b"] = 10

    before = dict(GRAPH)
    assert local.get(GRAPH, ["c", "b"], callbacks=[Callback(start=start), recorder]) == [12, 10]
    assert "b" not in recorder.of("pretask")
    assert before == GRAPH


def test_two_callbacks_never_at_a_time(parallel: Engine) -> None:
    inside: list[int] = []

    def hook(*_: Any) -> None:
        inside.append(1)
        assert inside == [1]
        inside.pop()

    callback = Callback(pretask=hook, posttask=hook)
    dsk = {("x", i): (abs, -i) for i in range(200)}
    assert parallel.get({**dsk, "sum": (sum, list(dsk))}, "sum", callbacks=callback) == 19900


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_failing_task_has_a_pretask_and_no_posttask(local: Engine) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="bad"):
        local.get({"a": (inc, 1), "bad": (fail, "a"), "c": (inc, "bad")}, "c", callbacks=recorder)
    assert recorder.of("pretask") == ["a", "bad"]
    assert recorder.of("posttask") == ["a"]
    assert recorder.of("finish") == [True]
    assert list(Callback.active) == []


@pytest.mark.parametrize("hook", ["start_state", "pretask", "posttask"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_hook_that_raises_ends_the_run(local: Engine, hook: str, error: type[BaseException]) -> None:
    def raising(*_: Any) -> None:
        raise error("from the hook")

    before, behind = Recorder(), Recorder()
    hooks: dict[str, Any] = {hook: raising}
    with before, Callback(**hooks), behind:
        with pytest.raises(error, match="from the hook"):
            local.get(GRAPH, "c")
        assert len(Callback.active) == 3
    assert before.of("finish") == behind.of("finish") == [True]
    run = taskloom.last_run()
    assert run is not None
    assert run.status == ("cancelled" if error is KeyboardInterrupt else "failed")
    assert local.get(GRAPH, "c") == 5


def test_start_that_raises(local: Engine) -> None:
    def raising(*_: Any) -> None:
        raise ValueError("from start")

    finished: list[str] = []
    before, behind = Recorder(), Recorder()
    bad = Callback(start=raising, finish=lambda *_: finished.append("bad"))
    with before, bad, behind, pytest.raises(ValueError, match="from start"):
        local.get(GRAPH, "c")
    assert before.of("finish") == [True]
    assert finished == []
    assert behind.events == []
    assert local.get(GRAPH, "c") == 5


def test_finish_that_raises(local: Engine) -> None:
    def raising(*_: Any) -> None:
        raise ValueError("from finish")

    before, behind = Recorder(), Recorder()
    with before, Callback(finish=raising), behind, pytest.raises(ValueError, match="from finish"):
        local.get(GRAPH, "c")
    assert before.of("finish") == behind.of("finish") == [False]


def test_an_unknown_key_is_an_error_for_finish_too(local: Engine) -> None:
    recorder = Recorder()
    with pytest.raises(KeyError):
        local.get(GRAPH, "z", callbacks=recorder)
    assert recorder.events == ["start", ("finish", True)]


# -- which callbacks count -------------------------------------------------------------------------------------------


def test_active_is_empty_inside_a_run_and_restored_behind_it(local: Engine) -> None:
    lengths: dict[str, int] = {}

    def note(name: str) -> Callable[..., Any]:
        def look(*args: Any) -> Any:
            lengths[name] = len(Callback.active) + len(list(Callback.active))
            return args[0] if args else None

        return look

    hooks: Any = {name: note(name) for name in ("start", "start_state", "pretask", "posttask", "finish")}
    callback = Callback(**hooks)
    dsk = {"a": (note("task"),), "bad": (fail, "a")}
    with callback:
        assert len(Callback.active) == 1
        with pytest.raises(ValueError, match="bad"):
            local.get(dsk, "bad")
        assert len(Callback.active) == 1
        local.get({"a": (note("task"),)}, "a")
        assert list(Callback.active) == [callback._callback]
    assert lengths == dict.fromkeys([*hooks, "task"], 0)
    assert len(Callback.active) == 0


def test_runs_inside_tasks_and_hooks_fire_nothing(local: Engine) -> None:
    def inner(*_: Any) -> int:
        return int(taskloom.threaded.get({"x": (inc, 1), "y": (inc, "x")}, "y", num_workers=2))

    recorder = Recorder()
    with Callback(pretask=inner), recorder:
        assert local.get({"a": (inner,), "b": (inc, "a")}, "b") == 4
    assert recorder.of("pretask") == ["a", "b"]
    assert recorder.events.count("start") == 1


def test_overlapping_runs_from_threads_lose_nothing(local: Engine) -> None:
    """Each of 6 threads computes while the others do; every task of every run is told once."""
    counts: Counter[Any] = Counter()
    barrier = threading.Barrier(6)

    def compute(seed: int) -> None:
        barrier.wait(PATIENCE)
        for n in range(5):
            local.get({("x", seed, n): (inc, n), ("y", seed, n): (inc, ("x", seed, n))}, ("y", seed, n))

    def count(key: Any, *_: Any) -> None:
        counts[key] += 1  # each key in one thread

    with Callback(pretask=count):
        for result in [in_thread(compute, seed) for seed in range(6)]:
            result()
        assert len(Callback.active) == 1
    assert counts == Counter({(name, seed, n): 1 for name in "xy" for seed in range(6) for n in range(5)})


def test_registration_while_others_compute(local: Engine) -> None:
    begun, stop = threading.Barrier(3), threading.Event()

    def register() -> None:
        begun.wait(PATIENCE)
        while not stop.is_set():
            with Callback(pretask=lambda *_: None), Callback(posttask=lambda *_: None):
                pass

    registering = [in_thread(register) for _ in range(2)]
    begun.wait(PATIENCE)
    try:
        for _ in range(30):
            assert local.get({"a": (inc, 1), "b": (inc, "a")}, "b") == 3
    finally:
        stop.set()
    for result in registering:
        result()
    assert list(Callback.active) == []


def test_callbacks_given_replace_those_registered(local: Engine) -> None:
    registered, given = Recorder(), Recorder()
    with registered:
        local.get(GRAPH, "c", callbacks=[given])
        assert registered.events == []
        assert given.of("finish") == [False]
        local.get(GRAPH, "c", callbacks=[])
    assert registered.events == []


def test_a_tuple_of_five_will_do(local: Engine, calls: list[Any]) -> None:
    hooks = (None, None, lambda key, dsk, state: calls.append(key), None, None)
    local.get(GRAPH, "a", callbacks=hooks)
    local.get(GRAPH, "a", callbacks=[hooks])
    assert calls == ["a", "a"]
