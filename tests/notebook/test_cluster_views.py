"""What runs on a cluster, and what is submitted to one, in the views of a notebook: as on the other engines."""

import re
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from taskloom.distributed import Client

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")
pytest.importorskip("bokeh")

from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

LOAD = """
%load_ext taskloom
import time, taskloom
from taskloom.distributed import Client
taskloom.config.set(notebook__progress_delay=0)
client = Client(n_workers=2, threads_per_worker=1)
def nap(x):
    time.sleep(0.15)
    return x
import tempfile
from pathlib import Path
folder = tempfile.TemporaryDirectory()
gate = Path(folder.name) / "gate"
def late(x, gate=gate):
    while not gate.exists():
        time.sleep(0.01)
"""
PATIENCE = 60.0
NAPS = "{('nap', i): (nap, i) for i in range(12)}"


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    cells = {
        "load": LOAD,
        "dashboard": "%dashboard",
        "get": f"_ = client.get({NAPS}, [('nap', i) for i in range(12)])",
        "futures": "futures = client.map(nap, range(20, 32))\n_ = client.gather(futures)",
        "submit": "later = client.map(late, range(3))",
        "progress": "from taskloom.distributed import progress\nprogress(later)",
        "wait": (
            "import threading\nfrom taskloom.bus.event_bus import bus\ngate.touch()\n"
            "while bus.active:\n    time.sleep(0.01)\n"
            "told = threading.Event()\nbus._ticker.post(told.set)\nassert told.wait(10)"  # behind what views are told
        ),
        "close": (
            "client.close()\nfrom comm import get_comm_manager\n"
            "%unload_ext taskloom\nprint(len(get_comm_manager().comms), len(bus.subscriptions))"
        ),
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    return {name: cell.outputs for name, cell in zip(cells, notebook.cells, strict=True)}


@pytest.mark.parametrize("cell", ["get", "futures"])
def test_a_bar_is_left_in_the_cell(outputs: dict[str, Any], cell: str) -> None:
    (output,) = outputs[cell]
    assert re.fullmatch(r"\[#+\] 12/12  .* s  nap 12", output.data["text/plain"])
    assert "taskloom-progress" in output.data["text/html"]


@pytest.mark.parametrize("cell", ["submit", "progress"])
def test_a_bar_is_in_the_cell_that_submits_without_waiting_and_in_that_which_asks_for_one(
    outputs: dict[str, Any], cell: str
) -> None:
    (output,) = outputs[cell]
    assert re.fullmatch(r"\[#+\] 3/3  .* s  late 3", output.data["text/plain"])
    assert not outputs["wait"]


def test_the_dashboard_keeps_a_picture_of_the_newest(outputs: dict[str, Any]) -> None:
    (output,) = outputs["dashboard"]
    assert "distributed · 3/3 tasks · finished" in output.data["text/plain"]
    assert "taskloom-task-stream" in output.data["text/html"]


def test_nothing_stays_open(outputs: dict[str, Any]) -> None:
    (output,) = outputs["close"]
    assert output.text.split() == ["0", "0"]


@pytest.fixture
def client(shell: InteractiveShell) -> Iterator[Client]:
    with Client(n_workers=1, threads_per_worker=2, processes=False) as client:
        shell.user_ns["client"] = client
        yield client
        del shell.user_ns["client"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "cell",
    [
        "client.get({('x', i): (abs, -i) for i in range(3)} | {'all': (sum, [('x', i) for i in range(3)])}, 'all')",
        "values = client.map(abs, range(-2, 1), pure=False)\nclient.submit(sum, values, pure=False).result()",
        "from taskloom import delayed\ndelayed(sum)([delayed(abs)(-i) for i in range(3)]).compute()",
    ],
    ids=["get", "futures", "delayed"],
)
def test_a_graph_in_a_terminal(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> None:
    assert shell.run_cell_magic("graph", "", cell) == 3
    out, deadline = "", monotonic() + PATIENCE
    while not out.endswith("\n") and monotonic() < deadline:  # futures end theirs when nothing new came for a while
        out += capsys.readouterr().out
        sleep(0.01)
    assert re.fullmatch(r"Graph of 4/4 tasks · finished · .*distributed\n", out)


OTHER_NOTEBOOK = """
import sys
from taskloom.distributed import Client
def square(x):
    return x * x
with Client(sys.argv[1]) as client:
    client.gather(client.map(square, range(30)))
"""


def test_the_dashboard_shows_what_another_notebook_runs() -> None:
    watch = f"""
import subprocess, sys, time
from taskloom.bus.event_bus import bus
from taskloom.engines.cluster.client import books
books.QUIET = 2.0  # a worker that is slow begins no other run
subprocess.run([sys.executable, "-c", {OTHER_NOTEBOOK!r}, client.cluster.scheduler_address], check=True)
end = time.monotonic() + {PATIENCE}
while not (bus.foreign and bus.foreign[-1].status == "finished") and time.monotonic() < end:
    time.sleep(0.05)
print(len(taskloom.runs), bus.foreign[-1].tasks.name[0])
"""
    cells = [LOAD, "%dashboard", watch, "client.close()\n%unload_ext taskloom"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    (dashboard,) = notebook.cells[1].outputs
    assert "distributed, other clients · 30/30 tasks · finished" in dashboard.data["text/plain"]
    (printed,) = notebook.cells[2].outputs
    assert printed.text == "0 square (client 2)\n"  # no bar, and none of this notebook's runs
