"""What the threads engine promises beyond the contract: concurrency at once, its bounds, and warm threads."""

import os
import threading
from collections import deque
from functools import partial
from time import sleep
from typing import Any

import pytest

import taskloom
from taskloom.threaded import get

from .cases import PATIENCE, check_child, in_thread, wait_for


def inc(x: int) -> int:
    return x + 1


def meeting_of(parties: int) -> dict[Any, Any]:
    """As many tasks as `parties`, which wait for each other."""
    barrier = threading.Barrier(parties)
    return {("meet", i): (lambda barrier: barrier.wait(PATIENCE / 2) >= 0, barrier) for i in range(parties)}


# -- tasks that wait for each other ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parties", [2, 4, 16])
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_as_many_tasks_as_workers_run_at_once(parties: int, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    for _ in range(3):  # on new threads and on warm ones
        dsk = meeting_of(parties)
        assert get(dsk, list(dsk), num_workers=parties, **callbacks) == [True] * parties


def test_the_default_is_a_worker_for_each_core() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    dsk = meeting_of(cores)
    assert get(dsk, list(dsk)) == [True] * cores


@pytest.mark.parametrize("parties", [2, 4])
def test_behind_tiny_tasks(parties: int) -> None:
    """Ten thousand tasks that one thread does best, and then some that need company."""
    dsk: dict[Any, Any] = {("x", i): (inc, i) for i in range(10_000)}
    dsk["sum"] = (sum, list(dsk))
    barrier = threading.Barrier(parties)
    dsk |= {("meet", i): (lambda _, barrier: barrier.wait(PATIENCE / 2) >= 0, "sum", barrier) for i in range(parties)}
    dsk |= {("y", i): (lambda *_: 1, [("meet", k) for k in range(parties)]) for i in range(100)}
    dsk["end"] = (sum, [("y", i) for i in range(100)])
    assert get(dsk, "end", num_workers=parties) == 100


@pytest.mark.parametrize("parties", [2, 4])
def test_behind_a_chain_of_tiny_tasks(parties: int) -> None:
    dsk: dict[Any, Any] = {("x", 0): (inc, 0)}
    dsk |= {("x", i): (inc, ("x", i - 1)) for i in range(1, 3_000)}
    barrier = threading.Barrier(parties)
    dsk |= {
        ("meet", i): (lambda _, barrier: barrier.wait(PATIENCE / 2) >= 0, ("x", 2_999), barrier) for i in range(parties)
    }
    assert get(dsk, [("meet", i) for i in range(parties)], num_workers=parties) == [True] * parties


@pytest.mark.parametrize("parties", [2, 4])
def test_while_another_run_is_active(parties: int) -> None:
    """The other's only task waits for this run."""
    started, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        started.set()
        return wait_for(go_on)

    other = in_thread(partial(get, num_workers=parties), {"hold": (hold,)}, "hold")
    wait_for(started)
    dsk = meeting_of(parties)
    try:
        assert in_thread(partial(get, num_workers=parties), dsk, list(dsk))() == [True] * parties
    finally:
        go_on.set()
    assert other() is True


def test_while_a_busy_run_is_active() -> None:
    """The other runs tiny tasks all the time."""
    begun, stop = threading.Event(), threading.Event()

    def busy() -> None:
        while not stop.is_set():
            dsk = {("x", i): (inc, i) for i in range(2_000)}
            get(dsk, list(dsk), num_workers=2)
            begun.set()

    other = in_thread(busy)
    wait_for(begun)
    try:
        for _ in range(3):
            dsk = meeting_of(2)
            assert get(dsk, list(dsk), num_workers=2) == [True, True]
    finally:
        stop.set()
    other()


def test_two_runs_that_both_need_company() -> None:
    results = []
    for _ in range(2):
        dsk = meeting_of(2)
        results.append(in_thread(partial(get, num_workers=2), dsk, list(dsk)))
    assert [result() for result in results] == [[True, True]] * 2


def test_while_others_hold_all_places() -> None:
    begun, go_on = threading.Barrier(3), threading.Event()

    def hold(_: int) -> None:
        begun.wait(PATIENCE)
        go_on.wait(PATIENCE)

    other = in_thread(get, {"a": (hold, 1), "b": (hold, 2)}, ["a", "b"], 2)
    begun.wait(PATIENCE)
    try:
        dsk = meeting_of(3)
        assert get(dsk, list(dsk), num_workers=3) == [True] * 3
    finally:
        go_on.set()
        other()


def test_inside_a_task() -> None:
    def inner() -> list[bool]:
        dsk = meeting_of(2)
        return list(get(dsk, list(dsk), num_workers=2))

    assert get({"a": (inner,), "b": (len, "a")}, "b", num_workers=2) == 2


def test_inside_every_task_at_once() -> None:
    """Both workers of the outer run wait for an inner run, each of which needs company."""
    entered = threading.Barrier(2)

    def inner(_: int) -> list[bool]:
        entered.wait(PATIENCE / 2)
        dsk = meeting_of(2)
        return list(get(dsk, list(dsk), num_workers=2))

    assert in_thread(partial(get, num_workers=2), {"a": (inner, 1), "b": (inner, 2)}, ["a", "b"])() == [[True] * 2] * 2


# -- no more at a time than asked for --------------------------------------------------------------------------------


class Census:
    """Counts how many tasks run at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0

    def task(self, *_: Any) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        sleep(0.002)  # what the others need to overtake it
        with self.lock:
            self.now -= 1
        return 1


@pytest.mark.parametrize("num_workers", [1, 2, 5])
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_never_more_tasks_at_a_time_than_workers(num_workers: int, observed: bool) -> None:
    census = Census()
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk: dict[Any, Any] = {("x", i): (census.task, i) for i in range(30)}
    dsk |= {("y", i): (census.task, ("x", i), ("x", (i + 1) % 30)) for i in range(30)}
    get(dsk, [("y", i) for i in range(30)], num_workers=num_workers, **callbacks)
    assert census.most <= num_workers


def test_runs_inside_tasks_share_the_places() -> None:
    census = Census()

    def inner(_: int) -> int:
        dsk = {("x", i): (census.task, i) for i in range(8)}
        return len(get(dsk, list(dsk), num_workers=3))

    dsk = {("outer", i): (inner, i) for i in range(6)}
    assert get(dsk, list(dsk), num_workers=3) == [8] * 6
    # A task that waits for a run inside it gives its place away, and may come back while the other still works.
    assert census.most <= 2 * 3


def test_runs_at_the_same_time_share_the_places() -> None:
    """Helpers for one run, whatever the number of callers: 3 workers are 2 helpers, and each caller works too."""
    census = Census()
    callers = 4

    def compute() -> int:
        dsk = {("x", i): (census.task, i) for i in range(20)}
        return len(get(dsk, list(dsk), num_workers=3))

    assert [result() for result in [in_thread(compute) for _ in range(callers)]] == [20] * callers
    assert census.most <= 3 + callers


def test_a_ready_task_does_not_wait_while_a_place_is_free() -> None:
    """Each task of a chain makes a second one ready, which has to start before the chain can go on."""
    started = [threading.Event() for _ in range(50)]

    def link(_: Any, i: int) -> int:
        if i:
            wait_for(started[i - 1])
        return i

    def side(_: Any, i: int) -> int:
        started[i].set()
        return i

    dsk: dict[Any, Any] = {("link", 0): (link, 0, 0)}
    for i in range(1, 50):
        dsk[("link", i)] = (link, ("link", i - 1), i)
        dsk[("side", i - 1)] = (side, ("link", i - 1), i - 1)
    assert get(dsk, [("link", 49), *[("side", i) for i in range(49)]], num_workers=2)[0] == 49


def test_the_first_workers_task_is_the_one_that_failed_whatever_others_have_done_meanwhile() -> None:
    others_are_done = threading.Event()

    def fail() -> None:
        wait_for(others_are_done)
        raise ValueError("on purpose")

    dsk: dict[Any, Any] = {("fail", 0): (fail,)} | {("inc", i): (inc, i) for i in range(5)}
    dsk["tell"] = (lambda *_: others_are_done.set(), [("inc", i) for i in range(5)])
    with pytest.raises(ValueError, match="on purpose"):
        get(dsk, list(dsk), num_workers=2)
    failure = taskloom.runs[-1].failure
    assert failure is not None
    assert failure.key == ("fail", 0)
    assert failure.inputs == ()


# -- warm threads ----------------------------------------------------------------------------------------------------


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("taskloom-")]


def test_short_runs_start_no_threads() -> None:
    dsk = meeting_of(3)
    get(dsk, list(dsk), num_workers=3)
    before = {thread.ident for thread in threading.enumerate()}
    for _ in range(1_000):
        get({"a": (inc, 1), "b": (inc, 1), "c": (max, "a", "b")}, "c", num_workers=3)
    assert {thread.ident for thread in threading.enumerate()} <= before
    dsk = meeting_of(3)
    get(dsk, list(dsk), num_workers=3)
    assert {thread.ident for thread in threading.enumerate()} <= before
    assert all(thread.daemon for thread in helpers())


def test_a_thread_that_cannot_be_started_is_done_without() -> None:
    """As where the system has no more to give: the caller does all the work, and the next run finds help again."""

    program = """
import threading, time
from taskloom.threaded import get
start = threading.Thread.start
def refuse(self):
    if self.name.startswith("taskloom-") and "ticker" not in self.name:
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
dsk = {("x", i): (time.sleep, 0.003) for i in range(10)}
assert get({**dsk, "n": (len, list(dsk))}, "n", num_workers=4) == 10
threading.Thread.start = start
barrier = threading.Barrier(2)
assert sorted(get({key: (barrier.wait, 20.0) for key in "ab"}, ["a", "b"], num_workers=2)) == [0, 1]
"""
    check_child(program)


def test_an_interrupt_while_the_first_helper_starts_leaves_help_for_the_next_run() -> None:
    program = """
import threading, time
from taskloom.threaded import get
start = threading.Thread.start
def strike(self):
    if self.name.startswith("taskloom-") and "ticker" not in self.name:
        threading.Thread.start = start
        raise KeyboardInterrupt
    start(self)
threading.Thread.start = strike
try:
    get({"a": (time.sleep, 0.01), "b": (time.sleep, 0.01)}, ["a", "b"], num_workers=2)
except KeyboardInterrupt:
    print("interrupted")
barrier = threading.Barrier(2)
assert sorted(get({key: (barrier.wait, 20.0) for key in "ab"}, ["a", "b"], num_workers=2)) == [0, 1]
"""
    assert check_child(program) == "interrupted\n"


def test_several_tasks_leave_the_main_thread_free() -> None:
    names: deque[str] = deque()
    both = threading.Barrier(2)

    def task(_: Any) -> None:
        both.wait(PATIENCE)
        names.append(threading.current_thread().name)

    dsk = {("x", i): (task, i) for i in range(20)}
    get(dsk, list(dsk), num_workers=2)
    run = taskloom.last_run()
    assert run is not None
    assert {worker.name for worker in run.workers} == set(names)
    assert len(run.workers) == 2
    assert "MainThread" not in names


def test_an_interrupt_does_not_wait_for_a_task_that_nothing_can_end() -> None:
    program = """
import hashlib, os, signal, threading, time
from taskloom.threaded import get
begun = threading.Barrier(3)
def task(i):
    begun.wait(20.0)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
def interrupt():
    begun.wait(20.0)
    time.sleep(0.05)  # until both are in there
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
dsk = {("x", i): (task, i) for i in range(4)}
try:
    get(dsk, list(dsk), num_workers=2)
except KeyboardInterrupt:
    os._exit(0)  # what they are at is not for us to end
"""
    check_child(program)


def test_the_same_threads_work_in_one_run_after_the_other() -> None:
    program = """
import threading, time, taskloom
from taskloom.engines.crew import crew
from taskloom.threaded import get
both = threading.Barrier(2)
dsk = {("x", i): (both.wait, 20.0) for i in range(20)}
teams = set()
for _ in range(20):
    get(dsk, list(dsk), num_workers=2)
    teams.add(frozenset(worker.name for worker in taskloom.last_run().workers))
    deadline = time.monotonic() + 20
    while len(crew._idle) < 2:  # one may be late to come back
        assert time.monotonic() < deadline
        time.sleep(0.001)
[team] = teams
assert len(team) == 2, team
"""
    check_child(program)


def test_importing_starts_no_thread() -> None:
    check_child("import threading, taskloom, taskloom.threaded; assert threading.active_count() == 1")


@pytest.mark.parametrize("where", ["between-runs", "inside-a-task"])
def test_fork(where: str) -> None:
    """A child process starts with no helpers and computes fine; so does its parent afterwards."""
    program = """
import os, sys, threading, warnings
import taskloom
from taskloom.threaded import get
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork with threads

def meet():
    barrier = threading.Barrier(3)
    answer = get({key: (barrier.wait, 20.0) for key in "abc"}, ["a", "b", "c"], num_workers=3)
    assert sorted(answer) == [0, 1, 2]

def fork(*_):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            meet()
            callback = taskloom.Callback(pretask=lambda *_: None)
            dsk = {("x", i): (abs, -i) for i in range(100)}
            assert get({**dsk, "sum": (sum, list(dsk))}, "sum", callbacks=callback) == 4950
            assert taskloom.get({"a": (abs, -1)}, "a") == 1
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]

