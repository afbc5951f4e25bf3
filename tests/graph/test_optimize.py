"""Smaller graphs with the same answers: cull and fuse."""

from operator import add
from typing import Any

import numpy as np
import pytest

import taskloom
from taskloom.errors import UnknownKeyError
from taskloom.graph import cull, fuse, order


def test_cull_keeps_what_is_needed_in_the_graphs_order() -> None:
    dsk = {"d": (abs, "b"), "c": (abs, "x"), "b": ["a", 1], "a": 1, "x": 2}
    assert list(cull(dsk, ["d"]).items()) == [("d", (abs, "b")), ("b", ["a", 1]), ("a", 1)]
    assert cull(dsk, []) == {}
    assert cull(dsk, ["a", "a"]) == {"a": 1}


def test_cull_names_a_key_that_is_not_there() -> None:
    with pytest.raises(UnknownKeyError, match="'nope'"):
        cull({"a": 1}, ["a", "nope"])


def test_a_chain_becomes_one_task_with_the_key_of_its_end() -> None:
    dsk = {"a": (int, "1"), "b": (add, "a", 1), "c": (add, 10, "b")}
    assert fuse(dsk, ["c"]) == {"c": (add, 10, (add, (int, "1"), 1))}


@pytest.mark.parametrize(
    ("dsk", "keys", "kept"),
    [
        ({"a": (int, "1"), "b": (abs, "a"), "c": (abs, "b")}, ["c", "b"], {"b", "c"}),  # b is asked for
        ({"a": (int, "1"), "b": (abs, "a"), "c": (abs, "a"), "d": (add, "b", "c")}, ["d"], {"a", "b", "c", "d"}),
        ({"a": (int, "1"), "b": (add, "a", "a")}, ["b"], {"a", "b"}),  # used twice: would run twice
        ({"a": (int, "1"), "b": (add, "a", ["a"])}, ["b"], {"a", "b"}),
        ({"a": 1, "b": (abs, "a")}, ["b"], {"a", "b"}),  # data stays where it is
        ({"a": (int, "1"), "b": "a", "c": (abs, "b")}, ["c"], {"b", "c"}),
        ({"a": (int, "1"), "b": ["a"], "c": (len, "b")}, ["c"], {"b", "c"}),
        ({"a": (int, "1"), "b": (int, "2"), "c": (add, "a", "b"), "d": (abs, "c")}, ["d"], {"a", "b", "d"}),
        ({}, [], set()),
    ],
)
def test_what_is_fused(dsk: dict[Any, Any], keys: list[Any], kept: set[Any]) -> None:
    fused = fuse(dsk, keys)
    assert set(fused) == kept
    try:
        expected = taskloom.get(dsk, keys)
    except TypeError as error:
        with pytest.raises(TypeError, match=str(error)[:20]):
            taskloom.get(fused, keys)
    else:
        assert taskloom.get(fused, keys) == expected


def pair(*args: Any) -> Any:
    return args


@pytest.mark.parametrize(
    "dsk",
    [
        {1: (abs, -5), "end": (pair, 1, 1.0, True)},  # one key, three spellings
        {1: (abs, -5), "end": (pair, True)},
        {("x", 0): (abs, -5), "end": (pair, ("x", 0), ("x", np.zeros(2)))},  # comparing these two would raise
        {("x", 0): (abs, -5), "end": (pair, ("x", 0), [("x", 0)], {"x": 0})},
        {"a": (lambda: "a",), "end": (pair, "a", (pair, "b"))},
    ],
)
def test_fusing_compares_keys_as_a_dictionary_does(dsk: dict[Any, Any]) -> None:
    assert repr(taskloom.get(fuse(dsk, ["end"]), "end")) == repr(taskloom.get(dsk, "end"))


def test_order_puts_data_first_and_inputs_before_their_users() -> None:
    dsk = {"c": (max, "a", "b"), "b": (abs, -1), "a": 1, "z": ["c", "d"], "d": "a"}
    position = order(dsk)
    assert sorted(position.values()) == list(range(5))
    assert position["a"] == 0
    assert max(position["b"], position["a"]) < position["c"] < position["z"] > position["d"]


def test_order_finishes_one_branch_before_it_starts_the_next() -> None:
    dsk: dict[Any, Any] = {}
    for i in range(4):
        dsk |= {("load", i): (abs, i), ("clean", i): (abs, ("load", i)), ("sum", i): (abs, ("clean", i))}
    dsk["total"] = (max, *[("sum", i) for i in range(4)])
    position = order(dsk)
    for i in range(4):
        assert position["sum", i] == position["clean", i] + 1 == position["load", i] + 2
