"""The progress bar as a person sees it, in JupyterLab."""

import json
import os
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .lab import PATIENCE, Lab, Notebook

SLEEP = """
import os, time, taskloom
def nap(seconds, gate):
    "Sleeps until then, or until there is a file of that name."
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not (gate and os.path.exists(gate)):
        time.sleep(min(left, 0.02))
def sleep_all(count, seconds, gate=""):
    graph = {("load", i): (nap, seconds, gate) for i in range(count)}
    graph |= {("clean", i): (nap, seconds, gate) for i in range(count)}
    taskloom.threaded.get(graph, list(graph), num_workers=2)
"""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until `condition()` is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


def photograph(cell: Any, name: str) -> None:
    """Keep a picture where somebody wants to look at it."""
    folder = os.environ.get("SCREENSHOTS_FOLDER")
    if folder:
        Path(folder, f"{name}.png").write_bytes(cell.screenshot())


def done(cell: Any) -> int:
    return int(cell.locator(".taskloom-progress-count").inner_text().partition("/")[0])


def test_moves_while_the_cell_is_busy_and_leaves_one_line(notebook: Notebook, gate: Path) -> None:
    notebook.run(SLEEP)
    cell = notebook.start(f"sleep_all(100, 0.5, {str(gate)!r})")
    cell.locator(".taskloom-progress-live").wait_for()
    first = done(cell)
    assert notebook.is_busy(cell)
    later = until(lambda: (count := done(cell)) > first and count, "more tasks done")
    assert notebook.is_busy(cell)
    bar = cell.get_by_role("progressbar")
    assert first < later <= int(bar.get_attribute("aria-valuenow"))
    assert bar.get_attribute("aria-valuemax") == "200"
    legend = cell.locator(".taskloom-progress-legend").inner_text()
    assert re.search(r"load\s*\d+/100\s*clean\s*\d+/100|clean\s*\d+/100\s*load\s*\d+/100", legend)
    until(lambda: "left" in cell.locator(".taskloom-progress-time").inner_text(), "how long it will take")

    gate.touch()
    notebook.wait(cell)
    picture = cell.locator(".taskloom-progress")
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bar to go")
    assert picture.count() == 1
    assert "200/200" in picture.inner_text()
    assert picture.bounding_box()["height"] < 30


def test_short_run_leaves_nothing(notebook: Notebook) -> None:
    notebook.run(SLEEP)
    cell = notebook.run("with taskloom.config.set({'notebook.progress_delay': 10}): sleep_all(2, 0.01)")
    assert cell.locator(".jp-OutputArea-child").count() == 0


def test_failed_run_names_its_key_in_red(notebook: Notebook) -> None:
    cell = notebook.run(
        """
        import time, taskloom
        def load(i):
            time.sleep(0.1)
            if i == 30:
                raise ValueError("<img src=x onerror=alert(1)>")
        graph = {("<img src=y onerror=alert(2)>", i): (load, i) for i in range(60)}
        taskloom.threaded.get(graph, list(graph), num_workers=2)
        """
    )
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bar to go")
    failure = cell.locator(".taskloom-progress span", has_text="failed at ('<img src=y onerror=alert(2)>', 30)")
    assert "ValueError: <img src=x onerror=alert(1)>" in failure.inner_text()
    red, green, blue = color_of(failure)
    assert red > 180
    assert green < 100
    assert blue < 100
    assert cell.locator(".taskloom-progress img").count() == 0


def color_of(text: Any) -> list[float]:
    """Red, green and blue up to 255 of a text."""
    color = text.evaluate("node => getComputedStyle(node).color")
    scale = 255 if color.startswith("color(srgb") else 1
    return [scale * float(part) for part in re.findall(r"[\d.]+", color)[:3]]


def test_in_a_narrow_cell_nothing_is_cut(lab: Lab, notebook: Notebook, gate: Path) -> None:
    narrow = lab.open(viewport={"width": 400, "height": 900}, theme="JupyterLab Dark")
    narrow.run("%load_ext taskloom")
    narrow.run(SLEEP)
    cell = narrow.start(f"sleep_all(100, 0.5, {str(gate)!r})")
    stop = cell.locator("button.taskloom-stop")
    stop.wait_for()
    assert inside(stop, cell.locator(".taskloom-progress-live"))
    assert inside(cell.locator(".taskloom-progress-time"), cell.locator(".taskloom-progress-live"))
    photograph(cell, "progress-narrow")
    gate.touch()
    narrow.wait(cell)
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bar to go")
    line = cell.locator(".taskloom-progress")
    for part in line.locator("xpath=./*").all():
        assert inside(part, line)
    photograph(cell, "progress-narrow-over")
    failed = narrow.run("taskloom.get({('load', 0): (time.sleep, 1), 'bad': (lambda _: 1 / 0, ('load', 0))}, 'bad')")
    message = failed.locator(".taskloom-progress span", has_text="ZeroDivisionError: division by zero")
    assert inside(message, failed.locator(".taskloom-progress"))
    photograph(failed, "progress-narrow-failed")


def inside(inner: Any, outer: Any) -> bool:
    """Whether all of an element is in sight in another."""
    a, b = inner.bounding_box(), outer.bounding_box()
    right, bottom = a["x"] + a["width"] - b["x"] - b["width"], a["y"] + a["height"] - b["y"] - b["height"]
    return bool(a["x"] >= b["x"] - 1 and right <= 1 and a["y"] >= b["y"] - 1 and bottom <= 1)


