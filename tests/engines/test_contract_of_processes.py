"""The contract once more, for each way to start worker processes and each kind of pool of the user's own.

The tests are those of every engine; here a pool serves all of them, as it takes long to start.
"""

# ruff: noqa: F401 - what is imported here is run here

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import loky
import pytest

import taskloom

from .cases import Case, Get, in_child
from .cases import processes as own_workers
from .conftest import Engine
from .test_contract import (
    ERRORS,
    test_a_bad_graph_runs_nothing,
    test_a_failure_keeps_no_inputs_beyond_the_next_run,
    test_a_misspelt_option_names_the_nearest_and_all_there_are,
    test_answers_have_the_shape_of_the_keys,
    test_callbacks_that_are_none,
    test_infinite_recursion_in_a_task,
    test_large_graphs,
)
from .test_record import (
    test_a_graph_of_nothing_but_data_is_a_run_too,
    test_one_worker_runs_one_task_at_a_time,
    test_times_and_order,
)


@contextmanager
def _started_by(context: str, num_workers: int) -> Iterator[Get]:
    with own_workers(num_workers) as get:
        yield partial(get, context=context)


@contextmanager
def _process_pool(num_workers: int) -> Iterator[Get]:
    with get_context("forkserver").Pool(num_workers) as pool:
        yield partial(taskloom.multiprocessing.get, pool=pool)
        pool.terminate()
        pool.join()


@contextmanager
def _loky(num_workers: int) -> Iterator[Get]:
    with loky.get_reusable_executor(num_workers, timeout=600) as pool:  # for which a process may have nothing to do
        yield partial(taskloom.multiprocessing.get, pool=pool)
        pool.shutdown(wait=True, kill_workers=True)


def _case(name: str, open_: Callable[[int], AbstractContextManager[Get]], own: bool) -> Case:
    return Case(name, open_, "processes", in_process=False, own_workers=own)


CASES = [
    _case("spawn", partial(_started_by, "spawn"), True),
    _case("fork", partial(_started_by, "fork"), True),
    _case("forkserver", partial(_started_by, "forkserver"), True),
    _case("process-pool", _process_pool, False),
    _case("loky", _loky, False),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with request.param.open(2) as get:
        get({("x", i): (abs, -i) for i in range(4)}, ("x", 3))  # which starts the workers, before a test counts them
        yield Engine(request.param, get)


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_an_exception_arrives_as_itself(engine: Engine, make: Callable[[], BaseException], observed: bool) -> None:
    error = make()

    def users_function(x: int) -> None:
        raise make()

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {"before": (abs, 0), "bad": (users_function, "before"), "behind": (abs, "bad")}
    with pytest.raises(type(error)) as raised:
        engine.get(dsk, "behind", **callbacks)
    assert raised.value.args == error.args or isinstance(error, ExceptionGroup)
    assert traceback.extract_tb(raised.value.__traceback__)[-1].name == "users_function"
    run = taskloom.last_run()
    assert run is not None
    assert (run.status, run.n_done, run.n_failed) == ("failed", 1, 1)
    assert engine.get({"a": (abs, -2)}, "a") == 2


def from_both_workers(engine: Engine, dsk: dict[Any, Any]) -> list[tuple[int, Any]]:
    """The results of several runs, as pairs of a pid and something, until both workers have had tasks."""
    results: list[tuple[int, Any]] = []
    for _ in range(100):
        results += engine.get(dsk, list(dsk))
        if len({pid for pid, _ in results}) == 2:
            break
    assert len({pid for pid, _ in results}) == 2
    return results


def test_numpy_draws_other_numbers_in_each_worker(engine: Engine) -> None:
    import numpy as np

    np.random.random()  # a fork has it loaded

    def draw(_: int) -> tuple[int, float]:
        import os
        from time import sleep

        sleep(0.02)
        return os.getpid(), np.random.random()

    dsk: dict[Any, Any] = {("x", i): (draw, i) for i in range(8)}
    drawn = from_both_workers(engine, dsk)
    assert len({number for _, number in drawn}) == len(drawn)


def test_hashes_are_equal_in_all_workers(engine: Engine) -> None:
    def hash_of(_: int) -> tuple[int, int]:
        import os
        from time import sleep

        sleep(0.02)
        return os.getpid(), hash("text")

    dsk: dict[Any, Any] = {("x", i): (hash_of, i) for i in range(8)}
    hashes = from_both_workers(engine, dsk)
    if engine.case.own_workers:
        assert len({number for _, number in hashes}) == 1


def test_a_function_of_any_kind(engine: Engine) -> None:
    def outer(n: int) -> Callable[[int], int]:
        return lambda x: x + n

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        def __call__(self, x: int) -> int:
            return x + self.n

    dsk = {"a": (outer(1), 1), "b": (Adder(2), "a"), "c": (Adder(3).__call__, "b"), "d": (partial(pow, 2), "c")}
    assert engine.get(dsk, ["a", "b", "c", "d"]) == [2, 4, 7, 128]


@pytest.mark.parametrize("what", ["result", "argument", "function"])
def test_what_cannot_be_pickled(engine: Engine, what: str) -> None:
    lock = threading.Lock()
    dsk = {"result": (threading.Lock,), "argument": (id, [lock]), "function": (lambda: lock,)}
    with pytest.raises(taskloom.SerializationError, match="cannot be pickled") as raised:
        engine.get(dsk, what)
    assert what in "".join([str(raised.value), *raised.value.__notes__])
    assert "lock" in str(raised.value.__cause__)
    assert engine.get({"a": (abs, -2)}, "a") == 2


def test_a_run_inside_a_task_starts_no_more_workers(engine: Engine) -> None:
    def inner(x: int) -> tuple[int, set[int]]:
        import os
        from time import sleep

        sleep(0.02)
        dsk = {("y", i): (lambda _: os.getpid(), i) for i in range(3)}
        return x, {os.getpid(), *taskloom.multiprocessing.get(dsk, list(dsk))}

    dsk = {("x", i): (inner, i) for i in range(6)}
    answers = engine.get(dsk, list(dsk))
    assert [x for x, _ in answers] == list(range(6))
    assert [len(pids) for _, pids in answers] == [1] * 6
    assert len(set[int]().union(*[pids for _, pids in answers])) <= 2


@pytest.mark.parametrize("kind", ["executor", "loky", "multiprocessing.Pool"])
def test_a_pool_a_process_of_which_dies(kind: str) -> None:
    program = f"""
import os, loky, taskloom
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
context = get_context("spawn")
kind = {kind!r}
if kind == "executor":
    pool = ProcessPoolExecutor(2, mp_context=context)
elif kind == "loky":
    pool = loky.get_reusable_executor(2)
else:
    pool = context.Pool(2)
try:
    taskloom.multiprocessing.get({{"bad": (os._exit, 3)}}, "bad", pool=pool)
except taskloom.WorkerDied as error:
    assert "died" in str(error), error
else:
    raise SystemExit("no error")
if kind == "multiprocessing.Pool":
    assert taskloom.multiprocessing.get({{"a": (abs, -1)}}, "a", pool=pool) == 1
    pool.terminate()
    pool.join()
print("fine")
"""
    done = in_child(program)  # loky writes to stderr as its workers die
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
