"""What a graph may hold, and what comes out."""

from collections import Counter, UserDict, namedtuple
from collections.abc import Iterator, Mapping
from functools import partial
from operator import add, mul
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import taskloom
from taskloom import threaded
from taskloom.graph import Task, apply, compile_plan, cull, dependencies, evaluate, fuse, order


@pytest.fixture(params=["sync", "threads"])
def get(request: pytest.FixtureRequest) -> Any:
    return taskloom.get if request.param == "sync" else partial(threaded.get, num_workers=2)


def concat(*args: Any) -> str:
    return "".join(map(str, args))


KEYS = ["a", "", b"raw", 7, -1, 2.5, float("inf"), ("x", 0), ("x", 0, 1), (("deep", (1, b"z")), 2.5), (), None, "größe"]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keys_of_all_kinds(get: Any, key: Any) -> None:
    dsk = {key: (add, 20, 1), ("end",): (mul, key, 2), "alias": key, "list": [key, [key]]}
    assert get(dsk, [key, ("end",), "alias", "list"]) == [21, 42, 21, [21, [21]]]


def test_keys_are_looked_up_as_a_dictionary_does(get: Any) -> None:
    assert get({1: (add, 10, 10), "b": (concat, 1, 1.0, True, 2)}, ["b", 1.0]) == ["2020202", 20]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("text", "text"),
        (None, None),
        ((), ()),
        (("no", "key"), ("no", "key")),
        ([], []),
        ({"a": "a"}, {"a": "a"}),  # keys inside dictionaries are left alone
        ({"a"}, {"a"}),
        ("a", 5),
        (["a"], [5]),
        (["a", ["a", [1, "text"]], []], [5, [5, [1, "text"]], []]),
        ((len, "text"), 4),
        ((list,), []),
        ((add, "a", "a"), 10),
        ((add, (add, "a", 1), (add, (add, 1, 1), "a")), 13),
        ((sum, ["a", (add, "a", 1), 1]), 12),
        ((sum, [["a"], [1]], []), [5, 1]),
        ((concat, ("no", "key"), "b"), "('no', 'key')b"),
        ([(add, "a", 1), {"a": 1}], [6, {"a": 1}]),
        ((dict, [["x", "a"]]), {"x": 5}),
        ((apply, int, ["101"], {"base": 2}), 5),
        ((apply, int, ["101"], (dict, [["base", "two"]])), 5),
        ((apply, concat, ["a", (add, "a", 1)]), "56"),
        ((apply, concat, (tuple, ["a", 1])), "51"),
        (Task((add, "a", 1)), 6),
    ],
    ids=str,
)
def test_values(get: Any, value: Any, expected: Any) -> None:
    dsk = {"value": value, "a": (add, 2, 3), "two": 2}
    assert get(dsk, "value") == expected
    assert get(fuse(dsk, ["value"]), "value") == expected
    assert evaluate(value, {"a": 5, "two": 2}) == expected


def test_what_only_looks_like_a_task_is_data(get: Any) -> None:
    pair = namedtuple("pair", "function argument")
    assert get({"a": pair(len, "x")}, "a") == pair(len, "x")
    assert get({"a": len}, "a") is len


def test_literals_that_cannot_be_hashed(get: Any) -> None:
    array = np.arange(3)
    dsk = {
        "data": array,
        "direct": (np.sum, array),
        "key": (np.sum, "data"),
        "list": (np.concatenate, [array, "data"]),
        "mapping": (len, {"data": array}),
        "tuple": (len, ("direct", array)),
        "nested": (np.sum, (np.add, array, "data")),
        "two": (np.add, array, "data"),
    }
    answer = get(dsk, ["data", "direct", "key", "list", "mapping", "tuple", "nested", "two"])
    assert answer[0] is array
    assert [answer[1], answer[2], answer[4], answer[5], answer[6]] == [3, 3, 1, 2, 6]
    assert answer[3].tolist() == [0, 1, 2, 0, 1, 2]
    assert answer[7].tolist() == [0, 2, 4]


def test_data_arrives_as_itself_not_as_a_copy(get: Any) -> None:
    data = [1, {"b": 2}]
    assert get({"a": data, "b": (lambda x: x, "a"), "c": "a"}, ["a", "b", "c"]) == [data] * 3
    assert all(value is data for value in get({"a": data, "b": (lambda x: x, "a"), "c": "a"}, ["a", "b", "c"]))


