"""Ctrl-C in every phase of a run. Each case is a process of its own, in which signals can do no harm."""

from pathlib import Path

import pytest

from .cases import CASES, Case, check_child

#: What every program below begins with. `strike()` sends SIGINT as a terminal would; `check()` looks at what is left.
PRELUDE = """
import os, signal, sys, threading, time
import taskloom
from tests.engines.cases import case_named, wait_for, in_thread
case = case_named(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
ran = []

def strike():
    os.kill(os.getpid(), signal.SIGINT)

def strike_when(event):
    def wait_and_strike():
        wait_for(event)
        for _ in range(5):  # the first may come just before the call blocks, which nobody but a second one wakes
            with turn:
                if gone.is_set():
                    return
                struck.append(time.monotonic())
                strike()
            gone.wait(1.0)
    return in_thread(wait_and_strike)

struck, gone, turn = [], threading.Event(), threading.Lock()

def interrupted(get, dsk, keys, **options):
    '''Run until the interrupt; returns how many seconds behind the first signal it came.'''
    try:
        try:
            get(dsk, keys, **options)
        except KeyboardInterrupt:
            with turn:
                gone.set()
        else:
            raise SystemExit("no KeyboardInterrupt")
    except KeyboardInterrupt:  # another one, just before there were to be no more
        gone.set()
    return time.monotonic() - struck[0] if struck else 0.0

def in_time(late):
    return late < 2.5  # 0.5 is what is promised, of a machine with nothing else to do

def check(get):
    run = taskloom.last_run()
    assert run is None or run.status == "cancelled", run
    before = list(ran)
    dsk = {("x", i): (abs, -i) for i in range(200)}
    assert get({**dsk, "sum": (sum, list(dsk))}, "sum") == 19900
    assert taskloom.last_run().status == "finished"
    if case.name == "threads":
        meeting = threading.Barrier(2)
        assert sorted(get({i: (meeting.wait, 20.0) for i in "ab"}, ["a", "b"])) == [0, 1]
    assert ran == before, ran
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("taskloom")]
    others = set(threading.enumerate()) - {*ours, threading.main_thread()}
    assert all(thread.daemon for thread in ours)
    if case.own_workers:
        assert len(ours) <= case.threads and all(thread.daemon for thread in others), threading.enumerate()
    print("fine")
"""

#: phase -> program. `get` is the engine's, with two workers.
PHASES = {
    # A task blocks in the main thread or in a worker, and others wait for it.
    "event": """
started, never = threading.Event(), threading.Event()
def task(x):
    started.set()
    never.wait(15)
    return x
striker = strike_when(started)
late = interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b")
never.set()
assert in_time(late), late
""",
    "sleep": """
started = threading.Event()
def task(x):
    started.set()
    time.sleep(4)
striker = strike_when(started)
late = interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b")
assert in_time(late), late
""",
    "lock": """
started, lock = threading.Event(), threading.Lock()
lock.acquire()
def task(x):
    started.set()
    lock.acquire(timeout=15)
    lock.release()
striker = strike_when(started)
late = interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b")
lock.release()
assert in_time(late), late
""",
    # All workers block, and more tasks are ready.
    "all-block": """
started, never = threading.Event(), threading.Event()
entered = []
def task(x):
    entered.append(x)
    if len(entered) == (2 if case.parallel else 1):
        started.set()
    never.wait(15)
dsk = {("x", i): (task, i) for i in range(10)}
striker = strike_when(started)
late = interrupted(get, dsk, list(dsk))
assert in_time(late), late
assert len(entered) <= 2, entered
never.set()
""",
    # The signal comes inside a task, and inside the last one.
    "inside-a-task": """
def task(x):
    signal.raise_signal(signal.SIGINT)
    return x
if case.parallel:  # the task may run in another thread: then the signal meets the caller, who waits
    dsk = {"a": (task, 1), "b": (lambda x: threading.Event().wait(2), "a"), "c": (ran.append, "b")}
else:
    dsk = {"a": (task, 1), "c": (ran.append, "a")}
interrupted(get, dsk, "c")
""",
    # Callbacks run in the main thread.
    "start": """
interrupted(get, {"a": (ran.append, 1)}, "a", callbacks=taskloom.Callback(start=lambda *_: strike()))
""",
    "start_state": """
interrupted(get, {"a": (ran.append, 1)}, "a", callbacks=taskloom.Callback(start_state=lambda *_: strike()))
""",
    "pretask": """
interrupted(get, {"a": (ran.append, 1)}, "a", callbacks=taskloom.Callback(pretask=lambda *_: strike()))
""",
    "posttask": """
finished = []
callback = taskloom.Callback(posttask=lambda *_: strike(), finish=lambda dsk, state, errored: finished.append(errored))
interrupted(get, {'x': (abs, -1), 'y': (ran.append, 'x')}, 'y', callbacks=callback)
assert finished == [True]
""",
    "observed-task": """
started, never = threading.Event(), threading.Event()
finished = []
def task(x):
    started.set()
    never.wait(15)
striker = strike_when(started)
callback = taskloom.Callback(finish=lambda dsk, state, errored: finished.append(errored))
late = interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b", callbacks=callback)
never.set()
assert in_time(late), late
assert finished == [True]
""",
    # The graph is being read: there is no run yet.
    "compile": """
class Strikes:
    def __hash__(self):
        strike()
        return 1
try:
    get({"a": (ran.append, Strikes())}, "a")
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("no KeyboardInterrupt")
""",
    # A run inside a task.
    "nested": """
if not case.own_workers:
    get = taskloom.get
started, never = threading.Event(), threading.Event()
def inner_task():
    started.set()
    never.wait(15)
def outer_task():
    return get({"x": (inner_task,), "y": (ran.append, "x")}, "y")
striker = strike_when(started)
late = interrupted(get, {"a": (outer_task,), "b": (ran.append, "a")}, "b")
never.set()
assert in_time(late), late
""",
    # Inside a running event loop the caller only waits.
    "event-loop": """
import asyncio
started, never = threading.Event(), threading.Event()
def task(x):
    started.set()
    never.wait(15)
async def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as notebooks have it; asyncio.run sets its own
    return interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b")
striker = strike_when(started)
late = asyncio.run(main())
never.set()
assert in_time(late), late
""",
    # The same with the handler of `asyncio.run`, which by itself would wait until the coroutine gives way.
    "asyncio": """
import asyncio
started, never = threading.Event(), threading.Event()
def task(x):
    started.set()
    never.wait(15)
async def main():
    before = signal.getsignal(signal.SIGINT)
    late = interrupted(get, {"a": (task, 1), "b": (ran.append, "a")}, "b")
    assert signal.getsignal(signal.SIGINT) is before
    return late
striker = strike_when(started)
late = asyncio.run(main())
never.set()
assert in_time(late), late
""",
}


