"""The contract once more, for each way to start worker processes and each kind of pool of the user's own.

The tests are those of every engine; here a pool serves all of them, as it takes long to start.
"""

# ruff: noqa: F401 - what is imported here is run here

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import loky
import pytest

import taskloom

from .cases import Case, Get
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
    with loky.get_reusable_executor(num_workers) as pool:
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


def test_numpy_draws_other_numbers_in_each_worker(engine: Engine) -> None:
    import numpy as np

    np.random.random()  # a fork has it loaded

    def draw(_: int) -> tuple[int, float]:
        import os
        from time import sleep

        sleep(0.02)
        return os.getpid(), np.random.random()

    dsk: dict[Any, Any] = {("x", i): (draw, i) for i in range(8)}
    drawn = engine.get(dsk, list(dsk))
    assert len({pid for pid, _ in drawn}) == 2
    assert len({number for _, number in drawn}) == 8


def test_hashes_are_equal_in_all_workers(engine: Engine) -> None:
    def hash_of(_: int) -> tuple[int, int]:
        import os
        from time import sleep

        sleep(0.02)
        return os.getpid(), hash("text")

    dsk: dict[Any, Any] = {("x", i): (hash_of, i) for i in range(8)}
    hashes = engine.get(dsk, list(dsk))
    if engine.case.own_workers:
        assert len({pid for pid, _ in hashes}) == 2
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