meet()
if sys.argv[1] == "between-runs":
    assert [fork() for _ in range(3)] == [0, 0, 0]
else:
    dsk = {("fork", i): (fork, i) for i in range(4)}
    assert get(dsk, list(dsk), num_workers=2) == [0] * 4
    assert taskloom.get({"a": (fork,)}, "a") == 0
meet()
"""
    check_child(program, where)


@pytest.mark.parametrize("how", ["idle", "in-a-task", "atexit", "exception"])
def test_the_interpreter_exits_cleanly(how: str) -> None:
    program = """
import atexit, sys, threading, time
from taskloom.threaded import get
barrier = threading.Barrier(4)
get({key: (barrier.wait, 20.0) for key in "abcd"}, ["a", "b", "c", "d"], num_workers=4)
how = sys.argv[1]
if how == "in-a-task":  # a helper hangs in a task of a run that has failed
    both = threading.Barrier(2)
    def task(number):
        both.wait(20.0)
        if number == 1:
            raise ValueError("bad")
        threading.Event().wait(100)
    try:
        get({"a": (task, 1), "b": (task, 2)}, ["a", "b"], num_workers=2)
    except ValueError:
        pass
elif how == "atexit":
    atexit.register(lambda: print(get({("x", i): (abs, -i) for i in range(3)}, ("x", 2), num_workers=1)))
