"""What a notebook shows of runs, graphs and delayed values: figures, pictures, and nothing that could harm a page."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from operator import add
from typing import Any

import pytest

import taskloom
from taskloom import delayed
from taskloom.bus import Run, RunGraph
from taskloom.views.cards import MOST_TASKS, run_card, runs_card

HOSTILE = "<img src=x onerror=alert(1)>\n\x1b[31m" + "long " * 200_000


class Tags(HTMLParser):
    """The tags of some HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def text_of(html: str) -> str:
    return Tags(html).text


@pytest.fixture
def run() -> Run:
    taskloom.threaded.get(
        {("load", i): (abs, -i) for i in range(3)} | {"total": (add, ("load", 1), ("load", 2))}, "total"
    )
    run = taskloom.last_run()
    assert run is not None
    return run


def test_a_run_in_figures_and_as_a_picture(run: Run) -> None:
    html = run._repr_html_()
    text = text_of(html)
    for part in ("finished", "threads", "3 of 3 done", "tasks at a time", "Longest chain"):
        assert part in text
    (picture,) = re.findall(r"base64,([^\"']+)", html)
    assert b64decode(picture).startswith(b"<svg")


def test_a_failed_run_says_where() -> None:
    with pytest.raises(ZeroDivisionError):
        taskloom.get({"bad": (lambda: 1 // 0,)}, "bad")
    text = text_of(taskloom.runs[-1]._repr_html_())
    assert "'bad': ZeroDivisionError" in text


def test_the_last_runs_are_rows(run: Run) -> None:
    html = taskloom.runs._repr_html_()
    assert Tags(html).tags.count("tr") == len(taskloom.runs) + 1
    assert f"{run.n_done}/{run.n_tasks}" in html
    assert "no runs yet" in runs_card([])


def test_a_small_graph_is_drawn_and_a_large_one_named(run: Run) -> None:
    (picture,) = re.findall(r"base64,([^\"]+)", run.graph._repr_html_())
    assert b64decode(picture).count(b"data-key") == 3
    large = RunGraph([("load", i) for i in range(100)], ["abs"] * 100, [()] * 100)
    html = large._repr_html_()
    assert "100 tasks" in html
    assert "load" in text_of(html)
    assert "img" not in Tags(html).tags


def test_a_delayed_value_is_not_computed() -> None:
    value = delayed(sum)([delayed(abs)(-i, dask_key_name=f"abs-{i}") for i in range(3)])
    runs = taskloom.last_run()
    text = text_of(value._repr_html_())
    assert taskloom.last_run() is runs
    assert "sum" in text
    assert re.search(r"Graph\s+4 tasks", text)
    assert "Function" not in text_of(delayed(5)._repr_html_())


def test_hostile_keys() -> None:
    with pytest.raises(ZeroDivisionError):
        taskloom.get({HOSTILE: (abs, -1), "b": (lambda x: x / 0, HOSTILE), (HOSTILE, 1): (abs, 2)}, ["b", (HOSTILE, 1)])
    run = taskloom.runs[-1]
    value = delayed(abs)(delayed(abs)(1, dask_key_name=HOSTILE), dask_key_name=(HOSTILE, 2))
    for shown in (run, taskloom.runs, run.graph, value):
        html = shown._repr_html_()
        assert len(html) < 60_000
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)
        assert "\x1b" not in html
        assert set(Tags(html).tags) <= {"div", "b", "table", "tr", "th", "td", "span", "img"}


def test_of_very_many_tasks_only_what_is_known_anyhow(monkeypatch: pytest.MonkeyPatch) -> None:
    n = MOST_TASKS + 1
    run = Run(RunGraph([("load", i) for i in range(n)], ["abs"] * n, [()] * n), "threads")
    run.end("finished")
    monkeypatch.setattr(Run, "summary", None)
    assert f"{n:,} done" in run_card(run)
    value = delayed(0)
    for _ in range(2 * n):
        value = value + 1
    assert "more than 20,000 tasks" in value._repr_html_()
