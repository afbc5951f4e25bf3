"""Large and deep graphs: nothing recurses."""

from collections.abc import Iterator
from typing import Any

import pytest

import taskloom
from taskloom import threaded
from taskloom.graph import compile_plan, cull, fuse, order

MILLION = 1_000_000
DEEP = 10_000


def increment(x: int) -> int:
    return x + 1


@pytest.fixture
def _forget() -> Iterator[None]:
    """Have the record of a large run replaced by that of a small one, and so let go."""
    yield
    taskloom.get({"a": (abs, 1)}, "a")


@pytest.mark.usefixtures("_forget")
def test_a_chain_of_a_million_tasks() -> None:
    dsk: dict[int, Any] = {i: (increment, i - 1) for i in range(1, MILLION)}
    dsk[0] = (int, "1")
    assert taskloom.get(dsk, MILLION - 1) == MILLION


@pytest.mark.usefixtures("_forget")
def test_a_million_flat_tasks() -> None:
    dsk = {f"x{i}": (abs, -i) for i in range(MILLION)}
    assert taskloom.get(dsk, list(dsk)) == list(range(MILLION))


def deep_task(depth: int) -> Any:
    value: Any = "a"
    for _ in range(depth):
        value = (increment, value)
    return value


def deep_list(depth: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


def depth_of(value: Any) -> tuple[int, Any]:
    depth = 0
    while isinstance(value, list):
        (value,) = value
        depth += 1
    return depth, value


@pytest.mark.parametrize("get", [taskloom.get, threaded.get])
def test_deep_nesting_does_not_recurse(get: Any) -> None:
    dsk = {
        "a": (int, "5"),
        "task": deep_task(DEEP),
        "list": deep_list(DEEP, "a"),
        "argument": (depth_of, deep_list(DEEP, (increment, "a"))),
        "plain": deep_list(DEEP, "nothing"),
    }
    for graph in (dsk, cull(dsk, list(dsk)), fuse(dsk, ["a", "list", "argument"])):
        assert get(graph, "task") == 5 + DEEP
        assert depth_of(get(graph, "list")) == (DEEP, 5)
        assert get(graph, "argument") == (DEEP, 6)
        assert depth_of(get(graph, "plain")) == (DEEP, "nothing")
    assert len(order(dsk)) == 5


def test_requested_keys_may_be_nested_deeply() -> None:
    assert depth_of(taskloom.get({"a": (int, "5")}, deep_list(DEEP, "a"))) == (DEEP, 5)


def test_a_fused_chain_of_many_tasks_gives_the_same_answer() -> None:
    n = 250_000
    dsk: dict[int, Any] = {i: (increment, i - 1) for i in range(1, n)}
    dsk[0] = (int, "1")
    fused = fuse(dsk, [n - 1])
    assert n - 1 in fused
    assert len(fused) < n / 500
    assert taskloom.get(fused, n - 1) == n


def test_a_long_chain_of_aliases() -> None:
    dsk: dict[int, Any] = {i: i - 1 for i in range(1, 50_000)}
    dsk[0] = (str, "end")
    assert taskloom.get(dsk, 49_999) == "end"
    assert len(compile_plan(dsk, 49_999)) == 50_000
