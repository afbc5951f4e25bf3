"""The live graph as a person sees it, in JupyterLab."""

import json
from pathlib import Path
from typing import Any

from .lab import Lab, Notebook
from .test_progress import SLEEP, photograph, until

SETUP = (
    SLEEP
    + """
def wait(seconds, gate, *_):
    nap(seconds, gate)
def pipeline(n, seconds=0.05, gate=""):
    graph = {("load", i): (wait, seconds, gate) for i in range(n)}
    graph |= {("clean", i): (wait, seconds, gate, ("load", i)) for i in range(n)}
    graph["total"] = (wait, seconds, gate, [("clean", i) for i in range(n)])
    return graph
def run(n, seconds=0.05, gate=""):
    taskloom.threaded.get(pipeline(n, seconds, gate), "total", num_workers=2)
"""
)


def states(cell: Any) -> list[str]:
    nodes = cell.locator(".taskloom-graph-live .taskloom-node")
    return list(nodes.evaluate_all("nodes => nodes.map((node) => node.dataset.state)"))


def test_moves_while_the_cell_is_busy_and_stays_when_it_is_over(notebook: Notebook, gate: Path) -> None:
    notebook.run(SETUP)
    cell = notebook.start(f"%%graph\nrun(60, 0.5, {str(gate)!r})")
    cell.locator(".taskloom-graph-live .taskloom-node").first.wait_for()
    first = until(lambda: states(cell).count("finished"), "a finished task")
    until(lambda: "running" in states(cell), "a running task")
    until(lambda: states(cell).count("finished") > first, "more finished tasks")
    until(lambda: "left" in cell.locator(".taskloom-graph-caption").inner_text(), "the estimated time")
    photograph(cell, "graph-running")
    assert notebook.is_busy(cell)
    assert cell.locator("button.taskloom-stop").count() == 1, "the graph's, and none of a progress bar"
    gate.touch()
    notebook.wait(cell)
    until(lambda: states(cell) == ["finished"] * 121, "the whole graph, explorable")
    until(lambda: cell.locator(".taskloom-critical").count() >= 3, "the longest chain")
    assert cell.locator(".taskloom-graph-live button.taskloom-stop").is_hidden()
    cell.locator('.taskloom-node[data-key="total"]').hover()
    tip = cell.locator(".taskloom-graph-tip")
    until(lambda: "took" in tip.inner_text(), "the tip")
    assert "function wait" in tip.inner_text()
    assert "('clean', 0)" in tip.inner_text()
    assert cell.locator(".taskloom-progress").count() == 0
    photograph(cell, "graph-over")


