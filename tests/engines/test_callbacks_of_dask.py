"""Callbacks that were written for Dask, and what callbacks cost, on every engine."""

import sys
from collections import Counter
from operator import add
from typing import Any

import pytest

import taskloom
from taskloom import Callback

from .conftest import Engine


def inc(x: int) -> int:
    return x + 1


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


# -- callbacks written for Dask --------------------------------------------------------------------------------------


def test_dasks_own_callbacks(local: Engine) -> None:
    dask_callbacks = pytest.importorskip("dask.callbacks")

    class Cache(dask_callbacks.Callback):  # type: ignore[misc, name-defined]
        """As `dask.cache.Cache` does: puts what it knows into the graph, keeps what is new."""

        def __init__(self) -> None:
            super().__init__()
            self.data: dict[Any, Any] = {}

        def _start(self, dsk: Any) -> None:
            for key in set(dsk) & set(self.data):
                dsk[key] = self.data[key]

        def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, id: Any) -> None:
            self.data[key] = (value, len(state["dependencies"][key]))[0]

        def _finish(self, dsk: Any, state: Any, errored: bool) -> None:
            self.finished = errored

    class Profiler(dask_callbacks.Callback):  # type: ignore[misc, name-defined]
        """As `dask.diagnostics.Profiler` does."""

        def __init__(self) -> None:
            self._results: dict[Any, Any] = {}
            self._dsk: dict[Any, Any] = {}

        def _start(self, dsk: Any) -> None:
            self._dsk.update(dsk)

        def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
            self._results[key] = (key, dsk[key])

        def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, id: Any) -> None:
            self._results[key] += (id,)

    cache, profiler = Cache(), Profiler()
    assert local.get(GRAPH, "c", callbacks=[cache, profiler]) == 5
    assert cache.data == {"a": 2, "b": 3, "alias": 3, "c": 5}
    assert {key: len(row) for key, row in profiler._results.items()} == dict.fromkeys(TASKS, 3)
    again = Profiler()
    assert local.get(GRAPH, "c", callbacks=[cache, again]) == 5
    assert again._results == {}, "everything was in the cache"


def test_dasks_own_profiler(local: Engine) -> None:
    diagnostics = pytest.importorskip("dask.diagnostics")
    profiler = diagnostics.Profiler()
    assert local.get(GRAPH, "c", callbacks=profiler) == 5
    assert sorted(row.key for row in profiler.results) == TASKS


# -- upkeep ----------------------------------------------------------------------------------------------------------


def graph_of(shape: str, n: int) -> dict[Any, Any]:
    dsk: dict[Any, Any]
    if shape == "chain":
        return {("x", 0): (inc, 0), **{("x", i): (inc, ("x", i - 1)) for i in range(1, n)}, "end": (inc, ("x", n - 1))}
    dsk = {("x", i): (inc, i) for i in range(n)}
    if shape == "fan-out":
        dsk = {"root": (inc, 0), **{("x", i): (add, "root", i) for i in range(n)}}
    return dsk | {"end": (sum, [("x", i) for i in range(n)])}


@pytest.mark.parametrize("shape", ["chain", "fan-in", "fan-out"])
def test_upkeep_is_linear(shape: str) -> None:
    """Counted in calls, not seconds: ten times the tasks cost little more than ten times the calls."""

    def count_calls(n: int) -> int:
        count = 0

        def profile(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        dsk, callback = graph_of(shape, n), Callback(posttask=lambda *_: None)
        sys.setprofile(profile)
        try:
            taskloom.get(dsk, "end", callbacks=callback)
        finally:
            sys.setprofile(None)
        return count

    small, large = count_calls(300), count_calls(3_000)
    assert large < 14 * small


@pytest.mark.parametrize("shape", ["chain", "fan-in", "fan-out"])
def test_ten_thousand_tasks_with_callbacks(local: Engine, shape: str) -> None:
    counts: Counter[str] = Counter()
    callback = Callback(
        pretask=lambda *_: counts.update(["pretask"]),
        posttask=lambda *_: counts.update(["posttask"]),
    )
    dsk = graph_of(shape, 10_000 if local.case.own_workers else 2_000)
    local.get(dsk, "end", callbacks=callback)
    assert counts == {"pretask": len(dsk), "posttask": len(dsk)}
