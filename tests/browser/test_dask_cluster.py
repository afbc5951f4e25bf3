"""Runs of a real dask cluster in the notebook's views: as live as those of the engines here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.clusters.processes import DaskProcesses

from .lab import Lab, Notebook
from .test_graph import states
from .test_progress import done, photograph, until

pytest.importorskip("dask.array")
pytest.importorskip("distributed")

SETUP = """
import os, time, dask.array as da
from taskloom.distributed import Client
client = Client({!r})
def slowly(block, gate=""):
    end = time.monotonic() + 2
    while time.monotonic() < end and not os.path.exists(gate):
        time.sleep(0.01)
    return block
def slow(gate):
    ones = da.ones((800, 800), chunks=(100, 100))
    return ones.map_blocks(slowly, gate=gate, dtype=float, name=f"slowly-{{abs(hash(gate)):016x}}")
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with DaskProcesses() as cluster:
        yield cluster.address


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, address: str, lab: Lab, notebook: Notebook) -> Iterator[Notebook]:
    page = lab.open(theme=f"JupyterLab {request.param.title()}", viewport={"width": 1000, "height": 1100})
    page.name = request.param
    page.run("%load_ext taskloom")
    yield page
    page.interrupt()
    page.run("client.close()")


def test_views_of_a_dask_cluster(page: Any, address: str, tmp_path: Path) -> None:
    page.run(SETUP.format(address))
    board = page.run("%dashboard")
    gate = tmp_path / "first"
    cell = page.start(f"float((slow({str(gate)!r}) + 1).sum().compute())")
    cell.locator(".taskloom-progress-live").wait_for()
    first = until(lambda: done(cell), "the first tasks to be done")
    assert page.is_busy(cell)
    until(lambda: done(cell) > first, "more tasks done")
    assert page.is_busy(cell)
    photograph(cell, f"cluster-bar-{page.name}")
    photograph(board, f"cluster-dashboard-{page.name}")
    gate.touch()
    page.wait(cell)
    assert "1280000.0" in cell.inner_text()
    photograph(cell, f"cluster-bar-done-{page.name}")
    photograph(board, f"cluster-dashboard-done-{page.name}")

    gate = tmp_path / "second"
    cell = page.start(f"%%graph --layers\nfloat((slow({str(gate)!r}) + 2).sum().compute())")
    layer = cell.locator(".taskloom-graph-live .taskloom-node").first
    until(lambda: "/64" in layer.text_content(), "the layer's count")
    layer.hover()
    tip = cell.locator(".taskloom-graph-tip")
    until(lambda: "8 × 8 chunks" in tip.inner_text(), "what is told of the layer")
    until(lambda: "running" in states(cell), "a live state")
    assert page.is_busy(cell)
    photograph(cell, f"cluster-graph-{page.name}")
    gate.touch()
    page.wait(cell)
    until(lambda: set(states(cell)) == {"finished"}, "all to be drawn as finished")
    photograph(cell, f"cluster-graph-done-{page.name}")


def test_stop(page: Any, address: str) -> None:
    page.run(SETUP.format(address))
    cell = page.start("slow('').sum().compute()")
    until(lambda: done(cell), "the first tasks to be done")
    cell.locator(".taskloom-stop").first.click()
    page.wait(cell)
    assert "KeyboardInterrupt" in cell.inner_text()
    until(lambda: cell.locator(".taskloom-progress-live").count() == 0, "the live bar to go")
    assert "stopped" in cell.locator(".taskloom-progress").inner_text()
    photograph(cell, f"cluster-bar-stopped-{page.name}")
    again = page.run("%progress off\nclient.submit(int, '7', pure=False).result()")
    assert "7" in again.inner_text()
