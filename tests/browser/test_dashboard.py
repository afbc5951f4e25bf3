"""The dashboard as a person sees it, in JupyterLab."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .lab import Lab, Notebook
from .test_progress import SLEEP, until

BARS = """() => {
    const find = (root, wanted) => Bokeh.documents.flatMap((page) => page.all_roots).flatMap((root) =>
        [...root.references()]).filter((model) => model.name === "taskloom-task-stream");
    return find().map((source) => source.data.key.length).at(-1) ?? 0;
}"""


def open_dashboard(notebook: Notebook) -> Any:
    notebook.run(SLEEP)
    cell = notebook.run("%dashboard")
    cell.locator(".taskloom-dashboard canvas").first.wait_for(state="attached")
    return cell


def test_before_the_first_run_it_says_so(lab: Lab, notebook: Notebook) -> None:
    own = lab.open()
    own.run("%load_ext taskloom")
    dashboard = open_dashboard(own)
    dashboard.get_by_text("No run yet").wait_for()
    canvas = dashboard.locator(".taskloom-dashboard canvas").first
    assert not canvas.is_visible()
    own.run("sleep_all(3, 0.01)")
    canvas.wait_for()
    dashboard.get_by_text("6/6 tasks · finished").wait_for()
    until(lambda: canvas.bounding_box()["width"] > 300, "figures as wide as the cell")


def boxes(dashboard: Any) -> list[dict[str, float]]:
    """Where the figures are: a canvas each."""
    return [canvas.bounding_box() for canvas in dashboard.locator(".taskloom-dashboard .bk-Figure").all()]


@pytest.mark.parametrize(("width", "columns"), [(1000, 2), (520, 1)])
def test_has_one_column_where_it_is_narrow(lab: Lab, notebook: Notebook, width: int, columns: int) -> None:
    own = lab.open(viewport={"width": width, "height": 900})
    own.run("%load_ext taskloom")
    dashboard = open_dashboard(own)
    own.run("sleep_all(3, 0.01)")
    dashboard.get_by_text("6/6 tasks · finished").wait_for()
    until(lambda: len(found := boxes(dashboard)) == 6 and all(box["width"] > 250 for box in found), "all figures")
    assert len({round(box["x"]) for box in boxes(dashboard)}) == columns
    rows = sorted(boxes(dashboard), key=lambda box: (box["x"], box["y"]))
    for above, below in pairwise(rows):
        assert above["x"] != below["x"] or above["y"] + above["height"] <= below["y"] + 1


def test_moves_while_the_cell_is_busy(notebook: Notebook, gate: Path) -> None:
    dashboard = open_dashboard(notebook)
    cell = notebook.start(f"sleep_all(60, 1, {str(gate)!r})")
    first = until(lambda: notebook.page.evaluate(BARS), "the first bars")
    assert notebook.is_busy(cell)
    until(lambda: notebook.page.evaluate(BARS) > first, "more bars")
    assert notebook.is_busy(cell)
    gate.touch()
    notebook.wait(cell)
    until(lambda: notebook.page.evaluate(BARS) == 120, "all bars, each once")
    dashboard.get_by_text("120/120 tasks · finished").wait_for()


def test_opened_late_shows_the_last_run(notebook: Notebook) -> None:
    notebook.run(SLEEP)
    notebook.run("sleep_all(3, 0.01)")
    dashboard = open_dashboard(notebook)
    dashboard.get_by_text("6/6 tasks · finished").wait_for()
    until(lambda: notebook.page.evaluate(BARS) == 6, "its bars")


def test_after_a_restart_it_says_that_it_is_the_last(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    dashboard = open_dashboard(opened)
    opened.start("sleep_all(2000, 0.05)")
    dashboard.locator(".taskloom-stop").wait_for()
    opened.restart()
    dashboard.get_by_text("The kernel ended or was restarted").wait_for()
    assert not dashboard.locator(".taskloom-stop").is_visible()


ZOOM = """(end) => {
    const streams = Bokeh.documents.flatMap((page) => page.all_roots).flatMap((root) => [...root.references()])
        .filter((model) => model.type === "Figure" && model.title.text === "Tasks by worker");
    const range = streams.at(-1).x_range;
    if (end) {
        range.have_updated_interactively = true;
        range.setv({ start: end - 1, end });
    }
    return range.start;
}"""


def test_a_new_run_is_shown_whole_whatever_part_of_the_one_before_was_looked_at(notebook: Notebook) -> None:
    dashboard = open_dashboard(notebook)
    notebook.run("sleep_all(3, 0.01)")
    dashboard.get_by_text("6/6 tasks · finished").wait_for()
    assert notebook.page.evaluate(ZOOM, 100) == 99
    notebook.run("sleep_all(4, 0.01)")
    dashboard.get_by_text("8/8 tasks · finished").wait_for()
    until(lambda: notebook.page.evaluate(ZOOM) < 1, "the new run's time")


ROWS = """() => {
    const figures = Bokeh.documents.at(-1).all_roots.flatMap((root) => [...root.references()])
        .filter((model) => model.type === "Figure");
    const rows = (title) => figures.find((figure) => figure.title.text === title).y_range.start + 0.5;
    return [rows("Tasks by worker"), rows("Progress by task name")];
}"""


def test_all_workers_and_names_of_a_new_run_are_shown(notebook: Notebook) -> None:
    dashboard = open_dashboard(notebook)
    notebook.run("g = {(n, i): (time.sleep, 0.05) for n in 'abcdefgh' for i in range(4)}")
    notebook.run("_ = taskloom.threaded.get(g, list(g), num_workers=2)")
    dashboard.get_by_text("32/32 tasks · finished").wait_for()
    until(lambda: notebook.page.evaluate(ROWS)[0] >= 2, "a second worker")
    until(lambda: notebook.page.evaluate(ROWS)[1] == 6, "all names")


def test_stop_button_stops_the_run_while_the_cell_is_busy(notebook: Notebook) -> None:
    dashboard = open_dashboard(notebook)
    cell = notebook.start("sleep_all(2000, 0.05)")
    dashboard.locator("button.taskloom-stop").click()
    notebook.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    dashboard.get_by_text("tasks · stopped").wait_for()


def test_saved_and_opened_again_shows_a_picture(lab: Lab, notebook: Notebook) -> None:
    own = lab.open()
    own.run("%load_ext taskloom")
    own.run(SLEEP)
    own.run("sleep_all(3, 0.01)")
    own.run("%dashboard").locator(".taskloom-dashboard canvas").first.wait_for()
    own.save()
    saved = until(lambda: "data:image/svg+xml" in own.file.read_text() and own.file.read_text(), "the saved picture")
    assert len(saved) < 300_000
    own.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    again = lab.folder / "reopened.ipynb"
    again.write_text(saved)
    reopened = lab.open(again)
    picture = reopened.page.locator("img.taskloom-task-stream")
    picture.wait_for()
    assert picture.evaluate("node => node.naturalWidth") > 100
    own.problems.clear()  # a kernel that goes away makes Lab complain, rightly


def test_dark_theme(lab: Lab, notebook: Notebook) -> None:
    dark = lab.open(theme="JupyterLab Dark")
    dark.run("%load_ext taskloom")
    dark.run(SLEEP)
    dark.run("sleep_all(40, 0.01)")
    cell = dark.run("%dashboard")
    cell.locator(".taskloom-dashboard canvas").first.wait_for()
    text = cell.get_by_text("80/80 tasks").first
    color = text.evaluate("node => getComputedStyle(node).color")
    assert min(int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]) > 150
    lab.open(theme="JupyterLab Light")
