"""What goes wrong in worker processes. Each case is a program of its own, with a hard limit."""

import pytest

from .cases import check_child

#: What every program below begins with. `check()` sees whether the engine is as good as new.
PRELUDE = """
import contextlib, io, operator, os, signal, sys, tempfile, threading, time
import psutil
import taskloom
get = taskloom.multiprocessing.get
place = tempfile.mkdtemp()

def once(name):
    '''Whether this is the first time that anybody asks.'''
    try:
        os.close(os.open(os.path.join(place, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def living(processes):
    alive = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != "zombie":
                alive.append(process)
    return alive

def until(met):
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def pids():
    return {worker.pid for worker in psutil.Process().children()}

os.setsid()  # a group of its own, as a terminal or Jupyter makes one, and signals all of it
signal.signal(signal.SIGINT, signal.default_int_handler)
struck = []

def strike_when(met):
    def strike():
        until(met)
        struck.append(time.monotonic())
        os.killpg(0, signal.SIGINT)
    threading.Thread(target=strike, daemon=True).start()

def interrupted(dsk, keys):
    try:
        get(dsk, keys, num_workers=2)
    except KeyboardInterrupt:
        assert time.monotonic() - struck[0] < 2.5  # 0.5 is what is promised, of a machine with nothing else to do
    else:
        raise SystemExit("no interrupt")
    assert taskloom.last_run().status == "cancelled"

def written(name):
    return os.path.exists(os.path.join(place, name))

def check():
    assert get({"a": (abs, -1), "b": (lambda x: x + 1, "a")}, "b", num_workers=2) == 2
    assert taskloom.last_run().status == "finished"
    print("fine")
"""

DEATHS = {
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "segv": "os.kill(os.getpid(), signal.SIGSEGV)",
    "abort": "os.abort()",
    "exit": "os._exit(3)",
}

