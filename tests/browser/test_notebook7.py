"""The views in Jupyter Notebook 7, a second front end: they appear, move, and stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import NOTEBOOK, Lab, Notebook, start_lab
from .test_progress import SLEEP, done, until


@pytest.fixture(scope="module")
def notebook_server(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Lab]:
    pytest.importorskip("notebook", minversion="7", reason="needs Jupyter Notebook 7")
    with start_lab(tmp_path_factory.mktemp("notebook"), NOTEBOOK) as server:
        server.browser = browser
        yield server


@pytest.fixture(scope="module")
def page(notebook_server: Lab) -> Iterator[Notebook]:
    page = notebook_server.open()
    page.run(f"%load_ext taskloom\n{SLEEP}")
    page.problems.clear()  # Notebook's own, from its start: no view has been shown so far
    yield page
    page.close()


@pytest.fixture(autouse=True)
def no_problems(page: Notebook) -> Iterator[None]:
    yield
    page.interrupt()
    assert not page.problems


def test_the_bar_moves_and_stop_stops(page: Notebook) -> None:
    cell = page.start("sleep_all(2000, 0.05)")
    cell.locator(".taskloom-progress-live").wait_for()
    first = done(cell)
    until(lambda: done(cell) > first, "more tasks done")
    assert page.is_busy(cell)
    cell.locator("button.taskloom-stop").click()
    page.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    until(lambda: "stopped" in cell.locator(".taskloom-progress").inner_text(), "the picture of the end")


def test_a_choice_applies(page: Notebook) -> None:
    cell = page.run("%scheduler")
    selector = cell.locator("div.taskloom-live.taskloom-scheduler")
    selector.wait_for()
    selector.get_by_role("radio", name="sync", exact=True).click()
    until(lambda: selector.locator(".taskloom-scheduler-force").inner_text() == "sync", "the choice to apply")
    printed = page.run("print(taskloom.config.get('scheduler'))").locator(".jp-OutputArea-output").inner_text()
    assert printed.strip() == "sync"
    page.run("%scheduler undo")


def test_a_graph_moves(page: Notebook, gate: Path) -> None:
    cell = page.start(f"%%graph\nsleep_all(20, 1, {str(gate)!r})")
    cell.locator("[data-key][data-state=finished]").first.wait_for()
    assert page.is_busy(cell)
    gate.touch()
    page.wait(cell)
    finished = cell.locator("[data-key][data-state=finished]")
    until(lambda: finished.count() == 40, "all tasks to be finished")


def test_a_dashboard_moves(page: Notebook) -> None:
    dashboard = page.run("%dashboard")
    dashboard.locator(".taskloom-dashboard canvas").first.wait_for()
    page.run("sleep_all(10, 0.02)")
    dashboard.get_by_text("20/20 tasks · finished").wait_for()


def test_a_comparison_ends_in_a_table(page: Notebook) -> None:
    cell = page.run("%compare -n 1 sync threads sleep_all(3, 0.01)")
    assert "Nothing to compare: the cell itself chose threads" in cell.locator(".taskloom-compare").inner_text()
