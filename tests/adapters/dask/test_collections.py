"""Dask's and xarray's collections give the same on every engine as on Dask's own schedulers."""

import operator
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import taskloom

from .conftest import plain_dask


def inc(x: int) -> int:
    return x + 1


def gather(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def is_odd(x: int) -> bool:
    return x % 2 == 1


def in_order(group: tuple[str, list[str]]) -> tuple[str, list[str]]:
    """Dask's shuffle over files leaves open which member of a group comes first."""
    return group[0], sorted(group[1])


def first_letter(word: str) -> str:
    return word[0]


def times_place(block: Any, block_info: Any = None) -> Any:
    return block * block_info[0]["chunk-location"][0]


def numbers() -> Any:
    return da.random.RandomState(7).random_sample((60, 60), chunks=(20, 15))


FRAME = pd.DataFrame(
    {
        "carrier": [f"C{i % 5}" for i in range(200)],
        "delay": [float(i * 7919 % 61) for i in range(200)],
        "flight": range(200),
    }
)


def flights() -> Any:
    return dd.from_pandas(FRAME, npartitions=4)


def delayed_call() -> Any:
    one = dask.delayed(inc)(0)
    return dask.delayed(gather)(
        one, [one, {"two": dask.delayed(inc)(one)}], (1, one), text="x", nested={"three": [one]}
    )


def climatology() -> Any:
    time = pd.date_range("2000-01-01", periods=365 * 2)
    values = da.from_array(np.arange(len(time) * 6.0).reshape(len(time), 2, 3), chunks=(73, 1, 3))
    data = xr.DataArray(values, coords={"time": time}, dims=("time", "y", "x"), name="t")
    return data.groupby("time.month") - data.groupby("time.month").mean()


COLLECTIONS: dict[str, Callable[[], Any]] = {
    "array mean": lambda: numbers().mean(),
    "array axis": lambda: (numbers() + 1).std(axis=0),
    "array ones": lambda: da.ones(100, chunks=(2,)).sum(),
    "array rechunk": lambda: numbers().rechunk((7, 60)).T.dot(numbers()),
    "array overlap": lambda: da.overlap.overlap(numbers(), depth=2, boundary="reflect"),
    "array map_blocks": lambda: numbers().map_blocks(times_place, dtype=float),
    "frame groupby": lambda: flights().groupby("carrier").delay.mean(),
    "frame shuffle": lambda: flights().shuffle("carrier").delay.sum(),
    "frame merge": lambda: flights().merge(flights()[["carrier"]].drop_duplicates(), on="carrier").flight.sum(),
    "frame cumsum": lambda: flights().set_index("flight").delay.cumsum(),
    "bag": lambda: db.range(50, npartitions=4).map(inc).filter(is_odd).sum(),
    "bag groupby": lambda: (
        db.from_sequence(["ab", "cd", "ae", "cf"], npartitions=2).groupby(first_letter).map(in_order)
    ),
    "delayed": delayed_call,
    "xarray": climatology,
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, pd.Series | pd.DataFrame):
        return bool(a.sort_index().equals(b.sort_index()))
    if isinstance(a, xr.DataArray):
        return bool(a.identical(b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return bool(sorted(a) == sorted(b) if isinstance(a, list) else a == b)


def test_every_collection_on_every_engine(scheduler: str) -> None:
    with plain_dask():
        expected = {name: make().compute(scheduler="sync") for name, make in COLLECTIONS.items()}
    for name, make in COLLECTIONS.items():
        value = make().compute(scheduler=scheduler)
        assert same(value, expected[name]), name
        run = taskloom.last_run()
        assert run is not None
        assert run.engine == scheduler, name


def test_persist_and_optimize(scheduler: str) -> None:
    x = numbers()
    expected = x.sum().compute(scheduler="sync")
    kept, count = dask.persist(x, db.range(50, npartitions=4).count(), scheduler=scheduler)
    before = taskloom.last_run()
    assert kept.sum().compute(scheduler=scheduler) == pytest.approx(expected)
    assert count.compute(scheduler=scheduler) == 50
    assert flights().delay.persist(scheduler=scheduler).sum().compute(scheduler=scheduler) == FRAME.delay.sum()
    assert taskloom.last_run() is not before
    (optimized,) = dask.optimize(x.sum())
    assert optimized.compute(scheduler=scheduler) == pytest.approx(expected)


def test_several_in_one_run(scheduler: str) -> None:
    x = numbers()
    before = taskloom.last_run()
    a, b, c = dask.compute(x.sum(), {"n": [x.mean()]}, "text", scheduler=scheduler)
    assert (a, b["n"][0], c) == (pytest.approx(a), pytest.approx(a / 3600), "text")
    runs = list(taskloom.runs)
    assert runs[-1] is not before
    assert before is None or runs[-2] is before


def test_names_are_those_people_know() -> None:
    numbers().mean().compute()
    run = taskloom.last_run()
    assert run is not None
    names = set(run.graph.functions)
    assert {"mean_chunk", "mean_combine", "mean_agg"} == names
    da.ones(100, chunks=(2,)).sum().compute()
    run = taskloom.last_run()
    assert run is not None
    assert set(run.graph.functions) == {"sum"}
    dask.delayed(operator.add)(1, dask.delayed(inc)(1)).compute()
    run = taskloom.last_run()
    assert run is not None
    assert run.graph.functions == ["inc", "add"]
