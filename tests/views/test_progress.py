"""The state of a progress bar, and its text and HTML."""

import json
import re
from html.parser import HTMLParser
from itertools import count
from typing import Any

import pytest

from taskloom.bus import Failure, Run, RunGraph
from taskloom.diagnostics.progress_bar import bar_line
from taskloom.graph import compile_plan
from taskloom.views.palette import NAME_COLORS, name_colors
from taskloom.views.progress import TEXT_BAR, TOP_NAMES, Progress, progress_state, static_html, text_line

HOSTILE = ["<img src=x onerror=alert(1)>", "'\"><script>alert(1)</script>", "two\nlines\r\x1b[31m", "x" * 1_000_000]


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of runs all but stands still: time goes by where a test says so."""
    readings = count()
    monkeypatch.setattr("taskloom.bus.run.perf_counter", lambda: 1000 + 1e-6 * next(readings))


def new_run(*keys: Any, seconds: float = 0.0) -> Run:
    """A run of these keys that started some seconds ago and has done nothing."""
    run = Run(RunGraph.of(compile_plan(dict.fromkeys(keys, (abs, -1)), list(keys))), "threads")
    run.zero -= seconds
    return run


def finish(run: Run, count: int) -> None:
    """Let `count` more tasks finish."""
    run.done.extend(range(len(run.done), len(run.done) + count))


def fail(run: Run, error: BaseException | str, task: int = 0) -> None:
    run.failure = run.failures[task] = Failure(run.graph.keys[task], error, worker=0)
    run.end("failed")


def by_name(state: Any) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["done"], row["total"]) for row in state["names"]}


def test_state_is_plain_json_and_counts_by_name() -> None:
    run = new_run(*[("load", i) for i in range(6)], *[("clean", i) for i in range(4)], seconds=2)
    finish(run, 7)
    state = progress_state(run)
    assert json.loads(json.dumps(state)) == state
    assert state["count_text"] == "7/10"
    assert state["engine"] == "threads"
    assert by_name(state) == {
        name: (sum(run.graph.keys[task][0] == name for task in range(7)), total)
        for name, total in {"load": 6, "clean": 4}.items()
    }


def test_following_counts_each_task_once() -> None:
    run = new_run(*[("load", i) for i in range(10)])
    progress = Progress(run)
    for done in (0, 3, 3, 8, 10):
        finish(run, done - len(run.done))
        assert by_name(progress.state()) == {"load": (done, 10)}


def test_remaining_time_follows_the_speed_of_late() -> None:
    run = new_run(*[("load", i) for i in range(100)])
    progress = Progress(run)
    assert progress.state()["remaining"] is None
    finish(run, 50)
    run.zero -= 1
    assert progress.state()["remaining"] == pytest.approx(1, rel=0.05)
    for _ in range(40):  # then a task a second
        finish(run, 1)
        run.zero -= 1
        remaining = progress.state()["remaining"]
    assert remaining == pytest.approx(10, rel=0.1)


def test_remaining_time_is_an_interval_that_narrows_with_steady_speed() -> None:
    run = new_run(*range(1000))
    progress = Progress(run)
    widths = []
    for _ in range(60):  # ten tasks a second
        finish(run, 1)
        run.zero -= 0.1
        state = progress.state()
        assert state["remaining_low"] < state["remaining"] < state["remaining_high"]
        assert float(re.search(r"([\d.]+) tasks/s", state["note_text"])[1]) == pytest.approx(10, rel=0.2)
        widths.append((state["remaining_high"] - state["remaining_low"]) / state["remaining"])
    assert widths[-1] < widths[5] < widths[0]
    assert re.search(r"about \d+–\d+ s left", state["time_text"])


def test_remaining_time_is_vague_where_the_speed_changes() -> None:
    run = new_run(*range(1000))
    progress = Progress(run)
    progress.state()
    for step in (0.02, 0.1):  # fifty tasks a second, then ten
        for _ in range(10):
            finish(run, 1)
            run.zero -= step
            state = progress.state()
    assert state["remaining_low"] < 980 * 0.03
    assert state["remaining_high"] > 980 * 0.09
    assert "left" not in state["time_text"], "that is of no use to anybody"
    for _ in range(60):
        finish(run, 1)
        run.zero -= 0.1
        state = progress.state()
    assert "left" in state["time_text"], "now it is steady"


def test_the_end_of_a_run_says_no_speed() -> None:
    run = new_run("a", seconds=10)
    finish(run, 1)
    run.end("finished")
    assert "tasks/" not in progress_state(run)["note_text"]


def test_remaining_time_is_known_while_nothing_finishes() -> None:
    run = new_run(*range(10), seconds=5)
    finish(run, 5)
    progress = Progress(run)
    progress.state()
    run.zero -= 100
    assert progress.state()["remaining"] == pytest.approx(105, rel=0.01)


def test_the_start_of_workers_is_no_part_of_the_pace() -> None:
    run = new_run(*range(27), seconds=2.2)
    progress = Progress(run)
    run.start[0] = run.zero + 2.0
    finish(run, 1)
    assert "left" not in progress.state()["time_text"], "one task says little"
    for task in range(1, 11):
        run.start[task] = run.zero + 2.0 + 0.2 * task
        finish(run, 1)
        run.zero -= 0.2
        run.start[: task + 1] = [start - 0.2 for start in run.start[: task + 1]]
    state = progress.state()
    assert state["remaining"] == pytest.approx(16 * 0.2, rel=0.2)
    assert "left" in state["time_text"]


def test_where_all_is_done_nothing_is_left() -> None:
    run = new_run(*range(20), seconds=4)
    finish(run, 20)
    assert "left" not in progress_state(run)["time_text"]


def test_many_names_share_the_last_row() -> None:
    run = new_run(*[(f"name{chr(97 + n)}", i) for n in range(20) for i in range(20 - n)])
    finish(run, run.n_tasks - 3)
    names = progress_state(run)["names"]
    assert len(names) == TOP_NAMES + 1
    assert names[-1]["name"] == "15 more"
    assert sum(row["total"] for row in names) == run.n_tasks
    assert sum(row["done"] for row in names) == run.n_done


def test_a_large_run_is_estimated_and_says_so() -> None:
    run = new_run(*[("load", i) for i in range(40_000)], *[("clean", i) for i in range(10_000)])
    finish(run, 25_000)
    state = progress_state(run)
    names = by_name(state)
    assert not state["exact"]
    assert names["load"][1] == pytest.approx(40_000, rel=0.01)
    assert sum(done for done, _ in names.values()) == pytest.approx(25_000, rel=0.01)
    assert re.search(r"load ~\d+/\d+", text_line(state, 200))
    finish(run, 25_000)
    run.end("finished")
    assert all(done == total for done, total in by_name(progress_state(run)).values())


@pytest.mark.parametrize("names", [2, 3, 4])
def test_estimates_do_not_fall_into_step_with_the_graph(names: int) -> None:
    run = new_run(*[(f"step{i % names}", i) for i in range(80_000)])
    finish(run, 40_000)
    counts = by_name(progress_state(run))
    assert len(counts) == names
    for done, total in counts.values():
        assert total == pytest.approx(80_000 / names, rel=0.05)
        assert done == pytest.approx(40_000 / names, rel=0.05)


def test_nested_runs_are_a_count() -> None:
    state = Progress(new_run("a")).state({"runs": 3, "total": 120, "done": 40})
    assert "3 nested runs 40/120" in state["note_text"]
    assert "3 nested runs 40/120" in text_line(state)


@pytest.mark.parametrize("status", ["finished", "cancelled"])
def test_an_ended_run_has_no_time_left(status: Any) -> None:
    run = new_run("a", "b")
    finish(run, 1 if status == "cancelled" else 2)
    run.end(status)
    state = progress_state(run)
    assert state["remaining"] is None
    assert "left" not in state["time_text"]
    assert ("stopped" in text_line(state)) == (status == "cancelled")


def test_a_run_without_tasks() -> None:
    state = progress_state(new_run())
    assert state["count_text"] == "0/0"
    assert "0/0" in text_line(state)
    assert "0/0" in static_html(state)


@pytest.mark.parametrize(("status", "filled"), [("finished", TEXT_BAR), ("failed", 0), ("cancelled", 0)])
def test_only_a_run_that_finished_has_a_full_bar_without_tasks(status: Any, filled: int) -> None:
    run = new_run()
    run.end(status)
    state = progress_state(run)
    assert text_line(state).count("#") == filled
    assert f"{100 if filled else 0:3}%" in bar_line(state, 10, 80)


class Picture(HTMLParser):
    """The text and the tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("text", HOSTILE, ids=["image", "script", "control", "long"])
