"""`taskloom.compute` and its like take Dask's and xarray's collections, and mix them with taskloom's own."""

import subprocess
import sys
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask._task_spec import Alias, Task, TaskRef

import taskloom
from taskloom import delayed
from taskloom.distributed import Client


def inc(x: Any) -> Any:
    return x + 1


def add(x: Any, y: Any) -> Any:
    return x + y


FRAME = pd.DataFrame({"a": range(20), "b": [i % 3 for i in range(20)]})


def test_compute_mixed(scheduler: str) -> None:
    x = da.arange(10, chunks=3)
    frame = dd.from_pandas(FRAME, npartitions=3)
    data = xr.DataArray(x, dims="i")
    total, own, nested, sums, mean, odd = taskloom.compute(
        x.sum(), delayed(inc)(1), [dask.delayed(inc)(2), "x"], frame.groupby("b").a.sum(), data.mean(), 5,
        scheduler=scheduler,
    )  # fmt: skip
    assert (total, own, nested, odd) == (45, 2, [3, "x"], 5)
    pd.testing.assert_series_equal(sums.sort_index(), FRAME.groupby("b").a.sum())
    assert mean.item() == 4.5
    run = taskloom.last_run()
    assert run is not None
    assert run.engine == scheduler


def test_own_calls_of_dasks_collections(scheduler: str) -> None:
    x = da.arange(10, chunks=3) + 1
    value = delayed(add)(x, dask.delayed(inc)(0))
    assert np.array_equal(value.compute(scheduler=scheduler), np.arange(10) + 2)
    assert np.array_equal(dask.compute(value, scheduler=scheduler)[0], np.arange(10) + 2)
    frame = dd.from_pandas(FRAME, npartitions=3)
    assert delayed(len)(frame[frame.b == 1]).compute(scheduler=scheduler) == 7


@pytest.mark.parametrize("compute", [taskloom.compute, dask.compute])
def test_without_a_choice_it_is_what_all_prefer(compute: Any) -> None:
    assert compute(da.ones(3, chunks=1).sum(), delayed(inc)(1), dask.delayed(inc)(2)) == (3, 2, 3)
    run = taskloom.last_run()
    assert run is not None
    assert run.engine == "threads"
    assert compute(db.range(3, npartitions=2).sum()) == (3,)
    run = taskloom.last_run()
    assert run is not None
    assert run.engine == "processes"
    with pytest.raises((taskloom.ConfigError, ValueError), match="differ"):
        compute(da.ones(3, chunks=1), db.range(3, npartitions=2))


def test_persist_and_optimize() -> None:
    x = da.arange(10, chunks=3) + 1
    frame = dd.from_pandas(FRAME, npartitions=3)
    kept, own, rows = taskloom.persist(x, delayed(inc)(1), frame[frame.b == 1])
    assert isinstance(kept, da.Array)
    assert kept.dask.keys() == {(kept.name, i) for i in range(4)}
    assert taskloom.compute(kept.sum(), own, rows.a.sum()) == (55, 2, 70)
    (optimized,) = taskloom.optimize(x.sum())
    assert optimized.compute() == 55
    assert "<svg" in str(taskloom.visualize(x.sum(), delayed(inc)(1)))


def test_what_has_no_graph_is_no_collection() -> None:
    plain = xr.DataArray([1, 2])
    assert taskloom.compute(plain)[0] is plain


def test_futures_of_a_client() -> None:
    x = da.arange(10, chunks=3) + 1
    frame = dd.from_pandas(FRAME, npartitions=3)
    with Client(n_workers=1, threads_per_worker=2, processes=False) as client:
        total, own, sums = client.compute([x.sum(), delayed(inc)(1), frame.a.sum()])
        assert client.gather([total, own, sums]) == [55, 2, 190]
        kept, rows = client.persist([x, frame[frame.b == 1]])
        assert isinstance(kept, da.Array)
        assert kept.sum().compute() == 55
        assert rows.a.sum().compute() == 70
        assert kept.sum().compute(scheduler="threads") == 55


def test_annotations_stay_when_graphs_are_mixed() -> None:
    with dask.annotate(workers="nobody", allow_other_workers=True, priority=3):
        x = da.ones(4, chunks=2)
    with Client(n_workers=1, threads_per_worker=1, processes=False):
        taskloom.compute(x.sum(), delayed(inc)(1), optimize_graph=False)
        run = taskloom.last_run()
        assert run is not None
        plan = run.graph.plan
        assert plan is not None
        found = {plan.keys[task][0].partition("-")[0]: how for task, how in plan.annotations.items()}
    assert found == {"ones_like": {"workers": ["nobody"], "allow_other_workers": True, "priority": 3}}


def test_dask_need_not_be_enabled() -> None:
    program = """
import dask.array as da, taskloom
print(taskloom.compute(da.ones(4, chunks=2).sum(), taskloom.delayed(abs)(-1)), taskloom.last_run().engine)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["(np.float64(4.0),", "1)", "threads"]


@pytest.mark.parametrize("get", [taskloom.get, taskloom.threaded.get, taskloom.multiprocessing.get])
def test_graphs_of_task_objects_are_what_dask_takes_them_for(get: Any) -> None:
    graph = {"x": Task("x", max, 1, 2), "y": Task("y", pow, TaskRef("x"), 10), "z": Alias("z", "y"), "data": 5}
    assert get(graph, ["z", ["x", "data"]]) == [1024, [2, 5]]
    total = da.ones((6, 6), chunks=(2, 2)).sum()
    assert get(total.dask, total.__dask_keys__()) == [36.0]


@pytest.mark.parametrize("optimize_graph", [True, False])
def test_dataframes_that_dask_has_to_lower(optimize_graph: bool) -> None:
    frame = dd.from_pandas(FRAME, npartitions=2)
    distinct, merged = frame.b.drop_duplicates(), frame.merge(frame, on="a").a.sum()
    found, total = taskloom.compute(distinct, merged, optimize_graph=optimize_graph, scheduler="sync")
    assert (sorted(found), total) == ([0, 1, 2], FRAME.a.sum())
    assert "tasks" in repr(taskloom.visualize(merged))