def test_stop(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nrun(100, 0.25)")
    cell.locator(".taskloom-graph-live button.taskloom-stop").click()
    notebook.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    until(lambda: "stopped" in cell.locator(".taskloom-graph-caption").inner_text(), "the caption")


def test_groups_open_while_the_cell_is_busy(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nrun(200, 0.25)")
    group = cell.locator('.taskloom-node[data-key="clean"]')
    until(lambda: "/200" in group.text_content(), "the group's count")
    group.click()
    member = cell.locator(""".taskloom-node[data-key="('clean', 7)"]""")
    member.wait_for()
    assert notebook.is_busy(cell)
    photograph(cell, "graph-opened")
    cell.get_by_role("button", name="Collapse").click()
    member.wait_for(state="detached")
    search = cell.locator(".taskloom-graph-search")
    search.fill("('CLEAN', 77)")
    search.press("Enter")  # it is in a group that is closed
    cell.locator(""".taskloom-found[data-key="('clean', 77)"]""").wait_for()
    notebook.interrupt()


def test_a_task_of_a_group_too_large_to_draw_is_found(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph\nrun(1200, 0)")
    until(lambda: states(cell) == ["finished"] * 3, "the graph")
    search, hits = cell.locator(".taskloom-graph-search"), cell.locator(".taskloom-graph-hits")
    for key in ("('clean', 0)", "('clean', 1199)"):  # one of them is not among the first thousand
        search.fill(key)
        assert hits.inner_text() == "Enter looks into groups"
        search.press("Enter")
        until(lambda: hits.inner_text() == "1 of 1", "the task")
        assert cell.locator(".taskloom-found").get_attribute("data-key") == key
    assert cell.locator('.taskloom-node[data-key="clean"] .taskloom-count').text_content() in ("200/200", "1,000/1,000")
    search.fill("nowhere")
    search.press("Enter")
    until(lambda: hits.inner_text() == "no task matches", "the answer")


def test_a_cell_that_awaits(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nimport asyncio\nawait asyncio.to_thread(run, 100, 0.25)")
    first = until(lambda: states(cell).count("finished"), "a finished task")
    until(lambda: states(cell).count("finished") > first, "more finished tasks")
    assert notebook.is_busy(cell)
    cell.locator(".taskloom-graph-live button.taskloom-stop").click()
    notebook.wait(cell)
    until(lambda: "stopped" in cell.locator(".taskloom-graph-caption").inner_text(), "the caption")


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
    photograph(cell, "graph-failed")


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
    photograph(cell, "graph-collection")


def test_search_counts_its_hits_and_zoom(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph\nrun(5, 0.01)")
    cell.locator(".taskloom-graph-live").wait_for()
    stage = cell.locator(".taskloom-graph-frame svg > g")
    whole = stage.get_attribute("transform")
    search, hits = cell.locator(".taskloom-graph-search"), cell.locator(".taskloom-graph-hits")
    search.fill("CLEAN")
    assert hits.inner_text() == "5 found"
    said = []
    for key in ("Enter", "Enter", "Shift+Enter", "Shift+Enter"):
        search.press(key)
        said.append(hits.inner_text())
    assert said == ["1 of 5", "2 of 5", "1 of 5", "5 of 5"]
    until(lambda: "took" in cell.locator(".taskloom-graph-tip").inner_text(), "the tip of the hit")
    photograph(cell, "graph-search")
    search.fill("nowhere")
    assert hits.inner_text() == "no task matches"
    assert cell.locator(".taskloom-found").count() == 0
    search.fill("")
    assert hits.inner_text() == ""
    cell.get_by_role("button", name="Show the whole graph").click()
    assert stage.get_attribute("transform") == whole
    cell.locator(".taskloom-graph-frame").press("+")
    assert stage.get_attribute("transform") != whole


def test_keyboard_goes_from_task_to_task_and_is_told_of_each(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph\nrun(5, 0.01)")
    until(lambda: states(cell) == ["finished"] * 11, "the graph")
    cell.get_by_role("button", name="Show the whole graph").focus()
    notebook.page.keyboard.press("Tab")
    focused = cell.locator(".taskloom-node:focus")
    assert cell.locator('.taskloom-node[tabindex="0"]').count() == 1
    for key, name in (
        ("ArrowRight", "('clean', "),
        ("ArrowRight", "total"),
        ("ArrowLeft", "('clean', 2)"),  # the one in the middle is nearest
        ("ArrowLeft", "('load', 2)"),
    ):
        notebook.page.keyboard.press(key)
        until(lambda name=name: focused.get_attribute("aria-label").startswith(name), name)
    notebook.page.keyboard.press("ArrowDown")
    assert focused.get_attribute("aria-label") != "('load', 2), finished"
    until(lambda: "took" in cell.locator(".taskloom-graph-said").text_content(), "what is said of the task")
    tip = cell.locator(".taskloom-graph-tip")
    assert tip.is_visible()
    outline = focused.locator(".taskloom-box").evaluate("box => getComputedStyle(box).strokeWidth")
    assert outline == "3px"
    assert "Arrow keys" in cell.locator(".taskloom-graph-hint").inner_text()
    photograph(cell, "graph-keyboard")
    notebook.page.keyboard.press("Escape")
    assert tip.is_hidden()
    notebook.page.keyboard.press("Space")
    notebook.page.keyboard.press("Enter")
    assert focused.count() == 1
    assert notebook.page.evaluate("jupyterapp.shell.currentWidget.content.mode") == "command"


def test_a_group_opened_by_keyboard_keeps_the_focus(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%%graph --layers\nrun(5, 0.01)")
    until(lambda: states(cell) == ["finished"] * 3, "the graph")
    focused = cell.locator(".taskloom-node:focus")
    for group, key, count in (("load", "Space", 7), ("clean", "Enter", 11)):
        cell.locator(f'.taskloom-node[data-key="{group}"]').press(key)
        until(lambda count=count: len(states(cell)) == count, "the group's tasks")
        assert focused.get_attribute("data-key").startswith(f"('{group}', ")
        top = cell.locator(f""".taskloom-node[data-key^="('{group}'"] .taskloom-box""")
        assert focused.locator(".taskloom-box").get_attribute("y") == str(
            min(int(box.get_attribute("y")) for box in top.all())
        )
    collapse = cell.get_by_role("button", name="Collapse")
    collapse.press("Enter")
    until(lambda: len(states(cell)) == 3, "the groups")
    assert focused.count() == 1


def test_an_empty_graph_says_so(notebook: Notebook) -> None:
    cell = notebook.run("%%graph\nimport taskloom\ntaskloom.get({}, [])")
    until(lambda: "The graph is empty" in cell.locator(".taskloom-graph-frame").inner_text(), "the words")
    words, frame = (
        cell.locator(".taskloom-graph-empty").bounding_box(),
        cell.locator(".taskloom-graph-frame").bounding_box(),
    )
    assert frame["y"] < words["y"] < words["y"] + words["height"] < frame["y"] + frame["height"]
    photograph(cell, "graph-empty")


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
    photograph(reopened.page.locator(".jp-CodeCell").last, "graph-reopened")


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
    photograph(cell, "graph-dark")
    box = cell.locator('[data-state="finished"] .taskloom-box').first
    assert box.evaluate("box => getComputedStyle(box).fill") == "rgb(18, 56, 44)"
    dark.wait(cell)
    photograph(cell, "graph-dark-over")
