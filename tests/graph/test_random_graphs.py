"""Random graphs give what a plain recursive evaluation gives, on every engine, fused or not."""

from functools import partial
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import taskloom
from taskloom import threaded
from taskloom.graph import apply, compile_plan, cull, dependencies, fuse, is_task, order


def naive(dsk: dict[Any, Any], value: Any) -> Any:
    """Evaluate a graph value by plain recursion."""
    if isinstance(value, list):
        return [naive(dsk, item) for item in value]
    if is_task(value):
        return value[0](*[naive(dsk, item) for item in value[1:]])
    try:
        return naive(dsk, dsk[value]) if value in dsk else value
    except TypeError:
        return value


def digest(*args: Any, **kwargs: Any) -> int:
    """Tells apart any two calls with different arguments."""
    return crc32(repr((args, kwargs)).encode())


def first(*args: Any, **kwargs: Any) -> Any:
    """Returns an argument, which may look like a key."""
    return args[0] if args else "a"


KEYS = ["a", "b-1", "c", b"a", 1001, 1002.5, ("x", 0), ("x", 1), ("y", 0, 0), (("z", 1), b"w"), "d", "e", "f", -7]
LITERALS = st.sampled_from([0, 1, 2.5, None, "text", "ab", ("no", "key"), ("x", "0"), (), {"a": 1}, b"bytes"])


class Ref(int):
    """Stands for one of the keys before, whichever these are."""


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=3)
    return (
        items
        | items.map(lambda args: (digest, *args))
        | items.map(lambda args: (first, *args))
        | items.map(lambda args: (apply, digest, args[1:], (dict, [["keyword", x] for x in args[:1]])))
    )


VALUES = st.recursive(LITERALS | st.integers(0, len(KEYS)).map(Ref), _containers, max_leaves=6)
WANTED = st.recursive(st.integers(0, len(KEYS)).map(Ref), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
SHUFFLED = st.permutations(KEYS)


def resolve(value: Any, keys: list[Any]) -> Any:
    """Put keys in the place of `Ref`; a literal where there are none."""
    if isinstance(value, Ref):
        return keys[value % len(keys)] if keys else 0
    if isinstance(value, list) or is_task(value):
        return type(value)([resolve(item, keys) for item in value])
    return value


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[Any, Any], Any]:
    """A graph in an order of its own, and keys to ask for."""
    values = draw(st.lists(VALUES, min_size=1, max_size=len(KEYS)))
    keys = draw(SHUFFLED)[: len(values)]
    dsk = {key: resolve(value, keys[:i]) for i, (key, value) in enumerate(zip(keys, values, strict=True))}
    return {key: dsk[key] for key in draw(SHUFFLED) if key in dsk}, resolve(draw(WANTED), keys)


def flat(keys: Any) -> list[Any]:
    return [leaf for item in keys for leaf in flat(item)] if isinstance(keys, list) else [keys]


ENGINES = [taskloom.get, partial(threaded.get, num_workers=2)]


@pytest.mark.parametrize("get", ENGINES, ids=["sync", "threads"])
@settings(max_examples=150)
@given(graphs())
def test_engines_agree_with_plain_evaluation(get: Any, case: tuple[dict[Any, Any], Any]) -> None:
    dsk, keys = case
    assert get(dsk, keys) == naive(dsk, keys)


@settings(max_examples=150)
@given(graphs())
def test_cull_and_fuse_never_change_a_result(case: tuple[dict[Any, Any], Any]) -> None:
    dsk, keys = case
    wanted, before = flat(keys), repr(dsk)
    expected = naive(dsk, wanted)
    culled = cull(dsk, wanted)
    assert taskloom.get(culled, wanted) == expected
    assert taskloom.get(fuse(dsk, wanted), wanted) == expected
    assert taskloom.get(fuse(culled, wanted), wanted) == expected
    assert taskloom.get(fuse(fuse(dsk, wanted), wanted), wanted) == expected
    assert len(fuse(culled, wanted)) <= len(culled) <= len(dsk)
    assert repr(dsk) == before


@settings(max_examples=100)
@given(graphs())
def test_plan_and_order_put_inputs_first(case: tuple[dict[Any, Any], Any]) -> None:
    dsk, keys = case
    plan = compile_plan(dsk, keys)
    assert all(dependency < task for task in range(len(plan)) for dependency in plan.dependencies(task))
    assert {*plan.keys, *plan.data} == set(cull(dsk, flat(keys)))
    assert len(set(plan.keys)) == len(plan)
    position = order(dsk)
    assert sorted(position.values()) == list(range(len(dsk)))
    assert all(position[other] < position[key] for key in dsk for other in dependencies(dsk, key))


@settings(max_examples=100)
@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=3), min_size=1))
def test_a_cycle_is_reported_exactly_where_there_is_one(edges: dict[int, list[int]]) -> None:
    dsk: dict[Any, Any] = {("n", i): (first, *[("n", j) for j in edges.get(i, [])]) for i in range(13)}

    def cyclic(i: int, above: tuple[int, ...]) -> bool:
        return i in above or any(cyclic(j, (*above, i)) for j in edges.get(i, []))

    try:
        compile_plan(dsk, list(dsk))
    except taskloom.GraphError as error:
        walk = [int(part.strip("()").split(", ")[1]) for part in str(error).split(": ", 1)[1].split(" -> ")]
        assert walk[0] == walk[-1]
        assert all(after in edges[before] for before, after in pairwise(walk))
    else:
        assert not any(cyclic(i, ()) for i in range(13))
