"""The task stream: which bars it has, and that it keeps up with a run without drawing it anew."""

import re
import time
from threading import Event, Thread
from typing import Any

import pytest

import taskloom
from taskloom import Run
from taskloom.bus import Worker
from taskloom.views.bars import MOST_BARS, Bars
from taskloom.views.palette import FAILED_COLOR
from taskloom.views.waits import Waits

pytest.importorskip("bokeh")

from bokeh.models import ColumnDataSource, Scatter
from bokeh.plotting import figure

from taskloom import views
from taskloom.views.figures.task_stream import TaskStream
from taskloom.views.stream_picture import picture_svg


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


def test_the_task_that_failed_has_a_mark_however_short_it_was() -> None:
    with pytest.raises(ZeroDivisionError):
        run_of({"a": (time.sleep, 0.05), "b": (lambda _: 1 / 0, "a")})
    run = taskloom.last_run()
    assert run is not None
    (renderer,) = [
        r
        for r in views.task_stream(run).renderers
        if isinstance(r.glyph, Scatter) and r.glyph.marker == "inverted_triangle"
    ]
    assert renderer.glyph.size > 8
    assert list(renderer.data_source.data["key"]) == ["'b'"]
    assert list(renderer.data_source.data["color"]) == [FAILED_COLOR]
    (failed,) = [rect for rect in re.findall("<rect[^>]*>", picture_svg(run)) if FAILED_COLOR in rect]
    assert float(re.findall('width="([0-9.]+)"', failed)[0]) >= 4


def test_a_legend_names_the_tasks_and_says_how_many_more_there_are() -> None:
    run = run_of({(f"load{i}", 0): (abs, -i) for i in range(10)})
    (legend,) = views.task_stream(run).legend
    labels = [item.label["value"] for item in legend.items]
    assert labels == [*[f"load{i}" for i in range(6)], "and 4 more"]
    bars = data(views.task_stream(run))
    assert [bars["name"][item.index] for item in legend.items[:-1]] == labels[:-1]


def test_what_a_worker_waited_for_is_shown() -> None:
    """`b` runs on another worker than `a`, starts when `a` is done, and waits for it from when that worker was free."""
    run = run_of({"a": (abs, -1), "b": (abs, -1), "c": (max, "a", "b")})
    run.workers = [Worker("one", 1), Worker("two", 1)]
    number = {key: task for task, key in enumerate(run.graph.keys)}
    a, b, c = number["a"], number["b"], number["c"]
    run.zero = 0.0
    for task, worker, start, stop in ((a, 0, 0.1, 1.0), (b, 1, 0.1, 0.4), (c, 1, 1.2, 1.5)):
        run.worker[task], run.start[task], run.stop[task] = worker, start, stop
    computed, arrived = Waits(run).before(Bars(run).finished(0, 3, 3))
    assert (computed.worker, computed.start, computed.stop) == (1, 0.4, 1.0)
    assert "600 ms for 'a' to be computed" in computed.what
    assert (arrived.worker, arrived.start, arrived.stop) == (1, 1.0, 1.2)
    assert "200 ms for the result of 'a' to arrive" in arrived.what


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
