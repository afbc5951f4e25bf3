"""The report of a run: one file that opens anywhere, and says nothing to anybody."""

import re
from pathlib import Path

import pytest

import taskloom
from taskloom import Run

pytest.importorskip("bokeh")

from .test_contract import HOSTILE, RUNS, Elements, Make

MOST_BYTES = 3_000_000


@pytest.fixture(params=RUNS, ids=lambda make: make.__name__)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make: Make = request.param
    path = tmp_path / "report.html"
    make(tmp_path).report(path)
    return path.read_text(encoding="utf-8")


def test_is_one_file_of_limited_size_that_asks_nobody(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    elements = Elements(page).found
    assert not [a for _, a in elements if a.get("src") or a.get("href")]
    assert not {tag for tag, _ in elements} & {"iframe", "object", "embed", "link", "base", "form"}
    assert not re.search(r"@import|url\((?!#|data:|['\"]?data:)", re.sub(r"(?s)<script.*?</script>", "", page))


def test_is_a_whole_page_for_light_and_dark(page: str) -> None:
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    metas = [attributes for tag, attributes in Elements(page).found if tag == "meta"]
    assert {"name": "color-scheme", "content": "light dark"} in metas
    assert "taskloom-dashboard" in page
    assert [a["class"] for tag, a in Elements(page).found if tag == "svg"] == ["taskloom-graph"]


def test_what_users_name_is_text(tmp_path: Path) -> None:
    taskloom.get(graph := {(key, i): (abs, -i) for key in HOSTILE for i in range(2)}, list(graph))
    run = taskloom.last_run()
    assert run is not None
    run.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    elements = Elements(page).found
    assert [tag for tag, _ in elements].count("img") == 0
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert "alert(2)" not in re.sub(r"(?s)<script.*?</script>", "", page).replace("&lt;script&gt;alert(2)", "")


def test_a_run_that_goes_on_is_reported_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "report.html"

    def report(_: object) -> None:
        run = taskloom.last_run()
        assert run is not None
        run.report(path)

    taskloom.get({"a": (abs, -1), "b": (report, "a")}, "b")
    assert re.search(r"<h1>Run \d+ · sync · 1/2 tasks · running", path.read_text(encoding="utf-8"))


def test_an_unwritable_path_is_an_error_of_the_system(tmp_path: Path) -> None:
    taskloom.get({"a": (abs, -1)}, "a")
    run = taskloom.last_run()
    assert isinstance(run, Run)
    with pytest.raises(FileNotFoundError):
        run.report(tmp_path / "nowhere" / "report.html")
