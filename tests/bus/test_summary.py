"""Figures of runs whose times are known."""

from array import array
from typing import Any

import pytest

import taskloom
from taskloom import Run
from taskloom.bus import RunGraph


def a_run(tasks: dict[Any, tuple[list[Any], float, float]], duration: float = 10.0, workers: int = 1) -> Run:
    """A run of tasks given as key -> (keys it needs, start, stop); a stop of 0.0 is a task that has not finished."""
    number = {key: i for i, key in enumerate(tasks)}
    needs = [tuple(number[other] for other in others) for others, _, _ in tasks.values()]
    run = Run(RunGraph(list(tasks), ["f"] * len(tasks), needs), "threads")
    run.start = array("d", [run.zero + start if start >= 0 else 0.0 for _, start, _ in tasks.values()])
    run.stop = array("d", [run.zero + stop if stop else 0.0 for _, _, stop in tasks.values()])
    run.done = array("L", [task for task in range(len(tasks)) if run.stop[task]])
    for worker in range(workers):
        run.join(f"worker {worker}")
    run.end("finished", duration)
    return run


def test_summary_by_name() -> None:
    run = a_run(
        {
            ("load", 0): ([], 0.0, 1.0),
            ("load", 1): ([], 1.0, 3.0),
            ("load", 2): ([], 3.0, 7.0),
            "save": ([("load", 2)], 7.0, 8.0),
        },
        duration=10.0,
        workers=2,
    )
    summary = run.summary()
    load, save = summary.by_name
    assert (load.name, load.count, load.done) == ("load", 3, 3)
    assert (load.total, load.p50, load.max) == pytest.approx((7.0, 2.0, 4.0))
    assert (save.name, save.count, save.done) == ("save", 1, 1)
    assert (summary.busy, summary.parallelism, summary.idle) == pytest.approx((8.0, 0.8, 0.6))
    assert summary.critical_path == pytest.approx(5.0)
    assert summary.duration == 10.0


def test_names_that_took_the_most_time_come_first() -> None:
    run = a_run({"a": ([], 0.0, 1.0), "b": ([], 1.0, 4.0), "c": ([], 4.0, 6.0)})
    assert [row.name for row in run.summary().by_name] == ["b", "c", "a"]


def test_summary_as_text() -> None:
    run = a_run({("load", i): ([], i / 1000, i / 1000 + 0.0005) for i in range(1200)} | {"x": ([], 2.0, 9.0)})
    title, head, first, second, last = str(run.summary()).splitlines()
    assert "threads, 1,201/1,201 tasks, finished, 10 s" in title
    assert head.split() == ["name", "done", "total", "p50", "max"]
    assert first.split() == ["x", "1/1", "7", "s", "7", "s", "7", "s"]
    assert second.split() == ["load", "1,200/1,200", "600", "ms", "500", "µs", "500", "µs"]
    assert last == "7.6 s of work in 10 s: 0.76 tasks at a time, workers idle 24%, longest chain 7 s"


def test_columns_of_the_text_line_up_however_long_names_are() -> None:
    long = "a_rather_long_name_of_a_task"
    lines = str(a_run({long: ([], 0.0, 1.0), "b": ([], 1.0, 2.0)}).summary()).splitlines()
    assert len({len(line) for line in lines[1:4]}) == 1


def test_text_holds_nothing_that_does_not_print() -> None:
    taskloom.get(graph := {("two\nlines", 0): 1, ("a\x1b[31m", 0): (abs, 1), ("\ud800\nb", 0): (abs, 1)}, list(graph))
    run = taskloom.last_run()
    assert run is not None
    lines = str(run.summary()).split("\n")
    assert len(lines) == 3 + len(run.names)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("tasks", "path"),
    [
        ({"a": ([], 0.0, 1.0)}, ["a"]),
        ({"a": ([], 0.0, 1.0), "b": (["a"], 1.0, 2.0), "c": (["b"], 2.0, 3.0)}, ["a", "b", "c"]),
        ({"a": ([], 0.0, 1.0), "b": ([], 0.0, 5.0), "c": (["a"], 1.0, 2.0)}, ["b"]),
        ({"a": ([], 0.0, 3.0), "b": ([], 0.0, 1.0), "c": (["b", "a"], 3.0, 4.0), "d": (["b"], 1.0, 2.0)}, ["a", "c"]),
        # A long wait is no work: the path goes by the time in tasks.
        ({"a": ([], 0.0, 2.0), "b": ([], 8.0, 9.0), "c": (["a", "b"], 9.0, 10.0)}, ["a", "c"]),
        ({"a": ([], 0.0, 1.0), "l": (["a"], 1.0, 2.0), "r": (["a"], 1.0, 4.0), "d": (["l", "r"], 4.0, 5.0)}, "ard"),
        # One that is still to finish adds nothing.
        ({"a": ([], 0.0, 1.0), "b": (["a"], 1.0, 0.0)}, ["a"]),
        ({}, []),
    ],
)
def test_critical_path(tasks: Any, path: Any) -> None:
    run = a_run(tasks)
    assert [run.tasks.key[task] for task in run.critical_path()] == list(path)


def test_figures_of_runs_in_which_nothing_finished_are_zero() -> None:
    for run in (a_run({"a": ([], 5.0, 0.0), "b": (["a"], -1.0, 0.0)}), a_run({})):
        summary = run.summary()
        assert (summary.busy, summary.parallelism, summary.critical_path) == (0.0, 0.0, 0.0)
        assert summary.idle == 1.0
        assert [(row.done, row.total, row.p50, row.max) for row in summary.by_name] == [
            (0, 0.0, 0.0, 0.0)
        ] * run.n_tasks
        assert str(summary)


def test_a_run_that_failed_in_its_first_task() -> None:
    with pytest.raises(ZeroDivisionError):
        taskloom.get({"a": (divmod, 1, 0)}, "a")
    run = taskloom.last_run()
    assert run is not None
    assert 0.0 < run.summary().critical_path <= run.duration, "the time it took to fail"
    assert "0/1" in str(run.summary())


def test_critical_path_of_a_long_chain_does_not_recurse() -> None:
    n = 20_000
    run = a_run({i: ([i - 1] if i else [], float(i), i + 1.0) for i in range(n)}, float(n))
    assert run.critical_path() == list(range(n))
    assert run.summary().critical_path == pytest.approx(n)
