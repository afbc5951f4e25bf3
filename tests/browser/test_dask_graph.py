"""Dask's collections in the live graph: layers that open, and what is told of them."""

import pytest

from .lab import Lab, Notebook
from .test_graph import states
from .test_progress import photograph, until

pytest.importorskip("dask.array")
pytest.importorskip("dask.dataframe")

SETUP = """
import time, taskloom, dask.array as da, dask.dataframe as dd, pandas as pd
taskloom.enable_dask()
def slowly(block):
    time.sleep(0.5)
    return block
x = da.ones((2000, 2000), chunks=(100, 100)).map_blocks(slowly, dtype=float, name="slowly-0123456789abcdef")
flights = pd.DataFrame({"carrier": list("ABCD") * 250, "delay": range(1000), "<b>": 1.5})
df = dd.from_pandas(flights, npartitions=4)
"""


def test_a_large_array_runs_in_layers_that_open_by_click_and_by_keyboard(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.start("%%graph\nfloat((x + 1).sum().compute())")
    layer = cell.locator(".taskloom-graph-live .taskloom-node[role=button]").first
    until(lambda: "/400" in layer.text_content(), "the layer's count")
    assert notebook.is_busy(cell)
    layer.hover()
    tip = cell.locator(".taskloom-graph-tip")
    until(lambda: "20 × 20 chunks of" in tip.inner_text(), "what is told of the layer")
    until(lambda: "running" in tip.inner_text() and "waiting" in tip.inner_text(), "its counts")
    photograph(cell, "dask-array-running")
    layer.click()
    until(lambda: len(states(cell)) > 400, "a box for each chunk")
    assert notebook.is_busy(cell)
    cell.get_by_role("button", name="Collapse").press("Enter")
    until(lambda: len(states(cell)) < 100, "the layers")
    layer.press("Enter")
    until(lambda: len(states(cell)) > 400, "the same by keyboard")
    focused = cell.locator(".taskloom-node:focus")
    until(lambda: "of 20 × 20: " in tip.inner_text(), "what is told of the chunk")
    assert focused.count() == 1
    photograph(cell, "dask-array-opened")
    notebook.interrupt()


def test_a_frame_is_drawn_as_expressions_and_tasks(notebook: Notebook) -> None:
    notebook.run(SETUP)
    cell = notebook.run('%%graph\ndf[df.delay > 3].groupby("carrier").delay.mean()')
    before = cell.get_by_role("button", name="Expression before optimisation")
    before.wait_for()
    assert before.get_attribute("aria-pressed") == "true"
    assert "expressions · not run" in cell.locator(".taskloom-graph-caption").inner_text()
    cell.locator(".taskloom-node", has_text="FromPandas").hover()
    tip = cell.locator(".taskloom-graph-tip")
    until(lambda: "divisions 0 … 999" in tip.inner_text(), "what is told of the expression")
    assert "<b> float64" in tip.inner_text()
    photograph(cell, "dask-expression-before")
    cell.get_by_role("button", name="Expression after optimisation").click()
    photograph(cell, "dask-expression-after")
    cell.get_by_role("button", name="After optimisation", exact=True).click()
    cell.locator(".taskloom-node", has_text="frompandas 1").hover()
    until(lambda: "division 250 … 500" in tip.inner_text(), "what is told of the task")
    photograph(cell, "dask-frame-tasks")


def test_dark_theme(lab: Lab, notebook: Notebook) -> None:
    dark = lab.open(theme="JupyterLab Dark")
    dark.run("%load_ext taskloom")
    dark.run(SETUP)
    cell = dark.run("%%graph --layers\n(da.ones((40, 40), chunks=(10, 10)) + 1).T.sum(axis=0)")
    cell.locator(".taskloom-node").first.hover()
    until(lambda: "4 × 4 chunks" in cell.locator(".taskloom-graph-tip").inner_text(), "what is told of the layer")
    photograph(cell, "dask-array-dark")
    cell.get_by_role("button", name="Expand").press("Enter")
    until(lambda: len(states(cell)) == 68, "a box for each task")
    assert cell.get_by_role("button", name="Expand").is_hidden()
    photograph(cell, "dask-array-expanded-dark")
    cell.get_by_role("button", name="Collapse").click()
    until(lambda: len(states(cell)) == 5, "the layers again")
    cell = dark.run('%%graph\ndf[df.delay > 3].groupby("carrier").delay.mean()')
    cell.locator(".taskloom-node", has_text="FromPandas").hover()
    until(lambda: "divisions" in cell.locator(".taskloom-graph-tip").inner_text(), "what is told of the expression")
    photograph(cell, "dask-expression-dark")
