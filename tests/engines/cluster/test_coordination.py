"""What clients and tasks share, where something goes wrong: holders and consumers end, waits are given up."""

from pathlib import Path

import pytest

from .fault_cases import check_program

ONE_WORKER = "client = Client(n_workers=1, threads_per_worker=1)\n"
TWO_WORKERS = "client = Client(n_workers=2, threads_per_worker=1)\n"
IN_PROCESS = "client = Client(n_workers=1, threads_per_worker=2, processes=False)\n"

TOOLS = """
import asyncio, gc, warnings
from taskloom.distributed import Event, Lock, MultiLock, Queue, Semaphore, Variable
warnings.simplefilter("ignore")
said = []
warnings.showwarning = lambda message, *rest: said.append(str(message))
desk = client.cluster._coordinator.coordinating._coordination._desk
scheduler = client.cluster._coordinator.scheduler

def waits(n=1):
    '''Wait until so many wait for an answer.'''
    until(lambda: len(desk._waiting) == n)

def in_thread(function, *args, **kwargs):
    '''The outcomes of a call in a thread, which come later.'''
    outcomes = []
    def call():
        try:
            outcomes.append(function(*args, **kwargs))
        except BaseException as error:
            outcomes.append(error)
    threading.Thread(target=call, daemon=True).start()
    return outcomes

def interrupted(call):
    '''Make a call that waits, and interrupt that.'''
    before = len(desk._waiting)
    def strike():
        until(lambda: len(desk._waiting) > before)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=strike)
    thread.start()
    raised(KeyboardInterrupt, call)
    thread.join()
    until(lambda: len(desk._waiting) == before)

def nothing_is_left():
    '''Nobody waits, nothing is kept, and no result is wanted.'''
    gc.collect()
    until(lambda: not (desk._waiting or desk._given or desk._lent or desk.items))
    until(lambda: not scheduler.clients.get(0) or not scheduler.clients[0].futures)
"""

