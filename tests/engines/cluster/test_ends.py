"""The ends of clusters and clients: closed, interrupted, killed, suspended, forked."""

from pathlib import Path

import pytest

from .fault_cases import check_program, in_child

#: What is done to the process that has the cluster, or to a client of it.
ENDS = {
    "interrupt-result": """
signal.signal(signal.SIGINT, signal.default_int_handler)
data = client.scatter([1, 2, 3])
before = pids()
futures = client.map(begun, ["a", "b"])
def strike():
    until(lambda: written("a") and written("b"))
    time.sleep(0.1)
    struck.append(time.monotonic())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
def waits():
    threading.Thread(target=strike, daemon=True).start()  # it may strike before the wait has begun
    wait_for()
struck = []
for wait_for in (futures[0].result, lambda: client.gather(futures), lambda: wait(futures),
                 lambda: list(as_completed(futures)), futures[1].exception):
    raised(KeyboardInterrupt, waits)
    assert time.monotonic() - struck.pop() < 5  # at once, where the cores are free
assert [future.status for future in futures] == ["pending"] * 2
once("a-end"), once("b-end")
assert client.gather(futures) == ["a", "b"]
assert client.gather(data) == [1, 2, 3] and pids() == before
""",
    "interrupt-get": """
signal.signal(signal.SIGINT, signal.default_int_handler)
os.setsid()  # a group of its own, as a terminal or Jupyter makes one, and signals all of it
kept = client.submit(lambda: [1, 2, 3])
wait(kept)
patience()
before = pids()
def strike():
    until(lambda: written("a") and written("b"))
    struck.append(time.monotonic())
    os.killpg(0, signal.SIGINT)
struck = []
threading.Thread(target=strike, daemon=True).start()
raised(KeyboardInterrupt, lambda: client.get({"x": (begun, "a"), "y": (begun, "b"), "z": (max, "x", "y")}, "z"))
assert time.monotonic() - struck[0] < 5  # at once, where the cores are free
assert taskloom.last_run().status == "cancelled"
until(lambda: not any(client.processing().values()))
assert client.get({"a": (abs, -3)}, "a") == 3 and kept.result() == [1, 2, 3] and pids() == before
""",
    "suspend": """
def count(path):
    for i in range(40):
        time.sleep(0.02)
    return os.getpid()
data = client.scatter([1, 2, 3])
futures = client.map(count, range(8))
before = pids()
os.setpgid(0, 0)
others = [psutil.Process(pid) for pid in before]
helper = subprocess.Popen([sys.executable, "-c", '''
import os, signal, sys, time
pids = [int(text) for text in sys.argv[1:]]
for pid in pids:
    os.kill(pid, signal.SIGSTOP)
time.sleep(3)
for pid in pids:
    os.kill(pid, signal.SIGCONT)
''', *map(str, before), str(os.getpid())], start_new_session=True)
assert set(client.gather(futures)) <= before
assert helper.wait() == 0
assert client.gather(data) == [1, 2, 3] and pids() == before
""",
    "busy": """
import ctypes
def task(i):
    return i
before = pids()
futures = client.map(task, range(2000))
ctypes.PyDLL(None).usleep(2_000_000)  # with the interpreter lock
more = client.map(abs, range(100))
assert client.gather(futures) == list(range(2000)) and client.gather(more) == list(range(100))
assert pids() == before
""",
    "kernel-killed": """
kernel = subprocess.Popen([sys.executable, "-c", '''
import ctypes, time
from taskloom.distributed import Client
client = Client(n_workers=2, threads_per_worker=2)
def hold(seconds):
    ctypes.PyDLL(None).sleep(seconds)  # with the interpreter lock
futures = [client.submit(time.sleep, 100), client.submit(hold, 100)]
data = client.scatter([bytes(1_000_000)])
print(client.cluster.scheduler_address, flush=True)
time.sleep(100)
'''], stdout=subprocess.PIPE, text=True)
address = kernel.stdout.readline().strip().removeprefix("unix://")
assert os.path.exists(address)
children = psutil.Process(kernel.pid).children(recursive=True)
assert len(children) == 2
kernel.kill()
kernel.wait()
kernel.stdout.close()
gone, alive = psutil.wait_procs(children, timeout=20)
assert not [worker for worker in alive if worker.status() != "zombie"], alive
assert not [name for name in os.listdir("/dev/shm") if "taskloom" in name]
client.close()
client = Client(n_workers=2, threads_per_worker=1)
assert not os.path.exists(os.path.dirname(address))
""",
    "remote-client-killed": """
program = '''
import sys, time
from taskloom.distributed import Client
client = Client(sys.argv[1])
def work(i):
    while True:
        time.sleep(0.01)
futures = client.map(work, range(10), key="of the other")
shared = client.submit(lambda: [7], key="shared")
print("there", flush=True)
time.sleep(100)
'''
other = subprocess.Popen([sys.executable, "-c", program, client.cluster.scheduler_address], stdout=subprocess.PIPE)
assert other.stdout.readline() == b"there\\n"
until(lambda: sum(len(keys) for keys in client.processing().values()) >= 2)
mine = client.map(lambda i: [i], range(5))
other.kill()
other.wait()
other.stdout.close()
assert client.gather(mine) == [[i] for i in range(5)]
until(lambda: not any(client.processing().values()))
until(lambda: sorted(len(keys) for keys in client.has_what().values()) in ([0, 5], [1, 4], [2, 3]))
""",
    "close-while-tasks-run": """
futures = client.map(begun, ["a", "b", "c"])
until(lambda: written("a") and written("b"))
failed = []
def waits():
    try:
        futures[0].result()
    except BaseException as error:
        failed.append(type(error).__name__)
threads = [threading.Thread(target=waits) for _ in range(3)]
for thread in threads:
    thread.start()
closers = [threading.Thread(target=client.close) for _ in range(4)]
for thread in closers:
    thread.start()
for thread in (*closers, *threads):
    thread.join(10)
    assert not thread.is_alive()
client.close()
client.cluster.close()
assert not pids()
assert failed == ["FutureCancelledError"] * 3, failed
raised(RuntimeError, lambda: client.submit(abs, -1))
raised(Exception, futures[1].result)
client = Client(n_workers=2, threads_per_worker=1)
""",
    "close-of-the-cluster-under-a-client": """
futures = client.map(begun, ["a", "b"])
until(lambda: written("a"))
waiter = threading.Thread(target=lambda: raised(Exception, futures[0].result))
waiter.start()
client.cluster.close()
waiter.join(10)
assert not waiter.is_alive()
raised(RuntimeError, lambda: client.submit(abs, -1), "cluster")
raised(Exception, lambda: Client(client.cluster))
raised(Exception, lambda: client.who_has())
client.close()
client = Client(n_workers=2, threads_per_worker=1)
""",
    "exit-without-close": """
done = subprocess.run([sys.executable, "-c", '''
import time
from taskloom.distributed import Client
client = Client(n_workers=2, threads_per_worker=2)
future = client.submit(time.sleep, 100)
print(*[worker.pid for worker in client.cluster.workers.values()])
print(client.submit(abs, -3).result())
'''], capture_output=True, text=True, timeout=30)
assert done.stderr == "" and done.returncode == 0, done.stderr
first, second = done.stdout.splitlines()
assert second == "3"
assert not any(psutil.pid_exists(int(pid)) for pid in first.split())
""",
    "exit-by-an-error-in-a-task-of-threads": """
done = subprocess.run([sys.executable, "-c", '''
import time
from taskloom.distributed import Client
client = Client(n_workers=1, threads_per_worker=2, processes=False)
future = client.submit(time.sleep, 100)
print(client.submit(abs, -3).result())
raise SystemExit(5)
'''], capture_output=True, text=True, timeout=30)
assert (done.stdout, done.stderr, done.returncode) == ("3\\n", "", 5), done
""",
    "fork": """
futures = client.map(lambda x: [x], range(4))
pending = client.submit(begun, "a")
wait(futures)
pid = os.fork()
if not pid:
    try:
        raised(RuntimeError, lambda: client.submit(abs, -1), "fork")
        raised(Exception, pending.result, "fork")
        raised(Exception, lambda: client.gather(futures), "fork")
        raised(RuntimeError, lambda: client.get({"a": (abs, -1)}, "a"), "fork")
        raised(ValueError, lambda: get_client())
        client.cluster.close()
        client.close()
        own = Client(n_workers=1, threads_per_worker=1)
        assert own.submit(abs, -4).result(timeout=10) == 4
        own.close()
        os._exit(0)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
once("a-end")
assert client.gather([*futures, pending]) == [[0], [1], [2], [3], "a"]
pid = os.fork()
if not pid:
    sys.exit(0)  # with all that is to be done at exit
os.waitpid(pid, 0)
assert client.gather(futures) == [[x] for x in range(4)]
""",
    "fork-of-a-pool": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
with ProcessPoolExecutor(2, get_context("fork")) as pool:
    assert list(pool.map(abs, range(10))) == list(range(10))
    kernel = client.map(lambda x: [x], range(4))
    assert list(pool.map(abs, range(10))) == list(range(10))
assert client.gather(kernel) == [[x] for x in range(4)]
""",
    "many-clusters": """
import gc
client.close()
def figures():
    gc.collect()
    this = psutil.Process()
    return this.num_fds(), this.num_threads(), len(this.children())
for round in range(6):
    for processes in True, False:
        client = Client(n_workers=2, threads_per_worker=2, processes=processes)
        client.gather(client.map(lambda x: bytes(100_000), range(4)))
        scattered = client.scatter([bytes(100_000)])
        client.close()
    if round == 1:
        time.sleep(0.5)
        before = figures()
until(lambda: all(now <= then for now, then in zip(figures(), before)))
client = Client(n_workers=2, threads_per_worker=1)
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end(place: Path, end: str) -> None:
    check_program(ENDS[end] + "\ncheck()\n")


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_faults_with_other_ways_to_start_workers(place: Path, context: str) -> None:
    start = f"""
taskloom.config.set(multiprocessing={{"context": "{context}"}})
client = Client(n_workers=2, threads_per_worker=1)
"""
    program = """
def kill(i):
    if i == 3 and once("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return [i]
assert client.gather(client.map(kill, range(20))) == [[i] for i in range(20)]
def inner(x):
    return get_client().submit(abs, x).result()
assert client.gather(client.map(inner, range(6))) == list(range(6))
def workers():
    return {worker.pid for worker in client.cluster.workers.values()}
for pid in workers():
    os.kill(pid, signal.SIGKILL)
assert client.submit(abs, -5).result(timeout=10) == 5
check()
"""
    check_program(program, start)


@pytest.mark.parametrize("call", ["submit", "map", "scatter", "get", "hold", "hold the last", "lambda"])
def test_calls_of_a_client_give_their_answers_after_an_interrupt_at_any_moment(place: Path, call: str) -> None:
    program = "import sys; from tests.engines.cluster.strike_client import main; main(sys.argv[1])"
    assert in_child(program, call, limit=120).stdout == "fine\n"
