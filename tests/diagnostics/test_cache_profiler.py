"""The profiler of results: from when to when they live, and how large they are."""

import threading
from itertools import pairwise
from operator import add
from typing import Any

import pytest

import taskloom
from taskloom.diagnostics import CacheData, CacheProfiler

CHAIN = {"x": 1, "a": (abs, "x"), "b": (abs, "a"), "c": (add, "a", "b"), "d": (str, "c")}


def size(value: Any) -> int:
    return 10 * value if isinstance(value, int) else 1000


@pytest.mark.parametrize("metric", [None, size])
@pytest.mark.parametrize("get", [taskloom.get, taskloom.threaded.get])
def test_results_live_until_their_last_use(get: Any, metric: Any) -> None:
    with CacheProfiler(metric) as profiler:
        get(CHAIN, ["d", "b"])

    assert CacheData._fields == ("key", "task", "metric", "cache_time", "free_time")
    rows = {row.key: row for row in profiler.results}
    assert set(rows) == {"a", "b", "c", "d"}
    a, b, c, d = (rows[key] for key in "abcd")
    assert a.task == (abs, "x")
    assert [row.free_time for row in profiler.results] == sorted(row.free_time for row in profiler.results)
    times = [profiler.start_time, a.cache_time, b.cache_time, c.cache_time, a.free_time]
    assert times == sorted(times)  # `a` is taken last by `c`
    assert a.free_time < c.free_time <= d.free_time == b.free_time  # those asked for stay to the end
    assert d.free_time <= profiler.end_time
    assert [row.metric for row in (a, b, c, d)] == ([1, 1, 1, 1] if metric is None else [10, 10, 20, 1000])


@pytest.mark.parametrize("metric", [None, size])
def test_it_agrees_with_dask(metric: Any) -> None:
    diagnostics = pytest.importorskip("dask.diagnostics")
    from dask.local import get_sync

    with diagnostics.CacheProfiler(metric=metric) as theirs:
        get_sync(CHAIN, "d", optimize_graph=False)
    with CacheProfiler(metric=metric) as ours:
        taskloom.get(CHAIN, "d")

    assert ours.results[0]._fields == theirs.results[0]._fields
    assert sorted(row[:3:2] for row in ours.results) == sorted(row[:3:2] for row in theirs.results)


@pytest.mark.parametrize("metric", [None, size])
def test_after_a_failure_what_was_alive_is_freed_at_the_end(metric: Any) -> None:
    dsk = {"a": (abs, -1), "b": (abs, "a"), "bad": (divmod, "b", 0), "c": (add, "bad", "a")}
    with CacheProfiler(metric) as profiler, pytest.raises(ZeroDivisionError):
        taskloom.get(dsk, "c")
    assert {row.key for row in profiler.results} == {"a", "b"}
    assert len({row.free_time for row in profiler.results}) == 1


def test_a_metric_keeps_runs_with_the_same_keys_apart() -> None:
    meet = threading.Barrier(2, timeout=10)

    def wait(value: int) -> int:
        meet.wait()
        return value

    def compute(value: int) -> None:
        taskloom.get({"a": (wait, value), "b": (wait, "a"), "c": (wait, "b")}, "c")

    threads = [threading.Thread(target=compute, args=(value,)) for value in (1, 2)]
    with CacheProfiler(metric=size) as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted((row.key, row.metric) for row in profiler.results) == [(key, m) for key in "abc" for m in (10, 20)]


def test_the_metric_name() -> None:
    taskloom.get(CHAIN, "d")
    for profiler, name in (
        (CacheProfiler(), "count"),
        (CacheProfiler(metric=size), "size"),
        (CacheProfiler(metric=size, metric_name="bytes"), "bytes"),
    ):
        with profiler:
            taskloom.get(CHAIN, "d")
        assert profiler.visualize().yaxis[0].axis_label == f"Results alive ({name})"


def test_a_metric_that_raises_ends_the_run_and_the_next_is_fine() -> None:
    with CacheProfiler(metric=len) as profiler, pytest.raises(TypeError):
        taskloom.get(CHAIN, "d")
    assert profiler.results == []
    assert taskloom.get(CHAIN, "d") == "2"


@pytest.mark.parametrize("metric", [None, size])
def test_register_and_unregister(metric: Any) -> None:
    profiler = CacheProfiler(metric)
    profiler.register()
    taskloom.get(CHAIN, "d")
    taskloom.get(CHAIN, "c")
    profiler.unregister()
    taskloom.get(CHAIN, "d")
    assert len(profiler.results) == 7
    frees = [row.free_time for row in profiler.results]
    assert all(earlier <= later for earlier, later in pairwise(frees))
    with pytest.raises(KeyError):
        profiler.unregister()
    assert not taskloom.Callback.active
