"""Results live as long as somebody needs them, and no longer."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

import pytest

import taskloom

from .cases import PATIENCE, case_named, check_child, until
from .conftest import Engine


class Value:
    """A result that can be watched."""


class Watch:
    """Tasks that make values, and tasks that note which of them are still there."""

    def __init__(self) -> None:
        self.made: dict[str, weakref.ref[Value]] = {}

    def make(self, name: str) -> Callable[..., Value]:
        def made(*inputs: Any) -> Value:
            value = Value()
            self.made[name] = weakref.ref(value)
            return value

        return made

    def goes(self, *names: str) -> bool:
        """Whether these values go soon: a pool's thread may hold one for the moment between task and answer."""
        end = monotonic() + PATIENCE / 2
        while self.alive(*names):
            if monotonic() > end:
                return False
            sleep(0.001)
        return True

    def alive(self, *names: str) -> list[str]:
        return [name for name in names if self.made[name]() is not None]


@pytest.fixture
def watch() -> Iterator[Watch]:
    gc.disable()  # a result must not hang in a circle until the collector comes
    yield Watch()
    gc.enable()


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_a_result_goes_as_soon_as_its_last_dependent_is_done(local: Engine, watch: Watch, observed: bool) -> None:
    seen: dict[str, Any] = {}

    def look(value: Value) -> Value:
        """Runs behind `b`, the only user of `a`."""
        seen["a is gone"] = watch.goes("a")
        seen["still here"] = watch.alive("b", "kept")
        return Value()

    def look_again(value: Value, kept: Value) -> str:
        seen["b is gone"] = watch.goes("b")
        seen["kept"] = watch.alive("kept")
        return "done"

    dsk = {
        "kept": (watch.make("kept"),),
        "a": (watch.make("a"), "kept"),
        "b": (watch.make("b"), "a"),
        "look": (look, "b"),
        "end": (look_again, "look", "kept"),
    }
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    assert local.get(dsk, "end", **callbacks) == "done"
    assert seen == {"a is gone": True, "still here": ["b", "kept"], "b is gone": True, "kept": ["kept"]}
    assert watch.goes("kept")


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_a_run_keeps_nothing(local: Engine, watch: Watch, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {
        "a": (watch.make("a"),),
        "unused": (watch.make("unused"),),
        "b": (watch.make("b"), "a", "a"),
        "c": (watch.make("c"), "a", "b", "unused"),
    }
    answer = local.get(dsk, ["c", "a"], **callbacks)
    assert watch.goes("b", "unused")
    assert watch.alive("a", "c") == ["a", "c"]
    del answer
    assert watch.goes("a", "c")


def test_a_wide_graph_lets_go_of_each_part(local: Engine, watch: Watch) -> None:
    """Of 200 pairs only a few are alive at a time."""
    most = 0

    def use(value: Value, *others: Value) -> int:
        nonlocal most
        most = max(most, len(watch.alive(*watch.made)))
        return 1

    dsk: dict[Any, Any] = {f"a{i}": (watch.make(f"a{i}"),) for i in range(200)}
    dsk |= {f"b{i}": (use, f"a{i}") for i in range(200)}
    assert local.get(dsk | {"end": (sum, [f"b{i}" for i in range(200)])}, "end") == 200
    assert most < 40
    assert watch.goes(*watch.made)


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_a_failed_run_lets_go_when_the_next_has_ended(local: Engine, watch: Watch, observed: bool) -> None:
    def fail(value: Value) -> None:
        raise ValueError("bad")

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    gc.disable()  # no circle may hold the results of a failed run
    try:
        try:
            local.get({"a": (watch.make("a"),), "bad": (fail, "a")}, "bad", **callbacks)
        except ValueError:
            pass
        else:
            pytest.fail("the task's error did not arrive")
        local.get({"x": (abs, -1)}, "x")
        assert watch.goes("a")
    finally:
        gc.enable()


class Finalizer:
    """Does something when it goes."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


# A finalizer that computes runs wherever its object goes, under the engine's own locks included. Where that is a
# deadlock nothing in the process can go on, so these run in processes of their own.


@pytest.mark.parametrize("where", ["result", "constant", "failure", "anywhere"])
def test_a_finalizer_may_compute(local: Engine, where: str) -> None:
    program = "import sys; from tests.engines import test_release as test; test.compute_in_finalizers(*sys.argv[1:])"
    assert check_child(program, local.case.name, where) == "computed\n"


def compute_in_finalizers(name: str, where: str) -> None:
    """The child's part of the test above."""
    calls: list[Any] = []
    inside = False

    def compute() -> None:
        nonlocal inside
        if inside:  # or the collector would find work for ever
            return
        inside = True
        calls.append(
            taskloom.threaded.get({("x", i): (abs, -i) for i in range(3)}, [("x", 2), ("x", 1)], num_workers=2)
        )
        inside = False

    def fail(value: Any) -> None:
        raise ValueError("bad")

    def circle(x: int) -> int:
        finalizer: Any = Finalizer(compute)
        finalizer.itself = finalizer
        return x

    graphs: dict[str, dict[Any, Any]] = {
        "result": {"a": (Finalizer, compute), "b": (type, "a"), "c": (repr, "b")},
        "constant": {"a": (type, Finalizer(compute)), "c": (repr, "a")},
        "failure": {"a": (Finalizer, compute), "c": (fail, "a")},
        "anywhere": {("x", i): (circle, i) for i in range(60)} | {"c": (sum, [("x", i) for i in range(60)])},
    }
    dsk = graphs.pop(where)
    del graphs
    if where == "anywhere":
        gc.set_threshold(7)  # the collector comes at every few allocations
    with case_named(name).open(2) as get:
        with suppress(ValueError):
            get(dsk, "c")
        del dsk
        assert get({"x": (abs, -1)}, "x") == 1  # the record of the run before lets go of its graph
        gc.collect()
    until(lambda: calls)
    assert all(call == [2, 1] for call in calls)
    print("computed")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_finalizer_may_raise(local: Engine, calls: list[Any]) -> None:
    def fail() -> None:
        calls.append("finalized")
        raise ValueError("from a finalizer")

    dsk = {"a": (Finalizer, fail), "b": (type, "a"), "c": (repr, "b")}
    assert local.get(dsk, "c") == repr(Finalizer)
    until(lambda: calls)  # a cluster lets go a little later, and so may a pool's thread
    assert calls == ["finalized"]
