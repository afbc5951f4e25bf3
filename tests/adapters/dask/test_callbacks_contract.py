"""What Dask's callbacks expect of a scheduler, point by point, on every engine."""

import threading
from collections.abc import Callable
from operator import add
from typing import Any

import cachey
import dask
import dask.array as da
import pytest
from dask.cache import Cache
from dask.callbacks import Callback, add_callbacks
from dask.diagnostics import CacheProfiler, Profiler, ProgressBar, ResourceProfiler

import taskloom

Get = Callable[..., Any]

STATE = ["cache", "dependencies", "dependents", "finished", "ready", "released", "running", "waiting", "waiting_data"]
GRAPH: dict[str, Any] = {
    "one": 1,
    "a": (lambda x: x + 1, "one"),
    "b": (lambda x: x * 2, "a"),
    "alias": "b",
    "c": (add, "a", "alias"),
    "culled": (abs, "a"),
}


def fail(_: Any) -> None:
    raise ZeroDivisionError("on purpose")


@pytest.fixture
def get(scheduler: str) -> Get:
    """The function that Dask calls for each engine, without the fusion of processes."""
    found: Get = dask.base.get_scheduler(scheduler=scheduler)
    return lambda *args, **options: found(*args, optimize_graph=False, **options)


class Log(Callback):
    """Everything it is told, and from where."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self.seen: set[tuple[int, int]] = set()
        self.errored: list[bool] = []

    def _note(self, dsk: Any, state: Any, *event: Any) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())
        self.seen.add((id(dsk), id(state)))

    def _start(self, dsk: Any) -> None:
        self.events.append(("start",))
        assert not Callback.active

    def _start_state(self, dsk: Any, state: Any) -> None:
        self._note(dsk, state, "start_state")
        assert sorted(state) == STATE
        assert state["cache"] == {"one": 1}
        self.total = self.count(state)

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self._note(dsk, state, "pretask", key)
        assert key in state["running"]
        assert all(name in state["cache"] for name in state["dependencies"][key])
        assert self.count(state) == self.total

    def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, worker: Any) -> None:
        self._note(dsk, state, "posttask", key)
        assert key in state["finished"]
        assert state["cache"][key] == value
        assert not any(key in waits for waits in state["waiting"].values())
        assert state["released"].isdisjoint(state["cache"])
        assert self.count(state) == self.total
        assert worker

    def _finish(self, dsk: Any, state: Any, errored: bool) -> None:
        self._note(dsk, state, "finish")
        self.errored.append(errored)

    @staticmethod
    def count(state: Any) -> int:
        return sum(len(state[name]) for name in ("ready", "waiting", "running", "finished"))


def test_20_22_23_order_state_and_literals(get: Get) -> None:
    with Log() as log:
        assert get(GRAPH, "c") == 6
    keys = [event[1] for event in log.events if event[0] == "pretask"]
    assert sorted(keys) == ["a", "alias", "b", "c"]
    expected = [("start",), ("start_state",)]
    assert log.events[:2] == expected
    assert log.events[-1] == ("finish",)
    assert sorted(key for kind, *key in log.events if kind == "posttask") == [["a"], ["alias"], ["b"], ["c"]]
    assert log.threads == {threading.get_ident()}
    assert len(log.seen) == 1
    assert log.errored == [False]


def test_21_the_graph_can_be_called_and_changed(get: Get) -> None:
    called = {}

    class Known(Callback):
        def _start(self, dsk: Any) -> None:
            called["one"], called["a"] = dsk["one"](), dsk["a"]({"one": 5})
            dsk["b"] = [7]

    keys: list[Any] = []
    with Known(), Callback(pretask=lambda key, *_: keys.append(key)):
        assert get(GRAPH, ["b", "alias"]) == ([7], [7])
    assert called == {"one": 1, "a": 6}
    assert keys == ["alias"]
    assert GRAPH["b"] != [7]


def test_21_a_cache_of_dasks(get: Get) -> None:
    cache = Cache(cachey.Cache(1e9, limit=0))
    with cache:
        assert get(GRAPH, "c") == 6
    assert "c" in cache.cache.data
    keys: list[Any] = []
    with cache, Callback(pretask=lambda key, *_: keys.append(key)):
        assert get(GRAPH, "c") == 6
    assert keys == []


def test_24_failures(get: Get) -> None:
    with Log() as log, pytest.raises(ZeroDivisionError):
        get({"one": 1, "bad": (fail, "one"), "next": (abs, "bad")}, "next")
    assert ("pretask", "bad") in log.events
    assert not [event for event in log.events if event[0] == "posttask"]
    assert log.errored == [True]


@pytest.mark.parametrize("where", ["start", "start_state", "pretask", "posttask"])
def test_24_a_callback_that_raises(get: Get, where: str) -> None:
    finished: list[Any] = []

    def refuse(*_: Any) -> None:
        raise BufferError(where)

    before = Callback(finish=lambda dsk, state, errored: finished.append(("before", errored)))
    raising = Callback(**{where: refuse}, finish=lambda dsk, state, errored: finished.append(("own", errored)))
    with before, raising, pytest.raises(BufferError, match=where):
        get(GRAPH, "c")
    assert finished == [("before", True), *([("own", True)] if where != "start" else [])]
    assert get(GRAPH, "c") == 6


@pytest.mark.parametrize("name", ["sync", "threads"])
def test_25_runs_inside_are_not_told_of(name: str) -> None:
    inside: list[Any] = []

    def nested() -> int:
        inside.append(set(Callback.active))
        value: int = dask.get({"inner": (abs, -1)}, "inner")
        return value

    keys: list[Any] = []
    with Callback(pretask=lambda key, *_: keys.append(key)):
        assert dask.base.get_scheduler(scheduler=name)({"outer": (nested,)}, "outer") == 1
        assert len(Callback.active) == 1
    assert keys == ["outer"]
    assert inside == [set()]
    assert not Callback.active


def test_25_those_of_a_call_replace_the_others(get: Get) -> None:
    told: list[str] = []
    own = Callback(start=lambda dsk: told.append("own"))
    with Callback(start=lambda dsk: told.append("global")):
        get(GRAPH, "c", callbacks=[own._callback])
        get(GRAPH, "c", callbacks=[])
        assert dask.delayed(abs)(1).compute(scheduler="sync", callbacks=own) == 1
    assert told == ["own", "own"]


def test_25_registered_for_all_threads() -> None:
    told: list[int] = []
    callback = Callback(start=lambda dsk: told.append(threading.get_ident()))
    callback.register()
    try:
        thread = threading.Thread(target=dask.get, args=(GRAPH, "c"))
        thread.start()
        thread.join()
        dask.get(GRAPH, "c")
        taskloom.get(GRAPH, "c")
    finally:
        callback.unregister()
    dask.get(GRAPH, "c")
    assert len(told) == 3
    assert len(set(told)) == 2


def test_26_runs_that_overlap_lose_no_callback() -> None:
    """In Dask the first run to end restores what was active when it began."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go_on.wait(20)

    thread = threading.Thread(target=dask.get, args=({"w": (wait,)}, "w"))
    thread.start()
    assert begun.wait(20)
    late = Callback(start=lambda dsk: None)
    late.register()
    go_on.set()
    thread.join()
    try:
        assert late._callback in Callback.active
    finally:
        late.unregister()


