"""Tasks of blocks that taskloom makes are those that Dask makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.blockwise
import numpy as np
import pytest
from dask.array.optimization import optimize
from dask.core import flatten

import taskloom

CASES: dict[str, Callable[[], Any]] = {
    "made of shapes": lambda: da.ones((7, 5), chunks=3),
    "fused": lambda: (da.ones((7, 5), chunks=3) + 1).T * 2,
    "random": lambda: da.random.default_rng(0).random((6, 6), chunks=2) ** 2,
    "one block for all": lambda: da.ones((6, 6), chunks=2) + da.arange(6, chunks=6),
    "one row for all": lambda: da.ones((6, 6), chunks=2) + da.ones((1, 6), chunks=2),
    "several blocks of one input": lambda: da.ones((6, 6), chunks=2) @ da.ones((6, 6), chunks=2),
    "reduced": lambda: da.ones((6, 6), chunks=2).sum(axis=0).mean(),
    "no dimensions": lambda: da.ones((), chunks=()) + 1,
    "of a single block": lambda: da.ones(3, chunks=3).map_blocks(lambda block, *, by: block * by, by=2),
    "with a new axis": lambda: da.ones(4, chunks=2).map_blocks(lambda block: block[:, None], new_axis=1),
    "which know where they are": lambda: da.ones(4, chunks=2).map_blocks(
        lambda block, block_id=(0,): block * block_id[0]
    ),
    "with a task for an argument": lambda: da.ones(4, chunks=2).map_blocks(np.add, dask.delayed(abs)(-2), dtype=float),
    "with a task for a keyword": lambda: da.ones(4, chunks=2).map_blocks(
        lambda block, *, by: block * by, by=dask.delayed(abs)(-2), dtype=float
    ),
    "from an array": lambda: da.from_array(np.arange(12).reshape(3, 4), chunks=2, inline_array=True) + 1,
    "some of them": lambda: (da.ones((8, 8), chunks=2) + 1)[:3, 5:],
    "a bag": lambda: db.range(20, npartitions=4).map(abs).filter(bool).map_partitions(list),
}


@pytest.mark.parametrize("build", CASES.values(), ids=CASES)
def test_the_tasks_are_those_of_dask(build: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    taskloom.disable_dask()
    make_theirs = dask.blockwise._make_blockwise_graph
    taskloom.enable_dask()
    make_ours = dask.blockwise._make_blockwise_graph
    made = []

    def make_both(*args: Any, **options: Any) -> dict[Any, Any]:
        theirs, ours = make_theirs(*args, **options), make_ours(*args, **options)
        made.append(ours)
        assert [*ours] == [*theirs]
        for key, node in theirs.items():
            assert type(ours[key]) is type(node)
            assert (ours[key].key, ours[key].dependencies) == (key, node.dependencies)
            assert ours[key] == node
        return ours

    monkeypatch.setattr(dask.blockwise, "_make_blockwise_graph", make_both)
    collection = build()
    dict(optimize(collection.__dask_graph__(), list(flatten(collection.__dask_keys__()))))
    assert made


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("build", CASES.values(), ids=CASES)
def test_the_results_are_those_of_dask(build: Callable[[], Any], scheduler: str) -> None:
    taskloom.disable_dask()
    theirs = build().compute(scheduler="sync")
    taskloom.enable_dask()
    np.testing.assert_array_equal(build().compute(scheduler=scheduler), theirs)


def test_dask_has_its_own_way_back() -> None:
    taskloom.disable_dask()
    own = dask.blockwise._make_blockwise_graph
    taskloom.enable_dask()
    assert dask.blockwise._make_blockwise_graph is not own
    taskloom.disable_dask()
    assert dask.blockwise._make_blockwise_graph is own


def test_a_fused_future_of_a_cluster_is_found_by_every_block() -> None:
    """What blocks hold in the same place differs from block to block."""
    with taskloom.distributed.Client(n_workers=1, threads_per_worker=1) as client:
        kept = da.arange(6, chunks=2).persist(scheduler=client)
        np.testing.assert_array_equal(((kept + 1) * 2).compute(scheduler=client), (np.arange(6) + 1) * 2)


@dataclass
class Scale:
    """A function that cannot be hashed."""

    factor: float

    def __call__(self, x: Any, *, offset: float = 0.0) -> Any:
        return x * self.factor + offset


def test_functions_that_cannot_be_hashed(scheduler: str) -> None:
    blocks = da.arange(6, chunks=2).map_blocks(Scale(2), offset=1.0, dtype=float)
    np.testing.assert_array_equal((blocks + 1).compute(scheduler=scheduler), np.arange(6) * 2 + 2.0)
    assert dask.delayed(Scale(2))(dask.delayed(abs)(-1)).compute(scheduler=scheduler) == 2
