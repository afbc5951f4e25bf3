"""Dask computes our collections: the protocol is Dask's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from operator import add
from types import SimpleNamespace

import dask
import pytest

import taskloom
from taskloom import delayed
from taskloom.collections.base import Collection


def inc(x):
    return x + 1


@pytest.fixture(autouse=True)
def _pool():
    """Dask's own pool of threads outlives a test; this one does not."""
    with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
        yield


@pytest.mark.parametrize("scheduler", ["sync", "threads", None])
def test_dask_computes_delayed(scheduler):
    a, b = delayed(inc)(1), delayed(inc)(2)
    assert dask.is_dask_collection(a)
    assert dask.compute(a + b, [a, {"b": b * 2}], scheduler=scheduler) == (5, [2, {"b": 6}])
    assert dask.compute(delayed(dict)(x=[a, "x"]), scheduler=scheduler) == ({"x": [2, "x"]},)


def test_without_a_choice_dask_runs_them_on_our_engine():
    before = taskloom.last_run()
    assert dask.compute(delayed(inc)(1), num_workers=2, an_option_of_somebody_else=5) == (2,)
    assert taskloom.last_run() is not before
    assert taskloom.last_run().engine == "threads"


def test_dask_delayed_takes_ours():
    value = delayed(inc)(1)
    lazy = dask.delayed(add)(value, dask.delayed(inc)([1, value][0]))
    assert lazy.compute(scheduler="sync") == 4
    assert dask.delayed(sum)([value, value]).compute(scheduler="threads") == 4


def test_dask_persists_and_optimizes_ours():
    value = delayed(inc)(1) + 1
    (kept,) = dask.persist(value, scheduler="sync")
    assert type(kept) is type(value)
    assert kept.compute() == 3
    (optimized,) = dask.optimize(value)
    assert optimized.compute(scheduler="sync") == 3


@pytest.mark.parametrize("value", [delayed(inc)(1), delayed(inc), delayed(inc)(1).real])
def test_no_release_of_dask_takes_them_for_expressions(value):
    assert not hasattr(value, "expr")


def test_an_attribute_of_that_name_is_still_in_reach():
    value = delayed(SimpleNamespace)(expr=5)
    with pytest.raises(AttributeError, match="delayed\\(getattr\\)"):
        value.expr  # noqa: B018
    assert delayed(getattr)(value, "expr").compute(scheduler="sync") == 5


@pytest.mark.parametrize("value", ["x", ("x",), 1, [1, "x"], (len, "x")])
def test_constants_stay_constants(value):
    x = delayed(inc)(1, dask_key_name="x")
    assert dask.compute(delayed(lambda *args: args)(value, x, [value]), scheduler="sync") == ((value, 2, [value]),)


def test_ours_and_dasks_follow_the_same_protocol():
    assert isinstance(delayed(1), Collection)
    assert isinstance(dask.delayed(1), Collection)
