"""What taskloom makes of the graphs of arrays does what Dask's own optimisation makes of them."""

import operator
from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, execute_graph
from dask.array.optimization import optimize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

import taskloom
from tests.engines.cases import check_child

Pair = namedtuple("Pair", "a b")
DATA = np.arange(48).reshape(6, 8)


class Lazy:
    """What xarray gives Dask: an array that is read as it is sliced."""

    shape, dtype, ndim = DATA.shape, DATA.dtype, DATA.ndim

    def __getitem__(self, index: Any) -> Any:
        return DATA[index]


ARRAYS: dict[str, Callable[[], Any]] = {
    "made of shapes": lambda: da.ones((7, 5), chunks=3),
    "a sum": lambda: da.arange(1000, chunks=2).sum(),
    "a chain of reductions": lambda: da.ones((9, 9), chunks=2).sum(axis=0).mean(),
    "some blocks": lambda: (da.from_array(DATA, chunks=2) + 1)[:3, 5:],
    "no blocks": lambda: da.from_array(DATA, chunks=2)[:0].sum(),
    "slices of slices": lambda: da.from_array(Lazy(), chunks=3)[1:5][::2, 1:].T,
    "inline": lambda: da.from_array(Lazy(), chunks=3, inline_array=True)[2:, :3],
    "one chunk": lambda: da.from_array(DATA, chunks=-1) + 1,
    "rechunked": lambda: da.from_array(DATA, chunks=2).rechunk((3, 4)).std(axis=1),
    "a product": lambda: da.from_array(DATA, chunks=3) @ da.from_array(DATA.T, chunks=3),
    "overlapping": lambda: da.from_array(DATA, chunks=3).map_overlap(lambda block: block + 1, depth=1),
    "put together": lambda: da.concatenate([da.ones((2, 8), chunks=2), da.from_array(DATA, chunks=3)]),
    "from a task": lambda: da.from_delayed(dask.delayed(np.ones)(4), (4,), float) * 2,
    "with a task for an argument": lambda: da.ones(4, chunks=2).map_blocks(np.add, dask.delayed(abs)(-2), dtype=float),
    "persisted": lambda: (da.from_array(DATA, chunks=3) + 1).persist(scheduler="sync").sum(axis=0),
    "optimised before": lambda: dask.optimize((da.from_array(DATA, chunks=3) + 1).sum(axis=0))[0],
    "sorted": lambda: da.from_array(DATA[0], chunks=3).topk(3),
    "of unknown length": lambda: (lambda x: x[x > 3])(da.arange(10, chunks=3)),
    "indexed by a list": lambda: da.from_array(DATA, chunks=2)[[5, 0, 0]][:, [1, 7]],
    "accumulated": lambda: da.arange(10, chunks=3).cumsum(axis=0),
    "of no dimensions": lambda: da.ones((), chunks=()) + 1,
}

GRAPH = {"a": 11, "b": 2.5, ("c", 0): 3, 7: 4, 1: "one", "t": Task("t", abs, -5)}
TASKS: dict[str, Any] = {
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
    "an alias": Alias("end", "t"),
    "a value": {"a": 1},
    "a node": DataNode("end", 3),
    "True, which finds the key 1": (list, [True, "a"]),
    "a reference": (sum, [TaskRef("a")]),
    "a chain": (abs, "t"),
}


@pytest.fixture(autouse=True)
def enabled() -> None:
    taskloom.enable_dask()


def optimised_by_both(dsk: Any, keys: list[Any]) -> Iterator[dict[Any, GraphNode]]:
    for optimizer in optimize, da.Array.__dask_optimize__:
        assert optimizer.__module__.partition(".")[0] == ("dask" if optimizer is optimize else "taskloom")
        yield dict(optimizer(dsk, keys))


def needed_by(keys: Collection[Any], dsk: Mapping[Any, GraphNode]) -> set[Any]:
    needed, todo = set(keys), list(keys)
    while todo:
        new = dsk[todo.pop()].dependencies - needed
        needed |= new
        todo += new
    return needed


@pytest.mark.parametrize("build", ARRAYS.values(), ids=ARRAYS)
def test_the_values_are_those_of_dask(build: Callable[[], Any]) -> None:
    array = build()
    keys = list(flatten(array.__dask_keys__()))
    theirs, ours = optimised_by_both(array.dask, keys)
    assert set(ours) == needed_by(keys, ours)
    assert len(ours) <= len(theirs)
    expected, values = execute_graph(theirs, keys=keys), execute_graph(ours, keys=keys)
    for key in keys:
        np.testing.assert_array_equal(values[key], expected[key])


