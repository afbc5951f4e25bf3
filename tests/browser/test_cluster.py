"""The view of a cluster as a person uses it, in JupyterLab."""

import json
from typing import Any

import pytest

from .lab import Lab, Notebook
from .test_progress import photograph, until

OPEN = """
import time, taskloom
from taskloom.distributed import Client, LocalCluster
cluster = LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1 GiB", name="mine <b>")
client = Client(cluster)
def nap(i, seconds=0.05):
    time.sleep(seconds)
    return i
"""


@pytest.fixture(scope="module")
def opened(shared_notebook: Notebook) -> Notebook:
    shared_notebook.run("%load_ext taskloom")
    shared_notebook.run(OPEN)
    return shared_notebook


@pytest.fixture
def view(notebook: Notebook, opened: Notebook) -> Any:
    notebook.run("cluster.scale(2)")
    root = notebook.run("cluster").locator("div.taskloom-live.taskloom-cluster")
    root.wait_for()
    until(lambda: workers(root) == 2, "two workers")
    return root


def workers(view: Any) -> int:
    return int(view.locator(".taskloom-cluster-worker").count())


def note(view: Any) -> str:
    return str(view.locator(".taskloom-cluster-note").text_content())


def field(view: Any, name: str) -> Any:
    return view.get_by_role("spinbutton", name=name, exact=True)


def button(view: Any, name: str) -> Any:
    return view.get_by_role("button", name=name, exact=True)


def test_it_shows_the_workers(view: Any) -> None:
    assert "mine <b>" in view.inner_text()
    status, memory = view.locator(".taskloom-cluster-status"), view.locator(".taskloom-cluster-memory").first
    until(lambda: "2 workers · 0 of 2 threads busy" in status.inner_text(), "the workers' state")
    until(lambda: "of 1.0 GiB" in memory.inner_text(), "what they use")
    assert not button(view, "Stop").is_visible()
    photograph(view, "cluster")


def test_a_click_scales(view: Any) -> None:
    field(view, "Workers").fill("3")
    button(view, "Scale").click()
    until(lambda: workers(view) == 3, "another worker")
    field(view, "Workers").fill("1")
    field(view, "Workers").press("Enter")
    until(lambda: workers(view) == 1, "two workers to go")
    assert field(view, "Workers").input_value() == "1"


def test_it_scales_while_a_cell_is_busy_and_stops_what_runs(notebook: Notebook, view: Any) -> None:
    cell = notebook.start("results = client.gather(client.map(nap, range(10_000), pure=False))")
    until(lambda: "2 of 2 threads busy" in view.inner_text(), "both workers to be busy")
    field(view, "Workers").fill("3")
    button(view, "Scale").click()
    until(lambda: "3 of 3 threads busy" in view.inner_text(), "another worker to be busy")
    assert notebook.is_busy(cell)
    photograph(view, "cluster-busy")
    button(view, "Stop").click()
    notebook.wait(cell)
    assert "Cancelled" in cell.inner_text()
    until(lambda: not button(view, "Stop").is_visible(), "nothing to be left to stop")
    until(lambda: "0 of 3 threads busy" in view.inner_text(), "the workers to be idle")


def test_it_adapts(notebook: Notebook, view: Any) -> None:
    field(view, "Fewest workers").fill("0")
    field(view, "Most workers").fill("3")
    button(view, "Adapt").click()
    until(lambda: note(view).startswith("adapts between 0 and 3"), "the cluster to adapt")
    until(lambda: "no workers" in view.inner_text(), "all workers to go")
    photograph(view, "cluster-of-none")
    cell = notebook.run("len(client.gather(client.map(nap, range(5), pure=False)))")
    assert cell.locator(".jp-OutputArea-output").last.inner_text().strip() == "5"
    until(lambda: workers(view) >= 1, "a worker to come")
    button(view, "Scale").click()
    until(lambda: "adapts" not in note(view), "the adapting to end")


