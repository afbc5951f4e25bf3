"""What goes wrong in the workers of a cluster, with their processes, and around it."""

from pathlib import Path

import pytest

from .fault_cases import check_program

DEATHS = {
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "segv": "__import__('faulthandler')._sigsegv()",
    "abort": "os.abort()",
    "exit": "os._exit(3)",
}

#: Faults of a task, and of what it takes and gives.
OF_TASKS = {
    "result": """
future = client.submit(lambda: threading.Lock(), key="bad")
raised(taskloom.SerializationError, future.result, "'bad'", "lock")
assert future.status == "finished"  # others that run where it is can use it
assert client.submit(lambda lock: lock.acquire(), future).result()
raised(taskloom.SerializationError, lambda: client.get({"bad": (lambda: threading.Lock(),)}, "bad"), "'bad'", "lock")
""",
    "results-that-cannot-meet": """
def make(i):
    once(f"made-{i}")
    until(lambda: written(f"made-{1 - i}"))
    return threading.Lock()
locks = client.map(make, range(2), key=["one", "other"])
raised(taskloom.SerializationError, client.submit(max, *locks, key="behind").result, "'behind'", "lock", "'o")
""",
    "argument": """
raised(taskloom.SerializationError, lambda: client.submit(id, [threading.Lock()], key="bad"), "'bad'", "lock")
raised(taskloom.SerializationError, lambda: client.get({"bad": (id, [threading.Lock()])}, "bad"), "'bad'", "lock")
raised(taskloom.SerializationError, lambda: client.scatter({"bad": threading.Lock()}), "lock")
""",
    "function": """
lock = threading.Lock()
raised(taskloom.SerializationError, lambda: client.submit(lambda: lock, key="bad"), "'bad'", "lock")
raised(taskloom.SerializationError, lambda: client.get({"bad": (lambda: lock,)}, "bad"), "'bad'", "lock")
""",
    "exception": """
class Odd(Exception):
    pass
def task():
    raise Odd("it was", threading.Lock())
for call in client.submit(task, key="bad").result, lambda: client.get({"bad": (task,)}, "bad"):
    error = raised(taskloom.SerializationError, call, "Odd", "it was")
    assert error.__cause__.args[0] == "Odd" and "in task" in str(error.__cause__), error.__cause__
""",
    "exception-that-raises-when-pickled": """
class Odd(Exception):
    def __reduce__(self):
        raise SystemExit(3)
def task():
    raise Odd("it was")
raised(taskloom.SerializationError, client.submit(task).result, "Odd")
""",
    "exception-that-cannot-be-shown": """
class Odd(Exception):
    def __str__(self):
        return str(self)
def task():
    raise Odd
assert type(client.submit(task).exception()).__name__ == "Odd"
""",
    "raise-pickling": """
class Bad:
    def __reduce__(self):
        raise ValueError("not me")
futures = client.map(lambda i: Bad() if i == 3 else [i], range(20), key=[f"x{i}" for i in range(20)])
error = raised(taskloom.SerializationError, lambda: client.gather(futures), "'x3'")
assert type(error.__cause__) is ValueError and "not me" in str(error.__cause__), error.__cause__
assert client.gather(futures[4:]) == [[i] for i in range(4, 20)]
""",
    "raise-unpickling": """
class Bad:
    def __reduce__(self):
        return int, ("x",)
raised(ValueError, client.submit(id, Bad(), key="bad").result)
raised(taskloom.SerializationError, client.submit(lambda: Bad(), key="bad too").result, "'bad too'")
""",
    "exit-pickling": """
class Bad:
    def __reduce__(self):
        os._exit(5)
with taskloom.config.set(multiprocessing={"retries": 1}):
    future = client.submit(lambda: Bad(), key="bad")
    raised(taskloom.WorkerDied, future.result, "'bad'", "code 5")
assert future.status == "error"
""",
    "exit-pickling-an-exception": """
class Bad(Exception):
    def __reduce__(self):
        os._exit(5)
def task():
    raise Bad
raised(taskloom.WorkerDied, client.submit(task, key="bad").result, "'bad'", "code 5")
""",
    "exit-unpickling": """
class Bad:
    def __reduce__(self):
        return os._exit, (5,)
raised(taskloom.WorkerDied, client.submit(id, Bad(), key="bad").result, "'bad'", "code 5")
""",
    "base-exceptions": """
def task(error):
    raise error
for error in SystemExit(3), KeyboardInterrupt("x"), GeneratorExit(), StopIteration(1), BaseException("y"):
    got = client.submit(task, error).exception()
    assert type(got) is type(error) and got.args == error.args, got
    raised(type(error), lambda: client.get({"a": (task, error)}, "a"))
assert len(pids()) == 2
""",
    "recursion": """
def task(n):
    return task(n + 1)
raised(RecursionError, client.submit(task, 0).result)
nested = []
for _ in range(100_000):
    nested = [nested]
raised(Exception, lambda: client.submit(len, nested))
def deep():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested
raised(Exception, client.submit(deep).result)
del nested
""",
    "memory": """
def task():
    if not once("tried"):
        os._exit(1)
    raise MemoryError("too much")
error = raised(MemoryError, client.submit(task, key="bad").result)
assert "out of memory" in error.__notes__[0], error.__notes__
""",
    "killed-for-memory": """
from taskloom.engines.worker import memory
from pathlib import Path
counter = Path(place, "memory.events")
counter.write_text("oom 0\\noom_kill 7\\n")
memory.counter = lambda: counter
client.close()
client = Client(n_workers=2, threads_per_worker=1)
def task():
    if not once("tried"):
        os._exit(1)
    counter.write_text("oom 1\\noom_kill 8\\n")
    os.kill(os.getpid(), signal.SIGKILL)
raised(taskloom.WorkerDied, client.submit(task, key="bad").result, "'bad'", "out of memory")
""",
    "children": """
def task():
    return subprocess.run([sys.executable, "-c", "print(3)"], capture_output=True, text=True).stdout
def forking():
    pid = os.fork()
    if not pid:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert client.submit(task).result() == "3\\n"
assert client.submit(forking).result() == 7
""",
    "fork-that-lives-on": """
def task():  # a child that has all descriptors of the worker
    pid = os.fork()
    if not pid:
        time.sleep(30)
        os._exit(0)
    return pid
pid = client.submit(task).result()
for worker in pids():
    os.kill(worker, signal.SIGKILL)
assert client.submit(abs, -5).result(timeout=10) == 5
os.kill(pid, signal.SIGKILL)
""",
    "closed-standard-files": """
def task(i):
    os.close(1), os.close(2)
    return i
assert client.gather(client.map(task, range(1))) == [0]
assert client.gather(client.map(abs, range(200))) == list(range(200))
""",
}

