"""A run of futures as a person sees it, in JupyterLab: it grows while it is drawn, and goes on after failures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .lab import Notebook
from .test_progress import photograph, until

SETUP = """
import time, os
from taskloom.engines.cluster.client.records import Records
class Connection:
    tasks = {}
    def running(self): return list(self.tasks.values())
    def send(self, kind, ids, force):
        records.cancelled(ids)
        Connection.stopped = True
connection = Connection()
records = Records("distributed", connection, recall=lambda number: None)
for number in range(2):
    records.joined(number, f"worker-{number}", os.getpid(), 2)
count = 0
def burst(n, seconds=0.05, bad=(), gate=""):
    "Submits 2 * n futures and does them, as workers would, the last of them once there is a file of that name."
    global count
    Connection.stopped = False
    first, count = count + 1, count + 2 * n
    for i in range(n):
        records.submitted(first + 2 * i, [f"load-{first + i}", f"clean-{first + i}"], ["load", "clean"],
                          [(), (first + 2 * i,)])
        time.sleep(0.001)
    for number in range(first, first + 2 * n):
        worker, begun = number % 2, time.perf_counter()
        connection.tasks[worker] = worker, number, begun
        time.sleep(seconds)
        while gate and number == count and not os.path.exists(gate) and not Connection.stopped:
            time.sleep(0.01)
        end = time.perf_counter()
        del connection.tasks[worker]
        if Connection.stopped: return
        if number - first in bad:
            records.failed(number, ValueError("a bad <b>row</b>"), worker, begun, end)
        else:
            records.report(worker, [number], [begun, end], {}, {number: 5e6}, seconds)
            records.held(worker, number * 100_000, number * 100_000)
            if number % 3 == 0: records.moved(number, worker, 1 - worker, 5_000_000)
"""


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[list[Path]]:
    """Files for two bursts to wait for, which are there when the test has ended."""
    gates = [tmp_path / "first", tmp_path / "second"]
    yield gates
    for gate in gates:
        gate.touch()


def states(cell: Any) -> list[str]:
    nodes = cell.locator(".taskloom-graph-live .taskloom-node")
    return list(nodes.evaluate_all("nodes => nodes.map((node) => node.dataset.state)"))


def test_the_graph_grows_and_shows_all_failures(notebook: Notebook, gates: list[Path]) -> None:
    notebook.run(SETUP)
    first, second = gates
    cell = notebook.start(f"%%graph\nburst(4, gate={str(first)!r})\nburst(8, bad=(3, 7), gate={str(second)!r})")
    until(lambda: len(states(cell)) == 8, "the first tasks")
    first.touch()
    until(lambda: len(states(cell)) == 24, "those that were added")
    until(lambda: states(cell).count("failed") == 2, "both failures")
    assert notebook.is_busy(cell)
    assert "running" in cell.locator(".taskloom-graph-caption").inner_text()
    photograph(cell, "futures-graph")
    second.touch()
    until(lambda: "failed" in cell.locator(".taskloom-graph-caption").inner_text(), "the end")
    until(lambda: states(cell).count("finished") == 22, "all others to be finished")


def test_a_graph_that_becomes_large_is_collapsed(notebook: Notebook, gate: Path) -> None:
    notebook.run(SETUP)
    cell = notebook.start(f"%%graph\nburst(20, 0.02, gate={str(gate)!r})\nburst(200, 0.005)")
    until(lambda: len(states(cell)) == 40, "a box for each task")
    gate.touch()
    until(lambda: len(states(cell)) == 2, "a box for each name")
    notebook.wait(cell)
    until(lambda: "/220" in cell.locator(".taskloom-count").first.text_content(), "the count")


def test_the_bar_grows_and_each_cell_has_its_own(notebook: Notebook, gates: list[Path], gate: Path) -> None:
    notebook.run(SETUP)
    end_of_first, end = gates
    first = notebook.start(f"burst(5, gate={str(end_of_first)!r})\nburst(10, bad=(3,), gate={str(end)!r})")
    count = first.locator(".taskloom-progress-count")
    until(lambda: count.inner_text().endswith("/10"), "the first tasks")
    end_of_first.touch()
    until(lambda: count.inner_text().endswith("/30"), "those that were added")
    until(lambda: "a bad <b>row</b>" in first.locator(".taskloom-progress-failure").inner_text(), "the failure")
    photograph(first, "futures-progress")
    end.touch()
    notebook.wait(first)
    second = notebook.start(f"burst(5, gate={str(gate)!r})")
    until(lambda: second.locator(".taskloom-progress-count").inner_text().endswith("/10"), "a bar of its own")
    second.locator("button.taskloom-stop").click()
    notebook.wait(second)
    until(lambda: "stopped" in second.inner_text(), "the stop")


def test_the_dashboard_follows(notebook: Notebook) -> None:
    notebook.run(SETUP)
    dashboard = notebook.start("%dashboard")
    notebook.wait(dashboard)
    cell = notebook.start("burst(5, 0.1)\nburst(10, 0.15, bad=(3, 8))")
    until(lambda: "2 failed" in dashboard.inner_text(), "the failures")
    photograph(dashboard, "futures-dashboard")
    notebook.wait(cell)
    until(lambda: "28/30" in dashboard.inner_text(), "the end")
