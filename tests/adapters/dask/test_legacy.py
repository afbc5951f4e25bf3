"""Tuples of Dask's older graphs become tasks that do what those do that Dask makes of them."""

import operator
from collections import namedtuple
from typing import Any

import dask.array as da
import dask.array.optimization
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, Task, TaskRef, convert_legacy_graph, execute_graph

import taskloom

Pair = namedtuple("Pair", "a b")
DATA = {"a": 11, "b": 2.5, ("c", 0): 3, 7: 4, "t": Task("t", abs, -5)}

GRAPHS: dict[str, Any] = {
    "a list of keys": (sum, ["a", "b", ("c", 0), 7, "t"]),
    "one key twice": (sum, ["a", "a"]),
    "an empty list": (len, []),
    "a list of others": (sum, [8, 9]),
    "keys and others": (sum, ["a", 8, ("c", 0)]),
    "a list that cannot be keys": (str, [("c", []), {"d": 1}]),
    "a tuple that is no key": (len, [("c", 1)]),
    "lists in a list": (len, [["a", "b"], ["t"]]),
    "a task in a list": (sum, [(abs, -8), "a"]),
    "a key": (abs, "a"),
    "two lists": (operator.concat, ["a"], ["b"]),
    "a tuple of keys": (len, ("a", "b")),
    "a named tuple": (len, Pair("a", "b")),
    "no function": ("a", ["b"]),
    "another key": "a",
    "itself": "end",
    "an alias": Alias("end", "t"),
    "a value": {"a": 1},
    "a node": DataNode("end", 3),
    "True, which finds the key 1": (list, [True, "a"]),
    "a call of a reference": (sum, [TaskRef("a")]),
}


@pytest.fixture
def convert() -> Any:
    taskloom.enable_dask()
    return dask.array.optimization.convert_legacy_graph


@pytest.mark.parametrize("value", GRAPHS.values(), ids=GRAPHS)
def test_the_tasks_do_the_same(convert: Any, value: Any) -> None:
    dsk = {**DATA, 1: "one", "end": value}
    theirs, ours = convert_legacy_graph(dsk), convert(dsk)
    assert [*ours] == [*theirs]
    for key, node in theirs.items():
        assert type(ours[key]) is type(node)
        assert (ours[key].key, ours[key].dependencies) == (key, node.dependencies)
    if "end" in theirs:
        assert execute_graph(ours, keys=["end"]) == execute_graph(theirs, keys=["end"])


def test_keys_that_are_known_elsewhere(convert: Any) -> None:
    node = convert({"end": (sum, ["x", "y"])}, {"x", "y"})["end"]
    assert node({"x": 1, "y": 2}) == 3


def test_optimised_reductions_are_made_so(scheduler: str) -> None:
    taskloom.enable_dask()
    array = da.arange(1000, chunks=3)
    np.testing.assert_array_equal(array.sum().compute(scheduler=scheduler), 499_500)
    np.testing.assert_allclose(array.std().compute(scheduler=scheduler), np.arange(1000).std())


def test_dask_has_its_own_way_back(convert: Any) -> None:
    assert convert is not convert_legacy_graph
    taskloom.disable_dask()
    assert dask.array.optimization.convert_legacy_graph is convert_legacy_graph
