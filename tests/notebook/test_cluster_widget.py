"""A cluster in a notebook: what its view shows and does, and that nothing of it stays open."""

import json
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from taskloom.distributed import Client, LocalCluster

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")

from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

from taskloom.engines.cluster.overview import runs_on, stop_runs  # noqa: E402
from taskloom.notebook.cluster_state import cluster_html, cluster_text, is_busy, state_of  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>\n\x1b[31m"
PATIENCE = 60.0


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "memory_limit": "1 GiB"}
    with LocalCluster(name=HOSTILE, **options) as cluster:
        yield cluster


def test_the_state_is_plain_json_in_one_line_texts(cluster: LocalCluster) -> None:
    state = state_of(cluster)
    assert json.loads(json.dumps(state)) == state
    assert state["name"].isprintable()
    assert [row["name"] for row in state["workers"]] == ["worker-0", "worker-1"]
    assert state["status_text"] == "2 workers · 0 of 2 threads busy · 0 B of 2.0 GiB"
    assert (state["size"], state["size_text"], state["adapts"]) == (2, "", False)


def test_the_picture_is_safe(cluster: LocalCluster) -> None:
    html = cluster_html(state_of(cluster))
    assert "taskloom-cluster" in html
    assert "<img" not in html
    assert "\x1b" not in cluster_text(state_of(cluster))
    assert "worker-1" in cluster_text(state_of(cluster))


def test_what_is_held_is_shown(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        future = client.submit(bytes, 512 * 2**20, workers=0)
        assert future.exception() is None
        row = state_of(cluster)["workers"][0]
    assert row["share"] == 0.5
    assert row["memory_text"] == "512 MiB of 1.0 GiB"


def test_processes_are_shown_with_all_their_memory() -> None:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": None}
    with Client(**options, set_as_default=False) as client:
        client.submit(abs, -1).result()  # it has started
        assert client.cluster is not None
        (row,) = state_of(client.cluster)["workers"]
    assert int(row["memory_text"].split()[0]) > 5
    assert row["memory_text"].endswith(" MiB")
    assert row["share"] == 0.0


def test_size_and_adaption_are_told(cluster: LocalCluster) -> None:
    cluster.adapt(minimum=3, maximum=3)
    state = state_of(cluster)
    assert state["size_text"].startswith("adapts between 3 and 3")
    assert (state["minimum"], state["maximum"], state["adapts"]) == (3, 3, True)
    cluster.scale(40)
    deadline = monotonic() + PATIENCE
    while len(cluster.workers) < 40 and monotonic() < deadline:
        sleep(0.01)
    state = state_of(cluster)
    assert len(state["workers"]) == 32
    assert state["more_text"] == "and 8 more"


def test_a_closed_cluster(cluster: LocalCluster) -> None:
    cluster.close()
    state = state_of(cluster)
    assert (state["status"], state["workers"]) == ("closed", [])
    assert not is_busy(cluster)
    assert "closed" in cluster_html(state)


def test_stop_stops_what_runs_on_this_cluster(cluster: LocalCluster) -> None:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with Client(cluster, set_as_default=False) as client, Client(**options, set_as_default=False) as other:
        futures = client.map(nap, range(1000), pure=False)
        spared = other.submit(nap, 0)
        assert is_busy(cluster)
        assert len(runs_on(cluster)) == 1
        stop_runs(cluster)
        deadline = monotonic() + PATIENCE
        while futures[-1].status == "pending" and monotonic() < deadline:
            sleep(0.01)
        assert futures[-1].status == "cancelled"
        assert spared.result() == 0
        while is_busy(cluster) and monotonic() < deadline:
            sleep(0.01)
        assert not is_busy(cluster)


def nap(i: int) -> int:
    sleep(0.02)
    return i


def test_a_terminal_shows_a_line(shell: InteractiveShell, cluster: LocalCluster) -> None:
    shell.user_ns["cluster"] = cluster
    data, _ = shell.display_formatter.format(cluster)
    assert data["text/plain"].startswith("LocalCluster(")
    del shell.user_ns["cluster"]


CELLS = {
    "load": "%load_ext taskloom\nimport threading\nfrom taskloom.distributed import Client, LocalCluster\n"
    "cluster = LocalCluster(n_workers=2, threads_per_worker=1)",
    "show": "cluster",
    "client": "client = Client(cluster)\nclient",
    "many": "from IPython.display import display\nfor _ in range(20): display(cluster)",
    "count": "from comm import get_comm_manager\nprint(len(get_comm_manager().comms))",
    "served": "client.dashboard_link\nclient",
    "closed": "client.close()\ncluster.close()\ncluster",
    "again": "other = LocalCluster(n_workers=1, processes=False)\nother",
    "unload": "%unload_ext taskloom\nprint(len(get_comm_manager().comms), "
    "sum('cluster-views' in thread.name for thread in threading.enumerate()))\nother.close()",
    "plain": "other",
}


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def test_an_executed_notebook_keeps_a_picture(outputs: dict[str, Any]) -> None:
    (output,) = outputs["show"]
    assert set(output.data) == {"text/html", "text/plain"}
    assert "taskloom-cluster" in output.data["text/html"]
    assert "2 workers" in output.data["text/plain"]


def test_a_closed_cluster_says_so(outputs: dict[str, Any]) -> None:
    (output,) = outputs["closed"]
    assert "closed" in output.data["text/plain"]


def test_a_client_says_where_the_dashboard_is(outputs: dict[str, Any]) -> None:
    (before,), (after,) = outputs["client"], outputs["served"]
    assert "%dashboard" in before.data["text/html"]
    assert "<a " not in before.data["text/html"], "showing a client serves nothing"
    assert '<a href="http://127.0.0.1:' in after.data["text/html"]


def test_nothing_stays_open(outputs: dict[str, Any]) -> None:
    assert int(outputs["count"][-1].text) < 20
    assert outputs["unload"][-1].text.split() == ["0", "0"]


def test_without_the_extension_there_is_a_card(outputs: dict[str, Any]) -> None:
    (output,) = outputs["plain"]
    assert output.output_type == "execute_result"
    assert "taskloom-cluster-card" in output.data["text/html"]