def test_a_wrong_number_says_so(view: Any) -> None:
    field(view, "Workers").fill("-1")
    button(view, "Scale").click()
    error = view.get_by_role("alert")
    until(lambda: "scale(-1) cannot be done: it takes a whole number, 0 or more" in error.inner_text(), "the error")
    photograph(view, "cluster-error")
    field(view, "Most workers").fill("1")
    field(view, "Fewest workers").fill("2")
    button(view, "Adapt").click()
    until(lambda: "maximum=1 cannot be used" in error.inner_text(), "the other error")
    field(view, "Workers").fill("2")
    button(view, "Scale").click()
    until(lambda: not error.is_visible(), "the error to go")


def test_keyboard_alone(notebook: Notebook, view: Any) -> None:
    field(view, "Workers").focus()
    notebook.page.keyboard.press("ArrowUp")
    notebook.page.keyboard.press("Enter")
    until(lambda: workers(view) == 3, "another worker")
    notebook.page.keyboard.press("Tab")
    assert button(view, "Scale").evaluate("node => node === document.activeElement")


def test_a_closed_cluster_leaves_a_picture(notebook: Notebook) -> None:
    cell = notebook.run("other = LocalCluster(n_workers=1, processes=False, name='brief')\nother")
    live = cell.locator("div.taskloom-live.taskloom-cluster")
    live.wait_for()
    notebook.run("other.close()")
    until(lambda: "closed" in cell.inner_text(), "the end")
    until(lambda: live.count() == 0, "a picture in its place")


def test_a_saved_notebook_has_a_picture_and_a_reloaded_page_the_view(lab: Lab, notebook: Notebook) -> None:
    own = lab.open()
    own.run("%load_ext taskloom")
    own.run("from taskloom.distributed import LocalCluster\nsmall = LocalCluster(n_workers=1, processes=False)")
    live = own.run("small").locator("div.taskloom-live.taskloom-cluster")
    live.wait_for()
    own.save()
    saved = json.loads(own.file.read_text())
    (output,) = saved["cells"][-1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "1 worker" in "".join(output["data"]["text/plain"])
    own.reload()
    live.wait_for()
    field(live, "Workers").fill("2")
    button(live, "Scale").click()
    until(lambda: workers(live) == 2, "another worker after a reload")
    own.save()
    saved = json.loads(own.file.read_text())
    saved["metadata"] = {}  # no kernel can be guessed: Lab asks
    saved["cells"][-1]["source"] += "  # changed: the server's signature does not hold"
    copy = own.file.with_name("cluster.ipynb")
    copy.write_text(json.dumps(saved))
    reopened = lab.open(copy)
    reopened.page.locator(".jp-Dialog").get_by_role("button", name="No Kernel").click()
    picture = reopened.page.locator(".taskloom-cluster")
    picture.wait_for()
    assert "worker-1" in picture.inner_text()
    photograph(picture, "cluster-saved")


@pytest.mark.parametrize(("theme", "width"), [("JupyterLab Dark", 1000), ("JupyterLab Light", 560)])
def test_themes_and_narrow_cells(lab: Lab, notebook: Notebook, theme: str, width: int) -> None:
    page = lab.open(theme=theme, viewport={"width": width, "height": 700})
    page.run("%load_ext taskloom")
    page.run(
        "from taskloom.distributed import LocalCluster\ntry_me = LocalCluster(n_workers=2, memory_limit='100 MiB')"
    )
    root = page.run("try_me").locator("div.taskloom-live.taskloom-cluster")
    root.wait_for()
    until(lambda: workers(root) == 2, "two workers")
    if width < 600:
        root.evaluate("node => { node.parentElement.style.width = '320px' }")
    else:
        color = root.locator(".taskloom-cluster-name").evaluate("node => getComputedStyle(node).color")
        assert min(int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]) > 150
    needed, room = root.evaluate("root => [root.scrollWidth, root.clientWidth]")
    assert needed <= room, "nothing is cut off"
    photograph(root, f"cluster-{theme.split()[-1].lower()}-{width}")
    page.run("try_me.close()")
    lab.open(theme="JupyterLab Light")
