"""The dashboard in a browser tab of its own, as a person sees it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .lab import PATIENCE, SECONDS, Lab, Notebook
from .test_dashboard import BARS
from .test_progress import SLEEP, until


@pytest.fixture
def link(notebook: Notebook) -> str:
    notebook.run(SLEEP)
    cell = notebook.run("%dashboard --serve")
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", cell.inner_text())
    assert found
    return found[0]


@pytest.fixture
def page(lab: Lab, link: str) -> Iterator[Any]:
    """A tab with the dashboard, which must log no error and ask nobody else for anything."""
    context = lab.browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * SECONDS)
    problems: list[str] = []
    host = link.split("/?")[0]
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith((host, "blob:", "data:")) or problems.append(r.url))
    page.goto(link)
    yield page
    context.close()
    assert not problems


def test_moves_while_the_cell_is_busy(page: Any, notebook: Notebook, gate: Path) -> None:
    cell = notebook.start(f"sleep_all(60, 1, {str(gate)!r})")
    first = until(lambda: page.evaluate(f"window.Bokeh ? ({BARS})() : 0"), "the first bars")
    until(lambda: page.evaluate(BARS) > first, "more bars")
    assert notebook.is_busy(cell)
    gate.touch()
    notebook.wait(cell)
    page.get_by_text("120/120 tasks · finished").wait_for()
    until(lambda: page.evaluate(BARS) == 120, "all bars, each once")
    assert not page.locator("button.taskloom-stop").is_visible()


def test_stop_stops_the_run(page: Any, notebook: Notebook) -> None:
    cell = notebook.start("sleep_all(2000, 0.05)")
    page.locator("button.taskloom-stop").click()
    notebook.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    page.get_by_text("tasks · stopped").wait_for()


def test_without_the_token_there_is_no_page(lab: Lab, link: str) -> None:
    context = lab.browser.new_context()
    page = context.new_page()
    answer = page.goto(link.split("?")[0])
    assert answer.status == 403
    page.get_by_text("needs its token").wait_for()
    context.close()


def test_a_closed_kernel_is_told_in_words(page: Any, notebook: Notebook) -> None:
    notebook.run("%unload_ext taskloom")
    page.get_by_text("The kernel has ended").wait_for()
    assert not page.locator("button.taskloom-stop").is_visible()


def test_dark(lab: Lab, link: str, notebook: Notebook) -> None:
    notebook.run("sleep_all(10, 0.01)")
    inks = []
    for scheme in ("light", "dark"):
        context = lab.browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(link)
        text = page.get_by_text("20/20 tasks · finished")
        text.wait_for()
        color = text.evaluate("node => getComputedStyle(node).color")
        inks.append(max(map(int, re.findall(r"\d+", color)[:3])))
        context.close()
    light, dark = inks
    assert light < 100
    assert dark > 150
