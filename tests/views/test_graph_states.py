"""Graphs of runs: how far each box is, on every kind of record."""

from __future__ import annotations

import threading
from operator import add
from typing import Any

import pytest

import taskloom
from taskloom.bus import Run
from taskloom.views.graph_boxes import Diagram
from taskloom.views.graph_picture import draw_run
from taskloom.views.graph_states import STATES, BoxStates, caption, failure_text, tip

from .test_graph import nodes_of


def pipeline(n: int) -> dict[Any, Any]:
    dsk: dict[Any, Any] = {("load", i): (abs, i) for i in range(n)}
    dsk |= {("clean", i): (add, ("load", i), 1) for i in range(n)}
    return {**dsk, "total": (sum, [("clean", i) for i in range(n)])}


def run_of(dsk: dict[Any, Any], keys: Any) -> Run:
    try:
        taskloom.threaded.get(dsk, keys, num_workers=2)
    except ZeroDivisionError:
        pass
    run = taskloom.last_run()
    assert run is not None
    return run


def states(run: Run) -> dict[str, str]:
    return {node.get("data-key"): node.get("data-state") for node in nodes_of(draw_run(run))}


def look(run: Run, diagram: Diagram) -> dict[str, tuple[str, int]]:
    progress = BoxStates(run, diagram).look()
    return {
        box.key: (STATES[state], done)
        for box, state, done in zip(diagram.boxes, progress["states"], progress["done"], strict=True)
    }


def test_each_state_while_it_runs() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        reached.set()
        assert go_on.wait(20)

    dsk = {"first": (abs, 1), "held": (hold, "first"), "next": (abs, "first"), "last": (max, ["next", "other"])}
    dsk["other"] = (lambda _: 0, "held")
    begun = taskloom.last_run()
    thread = threading.Thread(target=taskloom.threaded.get, args=(dsk, ["held", "last"]), kwargs={"num_workers": 1})
    thread.start()
    try:
        assert reached.wait(20)
        run = taskloom.last_run()
        assert run is not begun
        found = states(run)
        assert found["first"] == "finished"
        assert found["held"] == "running"
        assert found["last"] == "waiting"
        assert found["other"] == "waiting"
        assert found["next"] in ("ready", "finished")
        assert "running" in caption(run)
        assert any("running for" in line for line in tip(Diagram(run.graph), run.graph.keys.index("held"), run))
    finally:
        go_on.set()
        thread.join()
    assert set(states(run).values()) == {"finished"}


def test_a_look_costs_only_what_is_new_and_counts_groups() -> None:
    run = run_of(pipeline(200), "total")
    everything, run.done = run.done, run.done[:150]
    run.status = "running"
    diagram = Diagram(run.graph)
    follower = BoxStates(run, diagram)
    assert sum(follower.look()["done"]) == 150
    run.done = everything
    run.status = "finished"
    progress = follower.look()
    assert sorted(progress["done"]) == [1, 200, 200]
    assert {STATES[state] for state in progress["states"]} == {"finished"}


def test_failed_run() -> None:
    run = run_of({"a": (abs, 1), "bad": (lambda _: 1 // 0, "a"), "after": (abs, "bad")}, "after")
    assert states(run) == {"a": "finished", "bad": "failed", "after": "waiting"}
    assert failure_text(run) == "bad failed: ZeroDivisionError: integer division or modulo by zero"
    text = draw_run(run)
    assert failure_text(run) in text
    assert 'taskloom-critical"' not in text
    lines = tip(Diagram(run.graph), run.graph.keys.index("bad"), run)
    assert lines[0] == "bad"
    assert lines[-1].startswith("ZeroDivisionError")
    grouped = look(run, Diagram(run.graph, collapsed=True))
    assert grouped["bad"] == ("failed", 0)


def test_a_failed_task_makes_its_group_red() -> None:
    dsk = {("x", i): (lambda i: 1 // (i - 3), i) for i in range(400)}
    run = run_of(dsk, list(dsk))
    assert states(run) == {"x": "failed"}


def test_cancelled_run() -> None:
    box: list[Run] = []

    def stop() -> None:
        run = taskloom.last_run()
        assert run is not None
        box.append(run)
        run.cancel()

    dsk = {"stop": (stop,), "after": (lambda _: None, "stop")}
    with pytest.raises(KeyboardInterrupt):
        taskloom.threaded.get(dsk, "after", num_workers=1)
    assert "stopped" in caption(box[0])
    assert states(box[0])["after"] == "waiting"


def test_empty_and_single() -> None:
    taskloom.get({}, [])
    run = taskloom.last_run()
    assert run is not None
    assert states(run) == {}
    assert states(run_of({"a": (abs, 1)}, "a")) == {"a": "finished"}


def test_loaded_from_a_file(tmp_path: Any) -> None:
    run = run_of(pipeline(3), "total")
    run.save(tmp_path / "run.jsonl")
    loaded = Run.load(tmp_path / "run.jsonl")
    assert states(loaded) == states(run)
    diagram = Diagram(loaded.graph)
    assert any(line.startswith("took ") for line in tip(diagram, 0, loaded))


def test_50_000_tasks_are_three_boxes() -> None:
    run = run_of(pipeline(25_000), "total")
    text = draw_run(run)
    assert set(states(run).values()) == {"finished"}
    assert len(nodes_of(text)) == 3
    assert "25,000/25,000" in text
    assert len(text) < 10_000
    other = run_of({"a": (abs, 1)}, "a")  # the large record is let go of
    assert other.status == "finished"
    assert set(states(run).values()) == {"finished"}


def test_the_longest_chain_is_marked() -> None:
    run = run_of(pipeline(3), "total")
    marked = [node.get("data-key") for node in nodes_of(draw_run(run)) if "taskloom-critical" in node.get("class")]
    assert len(marked) == 3
    assert "total" in marked
    boxes, path = Diagram(run.graph, collapsed=True).chain(run.critical_path())
    assert len(boxes) == 3
    assert path.count("M") == 2


def test_a_tip_tells_what_is_known() -> None:
    run = run_of({"a": (abs, -1), "b": (add, "a", 1)}, "b")
    diagram = Diagram(run.graph)
    lines = tip(diagram, run.graph.keys.index("b"), run)
    assert lines[:3] == ["b", "function add", "takes a"]
    assert any(line.startswith("worker ") for line in lines)
    assert any(line.startswith("took ") for line in lines)
    group = tip(Diagram(run_of(pipeline(200), "total").graph), 0, None)
    assert group[1] == "200 tasks"
    assert len(group) == 3


def test_hostile_keys_in_a_run() -> None:
    key = "<img src=x onerror=alert(1)>" * 40_000
    run = run_of({key: (lambda: 1 // 0,)}, key)
    text = draw_run(run)
    assert "<img" not in text
    assert len(text) < 10_000
    assert all(len(line) <= 200 for line in tip(Diagram(run.graph), 0, run))
