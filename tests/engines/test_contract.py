"""What every engine promises: results, and errors as themselves.

One suite for all engines: `CASES` in cases.py lists them. The other files of this folder hold the rest of the
contract, by subject.
"""

import asyncio
import dataclasses
import traceback
from collections.abc import Callable
from functools import partial
from operator import add, mul
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom.graph import apply

from .cases import Case
from .conftest import Engine

# Functions at the top of the module, which engines with other processes can import.


def inc(x: int) -> int:
    return x + 1


def total(values: list[Any]) -> Any:
    return sum(values)


def describe(*args: Any, **kwargs: Any) -> str:
    return f"{args} {kwargs}"


def first(value: bytes) -> int:
    return value[0]


def add_firsts(*values: bytes) -> int:
    return sum(map(first, values))


def nothing() -> None:
    return None


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsk", "keys", "answer"),
    [
        ({"a": (inc, 1)}, "a", 2),
        ({"a": (inc, 1)}, ["a"], [2]),
        ({"a": (inc, 1)}, [], []),
        ({"a": (inc, 1)}, [[], [[]]], [[], [[]]]),
        ({"a": (inc, 1), "b": (inc, "a")}, ["b", ["a", ["b", "a"]], "b"], [3, [2, [3, 2]], 3]),
        ({"a": 1}, "a", 1),
        ({"a": None, "b": (nothing,)}, ["a", "b"], [None, None]),
        ({"a": [1, 2, "x"]}, "a", [1, 2, "x"]),
        ({"a": "b", "b": "c", "c": 5}, "a", 5),
        ({"a": "b", "b": (inc, 4)}, ["a", "b"], [5, 5]),
        ({"a": ["b", ["b", 1]], "b": (inc, 1)}, "a", [2, [2, 1]]),
        ({"a": 1, "b": 2, "c": (add, "a", "b"), "d": (total, ["a", "b", "c"])}, ["a", "b", ["c", "d"]], [1, 2, [3, 6]]),
        ({"a": (add, (mul, 2, (inc, "x")), "x"), "x": 3}, "a", 11),
        ({"a": (total, [(inc, 1), (inc, "b"), "b"]), "b": 1}, "a", 5),
        ({"a": (mul, "b", "b"), "b": (inc, 2)}, "a", 9),
        ({"a": (add, "b", "b"), "b": 4}, "a", 8),
        ({"a": (apply, describe, ["b"], (dict, [["k", "b"]])), "b": (inc, 1)}, "a", "(2,) {'k': 2}"),
        ({"a": (apply, describe, [1], {"k": 2})}, "a", "(1,) {'k': 2}"),
        ({("x", 0): (inc, 1), ("x", 1): (inc, ("x", 0)), 7: (inc, ("x", 1))}, [7, ("x", 1)], [4, 3]),
        ({b"a": (inc, 1), 1.5: (inc, b"a"), ("t", ("u", 2)): (inc, 1.5)}, ("t", ("u", 2)), 4),
        ({"a": (describe, (1, 2), {"k": "b"}), "b": 1}, "a", "((1, 2), {'k': 'b'}) {}"),
    ],
)
def test_answers_have_the_shape_of_the_keys(engine: Engine, dsk: dict[Any, Any], keys: Any, answer: Any) -> None:
    before = dict(dsk)
    assert engine.get(dsk, keys) == answer
    assert dsk == before


def test_a_shared_task_runs_once_and_what_nobody_asked_for_does_not(local: Engine, calls: list[Any]) -> None:
    def noting(name: str) -> Callable[..., str]:
        def note(*args: Any) -> str:
            calls.append(name)
            return name

        return note

    users = [f"user{i}" for i in range(5)]
    dsk = {
        "root": (noting("root"),),
        **{user: (noting(user), "root") for user in users},
        "end": (noting("end"), *users, "root"),
        "other": (noting("other"), "root"),
    }
    assert local.get(dsk, ["end", "end", "root"]) == ["end", "end", "root"]
    assert sorted(calls) == ["end", "root", *users]


@pytest.mark.parametrize("whose", ["one-task", "tasks-of-their-own"])
def test_hundreds_of_large_values(engine: Engine, whose: str) -> None:
    """More than a message to another process can bring open files."""
    values = [bytes([i % 100]) * 300_000 for i in range(300)]
    dsk: dict[Any, Any] = {("x", i): (first, value) for i, value in enumerate(values)}
    if whose == "one-task":
        dsk = {"a": (add_firsts, *values), "b": (add_firsts, *values)}
        assert engine.get(dsk, ["a", "b"]) == [3 * sum(range(100))] * 2
    else:
        assert engine.get(dsk, list(dsk)) == [i % 100 for i in range(300)]


