"""The comparison as a person sees it, in JupyterLab."""

import json

from .lab import Lab, Notebook
from .test_progress import until

SETUP = "import time, taskloom\nfrom taskloom import delayed"


def test_counts_trials_while_busy_and_ends_in_a_table(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start(
        "%%compare -n 2 sync threads\ndelayed(list)([delayed(time.sleep)(0.3) for _ in range(6)]).compute()"
    )
    bar = cell.locator(".taskloom-progress-live")
    bar.wait_for()
    assert notebook.is_busy(cell)
    assert "running on" in bar.inner_text()
    notebook.wait(cell)
    until(lambda: bar.count() == 0, "the live bar to go")
    assert "4/4" in cell.locator(".taskloom-progress").inner_text()
    table = cell.locator(".taskloom-compare")
    assert "threads: " in table.inner_text()
    assert "The tasks wait much of the time" in table.inner_text()
    notebook.save()
    outputs = json.loads(notebook.file.read_text())["cells"][-1]["outputs"]
    assert not [kind for output in outputs for kind in output["data"] if "widget" in kind]


def test_stop_ends_it_and_keeps_the_variables(notebook: Notebook) -> None:
    notebook.run(SETUP)
    notebook.run("x = 1")
    cell = notebook.start("%%compare\nx = 2\ndelayed(list)([delayed(time.sleep)(0.1) for _ in range(2000)]).compute()")
    cell.locator("button.taskloom-stop").click()
    notebook.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    assert "stopped" in cell.locator(".taskloom-progress").inner_text()
    assert notebook.run("print(x)").locator(".jp-OutputArea-output").inner_text().strip() == "1"


def test_an_engine_that_fails_says_so_as_text(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run("%compare -n 1 delayed(int)('<img src=x onerror=alert(1)>').compute()")
    table = cell.locator(".taskloom-compare")
    table.wait_for()
    assert table.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)>" in table.inner_text()
    assert "No engine finished" in table.inner_text()


def test_reopened_in_a_dark_theme_it_can_be_read(lab: Lab, notebook: Notebook) -> None:
    notebook.run(SETUP)
    notebook.run("%%compare -n 1 sync threads\ndelayed(abs)(-1).compute()")
    notebook.save()
    again = lab.folder / "compared.ipynb"
    again.write_text(notebook.file.read_text())
    dark = lab.open(again, theme="JupyterLab Dark")
    table = dark.page.locator(".taskloom-compare table").last
    table.wait_for()
    color = table.locator("td").first.evaluate("node => getComputedStyle(node).color")
    assert min(int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]) > 150
    lab.open(theme="JupyterLab Light")
