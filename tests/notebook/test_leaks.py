"""A hundred cells later there are no more comms, listeners or threads than before."""

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")
pytest.importorskip("bokeh")

SETUP = """
%load_ext taskloom
import os, threading, time, taskloom
from comm import get_comm_manager
from taskloom.bus.event_bus import bus
def run():
    graph = {("load", i): (time.sleep, 0.01) for i in range(4)}
    return taskloom.threaded.get(graph, list(graph), num_workers=2)
taskloom.config.set({"notebook.progress_delay": 0})
def census():
    return len(get_comm_manager().comms), len(bus.subscriptions), threading.active_count()
"""
VIEWS = ["run()", "%%graph\nrun()", "%dashboard", "%scheduler", "%%compare -n 1 sync threads\nrun()"]
CELLS = 100
HALF = "half = census()\nprint(*half)"
ALL = """
deadline = time.monotonic() + 20  # a thread that is told to end takes its time
while any(now > before for now, before in zip(census(), half)) and time.monotonic() < deadline:
    time.sleep(0.05)
print(*census())
"""


def test_a_hundred_cells_of_all_views_leave_nothing() -> None:
    cells = (VIEWS * CELLS)[: CELLS // 2]
    sources = [SETUP, *cells, HALF, *cells, ALL]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    half, all_of_them = [
        [int(count) for count in cell.outputs[0].text.split()] for cell in notebook.cells if cell.source in (HALF, ALL)
    ]
    assert all(now <= before for now, before in zip(all_of_them, half, strict=True)), (half, all_of_them)
