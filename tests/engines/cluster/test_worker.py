"""A worker of a cluster by its messages, as a process and as threads of this one."""

from __future__ import annotations

import asyncio
import operator
import os
import random
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskloom.engines.cluster.worker.in_process import ClusterThreads
from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.cluster.worker.page import WORDS
from taskloom.engines.cluster.worker.process import ClusterProcess
from taskloom.engines.cluster.worker.store import Store
from taskloom.engines.cluster.worker.worker import current_task, waiting
from taskloom.engines.worker.launch import ForkServer
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.said import hear

from .wire import Ref, Wire, wait_for

Begin = Callable[[int], Wire]


@pytest.fixture(params=[ClusterProcess, ClusterThreads], ids=["process", "threads"])
def begin(request: pytest.FixtureRequest) -> Iterator[Begin]:
    """Begins a worker with so many threads."""
    wires: list[Wire] = []
    server = ForkServer()

    def begin(threads: int) -> Wire:
        wires.append(Wire.to(request.param, threads, server))
        return wires[-1]

    yield begin
    for wire in wires:
        wire.close()
    server.close()


def nothing() -> None:
    pass


def spin(started: str = "") -> None:
    if started:
        Path(started).touch()
    while True:
        pass


def boom(text: str) -> None:
    raise ValueError(text)


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_chain_and_tree_in_one_batch(begin: Begin, threads: int) -> None:
    wire = begin(threads)
    first = wire.new_id()
    tasks: list[tuple[Any, ...]] = [(first, operator.add, 0, 1)]
    for _ in range(200):
        tasks.append((wire.new_id(), operator.add, Ref(tasks[-1][0]), 1))
    row = [wire.new_id() for _ in range(64)]
    tasks += [(id, operator.mul, number, 2) for number, id in enumerate(row)]
    while len(row) > 1:
        above = [wire.new_id() for _ in range(len(row) // 2)]
        tasks += [(id, operator.add, Ref(row[2 * n]), Ref(row[2 * n + 1])) for n, id in enumerate(above)]
        row = above
    ids = wire.send(tasks)
    results = wire.results(ids)
    assert results[200] == 201
    assert results[-1] == sum(2 * number for number in range(64))
    place = {id: n for n, id in enumerate(wire.order)}
    assert all(place[arg.id] < place[task[0]] for task in tasks for arg in task[2:] if isinstance(arg, Ref))
    assert len(wire.order) == len(set(wire.order)) == len(ids) == wire.worker.finished()


def test_times_are_in_order_and_of_the_shared_clock(begin: Begin) -> None:
    wire = begin(1)
    before = time.perf_counter()
    ids = wire.run((nothing,), (nothing,), (nothing,))
    done: list[float] = []
    wire.results(ids)
    for kind, fields, _ in wire.messages:
        if kind == "done":
            done += fields[1]
            assert fields[4] >= 0
    assert len(done) == 6
    stamps = [before, *done, time.perf_counter()]
    assert stamps == sorted(stamps)


def test_values_of_all_kinds_of_inputs(begin: Begin) -> None:
    wire = begin(1)
    plain, packed = wire.new_id(), wire.new_id()
    (id,) = wire.run((max, 3, Ref(plain), Ref(packed), 4), values={plain: 5}, packed={packed: np.int64(7)})
    wire.results([id])
    assert wire.fetch(id).value() == 7
    wire.worker.ask("fetch", packed)
    assert wire.heard("data", packed)[2][0].value() == 7


def meet(folder: str, name: str, number: int) -> int:
    Path(folder, name).touch()
    while len(os.listdir(folder)) < number:
        time.sleep(0.001)
    return threading.get_ident()


def test_all_threads_run_tasks_at_once(begin: Begin, tmp_path: Path) -> None:
    wire = begin(4)
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        idents = wire.results(wire.run(*[(meet, str(folder), str(n), 4) for n in range(4)]))
        assert len(set(idents)) == 4


def test_tasks_that_become_ready_find_the_idle_threads(begin: Begin, tmp_path: Path) -> None:
    wire = begin(4)
    gate = tmp_path / "gate"
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    (first,) = wire.run((wait_for, str(gate)))
    wire.begun(first)
    ids = wire.run(*[(_meet_after, Ref(first), str(meeting), str(n)) for n in range(4)])
    gate.touch()
    assert len(set(wire.results(ids))) == 4


def _meet_after(_: Any, folder: str, name: str) -> int:
    return meet(folder, name, 4)


def test_a_task_whose_input_is_being_computed_lets_others_pass(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate = tmp_path / "gate"
    slow, after, other = wire.run((wait_for, str(gate)), (nothing,), (nothing,))
    wire.results([after, other])
    (parked,) = wire.run((str.upper, Ref(slow)))
    (free,) = wire.run((nothing,))
    wire.results([free])
    assert parked not in wire.values
    gate.touch()
    assert wire.results([parked]) == ["THERE"]


def test_values_that_come_later_release_parked_tasks(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate = tmp_path / "gate"
    (slow,) = wire.run((wait_for, str(gate)))
    wire.begun(slow)
    (parked,) = wire.run((str.upper, Ref(slow)))
    wire.send([], values={slow: "from elsewhere"})
    assert wire.results([parked]) == ["FROM ELSEWHERE"]
    gate.touch()


def test_inputs_that_nobody_computes_are_missing(begin: Begin) -> None:
    wire = begin(1)
    nowhere, here = wire.new_id(), wire.new_id()
    first, second, third = wire.run((max, Ref(here), Ref(nowhere)), (nothing,), (max, 1, Ref(here)), values={here: 1})
    assert wire.said("missing", first) == (first, [nowhere])
    assert wire.results([second, third]) == [None, 1]


def test_what_depends_on_a_failed_task_is_missing(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate = tmp_path / "gate"
    failing, parked, behind = (wire.new_id() for _ in range(3))
    wire.send([(failing, _wait_and_fail, str(gate)), (parked, max, 1, Ref(failing)), (behind, max, 1, Ref(parked))])
    wire.begun(failing)
    assert wire.results(wire.run((abs, -2))) == [2]  # so the others have been parked
    gate.touch()
    assert str(wire.error(failing)) == "no"
    assert wire.said("missing", parked) == (parked, [failing])
    assert wire.said("missing", behind) == (behind, [parked])
    wire.send([(failing, abs, -3), (parked, max, 1, Ref(failing))])  # it is tried again
    assert wire.results([failing, parked]) == [3, 3]


def _wait_and_fail(gate: str) -> None:
    wait_for(gate)
    raise ValueError("no")


def test_a_function_that_cannot_be_unpickled_fails_its_task(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("nothing is pickled")
    bad, good = wire.run((BadFunction(),), (abs, -1))
    error = wire.error(bad)
    assert isinstance(error, RuntimeError)
    assert str(error) == "not here"
    assert error.__context__ is None
    assert wire.results([good]) == [1]


class BadFunction:
    def __call__(self) -> None: ...

    def __reduce__(self) -> Any:
        return _not_here, ()


def _not_here() -> None:
    raise RuntimeError("not here")


# -- reports ----------------------------------------------------------------------------------------------------------


def test_a_task_that_takes_long_does_not_keep_the_report_of_others_for_ever(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gate = tmp_path / "gate"
    quick, slow = wire.run((abs, -1), (wait_for, str(gate)))
    wire.begun(slow)
    wire.hear(lambda: wire.worker.finished() == 1)
    wire.worker.ask("report")
    assert wire.results([quick]) == [1]
    assert slow not in wire.values
    gate.touch()
    wire.results([slow])


def test_a_large_result_is_reported_at_once_with_its_size(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gate = tmp_path / "gate"
    large, text, slow = wire.run((np.ones, 100_000), (str, "x" * 5_000), (wait_for, str(gate)))
    sizes = wire.said("done", large)[3]
    assert sizes[large] == 800_000
    gate.touch()
    wire.results([text, slow])
    wire.worker.ask("fetch", text)
    assert wire.heard("data", text)[2][0].value() == "x" * 5_000


def test_results_go_when_they_are_dropped(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gone = tmp_path / "gone"
    made, used = wire.new_id(), wire.new_id()
    wire.send([(made, Tracked, str(gone)), (used, _use, Ref(made))])
    wire.results([used])
    assert not gone.exists()
    wire.worker.ask("drop", [made], [])
    wire.hear(gone.exists)
    wire.worker.ask("fetch", made)
    assert wire.said("gone", made)


def test_results_go_when_a_message_of_work_drops_them(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gone, gate = tmp_path / "gone", tmp_path / "gate"
    (made,) = wire.run((Tracked, str(gone)))
    wire.results([made])
    (slow,) = wire.run((wait_for, str(gone)), dropped=[made])  # at once: nothing of the loop holds it
    assert wire.results([slow]) == ["there"]
    assert not gate.exists()


class Tracked:
    """Tells when it goes."""

    def __init__(self, gone: str) -> None:
        self._finalizer = weakref.finalize(self, Path(gone).touch)


def _use(_: Any) -> None:
    pass


# -- what goes wrong --------------------------------------------------------------------------------------------------


def raise_this(kind: type[BaseException]) -> None:
    raise kind("mine")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, KeyError, IndexError])
@pytest.mark.parametrize("threads", [1, 2])
def test_any_exception_is_the_tasks_own(begin: Begin, kind: type[BaseException], threads: int) -> None:
    wire = begin(threads)
    bad, good = wire.run((raise_this, kind), (abs, -1))
    error = wire.error(bad)
    assert type(error) is kind
    assert error.args == ("mine",)
    trace = error.__traceback__
    assert trace is not None
    assert trace.tb_frame.f_code.co_name == "raise_this"
    assert wire.results([good]) == [1]


def recurse() -> None:
    recurse()


def test_infinite_recursion(begin: Begin) -> None:
    wire = begin(2)
    bad, good = wire.run((recurse,), (abs, -1))
    assert isinstance(wire.error(bad), RecursionError)
    assert wire.results([good]) == [1]


class Unpicklable:
    def __init__(self, error: type[BaseException] = TypeError) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error("stays here")


@pytest.mark.parametrize("kind", [TypeError, SystemExit])
def test_a_result_that_cannot_be_pickled_stays(begin: Begin, kind: type[BaseException]) -> None:
    wire = begin(1)
    made, used = wire.new_id(), wire.new_id()
    wire.send([(made, Unpicklable, kind), (used, type, Ref(made))])
    wire.results([made, used])
    if wire.in_process:
        assert isinstance(wire.fetch(made).value(), Unpicklable)
    else:
        wire.worker.ask("fetch", made)
        assert wire.said("no_data", made)[1]
    assert wire.results(wire.run((abs, -1))) == [1]


class UnpicklableError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit("stays here")


def raise_unpicklable() -> None:
    raise UnpicklableError("it is about")


def test_an_exception_that_cannot_be_pickled(begin: Begin) -> None:
    wire = begin(1)
    (bad,) = wire.run((raise_unpicklable,))
    assert "UnpicklableError" in f"{wire.error(bad)!r}"
    assert wire.results(wire.run((abs, -1))) == [1]


class Hanging:
    def __init__(self, gate: str) -> None:
        self.gate = gate

    @property
    def nbytes(self) -> int:
        wait_for(self.gate)
        raise SystemExit


def test_the_page_tells_which_result_is_looked_at(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate = tmp_path / "gate"
    (slow,) = wire.run((Hanging, str(gate)))
    wire.hear(lambda: wire.worker.packing() == slow)
    assert wire.results(wire.run((abs, -1))) == [1]
    gate.touch()
    wire.results([slow])
    assert wire.worker.packing() == -1


class HangsInPickling:
    def __reduce__(self) -> Any:
        while True:
            time.sleep(0.01)


def test_the_page_tells_which_result_is_pickled_for_others(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("nothing is pickled")
    (made,) = wire.run((HangsInPickling,))
    wire.results([made])
    wire.worker.ask("fetch", made)
    wire.hear(lambda: wire.worker.packing() == made)
    assert wire.results(wire.run((abs, -1))) == [1]


# -- giving back and cancelling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_tasks_that_have_not_begun_are_given_back(begin: Begin, tmp_path: Path, threads: int) -> None:
    wire = begin(threads)
    gate = tmp_path / "gate"
    slow = wire.run(*[(wait_for, str(gate))] * threads)
    for id in slow:
        wire.begun(id)
    queued = wire.run(*[(abs, -n) for n in range(10)])
    (parked,) = wire.run((max, 1, Ref(queued[3])))
    wire.worker.ask("take_back", [slow[0], *queued[:5], 17])
    assert sorted(wire.said("returned")[0]) == queued[:5]
    gate.touch()
    assert wire.said("missing", parked) == (parked, [queued[3]])
    assert wire.results(queued[5:]) == [5, 6, 7, 8, 9]
    wire.send([(queued[0], abs, -7)])
    assert wire.results([queued[0]]) == [7]


def test_parked_tasks_are_given_back(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate = tmp_path / "gate"
    (slow,) = wire.run((wait_for, str(gate)))
    wire.begun(slow)
    (parked,) = wire.run((str.upper, Ref(slow)))
    assert wire.results(wire.run((abs, -1))) == [1]
    wire.worker.ask("take_back", [parked])
    assert wire.said("returned")[0] == [parked]
    gate.touch()
    wire.results([slow])
    wire.send([(parked, str.upper, Ref(slow))])
    assert wire.results([parked]) == ["THERE"]


@pytest.mark.parametrize("thread", [0, 1])
def test_cancel_stops_a_busy_loop(begin: Begin, tmp_path: Path, thread: int) -> None:
    wire = begin(2)
    ids = wire.run((spin,), (spin,))
    for id in ids:
        wire.begun(id)
    threads = {number: id for number, id, _ in wire.worker.running()}
    queued, after = wire.run((nothing,), (nothing,))
    victim, other = threads[thread], threads[1 - thread]
    wire.worker.ask("cancel", [victim, queued])
    assert wire.said("cancelled", queued)
    assert wire.said("cancelled", victim)
    wire.results([after])  # by the thread that is free now
    assert [id for _, id, _ in wire.worker.running()] == [other]
    wire.worker.ask("cancel", [other])
    assert wire.said("cancelled", other)
    ids = wire.run((abs, -1), (abs, -2))
    assert wire.results(ids) == [1, 2]


def swallow(started: str, gate: str) -> str:
    try:
        spin(started)
    except BaseException:
        pass
    return wait_for(gate)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_task_that_swallows_it_ends_as_done(begin: Begin, tmp_path: Path, threads: int) -> None:
    wire = begin(threads)
    started, gate = tmp_path / "started", tmp_path / "gate"
    (id,) = wire.run((swallow, str(started), str(gate)))
    wire.hear(started.exists)
    gate.touch()
    wire.worker.ask("cancel", [id])
    assert wire.results([id]) == ["there"]
    wire.send([(id, abs, -1)])  # the cancel was for the task of before
    wire.hear(lambda: wire.values[id] == 1)


def test_a_blocking_call_of_the_main_thread_is_ended(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("no signal reaches these threads")
    (id,) = wire.run((time.sleep, 1000))
    wire.begun(id)
    wire.worker.ask("cancel", [id])
    deadline = time.monotonic() + 10
    while not [message for message in wire.messages if message[0] == "cancelled"]:
        assert time.monotonic() < deadline
        wire.worker.interrupt(id)
        wire.listen()


def test_signals_of_others_are_not_heard(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("SIGINT is for the main thread")
    gate = tmp_path / "gate"
    (id,) = wire.run((wait_for, str(gate)))
    wire.begun(id)
    for _ in range(20):
        wire.worker.interrupt(id)
    gate.touch()
    assert wire.results([id]) == ["there"]


@pytest.mark.parametrize("threads", [1, 3])
def test_cancels_never_hit_anything_else(begin: Begin, threads: int) -> None:
    """Every task comes to exactly one end, and those that were not cancelled to their results."""
    wire = begin(threads)
    chance = random.Random(threads)
    ended: dict[int, str] = {}
    for _ in range(60):
        ids = wire.run(*[(sum, tuple(range(chance.randrange(400)))) for _ in range(30)])
        victims = chance.sample(ids, 8)
        for victim in victims:
            wire.worker.ask("cancel", [victim])
        asked = set(victims)
        pending = set(ids)
        while pending:
            wire.hear(lambda: wire.messages)
            for kind, fields, _ in wire.messages:
                assert kind in ("done", "cancelled"), (kind, fields)
                for id in fields[0]:
                    assert id in pending
                    pending.remove(id)
                    ended[id] = kind
                    assert kind == "done" or id in asked
            wire.messages.clear()
    assert len(ended) == 1800


# -- waiting inside of tasks ------------------------------------------------------------------------------------------


def wait_inside(gate: str) -> Any:
    with waiting(), waiting():
        wait_for(gate)
    return current_task()[1]  # type: ignore[index]


def open_gate(gate: str) -> None:
    Path(gate).touch()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_task_that_waits_frees_its_place(begin: Begin, tmp_path: Path, threads: int) -> None:
    wire = begin(threads)
    for turn in range(5):
        gates = [str(tmp_path / f"{turn}-{n}") for n in range(3 * threads)]
        waiters = wire.run(*[(wait_inside, gate) for gate in gates])
        for _ in gates:
            wire.said("blocked")
        openers = wire.run(*[(open_gate, gate) for gate in gates])
        assert wire.results(waiters) == waiters
        for _ in gates:
            wire.said("unblocked")
        wire.results(openers)


def count_at_once(folder: str, name: str) -> int:
    here = Path(folder, name)
    here.touch()
    found = 0
    for _ in range(20):
        found = max(found, len(os.listdir(folder)))
        time.sleep(0.001)
    here.unlink()
    return found


def test_afterwards_there_are_as_many_threads_as_before(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    gate, folder = tmp_path / "gate", tmp_path / "folder"
    folder.mkdir()
    waiters = wire.run(*[(wait_inside, str(gate))] * 5)
    for _ in waiters:
        wire.said("blocked")
    gate.touch()
    wire.results(waiters)
    wire.results(wire.run(*[(nothing,)] * 20))
    wire.results(wire.run(*[(count_at_once, str(folder), f"first-{n}") for n in range(10)]))  # those too many go
    counts = wire.results(wire.run(*[(count_at_once, str(folder), str(n)) for n in range(20)]))
    assert max(counts) == 2


def test_outside_of_tasks_waiting_does_nothing() -> None:
    with waiting():
        assert current_task() is None


def test_a_task_that_waits_can_be_cancelled(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gate = str(tmp_path / "gate")
    (id,) = wire.run((wait_inside, gate))
    wire.said("blocked")
    wire.worker.ask("cancel", [id])
    assert wire.said("unblocked") == ()
    assert wire.said("cancelled", id)
    assert wire.results(wire.run((abs, -1))) == [1]


def who() -> Any:
    found = current_task()
    assert found is not None
    return f"{found[0].number} {found[0].name} {found[0].threads} {found[1]}"


def test_a_task_knows_where_it_is(begin: Begin) -> None:
    wire = begin(3)
    (id,) = wire.run((who,))
    assert wire.results([id]) == [f"4 worker-4 3 {id}"]


# -- questions --------------------------------------------------------------------------------------------------------


def test_fetching_a_large_array(begin: Begin) -> None:
    wire = begin(1)
    (id,) = wire.run((np.arange, 1_000_000))
    wire.results([id])
    parcel = wire.fetch(id)
    assert bool(parcel.files) is not wire.in_process
    assert parcel.nbytes >= 8_000_000
    assert parcel.value().sum() == sum(range(1_000_000))
    parcel.close()
    wire.worker.ask("fetch", 12345)
    assert wire.said("gone") == (12345,)


def test_a_value_that_is_unpacked_while_it_is_sent_on() -> None:
    class Silence:
        def send(self, kind: str, *fields: Any) -> None:
            raise AssertionError(kind)

    store = Store([0.0] * WORDS, Silence())
    store.learn({}, {}, {7: 0}, [Parcel.of(np.arange(50_000))])
    parcel = store.parcel(7, Parcel.of)
    assert store.value(7).sum() == sum(range(50_000))  # which needs the file that came no longer
    assert parcel.value().sum() == sum(range(50_000))
    parcel.close()
    store.drop([7])


async def answer_later(value: int, *, more: int) -> tuple[int, bool]:
    await asyncio.sleep(0)
    return value + more, current_task() is None


def test_calls_run_beside_the_tasks(begin: Begin) -> None:
    wire = begin(1)
    (busy,) = wire.run((spin,))
    wire.begun(busy)
    wire.worker.ask("call", 1, True, parcels=[wire.pack((pow, (2, 3), {"mod": 5}))])
    _, fields, parcels = wire.heard("answer", 1)
    assert fields == (1, True, None)
    assert parcels[0].value() == 3
    wire.worker.ask("call", 2, True, parcels=[wire.pack((answer_later, (1,), {"more": 2}))])
    assert wire.heard("answer", 2)[2][0].value() == (3, True)
    wire.worker.ask("call", 3, True, parcels=[wire.pack((raise_this, (SystemExit,), {}))])
    _, (_, ok, error), parcels = wire.heard("answer", 3)
    assert not ok
    assert error
    assert not parcels
    wire.worker.ask("cancel", [busy])
    assert wire.said("cancelled", busy)


def test_a_call_that_is_not_waited_for(begin: Begin, tmp_path: Path) -> None:
    wire = begin(1)
    gate = tmp_path / "gate"
    wire.worker.ask("call", 1, False, parcels=[wire.pack((open_gate, (str(gate),), {}))])
    wire.hear(gate.exists)
    assert wire.results(wire.run((abs, -1))) == [1]
    assert not [message for message in wire.messages if message[0] == "answer"]


def test_stacks(begin: Begin, tmp_path: Path) -> None:
    wire = begin(2)
    started = tmp_path / "started"
    (id,) = wire.run((swallow, str(started), str(tmp_path / "gate")))
    wire.hear(started.exists)
    wire.worker.ask("stacks", 9)
    _, ok, stacks = wire.said("answer", 9)
    assert ok
    assert list(stacks) == [id]
    text = "".join(stacks[id])
    assert "in swallow" in text
    assert text.index("in swallow") < text.index("in spin")
    assert "taskloom/engines" not in text.replace("tests/engines", "")
    (tmp_path / "gate").touch()
    wire.worker.ask("cancel", [id])
    wire.results([id])


# -- the process ------------------------------------------------------------------------------------------------------


def speak() -> None:
    print("printed")
    print("complained", file=sys.stderr)
    print("no end", end="")


def test_what_tasks_print(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    wire = begin(2)
    (id,) = wire.run((speak,))
    wire.results([id])
    seen = capsys.readouterr()
    if wire.in_process:
        assert (seen.out, seen.err) == ("printed\nno end", "complained\n")
    else:
        kinds = [kind for kind, _, _ in wire.messages]
        said = [fields for kind, fields, _ in wire.messages if kind == "printed"]
        assert said == [(id, "stdout", "printed\n"), (id, "stderr", "complained\n"), (id, "stdout", "no end")]
        assert kinds.index("done") > max(place for place, kind in enumerate(kinds) if kind == "printed")


def test_what_is_printed_outside_of_tasks(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("threads of this process print here")
    wire.worker.ask("call", 1, True, parcels=[wire.pack((speak, (), {}))])
    wire.heard("answer", 1)

    def printed(stream: str) -> str:
        return "".join([text for name, text in wire.printed if name == stream])

    wire.hear(lambda: (printed("stdout"), printed("stderr")) == ("printed\nno end", "complained\n"))


def test_what_c_code_and_children_of_a_task_print(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("threads of this process print here")
    wire.results(wire.run((os.system, "echo from a child")))
    wire.hear(lambda: ("stdout", "from a child\n") in wire.printed)


def fork_and_print() -> int:
    print("begun, ", end="")
    pid = os.fork()
    if not pid:
        print("in the child", flush=True)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_prints_on_the_pipe(begin: Begin) -> None:
    wire = begin(1)
    if wire.in_process:
        pytest.skip("the fork would be one of this process")
    (id,) = wire.run((fork_and_print,))
    assert wire.results([id]) == [0]
    wire.hear(lambda: ("stdout", "in the child\n") in wire.printed)
    assert wire.said("printed", id) == (id, "stdout", "begun, ")


def warn() -> None:
    warnings.warn("careful", UserWarning, stacklevel=1)


def test_what_tasks_warn_of_is_told() -> None:
    server = ForkServer()
    wire = Wire.to(ClusterProcess, 2, server)
    try:
        (id,) = wire.run((warn,))
        wire.results([id])
        _, what, payload = wire.said("told", id)
        assert what == "warning"
        with pytest.warns(UserWarning, match="careful"):
            hear(what, payload)
    finally:
        wire.close()
        server.close()


def inside() -> bool:
    from taskloom.engines import worker

    return worker.inside


def test_a_worker_process_knows_what_it_is(begin: Begin) -> None:
    wire = begin(1)
    assert wire.results(wire.run((inside,))) == [not wire.in_process]


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_ends_when_its_links_are_closed(busy: bool) -> None:
    server = ForkServer()
    wire = Wire.to(ClusterProcess, 2, server)
    try:
        if busy:
            for id in wire.run((spin,), (spin,)):
                wire.begun(id)
        else:
            wire.results(wire.run((nothing,)))
        wire.worker.work.close()
        wire.worker.data.close()
        deadline = time.monotonic() + 10
        while wire.worker.fate() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        wire.close()
        server.close()


def test_a_worker_that_dies_says_how() -> None:
    server = ForkServer()
    wire = Wire.to(ClusterProcess, 1, server)
    try:
        (id,) = wire.run((os._exit, 3))
        wire.hear(wire.worker.fate)
        assert wire.worker.fate() == "exited with code 3"
        assert [task for _, task, _ in wire.worker.running()] == [id]
    finally:
        wire.close()
        server.close()


def test_the_threads_of_a_closed_worker_end() -> None:
    before = set(threading.enumerate())
    worker = ClusterThreads.begin("worker-0")
    wire = Wire(worker, 3)
    ids = wire.run((spin,), (nothing,))
    wire.begun(ids[0])
    wire.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_loose_values_are_references() -> None:
    value = np.ones(10)
    loose = Loose.of(value)
    assert loose.value() is value
    assert (loose.nbytes, loose.files) == (80, ())
    loose.close()
