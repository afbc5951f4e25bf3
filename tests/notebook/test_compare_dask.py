"""`%compare` where Dask's own client is open, or its configuration says what is to run its collections."""

from collections.abc import Iterator
from typing import Any

import pytest

import taskloom
from taskloom.engines.cluster.shared import open_client
from taskloom.engines.worker.pool import pool
from taskloom.views.comparison import Comparison

pytest.importorskip("IPython")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

OWN = ["sync", "threads", "processes", "distributed"]
CELLS = {
    "of Dask": "x.sum().compute()",
    "by taskloom": "taskloom.compute(x.sum())",
    "of taskloom": "taskloom.delayed(abs)(-1).compute()",
}


@pytest.fixture
def shell(shell: Any) -> Iterator[Any]:
    taskloom.enable_dask()
    shell.user_ns.update(taskloom=taskloom, dask=dask, x=da.ones(8, chunks=4))
    yield shell
    taskloom.disable_dask()
    pool.close()
    if any(run.engine == "distributed" for run in taskloom.runs):
        open_client().close()


@pytest.fixture
def client() -> Iterator[Any]:
    with distributed.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as client:
        yield client


def compare(shell: Any, line: str, cell: str) -> Comparison:
    comparison: Comparison = shell.run_cell_magic("compare", line, cell)
    return comparison


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_cluster_of_the_client_is_compared_beside_our_own(shell: Any, client: Any, cell: str) -> None:
    comparison = compare(shell, "-n 1", cell)
    assert [row.engine for row in comparison.engines] == [*OWN, "dask.distributed"]
    assert [row.used for row in comparison.engines] == [{name} for name in (*OWN, "dask.distributed")]
    assert [row.problem + row.note for row in comparison.engines] == [""] * 5
    assert comparison.best is not None
    assert "Nothing to compare" not in comparison.recommendation
    assert dask.config.get("scheduler") == "dask.distributed"


def test_it_can_be_named(shell: Any, client: Any) -> None:
    comparison = compare(shell, "-n 1 sync dask.distributed", CELLS["of Dask"])
    assert [row.used for row in comparison.engines] == [{"sync"}, {"dask.distributed"}]


def test_without_a_client_it_is_left_out_and_said_where_it_was_named(shell: Any) -> None:
    comparison = compare(shell, "-n 1 sync dask.distributed", CELLS["of Dask"])
    assert [row.problem for row in comparison.engines] == ["", "not available: No client of it is open."]
    assert [row.engine for row in compare(shell, "-n 1", CELLS["of taskloom"]).engines] == OWN


def test_the_configuration_of_dask_leaves_each_engine_its_turn(shell: Any) -> None:
    with dask.config.set(scheduler="threads"):
        comparison = compare(shell, "-n 1 sync threads", CELLS["of Dask"])
        assert dask.config.get("scheduler") == "threads"
    assert [row.used for row in comparison.engines] == [{"sync"}, {"threads"}]


def test_a_cell_that_sets_it_has_chosen(shell: Any, client: Any) -> None:
    cell = "with dask.config.set(scheduler='sync'): x.sum().compute()"
    comparison = compare(shell, "-n 1 threads dask.distributed", cell)
    assert comparison.recommendation.startswith("Nothing to compare: the cell itself chose sync.")