def test_a_value_so_large_that_two_threads_copy_it(engine: Engine) -> None:
    content = b"".join([bytes([i]) * (1 << 18) for i in range(100)])
    assert engine.get({"a": (bytes, content), "b": (bytes, "a"), "c": (len, "b")}, ["b", "c"]) == [content, 100 << 18]


@pytest.mark.parametrize("shape", ["chain", "flat", "tree", "fan"])
def test_large_graphs(engine: Engine, shape: str) -> None:
    n = 3_000
    dsk: dict[Any, Any]
    if shape == "chain":
        dsk = {("x", 0): (inc, 0), **{("x", i): (inc, ("x", i - 1)) for i in range(1, n)}}
        assert engine.get(dsk, ("x", n - 1)) == n
    elif shape == "flat":
        dsk = {("x", i): (inc, i) for i in range(n)}
        assert engine.get(dsk, list(dsk)) == list(range(1, n + 1))
    elif shape == "tree":
        dsk = {("x", i): (add, ("x", 2 * i + 1), ("x", 2 * i + 2)) for i in range(n)}
        dsk |= {("x", i): 1 for i in range(n, 2 * n + 1)}
        assert engine.get(dsk, ("x", 0)) == n + 1
    else:
        dsk = {("x", i): (inc, i) for i in range(n)} | {"sum": (total, [("x", i) for i in range(n)])}
        assert engine.get(dsk, "sum") == n * (n + 1) // 2


# -- graphs that cannot run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsk", "keys", "error"),
    [
        ({"a": (inc, "b"), "b": (inc, "a")}, "a", ValueError),
        ({("x", 0): (inc, 1), "b": (add, ("x", 0), ("x", 1))}, "b", ValueError),
        ({"a": (inc, 1)}, "b", KeyError),
        ({"a": (inc, 1)}, ["a", ["b"]], KeyError),
        ({"a": (inc, 1)}, {}, taskloom.GraphError),
    ],
)
def test_a_bad_graph_runs_nothing(engine: Engine, dsk: dict[Any, Any], keys: Any, error: type[Exception]) -> None:
    runs = [run.id for run in taskloom.runs]
    with pytest.raises(error) as raised:
        engine.get(dsk, keys)
    assert isinstance(raised.value, taskloom.GraphError)
    assert [run.id for run in taskloom.runs] == runs, "there was no run"


# -- errors ----------------------------------------------------------------------------------------------------------


class NeedsTwo(Exception):
    """Cannot be built from its own `args`."""

    def __init__(self, first: str, second: int):
        super().__init__(f"{first}/{second}")
        self.first = first


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    value: int


class Slotted(Exception):
    __slots__ = ("value",)

    def __init__(self, value: int):
        self.value = value


class RefusesNotes(Exception):
    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")


class NotesAreNoList(Exception):
    __notes__ = "text"


class Stop(BaseException):
    pass


ERRORS: list[Callable[[], BaseException]] = [
    lambda: ValueError("x", 1),
    lambda: KeyError("x"),
    lambda: StopIteration(3),
    lambda: NeedsTwo("a", 2),
    lambda: Frozen(3),
    lambda: Slotted(4),
    lambda: RefusesNotes("r"),
    lambda: NotesAreNoList("n"),
    lambda: ExceptionGroup("g", [ValueError(1)]),
    lambda: taskloom.ConfigError("the user's own"),
    lambda: asyncio.CancelledError("c"),
    lambda: Stop("s"),
    lambda: SystemExit(3),
    lambda: GeneratorExit("g"),
]


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_an_exception_arrives_as_itself(local: Engine, make: Callable[[], BaseException], observed: bool) -> None:
    error = make()
    arguments = error.args

    def users_function(x: int) -> None:
        raise error

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {"before": (inc, 0), "bad": (users_function, "before"), "behind": (inc, "bad")}
    with pytest.raises(type(error)) as raised:
        local.get(dsk, "behind", **callbacks)
    assert raised.value is error
    assert raised.value.args == arguments
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-1] == "users_function"
    run = taskloom.last_run()
    assert run is not None
    assert (run.status, run.n_done, run.n_failed) == ("failed", 1, 1)
    assert local.get({"a": (inc, 1)}, "a") == 2


def fail(x: int) -> float:
    return 1 / x