#: Faults of workers, and what becomes of what they hold.
OF_WORKERS = {
    "killed-while-idle": """
before = pids()
for pid in before:
    os.kill(pid, signal.SIGKILL)
assert client.submit(abs, -5).result(timeout=10) == 5
until(lambda: len(pids()) == 2 and not pids() & before)
""",
    "killed-with-results": """
futures = client.map(lambda i: [i], range(20))
total = client.submit(lambda lists: sum(map(sum, lists)), futures)
wait([*futures, total])
for pid in pids():
    os.kill(pid, signal.SIGKILL)
assert client.gather(futures) == [[i] for i in range(20)]
assert total.result() == 190
""",
    "killed-with-results-of-released-inputs": """
make = client.submit(lambda n: list(range(n)), 10)
one = client.submit(lambda values: [x + 1 for x in values], make)
other = client.submit(lambda values, more: [*values, more], one, [5])
wait(other)
del make, one
time.sleep(0.3)
for pid in pids():
    os.kill(pid, signal.SIGKILL)
assert other.result() == [*range(1, 11), [5]]
""",
    "killed-with-scattered-data": """
data = client.scatter({"mine": [1, 2, 3]})["mine"]
assert client.submit(sum, data).result() == 6
assert sum(len(keys) for keys in client.has_what().values()) >= 1
for pid in pids():
    os.kill(pid, signal.SIGKILL)
until(lambda: data.status == "error")
raised(taskloom.TaskloomError, data.result, "'mine'", "scatter", "worker-")
raised(taskloom.TaskloomError, client.submit(sum, data, pure=False).result, "'mine'")
""",
    "killed-with-scattered-data-that-others-hold": """
data = client.scatter([1, 2, 3], broadcast=True)
os.kill(min(pids()), signal.SIGKILL)
assert client.submit(lambda *values: sum(values), *data).result() == 6
assert client.gather(data) == [1, 2, 3]
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
assert client.get(dsk, [("y", i) for i in range(4)]) == [1_500_000] * 4
""",
    "killed-in-mid-send": """
import numpy as np
def make(i):
    return np.full(3_000_000, i)  # 24 MB each, all of them on their way
futures = client.map(make, range(20))
wait(futures)
def strike():
    for _ in range(6):
        time.sleep(0.01)
        if pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(max(pids()), signal.SIGKILL)
thread = threading.Thread(target=strike)
thread.start()
assert [int(array[0]) for array in client.gather(futures)] == list(range(20))
thread.join()
""",
    "stopped": """
def task(i):
    if i == 3 and once("stopped"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return i
def go_on():
    until(lambda: written("stopped"))
    time.sleep(1.0)
    for pid in pids():
        os.kill(pid, signal.SIGCONT)
before = pids()
threading.Thread(target=go_on, daemon=True).start()
assert client.gather(client.map(task, range(50))) == list(range(50))
assert pids() == before
""",
    "output-while-chattering": """
def chatter(name):
    print("x" * 100)
    print("y" * 100, file=sys.stderr)
    if name == 299:
        print("last words")
    return name
out, err = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    client.gather(client.map(chatter, range(300)))
    until(lambda: err.getvalue().count("y" * 100) == 300 and out.getvalue().count("x" * 100) == 300)
assert "last words" in out.getvalue()
""",
    "output-that-nobody-takes": """
class Closed(io.StringIO):
    def write(self, text):
        raise ValueError("I/O operation on closed file")
logging = __import__("logging")
logging.getLogger("taskloom").addHandler(logging.NullHandler())
logging.getLogger("taskloom").propagate = False
with contextlib.redirect_stdout(Closed()):
    assert client.submit(lambda: print("hello")).result() is None
    client.gather(client.map(abs, range(50)))
""",
    "a-wordy-worker-holds-nobody-up": """
def wordy():
    while not written("end"):
        print("x", flush=True)
def quick(i):
    return i
with contextlib.redirect_stdout(io.StringIO()):
    future = client.submit(wordy)
    nobody = client.submit(abs, -1, workers="nobody", key="needy")
    with taskloom.config.set(distributed={"no_workers_timeout": 0.2}):
        other = client.submit(abs, -2, workers="nobody", key="needy too")
        raised(taskloom.TaskloomError, lambda: other.result(timeout=10), "'needy too'")
    for i in range(10):
        assert client.submit(quick, i).result(timeout=10) == i
    once("end")
    future.result()
    nobody.cancel()
""",
    "start-fails": """
client.close()
client = Client(n_workers=0, threads_per_worker=1)
def die():
    os._exit(9)
before = os.environ.get("PYTHONPATH", "")
broken = os.path.join(place, "broken")
os.mkdir(broken)
with open(os.path.join(broken, "sitecustomize.py"), "w") as file:
    file.write("import os, sys; print('no luck', file=sys.stderr); os._exit(9)")
os.environ["PYTHONPATH"] = broken
with contextlib.redirect_stderr(io.StringIO()):
    future = client.submit(abs, -1)
    client.cluster.scale(2)
    raised(taskloom.WorkerDied, lambda: future.result(timeout=30), "code 9", "no luck")
    raised(taskloom.WorkerDied, lambda: client.submit(abs, -3).result(timeout=30), "code 9")  # one more try
os.environ["PYTHONPATH"] = before
assert client.submit(abs, -4).result(timeout=30) == 4
until(lambda: len(pids()) == 2)
""",
    "start-fails-for-want-of-files": """
import resource
before = resource.getrlimit(resource.RLIMIT_NOFILE)
client.submit(abs, -1).result()
workers = pids()
resource.setrlimit(resource.RLIMIT_NOFILE, (16, before[1]))
for pid in workers:
    os.kill(pid, signal.SIGKILL)
until(lambda: not client.cluster.workers)
time.sleep(0.1)
resource.setrlimit(resource.RLIMIT_NOFILE, before)
""",
}