elif how == "exception":
    try:
        get({"a": (divmod, 1, 0)}, "a")
    except ZeroDivisionError:
        pass
"""
    check_child(program, how)


@pytest.mark.parametrize("watched", ["watched", "alone"])
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_finalizer_computes_while_the_interpreter_exits(pause: float, watched: str) -> None:
    program = """
import operator, sys, time
import taskloom
from taskloom.threaded import get
graph = {"a": (abs, -1), "b": (abs, -2), "c": (operator.add, "a", "b")}
class Last:
    def __del__(self, get=get, graph=graph, print=print):
        print(get(graph, "c", num_workers=2), flush=True)
last = Last()
get(graph, "c", num_workers=2)
if sys.argv[2] == "watched":
    taskloom.Callback().register()
time.sleep(float(sys.argv[1]))  # until the helpers sleep, or not
"""
    assert check_child(program, str(pause), watched) == "3\n"


# -- where the caller's thread has an event loop ---------------------------------------------------------------------


def test_the_thread_of_an_event_loop_runs_no_task() -> None:
    import asyncio

    names: deque[str] = deque()

    async def main() -> Any:
        dsk = {("x", i): (lambda _: names.append(threading.current_thread().name), i) for i in range(20)}
        return get({**dsk, "n": (len, list(dsk))}, "n", num_workers=2)

    assert asyncio.run(main()) == 20
    assert threading.current_thread().name not in names
    run = taskloom.last_run()
    assert run is not None
    assert all(worker.name.startswith("taskloom-") for worker in run.workers)


def test_a_barrier_inside_an_event_loop() -> None:
    import asyncio

    async def main() -> Any:
        dsk = meeting_of(3)
        return get(dsk, list(dsk), num_workers=3)

    assert asyncio.run(main()) == [True] * 3
