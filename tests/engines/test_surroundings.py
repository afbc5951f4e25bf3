"""What tasks see of the caller and the caller of tasks: context, warnings, event loops, runs inside runs."""

import asyncio
import threading
import warnings
from contextvars import ContextVar
from operator import add
from typing import Any

import pytest

import taskloom

from .cases import PATIENCE, in_thread, wait_for
from .conftest import Engine

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_tasks_see_the_callers_context(local: Engine, observed: bool) -> None:
    def read(*_: Any) -> tuple[str, str]:
        return variable.get(), threading.current_thread().name

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {("x", i): (read, i) for i in range(40)} | {("y", i): (read, ("x", i)) for i in range(40)}
    for text in ("one", "two"):  # on warm threads too
        token = variable.set(text)
        try:
            answers = local.get(dsk, list(dsk), **callbacks)
        finally:
            variable.reset(token)
        assert {seen for seen, _ in answers} == {text}
    assert {seen for seen, _ in local.get(dsk, list(dsk), **callbacks)} == {"unset"}


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_what_tasks_set_stays_with_them(parallel: Engine, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    parallel.get({("x", i): (lambda _: variable.set("task") and None, i) for i in range(20)}, ("x", 3), **callbacks)
    assert variable.get() == "unset"
    assert taskloom.bus.current_run.get() is None


def test_warnings_reach_the_caller(local: Engine) -> None:
    def warn(i: int) -> int:
        warnings.warn(f"careful {i}", UserWarning, stacklevel=2)
        return i

    dsk = {("x", i): (warn, i) for i in range(10)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        local.get(dsk, list(dsk))
    assert sorted(str(warning.message) for warning in caught) == sorted(f"careful {i}" for i in range(10))


# -- runs inside tasks, and several at once --------------------------------------------------------------------------


def nested_sum(get: Any, width: int, levels: int) -> int:
    """Compute the sum of 0 .. width^levels - 1 or so: a run whose tasks are runs, as deep as asked."""
    if levels == 0:
        return sum(get({("x", i): (abs, -i) for i in range(width)}, [("x", i) for i in range(width)]))
    dsk = {("x", i): (nested_sum, get, width, levels - 1) for i in range(width)}
    return int(get(dsk | {"sum": (sum, list(dsk))}, "sum"))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_runs_inside_tasks(local: Engine, levels: int) -> None:
    done = in_thread(nested_sum, local.get, 4, levels)
    assert done() == 6 * 4**levels


@pytest.mark.parametrize("inner", ["sync", "threads"])
def test_runs_inside_tasks_of_another_engine(local: Engine, inner: str) -> None:
    get = taskloom.get if inner == "sync" else taskloom.threaded.get
    dsk = {("x", i): (nested_sum, get, 3, 1) for i in range(4)}
    assert in_thread(local.get, dsk, list(dsk))() == [9] * 4


def test_a_run_inside_a_task_knows_its_parent(local: Engine) -> None:
    parents: list[int | None] = []

    class Listener:
        def run_finished(self, run: taskloom.Run) -> None:
            parents.append(run.parent)

    def inner() -> Any:
        return taskloom.get({"x": (abs, -1)}, "x")

    with taskloom.subscribe(Listener()):
        local.get({"a": (inner,), "b": (abs, "a")}, "b")
    outer = taskloom.last_run()
    assert outer is not None
    assert (outer.n_tasks, parents) == (2, [outer.id, None])


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_eight_threads_compute_at_once(local: Engine, observed: bool) -> None:
    barrier = threading.Barrier(8)
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}

    def compute(seed: int) -> list[int]:
        barrier.wait(PATIENCE)
        answers = []
        for n in range(10):
            dsk = {("x", i): (add, i, seed * 1000 + n) for i in range(20)}
            answers.append(local.get(dsk | {"sum": (sum, list(dsk))}, "sum", **callbacks))
        return answers

    results = [in_thread(compute, seed) for seed in range(8)]
    for seed, result in enumerate(results):
        assert result() == [190 + 20 * (seed * 1000 + n) for n in range(10)]
    assert not [run for run in taskloom.runs if run.status != "finished"]


def test_a_failure_in_one_run_leaves_others_alone(local: Engine) -> None:
    started, failed = threading.Event(), threading.Event()

    def begin(x: int) -> int:
        started.set()
        wait_for(failed)
        return x

    good = in_thread(local.get, {"a": (begin, 1), "b": (abs, "a")}, "b")
    wait_for(started)
    with pytest.raises(ZeroDivisionError):
        local.get({"bad": (divmod, 1, 0)}, "bad")
    failed.set()
    assert good() == 1


# -- event loops -----------------------------------------------------------------------------------------------------


def test_compute_inside_a_running_event_loop(local: Engine) -> None:
    async def main() -> Any:
        dsk = {("x", i): (abs, -i) for i in range(20)}
        return local.get(dsk | {"sum": (sum, list(dsk))}, "sum")

    assert asyncio.run(main()) == 190


def test_a_task_may_run_an_event_loop(local: Engine) -> None:
    """Also where the caller's thread runs one, which is how notebooks call; sync works in that very thread."""

    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    def task(x: int) -> int:
        return asyncio.run(double(x))

    dsk = {("x", i): (task, i) for i in range(6)} | {"sum": (sum, [("x", i) for i in range(6)])}
    assert local.get(dsk, "sum") == 30
    if local.case.parallel:

        async def main() -> Any:
            return local.get(dsk, "sum")

        assert asyncio.run(main()) == 30


def test_a_failure_inside_a_running_event_loop(local: Engine) -> None:
    async def main() -> Any:
        return local.get({"bad": (divmod, 1, 0)}, "bad")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
