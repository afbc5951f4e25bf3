"""The live graph as a person sees it, in JupyterLab."""

import json
import os
from pathlib import Path
from typing import Any

from .lab import Lab, Notebook
from .test_progress import until

SETUP = """
import time, taskloom
def wait(seconds, *_):
    time.sleep(seconds)
def pipeline(n, seconds=0.05):
    graph = {("load", i): (wait, seconds) for i in range(n)}
    graph |= {("clean", i): (wait, seconds, ("load", i)) for i in range(n)}
    graph["total"] = (wait, seconds, [("clean", i) for i in range(n)])
    return graph
def run(n, seconds=0.05):
    taskloom.threaded.get(pipeline(n, seconds), "total", num_workers=2)
"""


def states(cell: Any) -> list[str]:
    nodes = cell.locator(".taskloom-graph-live .taskloom-node")
    return list(nodes.evaluate_all("nodes => nodes.map((node) => node.dataset.state)"))


def photograph(cell: Any, name: str) -> None:
    """Keep a picture where somebody wants to look at it."""
    folder = os.environ.get("SCREENSHOTS_FOLDER")
    if folder:
        Path(folder, f"graph-{name}.png").write_bytes(cell.screenshot())


def test_moves_while_the_cell_is_busy_and_stays_when_it_is_over(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nrun(12, 0.15)")
    cell.locator(".taskloom-graph-live .taskloom-node").first.wait_for()
    first = until(lambda: states(cell).count("finished"), "a finished task")
    assert "running" in states(cell)
    until(lambda: states(cell).count("finished") > first, "more finished tasks")
    photograph(cell, "running")
    assert notebook.is_busy(cell)
    notebook.wait(cell)
    until(lambda: states(cell) == ["finished"] * 25, "the whole graph, explorable")
    until(lambda: cell.locator(".taskloom-critical").count() >= 3, "the longest chain")
    assert cell.locator(".taskloom-graph-live button.taskloom-stop").is_hidden()
    cell.locator('.taskloom-node[data-key="total"]').hover()
    tip = cell.locator(".taskloom-graph-tip")
    until(lambda: "took" in tip.inner_text(), "the tip")
    assert "function wait" in tip.inner_text()
    assert "('clean', 0)" in tip.inner_text()
    photograph(cell, "over")


def test_stop(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nrun(100)")
    cell.locator(".taskloom-graph-live button.taskloom-stop").click()
    notebook.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    until(lambda: "stopped" in cell.locator(".taskloom-graph-caption").inner_text(), "the caption")


def test_groups_open_while_the_cell_is_busy(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nrun(200, 0.03)")
    group = cell.locator('.taskloom-node[data-key="clean"]')
    until(lambda: "/200" in group.text_content(), "the group's count")
    group.click()
    member = cell.locator(""".taskloom-node[data-key="('clean', 7)"]""")
    member.wait_for()
    assert notebook.is_busy(cell)
    photograph(cell, "opened")
    cell.get_by_role("button", name="Collapse").click()
    member.wait_for(state="detached")
    search = cell.locator(".taskloom-graph-search")
    search.fill("('CLEAN', 77)")
    search.press("Enter")  # it is in a group that is closed
    cell.locator(""".taskloom-found[data-key="('clean', 77)"]""").wait_for()
    notebook.interrupt()


def test_failure_and_hostile_keys(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run(
        """%%graph
        def bad(_): raise ValueError("<img src=x onerror=alert(1)>")
        taskloom.get({"<img src=y onerror=alert(2)>\\n": (bad, ("x" * 1_000_000, 0)), ("x" * 1_000_000, 0): (abs, 1)},
                     "<img src=y onerror=alert(2)>\\n")
        """
    )
    until(
        lambda: cell.locator('.taskloom-graph-live .taskloom-node[data-state="failed"]').count() == 1, "the failed task"
    )
    assert "ValueError: <img src=x" in cell.locator(".taskloom-graph-failure").inner_text()
    assert cell.locator(".taskloom-graph-live img").count() == 0
    photograph(cell, "failed")


def test_a_collection_before_and_after_optimisation(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run(
        """%%graph
        from taskloom import delayed
        a = [delayed(abs)(delayed(int)(i)) for i in range(6)]
        delayed(sum)(a)
        """
    )
    before = cell.get_by_role("button", name="Before optimisation")
    before.wait_for()
    assert before.get_attribute("aria-pressed") == "true"
    cell.get_by_role("button", name="After optimisation").click()
    assert before.get_attribute("aria-pressed") == "false"
    photograph(cell, "collection")


def test_search_zoom_and_keyboard(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph\nrun(5, 0.01)")
    cell.locator(".taskloom-graph-live").wait_for()
    search = cell.locator(".taskloom-graph-search")
    search.fill("('clean', 3)")
    assert cell.locator(".taskloom-found").count() == 1
    search.press("Enter")
    stage = cell.locator(".taskloom-graph-frame svg > g")
    moved = stage.get_attribute("transform")
    cell.locator(".taskloom-graph-frame").press("+")
    assert stage.get_attribute("transform") != moved
    photograph(cell, "search")
    search.fill("")


def test_saved_and_reopened_shows_a_picture(notebook: Notebook, lab: Lab) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph\nrun(5, 0.02)")
    cell.locator(".taskloom-graph-live").wait_for()
    notebook.save()
    text = notebook.file.read_text()
    saved = json.loads(text)
    assert "widget-view" not in json.dumps(saved["cells"][-1])
    saved["metadata"] = {}
    saved["cells"][-1]["source"] += "  # changed: the server's signature does not hold"
    copy = notebook.file.with_name("reopened_graph.ipynb")
    copy.write_text(json.dumps(saved))
    reopened = lab.open(copy)
    reopened.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
    picture = reopened.page.locator(".taskloom-graph img").last
    picture.wait_for()
    until(lambda: picture.evaluate("image => image.naturalWidth") > 100, "the picture")
    assert "model not found" not in reopened.page.locator(".jp-Notebook").inner_text()
    photograph(reopened.page.locator(".jp-CodeCell").last, "reopened")


def test_page_reloaded_while_the_cell_is_busy(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    opened.run(SETUP)
    cell = opened.start("%%graph\nrun(30, 0.2)")
    until(lambda: "finished" in states(cell), "a finished task")
    opened.save()
    assert "widget-view" not in json.dumps(json.loads(opened.file.read_text())["cells"][-1])
    opened.reload()
    cell.locator(".taskloom-graph-live").get_by_text("61/61").wait_for()
    until(lambda: states(cell) == ["finished"] * 61, "the run's end")


def test_after_a_restart_the_graph_is_still_there_and_nothing_complains(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    opened.run(SETUP)
    cell = opened.run("%%graph --layers\nrun(4, 0.02)")
    until(lambda: states(cell) == ["finished"] * 3, "the graph")
    opened.restart()
    cell.get_by_text("The kernel ended or was restarted").wait_for()
    for node in cell.locator(".taskloom-node").all():
        node.click()
    assert states(cell) == ["finished"] * 3
    opened.save()
    assert "data:image/svg+xml" in json.dumps(json.loads(opened.file.read_text())["cells"][-1])


def test_two_graphs_in_the_first_cell_both_stay(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    opened.run(SETUP)
    cell = opened.run("%%graph\nrun(2, 0)\nrun(3, 0)")
    until(lambda: states(cell) == ["finished"] * 12, "two explorable graphs")


def test_dark_theme(lab: Lab, notebook: Notebook) -> None:
    dark = lab.open(theme="JupyterLab Dark")
    dark.run("%load_ext taskloom")
    dark.run(SETUP)
    cell = dark.start("%%graph\nrun(12, 0.1)")
    until(lambda: "finished" in states(cell), "a finished task")
    photograph(cell, "dark")
    box = cell.locator('[data-state="finished"] .taskloom-box').first
    assert box.evaluate("box => getComputedStyle(box).fill") == "rgb(18, 56, 44)"
    dark.wait(cell)
    photograph(cell, "dark-over")
