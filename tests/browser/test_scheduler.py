"""The scheduler selector as a person uses it, in JupyterLab."""

import json
from typing import Any

import pytest

from .lab import Lab, Notebook
from .test_progress import until

ENGINE = "taskloom.delayed(abs)(-1).compute(); print(taskloom.last_run().engine)"


@pytest.fixture
def selector(notebook: Notebook) -> Any:
    notebook.run("import taskloom; taskloom.config.refresh()")
    cell = notebook.run("%scheduler")
    root = cell.locator("div.taskloom-live.taskloom-scheduler")
    root.wait_for()
    return root


def printed(notebook: Notebook, code: str) -> str:
    return str(notebook.run(code).locator(".jp-OutputArea-output").last.inner_text()).strip()


def in_force(selector: Any) -> str:
    return str(selector.locator(".taskloom-scheduler-force").inner_text())


def test_a_click_changes_the_engine_of_the_next_cell(notebook: Notebook, selector: Any) -> None:
    selector.get_by_role("radio", name="sync", exact=True).click()
    until(lambda: in_force(selector) == "sync", "the choice to apply")
    assert "from %scheduler" in selector.inner_text()
    assert printed(notebook, ENGINE) == "sync"
    selector.get_by_role("button", name="Undo").click()
    until(lambda: selector.get_by_role("radio", name="auto", exact=True).is_checked(), "the choice to be taken back")
    assert printed(notebook, ENGINE) == "threads"


def test_keyboard_alone(notebook: Notebook, selector: Any) -> None:
    selector.get_by_role("radio", name="auto", exact=True).focus()
    notebook.page.keyboard.press("ArrowDown")
    until(lambda: in_force(selector) == "sync", "the arrow key to choose")
    notebook.page.keyboard.press("ArrowDown")
    until(lambda: in_force(selector).startswith("threads"), "the arrow key to choose")
    workers = selector.get_by_role("textbox", name="Workers")
    workers.focus()
    notebook.page.keyboard.type("3")
    notebook.page.keyboard.press("Enter")
    until(lambda: "workers 3" in in_force(selector), "the number to apply")
    assert printed(notebook, "print(taskloom.config.get('num_workers'))") == "3"


def test_the_processes_engine_has_a_start_method_and_a_memory_limit(notebook: Notebook, selector: Any) -> None:
    selector.get_by_role("radio", name="processes", exact=True).click()
    selector.get_by_role("combobox", name="Start method").select_option("forkserver")
    until(lambda: "start method forkserver" in in_force(selector), "the start method to apply")
    memory = selector.get_by_role("textbox", name="Memory limit")
    memory.fill("2 GiB")
    memory.press("Enter")
    until(lambda: "memory limit 2 GiB" in in_force(selector), "the limit to apply")
    assert printed(notebook, "print(taskloom.config.get('multiprocessing.memory_limit'))") == str(2 * 2**30)
    width, room = selector.evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert width <= room, "nothing is cut off"


def test_a_wrong_number_says_so_and_changes_nothing(notebook: Notebook, selector: Any) -> None:
    workers = selector.get_by_role("textbox", name="Workers")
    workers.fill("many")
    workers.press("Enter")
    error = selector.get_by_role("alert")
    error.wait_for()
    assert "num_workers must be a whole number, at least 1, not 'many'" in error.inner_text()
    assert printed(notebook, "print(taskloom.config.get('num_workers'))") == "None"


def test_all_selectors_and_cells_stay_in_step(notebook: Notebook, selector: Any) -> None:
    second = notebook.run("%scheduler").locator("div.taskloom-live.taskloom-scheduler")
    second.get_by_role("radio", name="threads", exact=True).click()
    until(
        lambda: selector.get_by_role("radio", name="threads", exact=True).is_checked(), "the first selector to follow"
    )
    notebook.run("_ = taskloom.config.set(scheduler='sync')")
    for each in (selector, second):
        until(lambda each=each: in_force(each) == "sync", "the selector to follow the cell")
        assert "from config.set" in each.inner_text()


def test_applies_while_a_cell_is_busy(notebook: Notebook, selector: Any) -> None:
    cell = notebook.start(
        "import time\nuntil = time.time() + 60\n"
        "while time.time() < until and taskloom.config.get('scheduler') != 'sync': time.sleep(0.02)\n" + ENGINE
    )
    selector.get_by_role("radio", name="sync", exact=True).click()
    notebook.wait(cell)
    assert cell.locator(".jp-OutputArea-output").inner_text().strip() == "sync"


def test_saved_notebook_shows_a_picture_and_a_reloaded_page_the_selector(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    live = opened.run("%scheduler").locator("div.taskloom-live.taskloom-scheduler")
    live.get_by_role("radio", name="threads", exact=True).click()
    until(lambda: in_force(live).startswith("threads"), "the choice to apply")
    opened.save()
    saved = json.loads(opened.file.read_text())
    (output,) = saved["cells"][-1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "● threads" in "".join(output["data"]["text/plain"])

    opened.reload()
    live.wait_for()
    live.get_by_role("radio", name="sync", exact=True).click()
    until(lambda: in_force(live) == "sync", "the choice to apply after a reload")

    saved["metadata"] = {}  # no kernel can be guessed: Lab asks
    saved["cells"][-1]["source"] += "  # changed: the server's signature does not hold"
    copy = opened.file.with_name("selector.ipynb")
    copy.write_text(json.dumps(saved))
    reopened = lab.open(copy)
    reopened.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
    picture = reopened.page.locator(".taskloom-scheduler")
    picture.wait_for()
    assert "threads" in picture.inner_text()
    assert "model not found" not in reopened.page.locator(".jp-Notebook").inner_text()


def test_dark_theme(lab: Lab, notebook: Notebook) -> None:
    dark = lab.open(theme="JupyterLab Dark")
    dark.run("%load_ext taskloom")
    root = dark.run("%scheduler").locator("div.taskloom-live.taskloom-scheduler")
    root.wait_for()
    color = root.get_by_text("threads").first.evaluate("node => getComputedStyle(node).color")
    assert min(int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]) > 150
    lab.open(theme="JupyterLab Light")