def test_stop_button_stops_the_run_while_the_cell_is_busy(notebook: Notebook) -> None:
    notebook.run(SLEEP)
    requests: list[str] = []
    notebook.page.on("request", lambda request: requests.append(request.url))
    cell = notebook.start("sleep_all(2000, 0.05)")
    cell.locator("button.taskloom-stop").click()
    notebook.wait(cell)
    if int(version("ipykernel").partition(".")[0]) >= 7:  # reads the click while it is busy: no need to interrupt it
        assert not [url for url in requests if url.endswith("/interrupt")]
    assert "KeyboardInterrupt" in cell.inner_text()
    assert "stopped" in cell.locator(".taskloom-progress").inner_text()
    next_cell = notebook.run("sleep_all(2, 0.01); print('fine')")
    assert next_cell.locator(".jp-OutputArea-output").inner_text().strip() == "fine"


def test_concurrent_runs_have_a_bar_each_and_nested_runs_none(notebook: Notebook, gate: Path) -> None:
    notebook.run(SLEEP)
    cell = notebook.start(
        f"""
        gate = {str(gate)!r}
        from threading import Thread
        def outer():
            for _ in range(3):
                sleep_all(5, 1, gate)
        graph = {{("outer", i): (outer,) for i in range(4)}}
        threads = [
            Thread(target=sleep_all, args=(40, 1, gate)),
            Thread(target=taskloom.threaded.get, args=(graph, list(graph))),
        ]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    until(lambda: cell.locator(".taskloom-progress-live").count() == 2, "two bars")
    legends = cell.locator(".taskloom-progress-names").all_inner_texts()
    assert sum("outer" in legend for legend in legends) == 1
    assert sum("clean" in legend for legend in legends) == 1
    gate.touch()
    notebook.wait(cell)
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bars to go")
    texts = sorted(cell.locator(".taskloom-progress").all_inner_texts(), key=lambda text: "outer" in text)
    assert len(texts) == 2
    assert "12 nested runs 120/120" in texts[1]
    assert "nested" not in texts[0]


def test_saved_notebook_shows_a_picture_without_kernel_and_untrusted(notebook: Notebook, lab: Lab) -> None:
    notebook.run(SLEEP)
    notebook.wait(notebook.start("sleep_all(10, 0.1)"))
    notebook.save()
    saved = json.loads(notebook.file.read_text())
    saved["metadata"] = {}  # no kernel can be guessed: Lab asks
    saved["cells"][-1]["source"] += "  # changed: the server's signature does not hold"
    copy = notebook.file.with_name("reopened.ipynb")
    copy.write_text(json.dumps(saved))

    reopened = lab.open(copy)
    reopened.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
    picture = reopened.page.locator(".taskloom-progress").last
    picture.wait_for()
    assert "20/20" in picture.inner_text()
    assert "model not found" not in reopened.page.locator(".jp-Notebook").inner_text()
    colors = [
        segment.evaluate("node => getComputedStyle(node).backgroundColor + getComputedStyle(node).width")
        for segment in picture.locator("span > span").all()
    ]
    assert len({color for color in colors if "rgba(0, 0, 0, 0)" not in color}) >= 2


def saved_output(notebook: Notebook) -> dict[str, str]:
    """What the file holds where the last cell's bar is."""
    notebook.save()
    (output,) = json.loads(notebook.file.read_text())["cells"][-1]["outputs"]
    assert not any("widget-view" in kind for kind in output["data"])
    return {kind: "".join(lines) for kind, lines in output["data"].items()}


def test_page_reloaded_while_the_cell_is_busy(lab: Lab, notebook: Notebook, gate: Path) -> None:
    opened = lab.open()  # of its own: Lab forgets that the cells of a reloaded notebook ran
    opened.run("%load_ext taskloom")
    opened.run(SLEEP)
    cell = opened.start(f"sleep_all(60, 2, {str(gate)!r})")
    cell.locator(".taskloom-progress-live").wait_for()
    assert "still running when this was saved" in saved_output(opened)["text/html"]
    opened.reload()
    assert "still running when this was saved" in cell.locator(".taskloom-progress").inner_text()
    gate.touch()
    until(lambda: "120/120" in cell.locator(".taskloom-progress").inner_text(), "the run's end")
    assert "120/120" in saved_output(opened)["text/html"]


def test_page_reloaded_while_a_run_goes_on_in_a_thread(lab: Lab, notebook: Notebook) -> None:
    opened = lab.open()
    opened.run("%load_ext taskloom")
    opened.run(SLEEP)
    cell = opened.start("import threading; threading.Thread(target=sleep_all, args=(4000, 0.05)).start()")
    cell.locator(".taskloom-progress-live").wait_for()
    opened.save()
    opened.reload()
    cell.locator(".taskloom-progress-live").wait_for()
    first = done(cell)
    until(lambda: done(cell) > first, "more tasks done")
    cell.locator("button.taskloom-stop").click()
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bar to go")
    assert "stopped" in cell.locator(".taskloom-progress").inner_text()
    assert "stopped" in saved_output(opened)["text/html"]


def test_off_and_unload(notebook: Notebook) -> None:
    notebook.run(SLEEP)
    notebook.run("%progress off")
    assert notebook.run("sleep_all(10, 0.05)").locator(".jp-OutputArea-child").count() == 0
    notebook.run("%progress on")
    notebook.run("sleep_all(10, 0.1)").locator(".taskloom-progress").wait_for()
    notebook.run("%unload_ext taskloom")
    assert notebook.run("sleep_all(10, 0.05)").locator(".jp-OutputArea-child").count() == 0
    assert "not found" in notebook.run("%progress").inner_text()
