"""The profiler of tasks: what it records, of which runs."""

import threading
from operator import add, mul
from time import perf_counter
from typing import Any

import pytest

import taskloom
from taskloom.diagnostics import Profiler, TaskData


@pytest.mark.parametrize("get", [taskloom.get, taskloom.threaded.get])
def test_a_row_per_task(get: Any, small: dict[Any, Any]) -> None:
    before = perf_counter()
    with Profiler() as profiler:
        assert get(small, "v") == 33
    after = perf_counter()

    assert TaskData._fields == ("key", "task", "start_time", "end_time", "worker_id")
    assert [row.key for row in profiler.results] == ["z", "w", "v"]
    assert [row.task for row in profiler.results] == [(add, "x", "y"), (mul, "z", 10), (sum, ["w", "z"])]
    times = [time for row in profiler.results for time in (row.start_time, row.end_time)]
    assert times == sorted(times)
    assert before <= profiler.start_time <= times[0]
    assert times[-1] <= profiler.end_time <= after
    assert all(isinstance(row.worker_id, str) for row in profiler.results)


def test_it_agrees_with_dask(small: dict[Any, Any]) -> None:
    diagnostics = pytest.importorskip("dask.diagnostics")
    from dask.local import get_sync

    with diagnostics.Profiler() as theirs:
        get_sync(small, "v", optimize_graph=False)
    with Profiler() as ours:
        taskloom.get(small, "v")

    assert ours.results[0]._fields == theirs.results[0]._fields
    assert sorted(row.key for row in ours.results) == sorted(row.key for row in theirs.results)


def test_tasks_read_as_in_the_graph() -> None:
    dsk = {
        "data": [1, 2],
        "nested": (add, (mul, 2, "data"), [(add, 1, 1), "data"]),
        "list": ["nested", 5],
        "alias": "list",
        "end": (len, "alias"),
    }
    with Profiler() as profiler:
        taskloom.get(dsk, "end")

    tasks = {row.key: row.task for row in profiler.results}
    assert tasks == {key: dsk[key] for key in ("nested", "list", "alias", "end")}


def test_tasks_of_a_large_number_of_runs_are_kept() -> None:
    with Profiler() as profiler:
        for number in range(30):
            taskloom.get({"a": (abs, -number)}, "a")
    assert [row.task for row in profiler.results] == [(abs, -number) for number in range(30)]


def test_a_failed_run_counts_up_to_its_failure() -> None:
    with Profiler() as profiler, pytest.raises(ZeroDivisionError):
        taskloom.get({"a": (abs, -1), "b": (divmod, "a", 0), "c": (str, "b")}, "c")
    assert [row.key for row in profiler.results] == ["a"]


def test_runs_of_all_threads_count() -> None:
    def compute(name: str) -> None:
        taskloom.threaded.get({(name, i): (abs, i) for i in range(50)}, [(name, i) for i in range(50)])

    threads = [threading.Thread(target=compute, args=(f"thread{i}",)) for i in range(4)]
    with Profiler() as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(profiler.results) == 200
    assert len({row.key for row in profiler.results}) == 200


def test_runs_inside_tasks_count_but_not_the_run_around() -> None:
    inside: list[Profiler] = []

    def outer() -> Any:
        with Profiler() as profiler:
            inside.append(profiler)
            return taskloom.get({"inner": (abs, -1)}, "inner")

    with Profiler() as profiler:
        taskloom.threaded.get({"before": (abs, 1), "outer": (lambda _: outer(), "before")}, "outer")

    assert {row.key for row in profiler.results} == {"before", "outer", "inner"}
    assert [row.key for row in inside[0].results] == ["inner"]


def test_a_run_that_had_started_before_does_not_count() -> None:
    started, end = threading.Event(), threading.Event()
    dsk = {"a": (lambda: started.set() or end.wait(10),), "b": (bool, "a")}
    thread = threading.Thread(target=taskloom.threaded.get, args=(dsk, "b"))
    thread.start()
    started.wait(10)
    with Profiler() as profiler:
        end.set()
        thread.join()
        taskloom.get({"mine": (abs, -1)}, "mine")
    assert [row.key for row in profiler.results] == ["mine"]


def test_a_run_whose_plan_is_gone_has_names_for_functions() -> None:
    with Profiler() as profiler:
        taskloom.get({"a": (abs, -1), "b": (divmod, "a", 2)}, "b")
        taskloom.get({"later": (abs, -1)}, "later")
        profiler.clear()
        profiler.run_finished(taskloom.runs[-2])  # as the bus does when both end in the same instant
    assert [(row.key, row.task) for row in profiler.results] == [("a", ("abs",)), ("b", ("divmod", "a"))]


def test_register_and_unregister() -> None:
    def run(key: str) -> None:
        taskloom.get({key: (abs, -1)}, key)

    profiler = Profiler()
    run("before")
    profiler.register()
    run("first")
    profiler.register()  # once is enough
    run("second")
    profiler.unregister()
    run("after")
    assert [row.key for row in profiler.results] == ["first", "second"]
    with pytest.raises(KeyError, match="Profiler is not registered"):
        profiler.unregister()

    profiler.register()
    run("third")
    profiler.unregister()
    assert [row.key for row in profiler.results] == ["first", "second", "third"]


def test_clear_and_a_new_block_start_afresh() -> None:
    profiler = Profiler()
    with profiler:
        taskloom.get({"a": (abs, -1)}, "a")
    kept = profiler.results
    with profiler:
        taskloom.get({"b": (abs, -1)}, "b")
    assert [row.key for row in profiler.results] == ["b"]
    assert [row.key for row in kept] == ["a"]

    profiler.clear()
    assert profiler.results == []
    assert profiler.start_time is None
    assert profiler.end_time is None


def test_an_exception_ends_the_block() -> None:
    profiler = Profiler()
    with pytest.raises(KeyError, match="mine"), profiler:
        raise KeyError("mine")
    taskloom.get({"a": (abs, -1)}, "a")
    assert profiler.results == []
