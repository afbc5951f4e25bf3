"""Views follow a run of futures: it grows, and goes on after tasks that failed."""

import random
from pathlib import Path

import pytest

from taskloom import Run
from taskloom.bus import Failure, GrowingRun, Sample, Transfer
from taskloom.views.bars import Bars
from taskloom.views.graph_boxes import Diagram
from taskloom.views.graph_states import STATES, BoxStates, caption, failure_text, tip
from taskloom.views.headline import headline
from taskloom.views.lanes import Lanes
from taskloom.views.moves import moves
from taskloom.views.progress import EXACT_TASKS, Progress, text_line

pytest.importorskip("bokeh")

from bokeh.models import MultiLine
from bokeh.plotting import figure

from taskloom.views.figures.counts import Counts
from taskloom.views.figures.resources import Resources
from taskloom.views.figures.task_stream import TaskStream


def growing(*keys: str, threads: int = 1) -> GrowingRun:
    run = GrowingRun("distributed", lambda _: False)
    run.join("worker-0", threads=threads)
    run.join("worker-1", threads=threads)
    run.current = []
    submit(run, *keys)
    return run


def submit(run: GrowingRun, *keys: str) -> None:
    run.extend(keys, ["f"] * len(keys), [()] * len(keys))


def finish(run: Run, *tasks: int, start: float = 0.0, stop: float = 0.1, worker: int = 0) -> None:
    for task in tasks:
        run.start[task], run.stop[task], run.worker[task] = run.zero + start, run.zero + stop, worker
    run.done.extend(tasks)


def fail(run: GrowingRun, *tasks: int, start: float = 0.0, stop: float = 0.1) -> None:
    run.start[tasks[0]] = run.zero + start
    run.fail_tasks(Failure(run.graph.keys[tasks[0]], "ValueError: no", 0), tasks, run.zero + stop)


def drawn(stream: TaskStream) -> dict[str, str]:
    (source,) = [r.data_source for r in stream.root.renderers if r.data_source.name == "taskloom-task-stream"]
    return dict(zip(source.data["key"], source.data["status"], strict=True))


def test_the_bar_counts_what_is_added() -> None:
    run = growing("load-1", "load-2")
    progress = Progress(run)
    finish(run, 0)
    first = progress.state()
    submit(run, "load-3", "clean-1")
    finish(run, 3)
    second = progress.state()
    assert (first["count_text"], second["count_text"]) == ("1/2", "2/4")
    counts = {row["name"]: (row["done"], row["total"]) for row in second["names"]}
    assert counts == {"load": (1, 3), "clean": (1, 1)}
    colors = {row["name"]: row["color"] for row in second["names"]}
    assert colors["load"] == first["names"][0]["color"] != colors["clean"]


def test_a_task_that_is_done_before_its_name_was_looked_at_is_counted_later() -> None:
    run = growing("load-1")
    progress = Progress(run)
    progress.state()
    submit(run, "clean-1")
    finish(run, 1, 0)
    assert [(row["name"], row["done"]) for row in progress.state()["names"]] == [("load", 1), ("clean", 1)]


def test_a_bar_that_becomes_large_counts_by_a_sample() -> None:
    run = growing("load-1")
    progress = Progress(run)
    finish(run, 0)
    assert progress.state()["exact"]
    submit(run, *[f"load-{i}" for i in range(EXACT_TASKS)])
    finish(run, *range(1, 5001))
    state = progress.state()
    assert not state["exact"]
    (row,) = state["names"]
    assert (row["done"], row["total"]) == (5001, EXACT_TASKS + 1)


def test_views_say_how_many_failed() -> None:
    run = growing("a", "b", "c", "d")
    fail(run, 0, 1)
    state = Progress(run).state()
    assert (state["failed"], state["status"]) == (2, "running")
    assert state["failure_text"] == "2 failed, first at 'a': ValueError: no"
    assert "2 failed" in text_line(state)
    assert "2 failed · 'a': ValueError: no" in headline(run)
    assert failure_text(run) == "2 tasks failed, first a: ValueError: no"
    run.unfinished.add(2)
    assert "1 cancelled" in Progress(run).state()["note_text"]


def test_boxes_of_all_failed_tasks_are_red_and_tell_why() -> None:
    run = growing("a", "b", "c")
    fail(run, 0, 1)
    diagram = Diagram(run.graph)
    submit(run, "later")
    finish(run, 3)
    states = [STATES[state] for state in BoxStates(run, diagram).look()["states"]]
    assert states == ["failed", "failed", "ready"]
    assert "ValueError: no" in tip(diagram, 0, run)
    assert "not run: a failed: ValueError: no" in tip(diagram, 1, run)
    assert caption(run).startswith("1/4 tasks")
    assert len(BoxStates(run, Diagram(run.graph)).look()["states"]) == 4