def test_26_a_missing_key_is_an_error() -> None:
    errored: list[bool] = []
    with Callback(finish=lambda dsk, state, failed: errored.append(failed)), pytest.raises(KeyError):
        dask.get(GRAPH, "nope")
    assert errored == [True]


def test_dasks_diagnostics(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    x = da.ones((20, 20), chunks=(5, 5)).sum()
    with Profiler() as tasks, CacheProfiler() as cache, ProgressBar(dt=0.01), ResourceProfiler(dt=0.01) as resources:
        assert x.compute(scheduler=scheduler) == 400
    resources.close()
    assert len(tasks.results) == len(cache.results) > 16
    assert all(result.end_time >= result.start_time for result in tasks.results)
    assert "100% Completed" in capsys.readouterr().out


def test_callbacks_that_are_added_for_a_block(get: Get) -> None:
    told: list[Any] = []
    with add_callbacks((None, None, lambda key, dsk, state: told.append(key), None, None)):
        get(GRAPH, "c")
    assert len(told) == 4
    assert not Callback.active


def test_what_was_registered_before_and_after() -> None:
    taskloom.disable_dask()
    told: list[str] = []
    before = Callback(start=lambda dsk: told.append("before"))
    before.register()
    taskloom.enable_dask()
    dask.get(GRAPH, "c")
    taskloom.disable_dask()
    assert before._callback in Callback.active
    dask.local.get_sync(GRAPH, "c")
    before.unregister()
    assert told == ["before", "before"]
    assert not taskloom.Callback.active


def test_one_of_plain_functions_that_is_active_when_dask_is_disabled_can_be_unregistered() -> None:
    callback = Callback(pretask=lambda key, dsk, state: None)
    callback.register()
    taskloom.disable_dask()
    callback.unregister()
    assert not Callback.active
    assert not taskloom.Callback.active