#: The same where tasks run in other processes. `begun` is a file that tells of a start, in place of an event.
PHASES_ELSEWHERE = {
    "sleep": """
late = interrupted(get, {"a": (task, begun), "b": (abs, "a")}, "b")
""",
    "all-block": """
dsk = {("x", i): (task, begun) for i in range(10)}
late = interrupted(get, dsk, list(dsk))
""",
    "inside-a-task": """
def busy(path):
    task(path, 0.0)
    while True:
        pass
late = interrupted(get, {"a": (busy, begun), "b": (abs, "a")}, "b")
""",
    "observed-task": """
finished = []
callback = taskloom.Callback(finish=lambda dsk, state, errored: finished.append(errored))
late = interrupted(get, {"a": (task, begun), "b": (abs, "a")}, "b", callbacks=callback)
assert finished == [True]
""",
    "nested": """
def outer(path):
    return taskloom.multiprocessing.get({"x": (task, path), "y": (abs, "x")}, "y")
late = interrupted(get, {"a": (outer, begun), "b": (abs, "a")}, "b")
""",
    "event-loop": """
import asyncio
async def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as notebooks have it; asyncio.run sets its own
    return interrupted(get, {"a": (task, begun), "b": (abs, "a")}, "b")
late = asyncio.run(main())
""",
    "asyncio": """
import asyncio
async def main():
    before = signal.getsignal(signal.SIGINT)
    late = interrupted(get, {"a": (task, begun), "b": (abs, "a")}, "b")
    assert signal.getsignal(signal.SIGINT) is before
    return late
late = asyncio.run(main())
""",
}


@pytest.mark.parametrize("case", ["processes", "cluster"])
@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("phase", PHASES_ELSEWHERE)
def test_ctrl_c_while_tasks_run_elsewhere(phase: str, context: str, case: str, tmp_path: Path) -> None:
    """The whole group of processes gets the signal, and the same workers serve the next run."""
    body = PHASES_ELSEWHERE[phase].strip().replace("\n", "\n    ")
    program = f"""{PRELUDE}
import pathlib, psutil
os.setsid()
strike = lambda: os.killpg(0, signal.SIGINT)
begun = sys.argv[2]
def task(path, seconds=15.0):
    pathlib.Path(path).touch()
    time.sleep(seconds)
def pids():
    return {{child.pid for child in psutil.Process().children(recursive=True)}}
with taskloom.config.set(multiprocessing={{"context": "{context}"}}), case.open(2) as get:
    get({{("x", i): (time.sleep, 0.01) for i in range(8)}}, [("x", i) for i in range(8)])
    before = pids()
    class Begun:
        def wait(self, patience):
            while not os.path.exists(begun):
                time.sleep(0.005)
            return True
    striker = strike_when(Begun())
    {body}
    assert in_time(late), late
    check(get)
    assert pids() == before
"""
    assert check_child(program, case, str(tmp_path / "begun")) == "fine\n"


@pytest.mark.parametrize("case", [case for case in CASES if case.in_process], ids=lambda case: case.name)
@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c(case: Case, phase: str) -> None:
    body = PHASES[phase].strip().replace("\n", "\n    ")
    program = f"{PRELUDE}\nwith case.open(2) as get:\n    {body}\n    check(get)\n"
    assert check_child(program, case.name) == "fine\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("observed", ["plain", "observed"])
def test_ctrl_c_at_any_moment(case: Case, observed: str) -> None:
    """Hundreds of moments, one after the other: strike_anywhere.py says how."""
    program = "import sys; from tests.engines.strike_anywhere import main; main(*sys.argv[1:])"
    assert check_child(program, case.name, observed, limit=180) == "fine\n"