FAULTS = {
    "result": """
try:
    get({"bad": (lambda: threading.Lock(),)}, "bad", num_workers=2)
except taskloom.SerializationError as error:
    assert "'bad'" in str(error) and "lock" in str(error), error
else:
    raise SystemExit("no error")
""",
    "argument": """
try:
    get({"bad": (id, [threading.Lock()])}, "bad", num_workers=2)
except taskloom.SerializationError as error:
    assert "'bad'" in str(error) and "lock" in str(error), error
else:
    raise SystemExit("no error")
""",
    "function": """
lock = threading.Lock()
try:
    get({"bad": (lambda: lock,)}, "bad", num_workers=2)
except taskloom.SerializationError as error:
    assert "'bad'" in str(error) and "lock" in str(error), error
else:
    raise SystemExit("no error")
""",
    "exception": """
class Odd(Exception):
    pass
def task():
    raise Odd("it was", threading.Lock())
try:
    get({"bad": (task,)}, "bad", num_workers=2)
except taskloom.SerializationError as error:
    assert "'bad'" in str(error) and "Odd" in str(error) and "it was" in str(error), error
    assert error.__cause__.args[0] == "Odd"
    assert "it was" in error.__cause__.args[1] and "in task" in str(error.__cause__), error.__cause__
else:
    raise SystemExit("no error")
""",
    "hang-unpickling": """
class Bad:
    def __reduce__(self):
        return (lambda: once("entered") and time.sleep(60)), ()
strike_when(lambda: written("entered"))
interrupted({"bad": (id, Bad())}, "bad")
""",
    "hang-pickling": """
class Bad:
    def __reduce__(self):
        once("entered") and time.sleep(60)
        return int, ()
strike_when(lambda: written("entered"))
interrupted({"bad": (lambda: Bad(),)}, "bad")
""",
    "hang-pickling-for-another": """
class Bad:
    def __reduce__(self):
        once("entered") and time.sleep(60)
        return int, ()
def make(x):
    once(f"made-{x}")
    while not written(f"made-{3 - x}"):  # so that each is in a worker of its own
        time.sleep(0.01)
    return Bad()
strike_when(lambda: written("entered"))
interrupted({"a": (make, 1), "b": (make, 2), "c": (lambda x, y: 1, "a", "b")}, "c")
""",
    "hang-pickling-an-exception": """
class Bad(Exception):
    def __reduce__(self):
        once("entered") and time.sleep(60)
        return int, ()
def task():
    raise Bad
strike_when(lambda: written("entered"))
interrupted({"bad": (task,)}, "bad")
""",
    "exit-pickling": """
class Bad:
    def __reduce__(self):
        os._exit(5)
dsk = {("x", i): (lambda i: Bad() if i == 3 else [i], i) for i in range(20)}
try:
    get(dsk, list(dsk), num_workers=2, retries=1)
except taskloom.WorkerDied as error:
    assert "('x', 3)" in str(error) and "code 5" in str(error), error
else:
    raise SystemExit("no error")
""",
    "exit-pickling-for-another": """
class Bad:
    def __reduce__(self):
        os._exit(5)
def make(x):
    time.sleep(0.05)
    return Bad()
dsk = {"bad": (make, 1), "bad too": (make, 2), "c": (lambda x, y: 1, "bad", "bad too")}
try:
    assert get(dsk, "c", num_workers=2) == 1  # which is right once one worker has made both
except taskloom.WorkerDied as error:
    assert "'bad" in str(error) and "code 5" in str(error), error
""",
    "raise-pickling": """
class Bad:
    def __reduce__(self):
        raise ValueError("not me")
dsk = {("x", i): (lambda i: Bad() if i == 3 else [i], i) for i in range(20)}
try:
    get(dsk, list(dsk), num_workers=2)
except taskloom.SerializationError as error:
    assert "('x', 3)" in str(error), error
    assert type(error.__cause__) is ValueError and "not me" in str(error.__cause__), error.__cause__
else:
    raise SystemExit("no error")
""",
    "exit-unpickling": """
class Bad:
    def __reduce__(self):
        return os._exit, (5,)
try:
    get({"bad": (id, Bad())}, "bad", num_workers=2, retries=1)
except taskloom.WorkerDied as error:
    assert "'bad'" in str(error) and "code 5" in str(error), error
else:
    raise SystemExit("no error")
""",
    "raise-unpickling": """
class Bad:
    def __reduce__(self):
        return int, ("x",)
try:
    get({"bad": (id, Bad())}, "bad", num_workers=2)
except ValueError as error:
    assert "'bad'" in error.__notes__[0], error
else:
    raise SystemExit("no error")
""",
    "memory": """
def task():
    if not once("tried"):
        os._exit(1)
    raise MemoryError("too much")
try:
    get({"bad": (task,)}, "bad", num_workers=2)
except MemoryError as error:
    assert "out of memory" in error.__notes__[0] and "'bad'" in error.__notes__[1], error.__notes__
else:
    raise SystemExit("no error")
""",
    "retries-by-key": """
def task(name):
    with open(os.path.join(place, name), "a") as file:
        file.write("x")
    os._exit(1)
for observed in {}, {"callbacks": taskloom.Callback()}:
    for name, retries, tries in (("a", {"a": 1, "b": 7, "gone": 5}, 2), ("b", {"a": 1}, 3), ("c", 0, 1)):
        with contextlib.suppress(taskloom.WorkerDied), taskloom.config.set(multiprocessing={"retries": 2}):
            get({name: (task, name.upper())}, name, num_workers=1, retries=retries, **observed)
        assert os.path.getsize(os.path.join(place, name.upper())) == tries, name
        os.unlink(os.path.join(place, name.upper()))
""",
    "killed-for-memory": """
from taskloom.engines.worker import memory
from pathlib import Path
counter = Path(place, "memory.events")
counter.write_text("oom 0\\noom_kill 7\\n")
memory.counter = lambda: counter
def task():
    if not once("tried"):
        os._exit(1)
    counter.write_text("oom 1\\noom_kill 8\\n")
    os.kill(os.getpid(), signal.SIGKILL)
try:
    get({"bad": (task,)}, "bad", num_workers=2)
except taskloom.WorkerDied as error:
    assert "'bad'" in str(error) and "out of memory" in str(error), error
else:
    raise SystemExit("no error")
""",
    "large-results": """
import numpy as np
def make(i):
    time.sleep(0.02)
    return np.full(100_000, i)
def use(i, *arrays):
    if i == 1 and once("died"):
        os.kill(os.getpid(), signal.SIGKILL)
    return int(sum(array.sum() for array in arrays))
dsk = {("x", i): (make, i) for i in range(6)}
dsk |= {("y", i): (use, i, *[("x", j) for j in range(6)]) for i in range(4)}
assert get(dsk, [("y", i) for i in range(4)], num_workers=2) == [1_500_000] * 4
""",
    "nothing-left": """
os.environ["TMPDIR"] = tempfile.tempdir = place  # in that of all, others have theirs
before = {folder: set(os.listdir(folder)) for folder in ("/dev/shm", place)}
import numpy as np
def task(i):
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.zeros(1_000_000)
workers = pids()
with contextlib.suppress(taskloom.WorkerDied):
    get({("x", i): (task, i) for i in range(6)}, [("x", i) for i in range(6)], num_workers=2)
new = [name for folder, names in before.items() for name in set(os.listdir(folder)) - names if "taskloom" in name]
assert not new, new
assert len(pids()) <= 2
""",
    "stopped": """
def task(i):
    if i == 3 and once("stopped"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return i
def go_on():
    until(lambda: any(child.status() == "stopped" for child in psutil.Process().children()))
    time.sleep(3.0)
    for pid in pids():
        os.kill(pid, signal.SIGCONT)
threading.Thread(target=go_on, daemon=True).start()
dsk = {("x", i): (task, i) for i in range(50)}
assert get(dsk, list(dsk), num_workers=2) == list(range(50))
""",
    "interrupt": """
def task(i):
    time.sleep(20)
dsk = {("x", i): (task, i) for i in range(8)}
get({("x", i): (abs, i) for i in range(8)}, ("x", 3), num_workers=2)
before = pids()
strike_when(lambda: (runs := taskloom.runs[-1:]) and runs[0].running and runs[0].n_tasks == 8)
interrupted(dsk, list(dsk))
assert get({("x", i): (abs, i) for i in range(8)}, ("x", 3), num_workers=2) == 3
assert pids() == before
""",
    "deaf": """
import collections, itertools
def task(i):
    if i:
        time.sleep(20)
    collections.deque(itertools.repeat(0), maxlen=0)  # C code that hears of no signal
dsk = {("x", i): (abs, i) for i in range(8)}
get(dsk, ("x", 3), num_workers=2)
before = pids()
def cancel():
    while not (run := taskloom.last_run()) or len(run.running) != 2:
        time.sleep(0.01)
    cancelled.append(time.monotonic())
    run.cancel()
cancelled = []
threading.Thread(target=cancel, daemon=True).start()
try:
    get({("y", i): (task, i) for i in range(2)}, [("y", 0), ("y", 1)], num_workers=2)
except KeyboardInterrupt:
    assert time.monotonic() - cancelled[0] < 2.5
else:
    raise SystemExit("no interrupt")
assert pids() == before
assert get(dsk, ("x", 3), num_workers=2) == 3
assert len(pids()) == 2 and len(pids() & before) == 1
""",
    "many-runs": """
dsk = {("x", i): (lambda x: [x], i) for i in range(20)}
get(dsk, list(dsk), num_workers=2)
me = psutil.Process()
def census():
    return me.num_fds(), me.num_threads(), len(me.children())
before = census()
for _ in range(200):
    get(dsk, list(dsk), num_workers=2)
until(lambda: all(map(operator.le, census(), before)))  # whoever takes samples of a run has a file open at times
""",
    "many-threads": """
answers = []
def compute(n):
    dsk = {("x", i): (lambda x: x + n, i) for i in range(20)}
    answers.append(get(dsk, list(dsk), num_workers=2) == [i + n for i in range(20)])
threads = [threading.Thread(target=compute, args=(n,)) for n in range(50)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers == [True] * 50
""",
    "nested": """
def inner(x):
    return sum(taskloom.multiprocessing.get({"abc"[i]: (abs, x) for i in range(3)}, ["a", "b", "c"])), os.getpid()
answers = get({("x", i): (inner, i) for i in range(4)}, [("x", i) for i in range(4)], num_workers=2)
assert [answer for answer, _ in answers] == [0, 3, 6, 9]
assert {pid for _, pid in answers} <= pids()
""",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault(fault: str) -> None:
    assert check_child(f"{PRELUDE}\n{FAULTS[fault]}\ncheck()\n") == "fine\n"


@pytest.mark.parametrize("death", DEATHS)
def test_a_task_whose_worker_dies_runs_again(death: str) -> None:
    program = f"""
def task(i):
    if i == 7 and once("died"):
        {DEATHS[death]}
    return [i]
dsk = {{("x", i): (task, i) for i in range(30)}}
dsk["sum"] = (lambda *lists: sum(map(sum, lists)), *dsk)
with contextlib.redirect_stderr(io.StringIO()):
    assert get(dsk, "sum", num_workers=2) == 435
run = taskloom.last_run()
assert sorted(run.done) == list(range(31)), run.done
check()
"""
    assert check_child(PRELUDE + program) == "fine\n"


@pytest.mark.parametrize("observed", ["", ", callbacks=taskloom.Callback()"], ids=["plain", "observed"])
@pytest.mark.parametrize("death", DEATHS)
def test_a_task_that_always_kills_its_worker(death: str, observed: str) -> None:
    program = f"""
def task(i):
    print("last words", file=sys.stderr, flush=True)
    {DEATHS[death]}
dsk = {{"good": (abs, -1), "killer": (task, "good"), "behind": (abs, "killer")}}
try:
    with contextlib.redirect_stderr(io.StringIO()):
        get(dsk, "behind", num_workers=2, retries=2{observed})
except taskloom.WorkerDied as error:
    assert "'killer'" in str(error) and "3 times" in str(error) and "last words" in str(error), error
else:
    raise SystemExit("no error")
run = taskloom.last_run()
assert run.failure.key == "killer"
assert dict(zip(run.tasks.key, run.tasks.status)) == {{"good": "finished", "killer": "failed", "behind": "waiting"}}
check()
"""
    assert check_child(PRELUDE + program) == "fine\n"


@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
def test_workers_die_with_their_parent(context: str) -> None:
    """Also those that keep the interpreter lock in C code, where no thread of theirs can look."""
    program = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", '''
import ctypes, os, time, taskloom
def get(dsk, keys):
    return taskloom.multiprocessing.get(dsk, keys, num_workers=2, context="{context}")
print(get({{"a": (os.getpid,)}}, "a"))
def hold(seconds):
    ctypes.PyDLL(None).sleep(seconds)
get(dict.fromkeys("ab", (hold, 100)), ["a", "b"])
'''], stdout=subprocess.PIPE, text=True, env={{**os.environ, "PYTHONUNBUFFERED": "1"}})
pid = int(child.stdout.readline())
children = psutil.Process(child.pid).children(recursive=True)
assert pid in {{worker.pid for worker in children}}
time.sleep(0.2)
child.kill()
child.wait()
child.stdout.close()
until(lambda: not living(children))
print("fine")
"""
    assert check_child(PRELUDE + program) == "fine\n"
