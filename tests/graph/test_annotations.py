"""Annotations: what blocks say, how graphs carry it, and that it changes no result."""

import pickle
from collections.abc import Mapping
from typing import Any

import cloudpickle
import pytest

import taskloom
from taskloom.graph import annotated, annotated_graph, annotations_of, compile_plan, fuse
from taskloom.graph.annotations import here


def add(x: int, y: int) -> int:
    return x + y


def said(dsk: Any, key: Any) -> dict[Any, dict[str, Any]]:
    """What a plan knows of how tasks should be run, by key."""
    plan = compile_plan(dsk, key)
    return {plan.keys[task]: dict(found) for task, found in plan.annotations.items()}


def test_blocks_are_layered() -> None:
    with taskloom.annotate(priority=1, retries=2):
        with taskloom.annotate(priority=5, workers="worker-0"):
            assert here.get() == {"priority": 5, "retries": 2, "workers": "worker-0"}
        assert here.get() == {"priority": 1, "retries": 2}
    assert here.get() == {}


def test_a_block_ends_with_an_error() -> None:
    with pytest.raises(ValueError, match="mine"), taskloom.annotate(priority=1):
        raise ValueError("mine")
    assert here.get() == {}


@pytest.mark.parametrize(
    ("annotations", "error", "message"),
    [
        ({"prioritty": 1}, TypeError, "no annotation 'prioritty'. Did you mean 'priority'"),
        ({"color": "red"}, TypeError, "There are: priority, retries, workers, allow_other_workers, resources"),
        ({"priority": "high"}, ValueError, "priority='high' cannot be used: it takes a whole number"),
        ({"priority": True}, ValueError, "a whole number"),
        ({"retries": -1}, ValueError, "a whole number, 0 or more"),
        ({"retries": 1.5}, ValueError, "a whole number, 0 or more"),
        ({"workers": []}, ValueError, "names of workers"),
        ({"workers": 1.5}, ValueError, "names of workers"),
        ({"allow_other_workers": "yes"}, ValueError, "True or False"),
        ({"resources": "GPU"}, ValueError, "a mapping"),
        ({"resources": {"GPU": float("nan")}}, ValueError, "a number, 0 or more"),
    ],
)
def test_what_cannot_be_said(annotations: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), taskloom.annotate(**annotations):
        raise AssertionError
    assert here.get() == {}


def test_delayed_calls_made_in_a_block_are_annotated() -> None:
    outside = taskloom.delayed(add)(1, 2, dask_key_name="outside")
    with taskloom.annotate(priority=3):
        inside = taskloom.delayed(add)(outside, 1, dask_key_name="inside")
        total = inside + 10
    last = taskloom.delayed(add)(total, 1, dask_key_name="last")
    found = said(last.dask, "last")
    assert found == {"inside": {"priority": 3}, total.key: {"priority": 3}}
    assert last.compute() == 15


def test_a_function_says_it_for_each_key() -> None:
    with taskloom.annotate(priority=len):
        value = taskloom.delayed(add)(taskloom.delayed(add)(1, 2, dask_key_name="abc"), 3, dask_key_name="defgh")
    assert said(value.dask, "defgh") == {"abc": {"priority": 3}, "defgh": {"priority": 5}}


def test_methods_and_containers_are_annotated() -> None:
    text = taskloom.delayed("a b", name="text")
    with taskloom.annotate(retries=1):
        words = text.split(" ")
    assert said(words.dask, words.key) == {words.key: {"retries": 1}}
    assert taskloom.delayed([words, 1]).compute() == [["a", "b"], 1]


def test_a_plan_calls_the_functions_themselves() -> None:
    plan = compile_plan({"x": annotated("x", (add, 1, 2), {"priority": 1})}, "x")
    assert plan.functions == [add]


def test_nested_tasks() -> None:
    dsk = {"x": annotated("x", (sum, [1, (abs, -2)]), {"priority": 1}), "y": (add, "x", 1)}
    assert said(dsk, "y") == {"x": {"priority": 1}}
    assert taskloom.get(dsk, "y") == 4


def test_what_is_no_task_has_no_annotations() -> None:
    assert annotated("x", [1, 2], {"priority": 1}) == [1, 2]
    assert annotations_of(add) == {}


def test_tasks_that_should_be_run_in_other_ways_are_not_fused() -> None:
    high = {"priority": 1}
    dsk = {
        "a": annotated("a", (abs, -1), high),
        "b": annotated("b", (abs, "a"), high),
        "c": (abs, "b"),
        "d": (abs, "c"),
    }
    fused = fuse(dsk, ["d"])
    assert set(fused) == {"b", "d"}
    assert said(fused, "d") == {"b": high}
    assert taskloom.get(fused, "d") == 1


def test_an_annotated_graph_is_pickled() -> None:
    with taskloom.annotate(priority=3):
        value = taskloom.delayed(add)(1, 2, dask_key_name="sum")
    copy = pickle.loads(cloudpickle.dumps(value))
    assert said(copy.dask, "sum") == {"sum": {"priority": 3}}
    assert copy.compute() == 3


# -- graphs with layers, as Dask makes them ---------------------------------------------------------------------------


class Layer(dict[Any, Any]):
    """What Dask calls a layer: some of the tasks, and what was said of them."""

    def __init__(self, tasks: Mapping[Any, Any], annotations: dict[str, Any] | None = None) -> None:
        super().__init__(tasks)
        self.annotations = annotations


class Layered(Mapping[Any, Any]):
    def __init__(self, **layers: Layer) -> None:
        self.layers = layers

    def __getitem__(self, key: Any) -> Any:
        for layer in self.layers.values():
            if key in layer:
                return layer[key]
        raise KeyError(key)

    def __iter__(self) -> Any:
        return iter([key for layer in self.layers.values() for key in layer])

    def __len__(self) -> int:
        return sum(map(len, self.layers.values()))


def layered() -> Layered:
    return Layered(
        load=Layer({("load", i): (abs, -i) for i in range(3)}, {"priority": lambda key: key[1], "span": "mine"}),
        sum=Layer({"sum": (sum, [("load", i) for i in range(3)])}, {"retries": 2}),
        rest=Layer({"rest": (add, "sum", 1)}),
    )


def test_annotations_of_layers() -> None:
    assert said(layered(), "rest") == {**{("load", i): {"priority": i} for i in range(3)}, "sum": {"retries": 2}}
    assert taskloom.get(layered(), "rest") == 4
    assert type(annotated_graph(layered())) is dict


def test_annotations_of_dasks_graphs() -> None:
    high_level_graph = pytest.importorskip("dask.highlevelgraph")
    layer = high_level_graph.MaterializedLayer({"x": (abs, -1)}, annotations={"priority": 7})
    dsk = high_level_graph.HighLevelGraph({"one": layer}, {"one": set()})
    assert said(dsk, "x") == {"x": {"priority": 7}}
