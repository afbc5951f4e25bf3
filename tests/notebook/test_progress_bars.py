"""Which runs get a bar, when it appears and what is counted in it."""

import io
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from taskloom import config
from taskloom.bus import Run, RunGraph, current_run
from taskloom.bus.event_bus import bus
from taskloom.diagnostics import ProgressBar
from taskloom.graph import compile_plan
from taskloom.notebook.progress_bars import ProgressBars


class RecordedBar:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.drawn: list[Any] = []
        self.left: list[Any] = []

    def draw(self, state: Any) -> None:
        self.drawn.append(state)

    def finish(self, state: Any) -> None:
        self.left.append(state)


class Recorder:
    """The listener under test and the bars it made."""

    def __init__(self) -> None:
        self.bars: list[RecordedBar] = []
        self.listener = ProgressBars(self._new_bar)

    def _new_bar(self, run: Run) -> RecordedBar:
        self.bars.append(RecordedBar(run))
        return self.bars[-1]

    def start(self, inside: Run | None = None, tasks: int = 2, told: bool = True) -> Run:
        token = current_run.set(inside)
        try:
            graph = {f"x-{i}": (abs, i) for i in range(tasks)}
            run = Run(RunGraph.of(compile_plan(graph, list(graph))), "threads")
        finally:
            current_run.reset(token)
        if told:
            self.listener.run_started(run)
        return run

    def after(self, run: Run, seconds: float) -> None:
        run.zero -= seconds
        self.listener.run_updated(run)

    def end(self, run: Run) -> None:
        run.done.extend(range(len(run.done), run.n_tasks))
        run.end("finished")
        self.listener.run_finished(run)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The clock of its runs all but stands still: time goes by where a test says so."""
    readings = count()
    for module in ("bus.run", "diagnostics.base"):
        monkeypatch.setattr(f"taskloom.{module}.perf_counter", lambda: 1000 + 1e-6 * next(readings))
    with config.set({"notebook.progress": True, "notebook.progress_delay": 0.3}):
        yield Recorder()


def test_a_short_run_draws_nothing(recorder: Recorder) -> None:
    run = recorder.start()
    recorder.after(run, 0.1)
    recorder.end(run)
    (bar,) = recorder.bars
    assert not bar.drawn
    assert not bar.left


def test_a_long_run_draws_and_leaves_one_line(recorder: Recorder) -> None:
    run = recorder.start()
    recorder.after(run, 0.31)
    recorder.after(run, 0.1)
    recorder.end(run)
    (bar,) = recorder.bars
    assert len(bar.drawn) == 2
    assert [state["count_text"] for state in bar.left] == ["2/2"]


def test_the_delay_is_a_setting(recorder: Recorder) -> None:
    with config.set({"notebook.progress_delay": 5}):
        run = recorder.start()
        recorder.after(run, 4)
        assert not recorder.bars[0].drawn
        recorder.after(run, 1.1)
        assert recorder.bars[0].drawn


def test_runs_started_while_bars_are_off_have_none(recorder: Recorder) -> None:
    with config.set({"notebook.progress": False}):
        run = recorder.start()
    recorder.after(run, 1)
    recorder.end(run)
    assert not recorder.bars


def test_concurrent_runs_have_a_bar_each(recorder: Recorder) -> None:
    runs = [recorder.start(tasks=2), recorder.start(tasks=3)]
    for run in runs:
        recorder.after(run, 1)
    for run in runs:
        recorder.end(run)
    assert [bar.left[0]["count_text"] for bar in recorder.bars] == ["2/2", "3/3"]


def test_nested_runs_count_in_the_outermost_bar(recorder: Recorder) -> None:
    outer = recorder.start()
    ended = recorder.start(inside=outer, tasks=5)
    recorder.end(ended)
    live = recorder.start(inside=outer, tasks=7)
    deeper = recorder.start(inside=live, tasks=11)
    deeper.done.append(0)
    recorder.after(live, 1)
    recorder.after(deeper, 1)
    (bar,) = recorder.bars
    assert not bar.drawn, "a nested run's age must not bring up its parent's bar"
    recorder.after(outer, 1)
    assert "3 nested runs 6/23" in bar.drawn[-1]["note_text"]
    for run in (deeper, live, outer):
        recorder.end(run)
    assert "3 nested runs 23/23" in bar.left[0]["note_text"]


def test_nested_runs_that_are_over_before_their_parent_is_told_of_are_counted(recorder: Recorder) -> None:
    outer = recorder.start(told=False)
    inner = recorder.start(inside=outer, told=False)
    for run in (recorder.start(inside=inner, tasks=5), inner):
        if run is inner:
            recorder.listener.run_started(inner)
        recorder.end(run)
    recorder.listener.run_started(outer)
    recorder.after(outer, 1)
    recorder.end(outer)
    (bar,) = recorder.bars
    assert "2 nested runs 7/7" in bar.left[0]["note_text"]


def test_nested_runs_of_a_run_without_a_bar_have_none(recorder: Recorder) -> None:
    with config.set({"notebook.progress": False}):
        outer = recorder.start()
    inner = recorder.start(inside=outer)
    recorder.after(inner, 1)
    recorder.end(inner)
    recorder.end(outer)
    assert not recorder.bars


@pytest.mark.parametrize("told_first", [True, False])
def test_a_run_that_another_view_shows_has_no_bar(recorder: Recorder, told_first: bool) -> None:
    run = recorder.start(told=told_first)
    recorder.listener.leave_out(run)
    if not told_first:
        recorder.listener.run_started(run)
    nested = recorder.start(inside=run)
    for either in (run, nested):
        recorder.after(either, 1)
    for either in (nested, run):
        recorder.end(either)
    assert not any(bar.drawn or bar.left for bar in recorder.bars)
    other = recorder.start()
    recorder.after(other, 1)
    assert recorder.bars[-1].drawn


def test_a_bar_gives_way_to_one_that_was_asked_for(recorder: Recorder) -> None:
    with ProgressBar() as asked:
        run = recorder.start()
        asked.run_started(run)
        recorder.after(run, 1)
        recorder.end(run)
        asked.run_finished(run)
    elsewhere = io.StringIO()
    with ProgressBar(out=elsewhere) as asked:
        other = recorder.start()
        asked.run_started(other)
        recorder.after(other, 1)
    assert [bool(bar.drawn) for bar in recorder.bars] == [False, True]
    later = recorder.start()
    recorder.after(later, 1)
    assert recorder.bars[-1].drawn


def test_closing_leaves_a_line_and_draws_no_more(recorder: Recorder) -> None:
    run = recorder.start()
    recorder.after(run, 1)
    recorder.listener.close()
    (bar,) = recorder.bars
    assert len(bar.left) == 1
    recorder.after(run, 1)
    recorder.end(run)
    recorder.start()
    assert len(bar.drawn) == 1
    assert len(bar.left) == 1
    assert len(recorder.bars) == 1


def test_a_run_that_outlives_its_cell_has_a_bar_there(recorder: Recorder) -> None:
    run = recorder.start(told=False)
    bus.started(run)
    try:
        recorder.listener.end_of_cell()
        (bar,) = recorder.bars
        assert bar.drawn
    finally:
        run.end("finished")
        bus.finished(run)
    recorder.listener.run_finished(run)
    assert bar.left


def test_a_run_of_which_all_is_done_leaves_nothing_at_the_end_of_its_cell(recorder: Recorder) -> None:
    run = recorder.start()
    bus.started(run)
    run.done.extend([0, 1])
    try:
        recorder.listener.end_of_cell()
        (bar,) = recorder.bars
        assert not bar.drawn
    finally:
        run.end("finished")
        bus.finished(run)


def test_who_asks_for_a_bar_gets_one_more_at_once(recorder: Recorder) -> None:
    run = recorder.start()
    for bars in (1, 2):
        recorder.listener.show(run)
        assert len(recorder.bars) == bars
        assert all(bar.drawn for bar in recorder.bars)
    recorder.end(run)
    assert all(bar.left for bar in recorder.bars)
    recorder.listener.show(run)
    assert len(recorder.bars) == 2
