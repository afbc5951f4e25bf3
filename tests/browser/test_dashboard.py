"""The dashboard as a person sees it, in JupyterLab."""

from typing import Any

from .lab import Lab, Notebook
from .test_progress import until

SLEEP = """
import time, taskloom
def sleep_all(count, seconds):
    graph = {("load", i): (time.sleep, seconds) for i in range(count)}
    graph |= {("clean", i): (time.sleep, seconds) for i in range(count)}
    taskloom.threaded.get(graph, list(graph), num_workers=2)
"""

BARS = """() => {
    const find = (root, wanted) => Bokeh.documents.flatMap((page) => page.all_roots).flatMap((root) =>
        [...root.references()]).filter((model) => model.name === "taskloom-task-stream");
    return find().map((source) => source.data.key.length).at(-1) ?? 0;
}"""


def open_dashboard(notebook: Notebook) -> Any:
    notebook.run(SLEEP)
    cell = notebook.run("%dashboard")
    cell.locator(".taskloom-dashboard canvas").first.wait_for()
    return cell


def test_moves_while_the_cell_is_busy(notebook: Notebook) -> None:
    dashboard = open_dashboard(notebook)
    cell = notebook.start("sleep_all(60, 0.05)")
    first = until(lambda: notebook.page.evaluate(BARS), "the first bars")
    assert notebook.is_busy(cell)
    until(lambda: notebook.page.evaluate(BARS) > first, "more bars")
    assert notebook.is_busy(cell)
    notebook.wait(cell)
    until(lambda: notebook.page.evaluate(BARS) == 120, "all bars, each once")
    dashboard.get_by_text("120/120 tasks · finished").wait_for()


def test_opened_late_shows_the_last_run(notebook: Notebook) -> None:
    notebook.run(SLEEP)
    notebook.run("sleep_all(3, 0.01)")
    dashboard = open_dashboard(notebook)
    dashboard.get_by_text("6/6 tasks · finished").wait_for()
    assert notebook.page.evaluate(BARS) == 6


def test_after_a_restart_it_says_that_it_is_the_last(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    opened.run(SLEEP)
    dashboard = opened.run("%dashboard")
    dashboard.locator(".taskloom-dashboard canvas").first.wait_for()
    opened.start("sleep_all(600, 0.05)")
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