def fail_twice(x: int) -> None:
    caught = []
    for divide in (fail, partial(divmod, 1)):
        try:
            divide(x)
        except ZeroDivisionError as error:
            caught.append(error)
    raise ExceptionGroup("both", caught)


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_a_traceback_leads_from_the_call_to_the_users_lines(engine: Engine, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    with pytest.raises(ZeroDivisionError) as raised:
        engine.get({"a": (lambda x: fail(x), (abs, 0))}, "a", **callbacks)
    shown = traceback.extract_tb(raised.value.__traceback__)
    assert [frame.name for frame in shown][-2:] == ["<lambda>", "fail"]
    assert shown[-1].line == "return 1 / x"
    between = {Path(frame.filename).name for frame in shown[1:-2]}
    assert between <= {"__init__.py", "threaded.py", "multiprocessing.py", "client.py", "base.py"}, "no engine's own"
    assert (shown[-1].colno, shown[-1].end_colno) == (11, 16)


def test_the_members_of_a_group_have_their_frames(engine: Engine) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        engine.get({"a": (fail_twice, 0)}, "a")
    assert [traceback.extract_tb(member.__traceback__)[0].name for member in raised.value.exceptions] == [
        "fail_twice"
    ] * 2
    assert traceback.extract_tb(raised.value.exceptions[0].__traceback__)[-1].line == "return 1 / x"


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_the_note_says_which_task_failed_and_how_to_run_it_again(local: Engine, observed: bool) -> None:
    def divide(x: int, y: int) -> float:
        return x / y

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {"zero": (min, 0, 1), ("bad", 3): (divide, 7, "zero")}
    with pytest.raises(ZeroDivisionError) as raised:
        local.get(dsk, ("bad", 3), **callbacks)
    run = taskloom.last_run()
    assert run is not None
    failure = run.failure
    assert failure is not None
    assert (failure.key, failure.exception, list(failure.inputs)) == (("bad", 3), raised.value, [7, 0])
    (note,) = raised.value.__notes__
    worker = run.workers[failure.worker].name
    for part in ("('bad', 3)", repr(local.case.engine), repr(worker), "taskloom.last_run().failure.replay()"):
        assert part in note
    with pytest.raises(ZeroDivisionError):
        failure.replay()
    assert run.tasks.status == ["finished", "failed"]


def test_a_failure_keeps_no_inputs_beyond_the_next_run(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        engine.get({"bad": (divmod, 1, 0)}, "bad")
    run = taskloom.last_run()
    engine.get({"a": (inc, 1)}, "a")
    assert run is not None
    assert run.failure is not None
    assert (run.failure.key, run.failure.inputs) == ("bad", ())
    assert str(run.failure.exception).startswith("ZeroDivisionError: ")
    with pytest.raises(ValueError, match="not at hand"):
        run.failure.replay()


def test_no_task_starts_behind_a_failure(local: Engine, calls: list[Any]) -> None:
    dsk = {
        "bad": (divmod, 1, 0),
        **{("behind", i): (calls.append, "bad") for i in range(5)},
        "end": (len, [("behind", i) for i in range(5)]),
    }
    with pytest.raises(ZeroDivisionError):
        local.get(dsk, "end")
    assert calls == []


def recurse(x: int) -> int:
    return recurse(x + 1)


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_infinite_recursion_in_a_task(engine: Engine, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    with pytest.raises(RecursionError):
        engine.get({"a": (recurse, 0), "b": (inc, "a")}, "b", **callbacks)
    assert engine.get({"a": (inc, 1), "b": (inc, 2)}, ["a", "b"], **callbacks) == [2, 3]


def test_infinite_recursion_through_runs_inside_tasks(local: Engine) -> None:
    def nest(x: int) -> Any:
        return local.get({"a": (inc, x), "b": (nest, "a")}, "b")

    with pytest.raises(RecursionError):
        nest(0)
    assert [run for run in taskloom.runs if run.status == "running"] == []
    assert local.get({"a": (inc, 1), "b": (inc, 2)}, ["a", "b"]) == [2, 3]


# -- options ---------------------------------------------------------------------------------------------------------


def test_a_misspelt_option_names_the_nearest_and_all_there_are(engine: Engine, calls: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"num_worker.*Did you mean 'num_workers'.*callbacks.*num_workers.*pool"):
        engine.get({"a": (calls.append, 1)}, "a", num_worker=2)
    assert calls == []


def test_options_of_other_engines_are_ignored() -> None:
    assert taskloom.get({"a": (inc, 1)}, "a", num_workers=2, pool=None) == 2


@pytest.mark.parametrize("value", [0, -1, "4", 2.0, True])
def test_a_number_of_workers_that_cannot_be(local: Engine, value: Any, calls: list[Any]) -> None:
    if local.case.engine == "sync":
        pytest.skip("has no workers")
    with pytest.raises(taskloom.ConfigError, match="num_workers"):
        local.get({"a": (calls.append, 1)}, "a", num_workers=value)
    assert calls == []


@pytest.mark.parametrize("callbacks", ["text", [1], (1, 2), object()], ids=str)
def test_callbacks_that_are_none(engine: Engine, callbacks: Any) -> None:
    with pytest.raises(TypeError):
        engine.get({"a": (inc, 1)}, "a", callbacks=callbacks)


def test_each_case_has_its_own_name() -> None:
    from .cases import CASES

    assert len({case.name for case in CASES}) == len(CASES)
    assert all(isinstance(case, Case) for case in CASES)
