"""Cancelling what runs on a cluster, and what else keeps tasks from ever ending."""

from pathlib import Path

import pytest

from .fault_cases import check_program

ONE_THREAD = "client = Client(n_workers=2, threads_per_worker=1)\n"
TWO_THREADS = "client = Client(n_workers=2, threads_per_worker=2)\n"
IN_PROCESS = "client = Client(n_workers=1, threads_per_worker=2, processes=False)\n"

SPIN = """
def spin(name):
    once(name)
    while True:
        sum(range(1000))
def deaf(name, seconds=60):
    import hashlib
    begin = time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)
    rounds = int(100_000 * seconds / (time.thread_time() - begin))
    try:
        once(name)
    finally:  # whoever cancels it may be quick
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", min(rounds, 2**31 - 1))  # without the lock, deaf to signals
def stubborn(name):
    once(name)
    while True:
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            if written(name + "-end"):
                raise
def holding(name):
    import collections, itertools
    try:
        once(name)
    finally:
        collections.deque(itertools.repeat(0), maxlen=0)  # with it
def cancel_and_hear(future):
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        future.cancel()
        until(lambda: caught)
    return str(caught[0].message)
def stops(future, **options):
    future.cancel(**options)
    until(lambda: not any(client.processing().values()) and not running())
    assert future.status == "cancelled"
    raised(taskloom.distributed.FutureCancelledError, future.result)
def running():
    return client.cluster._coordinator.crew.running()
def worker_pids():
    return {worker.pid for worker in client.cluster.workers.values()}
"""

#: A task that imports a package while it is cancelled: it would not be importable a second time.
IMPORT = """
patience()
pool = os.path.join(place, "slowly")
os.mkdir(pool)
with open(os.path.join(pool, "__init__.py"), "w") as file:
    file.write(f'''
from .part import *
names = part.__all__
open({os.path.join(place, "importing")!r}, "a").close()
import time
end = time.monotonic() + 0.4
while time.monotonic() < end:
    sum(range(100))
''')
with open(os.path.join(pool, "part.py"), "w") as file:
    file.write("__all__ = ['value']; value = 1")
sys.path.insert(0, place)
def imports():
    import slowly
    return slowly.names
for number in range(3):
    client.run(lambda: [sys.modules.pop(name, None) for name in ("slowly", "slowly.part")])
    client.run(lambda: sys.path.insert(0, place))
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(place, "importing"))
    before = client.run(os.getpid)
    futures = [client.submit(imports, pure=False) for _ in range(PLACES)]
    until(lambda: written("importing"))
    client.cancel(futures)
    again = [client.submit(imports, pure=False) for _ in range(4)]
    assert client.gather(again) == [["value"]] * 4
    assert client.run(os.getpid) == before
"""

