"""Bad graphs: an error that names the keys, before anything runs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import taskloom
from taskloom import GraphError, threaded
from taskloom.errors import CycleError, MissingDependencyError, TaskloomError, UnknownKeyError


@pytest.fixture(params=["sync", "threads"])
def refuse(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Ask an engine for keys of a bad graph; returns the message of the error. Nothing may have run."""
    get: Any = taskloom.get if request.param == "sync" else partial(threaded.get, num_workers=2)

    def refuse(dsk: dict[Any, Any], keys: Any, *kinds: type[BaseException]) -> str:
        ran: list[str] = []
        dsk = {**dsk, "innocent": (ran.append, "ran")}
        before = taskloom.last_run()
        wanted = ["innocent", *keys] if isinstance(keys, list) else ["innocent", keys]
        for kind in (GraphError, TaskloomError, *kinds):
            with pytest.raises(kind):
                get(dsk, wanted)
        with pytest.raises(GraphError) as caught:
            get(dsk, wanted)
        assert not ran
        assert taskloom.last_run() is before
        return str(caught.value)

    return refuse


def f(*args: Any) -> Any:
    return args


@pytest.mark.parametrize(
    ("dsk", "walks"),
    [
        ({"a": (f, "a")}, ["'a' -> 'a'"]),
        ({"a": "a"}, ["'a' -> 'a'"]),
        ({"a": ["a"]}, ["'a' -> 'a'"]),
        ({"a": (f, "b"), "b": (f, "a")}, ["'a' -> 'b' -> 'a'", "'b' -> 'a' -> 'b'"]),
        ({"a": (f, "x", "b"), "x": 1, "b": [1, [(f, "a")]]}, ["'a' -> 'b' -> 'a'", "'b' -> 'a' -> 'b'"]),
        (
            {"a": "b", "b": ["c"], "c": (f, ["a"])},
            ["'a' -> 'b' -> 'c' -> 'a'", "'b' -> 'c' -> 'a' -> 'b'", "'c' -> 'a' -> 'b' -> 'c'"],
        ),
        ({"a": (f, ("b", 0), 1), ("b", 0): (f, "c"), "c": (f, ("b", 0))}, ["('b', 0) -> 'c' -> ('b', 0)"] * 1
         + ["'c' -> ('b', 0) -> 'c'"]),
    ],
)  # fmt: skip
def test_cycle(refuse: Any, dsk: dict[Any, Any], walks: list[str]) -> None:
    message = refuse(dsk, "a", CycleError, ValueError, RuntimeError)
    assert any(message.endswith(": " + walk) for walk in walks), message
    assert message.startswith(f"Cycle detected: {walks[0].count('->')} task(s)")


def test_cycle_is_found_behind_a_diamond_and_among_many_requested_keys(refuse: Any) -> None:
    dsk = {"top": (f, "l", "r"), "l": (f, "down"), "r": (f, "down"), "down": (f, "x"), "x": (f, "y"), "y": (f, "x")}
    message = refuse(dsk, ["l", ["top"]], CycleError)
    assert "'x' -> 'y' -> 'x'" in message or "'y' -> 'x' -> 'y'" in message


def test_a_diamond_is_no_cycle() -> None:
    dsk = {"top": (f, "l", "r", "down"), "l": (f, "down"), "r": (f, "down", "l"), "down": (f,)}
    assert taskloom.get(dsk, "top") == (((),), ((), ((),)), ())


def test_a_cycle_that_nobody_needs_does_no_harm() -> None:
    assert taskloom.get({"a": (f, "b"), "b": (f, "a"), "c": (f, 1)}, "c") == (1,)


def test_a_huge_cycle_is_abbreviated(refuse: Any) -> None:
    n = 5_000
    dsk = {("x", i): (f, ("x", (i + 1) % n)) for i in range(n)}
    message = refuse(dsk, ("x", 0), CycleError)
    assert message.startswith("Cycle detected: 5000 task(s)")
    assert "-> ... ->" in message
    assert len(message) < 500


def test_a_missing_chunk(refuse: Any) -> None:
    dsk = {("x", 0): 1, ("x", 1): (f, 1), "end": (f, [("x", 0), ("x", 1), ("x", 2)])}
    message = refuse(dsk, "end", MissingDependencyError, ValueError)
    assert "('x', 2)" in message
    assert "(tuple, ['x', 2])" in message, "says how to pass the tuple as a value"
    assert taskloom.get({**dsk, "end": (f, (tuple, ["x", 2]))}, "end") == (("x", 2),)


@pytest.mark.parametrize("value", [("x", 2), [("x", 2)], (f, ("x", 2)), (f, 1, ("x", 2)), (f, (f, ("x", 2)))])
def test_a_missing_chunk_wherever_it_is_referred_to(refuse: Any, value: Any) -> None:
    assert "('x', 2)" in refuse({("x", 0): 1, "end": value}, "end", MissingDependencyError)


@pytest.mark.parametrize("value", [("x", 0, 0), ("y", 0), ("x", "0"), ("x",), ("x", 1.5), (0, "x")])
def test_a_tuple_that_is_no_chunk_is_a_value(value: Any) -> None:
    assert taskloom.get({("x", 0): 1, "end": (f, value)}, "end") == (value,)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("loda", "'load'"), (("chunk", 7), "('chunk', 0)"), (["load", ["claen"]], "'clean'"), ("zzzzzz", None)],
)
def test_an_unknown_requested_key(refuse: Any, key: Any, nearest: str | None) -> None:
    message = refuse({"load": 1, "clean": (f, "load"), ("chunk", 0): 1}, key, UnknownKeyError, KeyError)
    asked = "claen" if isinstance(key, list) else key
    assert message.startswith(f"The requested key {asked!r} is not in the graph."), "no repr of a repr"
    assert message.endswith(f"The nearest is {nearest}.") if nearest else message.endswith("graph.")


@pytest.mark.parametrize("key", [{}, set(), ("x", []), [["innocent", {"a": 1}]]], ids=repr)
def test_a_requested_key_that_cannot_be_hashed(refuse: Any, key: Any) -> None:
    assert "cannot be hashed" in refuse({"a": 1}, key)


@pytest.mark.parametrize("options", [{}, {"callbacks": taskloom.Callback()}], ids=["plain", "observed"])
def test_what_is_no_mapping_is_no_graph(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="not of type 'list'"):
        taskloom.get([1], "a", **options)  # type: ignore[arg-type]