@pytest.mark.parametrize("build", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_they_are_computed(build: Callable[[], Any], scheduler: str) -> None:
    np.testing.assert_array_equal(
        build().compute(scheduler=scheduler), build().compute(scheduler="sync", optimize_graph=False)
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_tuples_do_what_they_do_in_dask(task: Any) -> None:
    dsk = HighLevelGraph.from_collections("all", {**GRAPH, "end": task, "unneeded": (abs, "a")}, ())
    theirs, ours = optimised_by_both(dsk, ["end"])
    assert "unneeded" not in ours
    assert execute_graph(ours)["end"] == execute_graph(theirs)["end"]


def test_a_key_that_stands_for_itself_is_left_out() -> None:
    """As a future of one of Dask's clients does, which is found by its key."""
    dsk = HighLevelGraph.from_collections("all", {"end": (abs, "kept"), "kept": "kept"}, ())
    theirs, ours = optimised_by_both(dsk, ["end"])
    assert [*ours] == [*theirs] == ["end"]
    assert ours["end"]({"kept": -3}) == 3


def test_a_chain_is_one_task_and_its_name_tells_what_is_in_it() -> None:
    dsk = {"load-1": (abs, -1), "scale-1": (operator.add, "load-1", 1), "end-1": (abs, "scale-1"), "x": (abs, "end-1")}
    graph = HighLevelGraph.from_collections("all", dsk, ())
    theirs, ours = optimised_by_both(graph, ["x"])
    assert {*ours} == {*theirs} == {"end-load-scale-x", "x"}
    assert execute_graph(ours)["x"] == 2


class Barrier(Task):
    """As the one between the two halves of a shuffle on Dask's clusters, which look for it by its key."""

    __slots__ = ()

    @property
    def block_fusion(self) -> bool:
        return True


@pytest.mark.parametrize("key", ["a", "b", "c"])
def test_a_task_that_must_stay_by_itself_does(key: str) -> None:
    dsk: dict[Any, Any] = {"a": (abs, -1), "b": (abs, "a"), "c": (abs, "b"), "x": (abs, "c")}
    dsk[key] = Barrier(key, abs, *map(TaskRef, dsk[key][1:]) if key != "a" else (-1,))
    theirs, ours = optimised_by_both(HighLevelGraph.from_collections("all", dsk, ()), ["x"])
    assert type(theirs[key]) is type(ours[key]) is Barrier
    assert execute_graph(ours)["x"] == 1


def test_what_is_wanted_or_used_twice_stays_a_task() -> None:
    dsk = {"a": (abs, -1), "b": (abs, "a"), "c": (abs, "b"), "d": (abs, "b"), "e": (operator.add, "c", "d")}
    ours = list(optimised_by_both(HighLevelGraph.from_collections("all", dsk, ()), ["c", "e"]))[1]
    assert {"b", "c", "e"} <= {*ours}
    values = execute_graph(ours)
    assert (values["c"], values["e"]) == (1, 2)
    assert "a" not in ours  # which nothing but `b` takes


@pytest.mark.parametrize(
    "dsk",
    [
        {"end": (abs, "a"), "a": (abs, "b"), "b": (abs, "a")},
        {"end": (abs, "a"), "a": (abs, "end")},
        {"end": (abs, "end")},
        {"end": (sum, ["a"]), "a": (sum, ["b"]), "b": (sum, ["c", "a"]), "c": (abs, -1)},
    ],
)
def test_tasks_that_wait_for_each_other_are_named(dsk: dict[Any, Any]) -> None:
    array = da.Array(HighLevelGraph.from_collections("x", {("x", 0): (abs, "end"), **dsk}, ()), "x", ((1,),), float)
    with pytest.raises(taskloom.errors.CycleError, match=" -> "):
        array.compute(scheduler="sync")


def test_dask_s_settings_hold() -> None:
    array = da.ones(4, chunks=4)
    with dask.config.set(array_optimize=lambda dsk, keys, **options: {key: np.arange(3) for key in keys}):
        assert array.compute(scheduler="sync").tolist() == [0, 1, 2]
    with dask.config.set({"optimization.fuse.active": False}):
        theirs, ours = [
            optimizer(array.dask, array.__dask_keys__()) for optimizer in (optimize, type(array).__dask_optimize__)
        ]
        assert type(ours) is type(theirs) is HighLevelGraph


def test_dask_has_its_own_way_back() -> None:
    assert da.Array.__dask_optimize__ is not optimize
    taskloom.disable_dask()
    assert da.Array.__dask_optimize__ is optimize


def test_arrays_that_are_loaded_later() -> None:
    program = """
import sys, taskloom
taskloom.enable_dask()
assert "dask.array" not in sys.modules
import dask.array as da
from dask.array.optimization import optimize
assert da.ones(4, chunks=2).sum().compute() == 4
assert da.Array.__dask_optimize__ is not optimize
taskloom.disable_dask()
assert da.Array.__dask_optimize__ is optimize
assert da.ones(4, chunks=2).sum().compute() == 4
assert da.Array.__dask_optimize__ is optimize
"""
    check_child(program)