#: Name: cluster, program.
CASES = {
    "lock-holder-killed": (
        TWO_WORKERS,
        """
warnings.simplefilter("always")
def hold(name):
    with Lock(name):
        if once(f"killed-{name}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return name
assert client.submit(hold, "Safe").result() == "Safe"
until(lambda: said)
assert said[0].startswith("Worker 'worker-") and "has ended and held the lock 'Safe'" in said[0], said
assert Lock("Safe").acquire(blocking=False)
""",
    ),
    "semaphore-holder-killed": (
        TWO_WORKERS,
        """
def hold(semaphore):
    with semaphore:
        if once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return semaphore.get_value()
semaphore = Semaphore(2, "s")
with semaphore:
    assert client.submit(hold, semaphore).result() == 2
assert semaphore.get_value() == 0
semaphore.close()
""",
    ),
    "client-killed-that-holds-a-lock": (
        ONE_WORKER,
        """
program = "import sys; from taskloom.distributed import *; client = Client(sys.argv[1]); lock = Lock('x'); "
program += "print(lock.acquire() and 'has it', flush=True); sys.stdin.read()"
other = subprocess.Popen(
    [sys.executable, "-c", program, client.cluster.scheduler_address],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
assert other.stdout.readline() == "has it\\n"
lock = Lock("x")
assert not lock.acquire(blocking=False)
gets = in_thread(lock.acquire)
waits()
other.kill()
until(lambda: gets)
assert gets == [True]
lock.release()
other.wait(), other.stdin.close(), other.stdout.close()
""",
    ),
    "client-left-that-holds-a-lock": (
        ONE_WORKER,
        """
other = Client(client.cluster, set_as_default=False)
held = Lock("x", client=other)
held.acquire()
other.close()
assert Lock("x").acquire(timeout=10)
""",
    ),
    "lock-of-an-object-that-is-gone": (
        ONE_WORKER,
        """
def forget():
    Lock("x").acquire()
    raise ValueError("and it is not released")
raised(ValueError, client.submit(forget).result)
assert Lock("x").acquire(timeout=10)
lock = Lock("y")
lock.acquire()
del lock
gc.collect()
assert Lock("y").acquire(timeout=10)
""",
    ),
    "lock-of-a-task-that-is-cancelled": (
        TWO_WORKERS,
        """
def hold(name):
    with Lock(name):
        once(name)
        while True:
            sum(range(1000))
patience()
before = pids()
for i in range(5):
    future = client.submit(hold, f"held-{i}")
    until(lambda: written(f"held-{i}"))
    future.cancel()
    assert Lock(f"held-{i}").acquire(timeout=10), i
assert pids() == before
""",
    ),
    "task-that-waits-is-cancelled": (
        ONE_WORKER,
        """
def wait(what):
    getattr(taskloom.distributed, what)("x").acquire() if what == "Lock" else Queue("x").get()
with Lock("x") as lock:
    for what in "Lock", "Queue":
        future = client.submit(wait, what)
        waits()
        future.cancel()
        waits(0)
queue = Queue("x")
queue.put(1)
assert queue.get(timeout=10) == 1
assert lock.acquire(timeout=10)
lock.release()
""",
    ),
    "a-release-is-interrupted": (
        ONE_WORKER,
        """
import sys
def interrupt(frame, event, arg):
    if event == "c_return" and arg.__name__ == "popleft":
        raise KeyboardInterrupt
lock = Lock("x")
lock.acquire()
sys.setprofile(interrupt)
assert raised(KeyboardInterrupt, lock.release)
sys.setprofile(None)
assert not Lock("x").acquire(blocking=False)
del lock
gc.collect()
assert Lock("x").acquire(timeout=10)
""",
    ),
    "interrupted-waits": (
        ONE_WORKER,
        """
held, lock, queue, full = Lock("x"), Lock("x"), Queue("q"), Queue("full", maxsize=1)
full.put(1)
held.acquire()
for call in lock.acquire, queue.get, lambda: full.put(2), Event("e").wait, Variable("v").get, MultiLock(["a"]).acquire:
    if call.__qualname__.startswith("MultiLock"):
        others = MultiLock(["a", "b"])
        others.acquire()
    interrupted(call)
held.release()
assert lock.acquire(blocking=False)
queue.put("kept")
assert queue.get(batch=True) == ["kept"]
assert full.get(batch=True) == [1]
lock.release(), others.release(), full.close()
nothing_is_left()
""",
    ),
    "wait-in-a-loop-that-is-cancelled": (
        ONE_WORKER,
        """
async def steps():
    async with Client(client.cluster, asynchronous=True, set_as_default=False) as other:
        queue = Queue("q", client=other)
        try:
            await asyncio.wait_for(queue.get(), 0.05)
        except TimeoutError:
            pass
        await queue.put("still there")
        return await queue.get(timeout=10)
assert asyncio.run(steps()) == "still there"
nothing_is_left()
""",
    ),
    "consumer-killed-in-mid-get": (
        TWO_WORKERS,
        """
def consume():
    if once("consuming"):
        with open(os.path.join(place, "pid"), "w") as file:
            file.write(str(os.getpid()))
    return Queue("q").get()
consumer = client.submit(consume)
waits()
with open(os.path.join(place, "pid")) as file:
    pid = int(file.read())
os.kill(pid, signal.SIGSTOP)
queue = Queue("q")
queue.put("precious")
queue.put("next")
assert queue.qsize() == 1  # it is on its way to one that does not take it
os.kill(pid, signal.SIGKILL)
assert consumer.result() == "precious"  # the task runs again
assert queue.get(batch=True) == ["next"]
nothing_is_left()
""",
    ),
    "producer-killed-in-mid-put": (
        TWO_WORKERS,
        """
queue = Queue("q", maxsize=1)
queue.put(0)
def produce():
    if once("producing"):
        threading.Thread(target=Queue("q", client=get_client()).put, args=(1,), daemon=True).start()
        time.sleep(60)
producer = client.submit(produce)
waits()
(pid,) = [worker.pid for worker in client.cluster.workers.values() if client.processing()[worker.name]]
os.kill(pid, signal.SIGKILL)
producer.result()
assert queue.get(timeout=10) == 0
assert queue.get(batch=True) == []
queue.close()
nothing_is_left()
""",
    ),
    "variable-with-a-future-of-a-client-that-left": (
        TWO_WORKERS,
        """
for when in "before", "after":
    other = Client(client.cluster, set_as_default=False)
    future = other.submit(begun, when)
    until(lambda: written(when))
    if when == "before":
        once(f"{when}-end"), future.result()
    Variable(when, client=other).set([future])
    other.close()
    del future, other
    once(f"{when}-end")
    (found,) = Variable(when).get()
    assert found.result() == when
    del found
    assert Variable(when).get()[0].result() == when
    Variable(when).delete()
nothing_is_left()
until(lambda: not scheduler.names)
""",
    ),
    "futures-in-queues-and-datasets-of-a-client-that-left": (
        TWO_WORKERS,
        """
other = Client(client.cluster, set_as_default=False)
Queue("q", client=other).put({"x": other.submit(lambda: bytes(100_000))})
other.publish_dataset(d=(other.submit(pow, 2, 3), other.scatter([1, 2])))
other.close()
assert len(Queue("q").get()["x"].result()) == 100_000
power, scattered = client.get_dataset("d")
assert (power.result(), client.gather(scattered)) == (8, [1, 2])
client.unpublish_dataset("d")
del power, scattered
nothing_is_left()
until(lambda: not scheduler.names)
""",
    ),
    "a-future-is-got-while-the-variable-changes": (
        TWO_WORKERS,
        """
def change(n):
    for i in range(n):
        Variable("v").set(get_client().submit(pow, 2, i, pure=False))
Variable("v").set(client.submit(pow, 2, 0, pure=False))
changing = client.submit(change, 100)
powers = {2**i for i in range(100)}
while not changing.done():
    assert Variable("v").get().result() in powers
changing.result()
Variable("v").delete()
nothing_is_left()
""",
    ),
    "two-clients-cancel-the-same-key": (
        TWO_WORKERS,
        """
def run(name):
    once(name)
    while not written("end"):
        sum(range(1000))
    return name
other = Client(client.cluster, set_as_default=False)
client.run(lambda: None)  # what workers load for such functions is there
mine, theirs = client.submit(run, "a", key="k"), other.submit(run, "a", key="k")
until(lambda: written("a"))
mine.cancel()
assert (mine.status, theirs.status) == ("cancelled", "pending")
theirs.cancel()
assert theirs.status == "cancelled"
until(lambda: not any(client.processing().values()))
for i in range(20):
    mine, theirs = client.submit(run, f"{i}", key=f"k{i}"), other.submit(run, f"{i}", key=f"k{i}")
    one, two = in_thread(mine.cancel), in_thread(theirs.cancel)
    until(lambda: one and two)
    assert (one, two, mine.status, theirs.status) == ([None], [None], "cancelled", "cancelled")
once("end")
until(lambda: not any(client.processing().values()))
assert client.submit(run, "again", key="k").result() == "again"
assert other.submit(run, "again", key="k1").result() == "again"
other.close()
""",
    ),
    "two-clients-force-the-same-key": (
        TWO_WORKERS,
        """
other = Client(client.cluster, set_as_default=False)
Variable("v").set(client.submit(begun, "x", key="k"))
mine, theirs = client.submit(begun, "x", key="k"), other.submit(begun, "x", key="k")
until(lambda: written("x"))
mine.cancel(force=True)
assert mine.status == "cancelled"
until(lambda: theirs.status == "cancelled")
found = Variable("v").get()
until(lambda: found.status == "cancelled")  # nothing that there is any more
other.close()
""",
    ),
    "cluster-closed-while-others-wait": (
        TWO_WORKERS,
        """
lock, full = Lock("x"), Queue("full", maxsize=1)
lock.acquire(), full.put(1)
other = Client(client.cluster, set_as_default=False)
outcomes = [
    in_thread(call)
    for call in (
        Lock("x", client=other).acquire, Event("e", client=other).wait, Queue("q", client=other).get,
        Variable("v", client=other).get, MultiLock(["x"], client=other).acquire,
        Semaphore(1, "s", client=other).acquire, lambda: Queue("full", client=other, maxsize=1).put(2),
        lambda: Lock("x").acquire(timeout=60),
    )
]
waiting = client.submit(Event("e").wait)
until(lambda: len(desk._waiting) == 7 and sum(map(len, outcomes)) == 2)  # two of those locks are free
client.cluster.close()
until(lambda: all(outcomes))
assert [type(outcome) for (outcome,) in outcomes].count(RuntimeError) == 6, outcomes
raised(RuntimeError, Event("e", client=other).wait)
""",
    ),
    "a-thousand-tasks-take-one-lock": (
        ONE_WORKER,
        """
def enter(i):
    with Lock("x"):
        return i
assert client.gather(client.map(enter, range(1000))) == list(range(1000))
lock = Lock("x")
lock.acquire()
futures = client.map(enter, range(1000, 2000))
waits(500)  # no more have a thread
lock.release()
assert client.gather(futures) == list(range(1000, 2000))
nothing_is_left()
""",
    ),
    "tasks-wait-for-one-that-comes-later": (
        ONE_WORKER,
        """
event, queue, variable = Event("e"), Queue("q"), Variable("v")
futures = client.map(lambda i: Event("e").wait(), range(20))
futures += client.map(lambda i: Queue("q").get() >= 0, range(20))
futures += client.map(lambda i: Variable("v").get(), range(20), pure=False)
def last():
    Event("e").set(), Variable("v").set(True)
    for i in range(20):
        Queue("q").put(i)
client.submit(last).result()
assert all(client.gather(futures))
event.clear(), variable.delete()
nothing_is_left()
""",
    ),
    "coroutines": (
        ONE_WORKER,
        """
async def steps(name):
    async with Lock(name):
        assert not await Lock(name).acquire(timeout=0.01)
        await Queue("q").put(name)
    async with Semaphore(2, "s") as semaphore, MultiLock(["a", "b"]):
        return await semaphore.get_value()
assert client.submit(steps, "x").result() == 1
assert Queue("q").get() == "x"
""",
    ),
    "a-synchronous-client-in-a-loop": (
        ONE_WORKER,
        """
async def steps():
    async with Lock("x") as lock:
        assert lock.locked()
        waiting = asyncio.ensure_future(enter())
        await asyncio.sleep(0.05)
    await asyncio.wait_for(waiting, 10)
async def enter():
    async with Lock("x"):
        pass
asyncio.run(steps())
nothing_is_left()
""",
    ),
    "large-values": (
        TWO_WORKERS,
        """
import numpy
array = numpy.arange(1_000_000.0)
variable, queue = Variable("v"), Queue("q")
files = psutil.Process().num_fds()
variable.set(array)
for _ in range(20):
    assert variable.get()[-1] == 999_999
    queue.put(array)
    assert queue.get()[-1] == 999_999
assert client.submit(lambda: Variable("v").get().sum()).result() == array.sum()
client.log_event("t", array)
variable.set(1)
variable.delete()
gc.collect()
until(lambda: psutil.Process().num_fds() <= files + 2)  # the event, and the link of the client in a worker
""",
    ),
    "values-that-do-not-travel": (
        ONE_WORKER,
        """
class Deaf:
    def __reduce__(self):
        return int, ("no number",)
queue = Queue("q")
raised(taskloom.SerializationError, lambda: queue.put(threading.Lock()), "lock")
raised(taskloom.SerializationError, lambda: Variable("v").set([threading.Lock()]), "lock")
raised(taskloom.SerializationError, lambda: client.publish_dataset(d=threading.Lock()), "lock")
raised(taskloom.SerializationError, lambda: client.log_event("t", threading.Lock()), "lock")
queue.put(Deaf()), queue.put("next")
raised(taskloom.SerializationError, queue.get, "no number")
assert queue.get() == "next"
nothing_is_left()
""",
    ),
    "values-that-stay-in-their-process": (
        IN_PROCESS,
        """
value = threading.Lock()
queue = Queue("q")
queue.put(value)
assert queue.get() is value
other = Client(client.cluster, set_as_default=False)
future = other.submit(lambda: value)
Variable("v", client=other).set([future])
other.publish_dataset(d=future)
other.close()
(found,) = Variable("v").get()
assert found.result() is value and found.client is client
assert client.get_dataset("d").result() is value
Variable("v").delete(), client.unpublish_dataset("d")
del found, future, other
with Lock("x"):
    assert not client.submit(lambda: Lock("x").acquire(timeout=0.01)).result()
assert client.submit(lambda: Lock("x").acquire(timeout=0.01), pure=False).result()
nothing_is_left()
""",
    ),
    "restart": (
        TWO_WORKERS,
        """
def hold():
    with Lock("x"):
        once("held")
        Event("never").wait()
holding = client.submit(hold)
future = client.submit(pow, 2, 2)
future.result()
Variable("v").set(future)
until(lambda: written("held"))
client.restart()
assert Lock("x").acquire(timeout=10)
found = Variable("v").get()
until(lambda: found.status == "cancelled")
""",
    ),
    "names-of-any-kind": (
        ONE_WORKER,
        """
for name in "x" * 100_000, ("a", 1), "<script>alert(1)</script>", "{name}%s\\n":
    with Lock(name):
        assert not Lock(name).acquire(blocking=False)
    queue, variable, event = Queue(name), Variable(name), Event(name)
    queue.put(name), variable.set(name), event.set()
    assert (queue.get(), variable.get(), event.is_set()) == (name, name, True)
    for call in lambda: queue.get(timeout=0.01), lambda: Semaphore(1, name).release():
        assert len(str(raised(Exception, call))) < 500
    client.publish_dataset(1, name=name)
    assert client.datasets[name] == 1
    client.unpublish_dataset(name)
    variable.delete(), event.clear()
assert len(str(raised(KeyError, lambda: client.get_dataset("y" * 100_000)))) < 500
nothing_is_left()
""",
    ),
    "nonsense": (
        ONE_WORKER,
        """
raised(ValueError, lambda: Semaphore(0))
raised(ValueError, lambda: Queue("q").get(batch=0), "batch")
raised(ValueError, lambda: MultiLock([]).acquire(), "0 of 0")
raised(ValueError, lambda: MultiLock(["a"]).acquire(num_locks=2), "2 of 1")
raised(ValueError, lambda: Lock("x").acquire(timeout="soon"), "soon")
raised(ValueError, lambda: client._block_on(client._session.answer("coordinate", "locks", "_free", ("x",), ())))
nothing_is_left()
""",
    ),
    "topics-are-bounded": (
        ONE_WORKER,
        """
heard = []
client.subscribe_topic("t", heard.append)
for i in range(1100):
    client.log_event("t", i)
until(lambda: len(heard) == 1100)
assert [message for _, message in client.get_events("t")] == list(range(100, 1100))
client.unsubscribe_topic("t")
def fails(event):
    raise ValueError(event)
import logging
logging.getLogger("taskloom").disabled = True
client.subscribe_topic("u", fails)
client.subscribe_topic("v", heard.append)
client.log_event(["u", "v"], "after a failure")
until(lambda: heard[-1][1] == "after a failure")
""",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_coordination(place: Path, case: str) -> None:
    start, program = CASES[case]
    end = "close()" if case.startswith("cluster-closed") else "check()"
    check_program(TOOLS + program + f"\n{end}\n", start)