#: Name: threads, program.
CANCELS = {
    "busy-loop": (
        ONE_THREAD,
        """
patience()
before = pids()
for i in range(3):
    futures = client.map(spin, [f"{i}a", f"{i}b"])
    until(lambda: written(f"{i}a") and written(f"{i}b"))
    other = client.submit(abs, -i, pure=False)
    for future in futures:
        future.cancel()
    assert other.result(timeout=10) == i
    until(lambda: not running())
assert pids() == before
""",
    ),
    "input-of-what-is-lost": (
        ONE_THREAD,
        """
from taskloom.bus.event_bus import bus
def slow_the_second_time():
    if not once("first"):
        begun("second")
    return 1
def large(x):
    return [b"x" * 100_000, x]
home, _ = client.scheduler_info()["workers"]
where = dict(workers=[home], allow_other_workers=True)
cancelled = client.submit(slow_the_second_time, **where)
built = client.submit(large, cancelled, **where)
wait([built])
assert cancelled.result() == 1
cancelled.cancel()
until(cancelled.cancelled)
[pid] = [worker.pid for worker in client.cluster.workers.values() if worker.name == home]
os.kill(pid, signal.SIGKILL)
until(lambda: written("second"))  # for what builds on it, which was lost
assert cancelled.cancelled()
del built
until(lambda: not bus.active)  # what was to be done again, and is not, keeps no record open
assert cancelled.cancelled()
once("second-end")
""",
    ),
    "busy-loops-on-two-threads": (
        TWO_THREADS,
        """
patience()
before = pids()
for i in range(3):
    names = [f"{i}{letter}" for letter in "abcd"]
    futures = client.map(spin, names)
    until(lambda: all(map(written, names)))
    client.cancel(futures)
    until(lambda: not running())
    workers = list(client.cluster._coordinator.scheduler.workers.values())
    until(lambda: not any(worker.strays for worker in workers))  # else one has not room for two of the next four
assert pids() == before
""",
    ),
    "one-of-two-threads": (
        TWO_THREADS,
        """
patience()
futures = client.map(spin, "abcd")
goes_on = client.map(begun, ["e", "f"])
until(lambda: all(map(written, "abcd")))
client.cancel(futures[1:])
until(lambda: written("e") and written("f") and len(running()) == 3)
once("e-end"), once("f-end")
assert client.gather(goes_on) == ["e", "f"]
client.cancel(futures)
until(lambda: not running())
""",
    ),
    "sleep": (
        TWO_THREADS,
        """
def sleeps(name):
    once(name)
    time.sleep(60)
before = pids()
futures = client.map(sleeps, "ab")
until(lambda: written("a") and written("b"))
client.cancel(futures)
until(lambda: not running())  # in the main thread at once; in another one its worker is replaced
""",
    ),
    "stubborn": (
        ONE_THREAD,
        """
def stubborn(name):
    once(name)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
before = pids()
future = client.submit(stubborn, "a")
until(lambda: written("a"))
stops(future)  # the signal that comes just when it deals with another one, or a new worker
""",
    ),
    "deaf": (
        ONE_THREAD,
        """
before = pids()
kept = client.map(lambda i: [i], range(6))
wait(kept)
future = client.submit(deaf, "a")
until(lambda: written("a"))
queued = client.map(abs, range(10))
stops(future)
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)
assert client.gather(kept) == [[i] for i in range(6)]  # some of them computed again
assert client.gather(queued) == list(range(10))
""",
    ),
    "an-import": (ONE_THREAD, IMPORT.replace("PLACES", "2")),
    "imports-on-two-threads": (TWO_THREADS, IMPORT.replace("PLACES", "4")),
    "an-import-in-this-process": (IN_PROCESS, IMPORT.replace("PLACES", "1")),
    "deaf-with-the-lock": (
        ONE_THREAD,
        """
before = pids()
future = client.submit(holding, "a")
until(lambda: written("a"))
stops(future)
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)
""",
    ),
    "deaf-in-a-worker-with-a-plugin": (
        ONE_THREAD,
        """
from taskloom.distributed import WorkerPlugin
client.register_plugin(WorkerPlugin())
before = pids()
future = client.submit(holding, "a")
until(lambda: written("a"))
stops(future)
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)  # the one that is deaf to that, too, had its time
""",
    ),
    "deaf-beside-scattered-data": (
        ONE_THREAD,
        """
data = client.scatter([[1], [2], [3]], broadcast=False)
worker = next(iter(client.who_has([data[0]]).values()))[0]
future = client.submit(deaf, "a", 4, workers=worker)
until(lambda: written("a"))
queued = client.submit(abs, -7, workers=worker)
before = pids()
told = cancel_and_hear(future)
assert "does not answer" in told and "force" in told, told
assert future.status == "cancelled"
assert client.gather(data) == [[1], [2], [3]] and pids() == before
assert queued.result() == 7 and pids() == before
""",
    ),
    "stubborn-beside-scattered-data": (
        ONE_THREAD,
        """
data = client.scatter([[1], [2], [3]])
worker = next(iter(client.who_has([data[0]]).values()))[0]
future = client.submit(stubborn, "a", workers=worker)
until(lambda: written("a"))
told = cancel_and_hear(future)
assert "does not answer" in told, told
once("a-end")
assert client.submit(abs, -7, workers=worker).result(timeout=15) == 7  # it is asked to leave until it does
assert client.gather(data) == [[1], [2], [3]]
""",
    ),
    "forced-beside-scattered-data": (
        ONE_THREAD,
        """
data = client.scatter([[1], [2], [3]])
before = pids()
holder = client.who_has(data[:1])
future = client.submit(deaf, "a")
until(lambda: written("a"))
stops(future, force=True)
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)
until(lambda: any(one.status == "error" for one in data))
lost = [one for one in data if one.status == "error"]
raised(taskloom.TaskloomError, lost[0].result, "scatter")
""",
    ),
    "deaf-beside-a-running-task": (
        TWO_THREADS,
        """
client.cluster.scale(1)
until(lambda: len(client.cluster.workers) == 1)
future, other = client.submit(deaf, "a", 4), client.submit(begun, "b")
until(lambda: written("a") and written("b"))
before = pids()
told = cancel_and_hear(future)
assert "does not answer" in told, told
once("b-end")
assert other.result() == "b" and pids() == before
""",
    ),
    "threads": (
        IN_PROCESS,
        """
patience()
future = client.submit(spin, "a")
until(lambda: written("a"))
stops(future)
patience(1.0)
future = client.submit(deaf, "b", 3)
until(lambda: written("b"))
told = cancel_and_hear(future)
assert "threads" in told, told
assert client.submit(abs, -3).result(timeout=10) == 3
""",
    ),
    "hanging-pickle-of-a-result": (
        ONE_THREAD,
        """
class Bad:
    def __reduce__(self):
        once("entered")
        time.sleep(60)
        return int, ()
before = pids()
future = client.submit(lambda: Bad())
signal.signal(signal.SIGINT, signal.default_int_handler)
def strike():
    until(lambda: written("entered"))
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
def waits():
    threading.Thread(target=strike, daemon=True).start()  # it may strike at once
    future.result()
raised(KeyboardInterrupt, waits)
assert client.gather(client.map(abs, range(20))) == list(range(20))
del future
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)
""",
    ),
    "hanging-pickle-of-an-exception": (
        ONE_THREAD,
        """
class Bad(Exception):
    def __reduce__(self):
        once("entered")
        time.sleep(60)
        return int, ()
def task():
    raise Bad
before = pids()
future = client.submit(task)
until(lambda: written("entered"))
future.cancel()
until(lambda: len(pids() & before) == 1 and len(pids()) == 2)
""",
    ),
    "hanging-unpickling-of-an-argument": (
        ONE_THREAD,
        """
class Bad:
    def __reduce__(self):
        return (lambda: once("entered") and time.sleep(60)), ()
patience()
before = pids()
future = client.submit(id, Bad())
until(lambda: written("entered"))
stops(future)
assert pids() == before
""",
    ),
    "dependents": (
        ONE_THREAD,
        """
first = client.submit(spin, "a")
second = client.submit(lambda x: x, first)
third = client.submit(lambda x: x, second)
until(lambda: written("a"))
client.cancel(first)
until(lambda: third.status == "cancelled" and second.status == "cancelled")
raised(taskloom.distributed.FutureCancelledError, third.result)
until(lambda: not running())
""",
    ),
    "cancelled-and-submitted-again": (
        ONE_THREAD,
        """
client.run(written, "a")  # imports that are cancelled half-way leave files open
for i in range(20):
    future = client.submit(begun, "a")
    client.cancel(future)
    again = client.submit(begun, "a")
    assert again.status == "pending"
    if i % 2:
        until(lambda: written("a"))
    client.cancel(again)
once("a-end")
assert client.submit(begun, "a").result(timeout=10) == "a"
""",
    ),
    "key-of-another-function": (
        ONE_THREAD,
        """
import warnings
mine = client.submit(abs, -1, key="mine")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    other = client.submit(len, [1, 2], key="mine")
assert len(caught) == 1 and "'mine'" in str(caught[0].message) and "another function" in str(caught[0].message)
assert other.result() == mine.result() == 1
with Client(client.cluster, set_as_default=False) as another, warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert another.submit(len, [1, 2], key="mine").result() == 1
    until(lambda: caught)
    assert "'mine'" in str(caught[0].message) and "another function" in str(caught[0].message)
""",
    ),
    "restrictions-that-nobody-can-meet": (
        ONE_THREAD,
        """
with taskloom.config.set(distributed={"no_workers_timeout": 0.3}):
    begin = time.monotonic()
    named = client.submit(abs, -1, workers="nobody", key="named")
    needy = client.submit(abs, -1, resources={"GPU": 2}, key="needy")
    behind = client.submit(abs, needy, key="behind")
    raised(taskloom.TaskloomError, named.result, "'named'", "nobody", "worker-0")
    raised(taskloom.TaskloomError, behind.result, "'needy'", "GPU")
    raised(taskloom.TaskloomError, lambda: client.get({"x": (abs, -1)}, "x", workers="nobody"), "'x'", "nobody")
    assert time.monotonic() - begin > 0.2
    assert client.submit(abs, -2, workers="nobody", allow_other_workers=True).result() == 2
""",
    ),
}


@pytest.mark.parametrize("cancel", CANCELS)
def test_a_cancel(place: Path, cancel: str) -> None:
    start, program = CANCELS[cancel]
    check_program(f"{SPIN}{program}\ncheck()\n", start)