@pytest.mark.parametrize("fault", [*OF_TASKS, *OF_WORKERS])
def test_a_fault(place: Path, fault: str) -> None:
    check_program((OF_TASKS | OF_WORKERS)[fault] + "\ncheck()\n")


@pytest.mark.parametrize("death", DEATHS)
def test_a_task_whose_worker_dies_runs_again(place: Path, death: str) -> None:
    check_program(f"""
def task(i):
    if i == 7 and once("died"):
        {DEATHS[death]}
    return [i]
with contextlib.redirect_stderr(io.StringIO()):
    dsk = {{("x", i): (task, i) for i in range(30)}}
    dsk["sum"] = (lambda *lists: sum(map(sum, lists)), *dsk)
    assert client.get(dsk, "sum") == 435
    assert sorted(taskloom.last_run().done) == list(range(31)), taskloom.last_run().done
    os.unlink(os.path.join(place, "died"))
    futures = client.map(task, range(30))
    assert client.submit(lambda lists: sum(map(sum, lists)), futures).result() == 435
check()
""")


@pytest.mark.parametrize("death", DEATHS)
def test_a_task_that_always_kills_its_worker(place: Path, death: str) -> None:
    check_program(f"""
def task(i):
    print("last words", file=sys.stderr, flush=True)
    {DEATHS[death]}
with contextlib.redirect_stderr(io.StringIO()):
    good = client.submit(abs, -1)
    killer = client.submit(task, good, key="killer")
    behind = client.submit(abs, killer)
    raised(taskloom.WorkerDied, behind.result, "'killer'", "4 times", "last words")
    assert killer.status == "error" and good.result() == 1
    dsk = {{"good": (abs, -1), "killer": (task, "good"), "behind": (abs, "killer")}}
    raised(taskloom.WorkerDied, lambda: client.get(dsk, "behind"), "'killer'", "4 times", "last words")
    assert taskloom.last_run().failure.key == "killer"
check()
""")