def test_hostile_keys_and_messages_are_only_text(text: str) -> None:
    run = new_run((text, 0), f"{text}-1")
    fail(run, ValueError(text), task=1)
    state = progress_state(run)
    html = static_html(state)
    picture = Picture(html)
    assert {tag for tag, _ in picture.tags} <= {"div", "span", "b"}
    assert {name for _, attributes in picture.tags for name in attributes} == {"class", "style", "title"}
    assert len(html) < 10_000
    assert len(json.dumps(state)) < 5_000
    assert html.isprintable()
    assert text_line(state).isprintable()
    assert len(text_line(state, 80)) <= 80
    assert text[:10].split("\n")[0] in picture.text


def test_failure_is_named() -> None:
    run = new_run(("load", 3))
    fail(run, ValueError("no file\nmore"))
    state = progress_state(run)
    assert state["failed"] == 1
    assert state["failure_text"] == "failed at ('load', 3): ValueError: no file"
    assert "failed at ('load', 3): ValueError: no file" in Picture(static_html(state)).text
    assert "failed at ('load', 3): ValueError: no file" in text_line(state)


def test_a_message_that_cannot_be_made() -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    run = new_run("a")
    fail(run, BadError())
    assert "BadError" in progress_state(run)["failure_text"]


def test_picture_shows_the_shares() -> None:
    run = new_run(*[("load", i) for i in range(5)], *[("clean", i) for i in range(5)])
    finish(run, 10)
    run.end("finished")
    html = static_html(progress_state(run))
    colors = name_colors(["load", "clean"])
    assert html.count("width:50.00%") == 2
    assert all(color in html for color in colors.values())
    assert "class='taskloom-progress'" in html
    assert "10/10" in Picture(html).text


def test_colors_are_stable_and_differ() -> None:
    names = ["load", "clean", "join", "sum", "plot", "write"]
    colors = name_colors(names)
    assert len(set(colors.values())) == len(names) == len(NAME_COLORS)
    assert name_colors(names) == colors
    assert name_colors(["load"])["load"] == colors["load"]
    assert len(name_colors(map(str, range(100)))) == 100


def test_html_of_a_run_that_goes_on_says_so() -> None:
    run = new_run(*range(4), seconds=3)
    finish(run, 2)
    assert "left" in progress_state(run)["time_text"]
    text = re.sub("<[^>]+>", "", static_html(progress_state(run)))
    assert "still running when this was saved" in text
    assert "left" not in text
    finish(run, 2)
    run.end("finished")
    assert "saved" not in static_html(progress_state(run))