def test_results_are_never_read_as_keys_or_tasks(get: Any) -> None:
    dsk = {"a": (lambda: "b",), "b": 1, "c": (list, (lambda: (len, "x"),)), "d": "a", "e": (lambda x: ["b", x], "a")}
    assert get(dsk, ["a", "c", "d", "e"]) == ["b", [len, "x"], "b", ["b", "b"]]
    assert get(fuse(dsk, ["a", "c", "d", "e"]), ["a", "c", "d", "e"]) == ["b", [len, "x"], "b", ["b", "b"]]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("a", 1),
        (["a"], [1]),
        ([], []),
        ([[]], [[]]),
        (["a", "b"], [1, 3]),
        (["b", "a", "b"], [3, 1, 3]),
        ([["a", ["b"]], "a", [[], "c"]], [[1, [3]], 1, [[], 6]]),
        (("x", 0), 4),
        ([("x", 0), [("x", 0)]], [4, [4]]),
    ],
    ids=str,
)
def test_requested_keys_come_back_nested_alike(get: Any, keys: Any, expected: Any) -> None:
    dsk = {"a": 1, "b": (add, "a", 2), "c": (mul, "b", 2), ("x", 0): (add, "b", "a")}
    assert get(dsk, keys) == expected


def test_shared_tasks_run_once_and_tasks_nobody_needs_never(get: Any) -> None:
    calls: Counter[str] = Counter()
    lock = Lock()

    def note(name: str, *args: Any) -> str:
        with lock:
            calls[name] += 1
        return name

    dsk: dict[Any, Any] = {"root": (note, "ROOT"), "alone": (note, "ALONE"), "after": (note, "AFTER", "end")}
    dsk |= {("x", i): (note, f"X{i}", "root", ["root"]) for i in range(5)}
    dsk["end"] = (note, "END", [("x", i) for i in range(5)], ("x", 0))
    assert get(dsk, ["end", "root", "end"]) == ["END", "ROOT", "END"]
    assert calls == {"ROOT": 1, "END": 1} | {f"X{i}": 1 for i in range(5)}


class OtherMapping(Mapping[Any, Any]):
    def __init__(self, graph: dict[Any, Any]) -> None:
        self._graph = graph

    def __getitem__(self, key: Any) -> Any:
        return self._graph[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._graph)

    def __len__(self) -> int:
        return len(self._graph)


@pytest.mark.parametrize("kind", [OtherMapping, MappingProxyType, UserDict])
def test_any_mapping_is_a_graph(get: Any, kind: Any) -> None:
    graph = kind({"a": (abs, -2), "b": (add, "a", 1), "c": (add, "b", "b"), "alone": 1})
    assert get(graph, ["c", "a"]) == [6, 2]
    assert cull(graph, ["b"]) == {"a": (abs, -2), "b": (add, "a", 1)}
    assert get(fuse(graph, ["c"]), "c") == 6
    assert order(graph) == {"alone": 0, "a": 1, "b": 2, "c": 3}


def test_the_users_mapping_is_never_changed(get: Any) -> None:
    nested = ["a", [(add, "a", 1)]]
    dsk = {"a": (abs, -2), "b": nested, "c": (sum, ["a", (len, nested)]), "d": "c", "e": {"x": 1}}
    before = {key: repr(value) for key, value in dsk.items()}
    values = list(dsk.values())
    assert get(dsk, list(dsk)) == [2, [2, [3]], 4, 4, {"x": 1}]
    with taskloom.Callback(start=lambda graph: graph.clear()), pytest.raises(taskloom.GraphError):
        get(dsk, "a")
    cull(dsk, ["a"]), fuse(dsk, ["d"]), order(dsk)
    assert {key: repr(value) for key, value in dsk.items()} == before
    assert all(new is old for new, old in zip(dsk.values(), values, strict=True))


def test_plan_is_what_its_docstring_says() -> None:
    plan = compile_plan({"a": 1, "b": (abs, "a"), "c": (max, "b", 0, "b"), "d": "c"}, [["c"], "a"])
    assert (len(plan), plan.keys, plan.functions) == (2, ["b", "c"], [abs, max])
    results = plan.results()
    for task, function in enumerate(plan.functions):
        results[task] = function(*plan.inputs(task, results))
    assert plan.answer(results) == [[1], 1]
    assert [plan.dependencies(task) for task in range(2)] == [(), (0,)]
    assert plan.dependents == [[1, 1], None]
    assert results[plan.data["a"]] == 1


def test_dependencies_lists_each_key_once_in_order() -> None:
    dsk = {"a": 1, "b": 2, "c": (add, "b", ["a", (add, "b", {"x": 1})]), "d": "a", "e": {"a": 1}}
    assert [dependencies(dsk, key) for key in dsk] == [[], [], ["b", "a"], ["a"], []]
