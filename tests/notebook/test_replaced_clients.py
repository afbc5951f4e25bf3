"""Running a cell again that makes a client leaves one cluster, whether or not the cell shows the client."""

from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

LOAD = "%load_ext taskloom\nimport psutil, taskloom\nfrom taskloom.distributed import Client\npids = []"
MADE = "client = Client(n_workers=1, threads_per_worker=1); pids += [w.pid for w in client.cluster.workers.values()]"
COUNT = "print([psutil.pid_exists(pid) for pid in pids])"


def printed(*cells: str) -> list[str]:
    """What some cells print, one after the other in one kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (LOAD, *cells)])
    nbclient.NotebookClient(notebook, timeout=300).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.outputs]
    return [output.text.strip() for output in outputs if output.output_type == "stream"]


def test_the_cluster_of_the_cell_before_ends_with_it() -> None:
    again = [MADE, COUNT, f"{MADE}\nclient", COUNT] * 2
    assert printed(*again) == [
        "[True]",
        "[False, True]",
        "[False, False, True]",
        "[False, False, False, True]",
    ]


def test_what_is_still_used_stays() -> None:
    found = printed(
        MADE,
        "future = client.submit(abs, -1)",
        f"{MADE}\nclient",
        "print(future.result())",
        COUNT,
        "client",
        MADE,
        COUNT,
    )
    assert found == ["1", "[True, True]", "[True, False, True]"]


def test_without_the_extension_it_is_the_next_client_that_ends_it() -> None:
    assert printed("%unload_ext taskloom", MADE, MADE, COUNT, MADE, COUNT) == ["[True, True]", "[False, True, True]"]
