"""The task stream: which bars it has, and that it keeps up with a run without drawing it anew."""

from threading import Event, Thread
from typing import Any

import pytest

import taskloom
from taskloom import Run
from taskloom.views.bars import MOST_BARS, Bars
from taskloom.views.palette import FAILED_COLOR

pytest.importorskip("bokeh")

from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from taskloom import views
from taskloom.views.figures.task_stream import TaskStream


def run_of(graph: dict[Any, Any]) -> Run:
    taskloom.get(graph, list(graph))
    run = taskloom.last_run()
    assert run is not None
    return run


def data(plot: figure) -> dict[str, list[Any]]:
    source = plot.select_one({"type": ColumnDataSource, "name": "taskloom-task-stream"})
    return dict(source.data)


def test_a_bar_for_each_task_with_the_columns_of_the_record() -> None:
    run = run_of({("load", i): (abs, -i) for i in range(5)})
    bars = data(views.task_stream(run))
    assert set(run.tasks.columns) <= set(bars)
    assert sorted(bars["key"]) == [f"('load', {i})" for i in range(5)]
    assert sorted(bars["start"]) == sorted(run.tasks.start)
    assert set(bars["status"]) == {"finished"}
    assert len(set(bars["color"])) == 1


def test_a_large_run_has_few_bars_that_stand_for_all_tasks() -> None:
    run = run_of({("load", i): (abs, -i) for i in range(3 * MOST_BARS)})
    bars = data(views.task_stream(run))
    assert len(bars["key"]) <= MOST_BARS
    assert sum(bars["tasks"]) == 3 * MOST_BARS
    assert min(bars["start"]) == min(run.tasks.start)
    assert max(bars["stop"]) == max(run.tasks.stop)


def test_the_task_that_failed_is_red() -> None:
    with pytest.raises(ZeroDivisionError):
        run_of({"a": (abs, -1), "b": (lambda _: 1 / 0, "a")})
    run = taskloom.last_run()
    assert run is not None
    bars = data(views.task_stream(run))
    assert dict(zip(bars["key"], bars["color"], strict=True))["'b'"] == FAILED_COLOR
    assert dict(zip(bars["key"], bars["status"], strict=True)) == {"'a'": "finished", "'b'": "failed"}


def test_follows_a_run_that_goes_on() -> None:
    """Each finished task gets its bar once, and the running one a bar that grows."""
    steps = [Event() for _ in range(3)]
    begun = [Event() for _ in range(3)]

    def wait(number: int) -> None:
        begun[number].set()
        assert steps[number].wait(20)

    graph = {("wait", i): (wait, i) for i in range(3)}
    order: list[int] = []
    thread = Thread(target=lambda: taskloom.get(graph, list(graph)))
    thread.start()
    try:
        first = next(i for i in range(3) if begun[i].wait(20 if i == 0 else 0.1))
        order.append(first)
        run = taskloom.last_run()
        assert run is not None
        stream = TaskStream()
        stream.follow(run)
        assert data(stream.root)["key"] == []
        (running,) = Bars(run).running()
        assert running.status == "running"
        assert running.stop > running.start
        steps[first].set()
    finally:
        for step in steps:
            step.set()
        thread.join()
    stream.update()
    stream.update()
    assert len(data(stream.root)["key"]) == 3


def test_another_run_takes_the_place_of_the_one_before() -> None:
    stream = TaskStream()
    stream.follow(run_of({"a": (abs, -1), "b": (abs, -2)}))
    stream.follow(run_of({"c": (abs, -1)}))
    assert data(stream.root)["key"] == ["'c'"]
