"""Run All: cells that are queued at once, of which some start runs that outlive them. What they show is theirs."""

import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adapters.clusters.processes import DaskProcesses

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("dask")

SECONDS = 240.0  # for all cells of a notebook

SETUP = """
%load_ext taskloom
import asyncio, tempfile, threading, time
import dask
from pathlib import Path
from taskloom.bus.event_bus import bus
folder = tempfile.TemporaryDirectory()
gate = Path(folder.name) / "gate"
def late(x, gate=str(gate)):
    import os, time
    while not os.path.exists(gate):
        time.sleep(0.01)
    return x
def collection(name, n):
    return dask.delayed(list)([dask.delayed(late)(i, dask_key_name=f"{name}-{i}") for i in range(n)],
                              dask_key_name=f"all-{name}")
"""
CLIENTS = {
    "dask's": "import distributed; client = distributed.Client({address!r})",
    "taskloom's for dask's scheduler": "from taskloom.distributed import Client; client = Client({address!r})",
    "taskloom's own cluster": (
        "from taskloom.distributed import Client; client = Client(n_workers=2, threads_per_worker=1)"
    ),
}
CELLS = {
    "bar": "bar = collection('bar', 3).persist()",
    "after the bar": "1 + 1",
    "graph": "%%graph\ngraph = collection('graph', 4).persist()",
    "after the graph": "2 + 2",
    "raises": "%%graph\nraises = collection('raises', 5).persist()\ntry:\n    1 / 0\nfinally:\n    keep = raises",
    "awaits": "%%graph\nawaits = collection('awaits', 6).persist()\nawait asyncio.sleep(0)",
    "after all": "gate.touch()",
    "wait": (
        "end = time.monotonic() + 100\n"
        "while bus.active and time.monotonic() < end:\n    time.sleep(0.01)\n"
        "told = threading.Event(); bus._ticker.post(told.set); told.wait(10)"  # behind what views are told
    ),
    "close": "del bar, graph, awaits, raises, keep\nclient.close()\n%unload_ext taskloom",
}


class Shown:
    """What a page shows: the outputs of each cell, as they are in the end."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[str]] = defaultdict(list)  # by cell, display ids of those that came in time
        self.late: list[Any] = []  # what came when its cell was over: no page shows that
        self.errors: list[str] = []
        self.text: dict[str, str] = {}  # by display id


def run_all(cells: dict[str, str]) -> Shown:
    """Run cells that are all queued before the first one begins, in a kernel of its own."""
    manager = jupyter_client.KernelManager()
    manager.start_kernel(env=dict(os.environ), stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    shown = Shown()
    try:
        client.wait_for_ready(timeout=SECONDS)
        names = {client.execute(code, stop_on_error=False): name for name, code in cells.items()}
        over: set[str] = set()
        deadline = time.monotonic() + SECONDS
        while len(over) < len(names):
            message = client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            kind, content = message["msg_type"], message["content"]
            name = names.get(message["parent_header"].get("msg_id"), "")
            if kind == "status" and content["execution_state"] == "idle" and name:
                over.add(name)
            elif kind in ("display_data", "update_display_data"):
                shown.text[content["transient"]["display_id"]] = content["data"]["text/plain"]
                if kind == "display_data" and name in over:
                    shown.late.append((name, content["data"]))
                elif kind == "display_data":
                    shown.outputs[name].append(content["transient"]["display_id"])
            elif kind == "error":
                shown.errors.append(f"{name}: {content['ename']}: {content['evalue']}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return shown


@pytest.fixture(scope="module", params=CLIENTS.values(), ids=CLIENTS)
def shown(request: pytest.FixtureRequest, cluster: DaskProcesses) -> Shown:
    connect = request.param.format(address=cluster.address)
    return run_all({"setup": SETUP, "connect": connect, **CELLS})


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskProcesses]:
    with DaskProcesses() as cluster:
        yield cluster


def test_cells_ran(shown: Shown) -> None:
    assert shown.errors == ["raises: ZeroDivisionError: division by zero"]


def test_a_bar_is_in_the_cell_that_submitted(shown: Shown) -> None:
    (output,) = shown.outputs["bar"]
    assert re.fullmatch(r"\[#+\] 4/4  .* s  .*", shown.text[output])


@pytest.mark.parametrize(("cell", "tasks"), [("graph", 5), ("raises", 6), ("awaits", 7)])
def test_a_graph_is_in_the_cell_that_submitted(shown: Shown, cell: str, tasks: int) -> None:
    (output,) = shown.outputs[cell]
    assert shown.text[output].startswith(f"Graph of {tasks}/{tasks} tasks · finished")


def test_nothing_is_anywhere_else(shown: Shown) -> None:
    assert set(shown.outputs) <= {"bar", "graph", "raises", "awaits"}
    assert not shown.late