def test_the_stream_draws_failures_while_the_run_goes_on() -> None:
    run = growing("a", "b", "c")
    stream = TaskStream()
    stream.follow(run)
    finish(run, 0)
    stream.update()
    fail(run, 1)
    stream.update()
    assert drawn(stream) == {"'a'": "finished", "'b'": "failed"}
    run.revive([1])
    stream.update()
    assert drawn(stream) == {"'a'": "finished"}
    finish(run, 1, 2)
    stream.update()
    run.end("finished")
    stream.update()
    assert drawn(stream) == {"'a'": "finished", "'b'": "finished", "'c'": "finished"}


def test_what_is_given_up_is_neither_ready_nor_waiting() -> None:
    run = growing("a", "b", "c")
    fail(run, 0, 1)
    counts = Counts()
    counts.follow(run)
    (source,) = {r.data_source for r in counts.root.renderers}
    assert (source.data["ready"][-1], source.data["waiting"][-1]) == (1, 0)
    finish(run, 2)
    run.end("failed")
    counts.update()
    assert (source.data["ready"][-1], source.data["waiting"][-1]) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_lanes_are_as_many_as_threads_and_bars_do_not_overlap(seed: int) -> None:
    choose = random.Random(seed)
    threads = choose.randint(2, 5)
    run = growing(threads=threads)
    free = [[0.0] * threads for _ in range(2)]
    spans = []
    for _ in range(200):
        worker, thread = choose.randrange(2), choose.randrange(threads)
        start = free[worker][thread] + choose.random() * 0.1
        free[worker][thread] = stop = start + choose.random()
        spans.append((stop, start, worker))
    submit(run, *[f"x-{number}" for number in range(200)])
    for task, (stop, start, worker) in enumerate(sorted(spans)):
        finish(run, task, start=start, stop=stop, worker=worker)
    bars, lanes = Bars(run), Lanes(run)
    placed = [*lanes.place(bars.finished(0, 120, 120)), *lanes.place(bars.finished(120, 200, 80))]
    ends: dict[float, float] = {}
    for bar in placed:
        assert ends.get(bar.row, 0.0) <= bar.start
        assert abs(bar.row - bar.worker) < 0.4
        ends[bar.row] = bar.stop
    assert len(ends) <= 2 * threads


def test_running_tasks_of_a_worker_have_a_lane_each() -> None:
    run = growing("a", "b", "c", threads=3)
    run.zero -= 1
    for task in range(3):
        run.start[task] = run.zero + 0.001 * task
    run.current = [0, 1, 2]
    lanes = Lanes(run)
    rows = [bar.row for bar in lanes.place_for_now(Bars(run).running())]
    assert len(set(rows)) == 3
    assert [bar.row for bar in lanes.place_for_now(Bars(run).running())] == rows


def test_moves_stand_on_the_row_of_the_receiver() -> None:
    run = growing("a", "b")
    run.transfers = [Transfer(0.2, 1, 0, 1, 2_000_000), Transfer(0.3, 0, 1, None, 5)]
    (move,) = moves(run)
    assert (move.key, move.source, move.target, move.size) == ("'b'", "worker-0", "worker-1", "2 MB")
    assert 1 < move.place < 1.5


def test_memory_of_results_is_drawn_where_workers_hold_any() -> None:
    def lines(plot: figure) -> list[int]:
        return [len(r.data_source.data["xs"]) for r in plot.renderers if isinstance(r.glyph, MultiLine)]

    run = growing("a")
    run.samples = [Sample(0.1, 0, 10.0, 100), Sample(0.1, 1, 10.0, 100)]
    resources = Resources()
    resources.follow(run)
    assert lines(resources.memory) == [2, 0]
    run.samples = [Sample(0.1, 0, 10.0, 100, 50), Sample(0.1, 1, 10.0, 100, 60)]
    resources.follow(run)
    assert lines(resources.memory) == [2, 2]


def test_a_file_keeps_all_failures_transfers_and_memory(tmp_path: Path) -> None:
    run = growing("a", "b", "c")
    fail(run, 0, 1)
    run.transfers = [Transfer(0.2, 2, 0, 1, 10), Transfer(0.3, 2, 0, None, 10)]
    run.samples = [Sample(0.1, 0, 10.0, 100, 50)]
    finish(run, 2)
    run.end("failed")
    run.save(tmp_path / "run.jsonl")
    loaded = Run.load(tmp_path / "run.jsonl")
    assert loaded.failures == run.failures
    assert loaded.failures[1] is loaded.failures[0]
    assert (loaded.transfers, loaded.samples, loaded.n_failed) == (run.transfers, run.samples, 2)
    assert loaded.tasks.status == ["failed", "failed", "finished"]
