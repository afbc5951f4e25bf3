"""What a cluster does about memory: results go to disk, workers pause or are replaced; and the disk has its faults."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from .fault_cases import PRELUDE, check_program, in_child

pytestmark = pytest.mark.usefixtures("place")

DIRECTORY = 'os.path.join(tempfile.gettempdir(), "spill")'  # of each test's own
MEMORY = """
import warnings
import numpy
def block(i, mib=16):
    return numpy.full(mib << 17, float(i))
def total(array):
    return float(array.sum())
def on_disk(worker="worker-0"):
    return client.cluster.memory[worker]["spilled"]
def files():
    return [os.path.join(at, name) for at, _, names in os.walk(spill) for name in names if name != "owner"]
def peak():
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
spill = os.path.join(tempfile.gettempdir(), "spill")
taskloom.config.set(distributed={"spill.directory": spill})
MiB = 1 << 20
warnings.filterwarnings("ignore", "Worker .* There is no room")
"""

ONE = MEMORY + 'client = Client(n_workers=1, threads_per_worker=1, memory_limit="200 MiB")\n'
TWO = MEMORY + 'client = Client(n_workers=2, threads_per_worker=1, memory_limit="200 MiB")\n'
THREADS = MEMORY + 'client = Client(n_workers=1, threads_per_worker=2, processes=False, memory_limit="100 MiB")\n'
END = """
client.close()
assert not files(), files()
assert not os.listdir(spill), os.listdir(spill)
print("fine")
"""

RESULTS = """
futures = client.map(block, range(30))
wait(futures)
assert client.cluster.memory["worker-0"]["memory"] < 160 * MiB
assert on_disk() > 200 * MiB
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(30)]
assert client.run(peak)["worker-0"] < 200 * MiB
for at, _, names in os.walk(spill):
    assert at == spill or os.stat(at).st_mode & 0o77 == 0, at
metrics = client.scheduler_info()["workers"]["worker-0"]["metrics"]
assert metrics["spilled_bytes"]["disk"] > 200 * MiB and metrics["managed_bytes"] < 140 * MiB, metrics
assert "on disk" in client.cluster._repr_html_()
del futures[10:]
until(lambda: len(files()) <= 10)  # what nobody wants is removed
assert total(futures[9].result()) == 9 * (16 << 17)
"""

#: What is held goes to disk and comes back, whatever it is and however it is asked for.
BEYOND = {
    "results": ONE + RESULTS,
    "results-of-a-graph": ONE
    + """
graph = {("a", i): (block, i) for i in range(30)}
graph |= {("b", i): (total, ("a", 29 - i)) for i in range(30)}
graph["all"] = (sum, [("b", i) for i in range(30)])
assert client.get(graph, "all") == sum(range(30)) * (16 << 17)
assert client.run(peak)["worker-0"] < 200 * MiB
""",
    "results-of-unknown-size": ONE
    + """
def pieces(i):
    return [bytes([i]) * MiB for _ in range(8)]
futures = client.map(pieces, range(40))
wait(futures)
assert on_disk() > 100 * MiB, client.cluster.memory
assert client.gather(client.map(lambda p: p[7][5], futures)) == list(range(40))
""",
    "scattered": ONE
    + """
futures = [client.scatter(block(i)) for i in range(20)]
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(20)]
assert on_disk() > 100 * MiB, client.cluster.memory
assert total(client.gather(futures[3])) == 3 * (16 << 17)
""",
    "between-workers": TWO
    + """
futures = client.map(block, range(24))
wait(futures)
pairs = client.map(lambda a, b: total(a) + total(b), futures[:12], futures[12:][::-1])
assert client.gather(pairs) == [23 * (16 << 17)] * 12
assert max(client.run(peak).values()) < 200 * MiB
""",
    "written-to-by-a-task": ONE
    + """
def write(array):
    array += 1
    return total(array)
futures = client.map(block, range(12))
wait(futures)
assert client.gather(client.map(write, futures)) == [(i + 1) * (16 << 17) for i in range(12)]
""",
    "in-threads": THREADS
    + """
futures = client.map(block, range(15))
wait(futures)
assert on_disk() > 100 * MiB, client.cluster.memory
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(15)]
assert client.cluster.memory["worker-0"]["status"] == "running"
""",
}

CORRUPT = """
def spoil(how):
    for path in files():
        if how == "missing":
            os.remove(path)
        else:
            with open(path, "r+b") as file:
                if how == "cut":
                    file.truncate(5000)
                elif how == "empty":
                    file.truncate(0)
                else:
                    file.seek(8 * MiB)
                    file.write(b"?")
"""

DAMAGE = {
    how: ONE
    + CORRUPT
    + f"""
futures = client.map(block, range(12))
data = [client.scatter(block(i)) for i in range(12)]
wait(futures)
until(lambda: on_disk() > 200 * MiB)
spoil({how!r})
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(12)]  # computed again
assert [total(future.result()) for future in futures[:3]] == [i * (16 << 17) for i in range(3)]
bad = [error for future in data if (error := client.submit(total, future, pure=False).exception())]
assert len(bad) > 2, bad
for error in bad:
    assert isinstance(error, taskloom.TaskloomError) and spill in str(error) and "damaged" in str(error), error
del futures, data
assert client.submit(abs, -1).result() == 1
"""
    for how in ("missing", "cut", "empty", "changed")
}

FULL = """
futures = client.map(block, range(24))
wait(futures)
states = [future.status for future in futures]
assert states.count("error") > 3 and states.count("finished") > 8, states
error = next(future.exception() for future in futures if future.status == "error")
assert isinstance(error, taskloom.SpillError) and isinstance(error, MemoryError), error
for word in spill, "MiB of its limit of 200.00 MiB", REASON:
    assert word in str(error), error
there = [i for i, state in enumerate(states) if state == "finished"]
sums = client.gather(client.map(total, [futures[i] for i in there]))
assert sums == [i * (16 << 17) for i in there]  # nothing else is lost
failed = [future for future in futures if future.status == "error"]
del futures
failed = failed[:3]
until(lambda: client.cluster.memory["worker-0"]["managed"] < 20 * MiB)
for future in failed:
    future.retry()
wait(failed)
assert [future.status for future in failed] == ["finished"] * 3, [future.exception() for future in failed]
"""

LIMITS = {
    "the-disk-may-not-be-used-more": MEMORY
    + 'taskloom.config.set(distributed={"spill.max_bytes": "100 MiB"})\n'
    + 'client = Client(n_workers=1, threads_per_worker=1, memory_limit="200 MiB")\n'
    + FULL.replace("REASON", '"distributed.spill.max_bytes"'),
    "files-may-not-be-that-large": MEMORY
    + "import resource\n"
    + "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    + """
def small(i):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 * MiB, resource.RLIM_INFINITY))
"""
    + 'client = Client(n_workers=1, threads_per_worker=1, memory_limit="200 MiB")\n'
    + "client.run(small, 0)\n"
    + FULL.replace("REASON", '"EFBIG"').replace("> 8", "> 3"),
    "too-much-in-a-task": TWO
    + """
def hog(path):
    once(path)
    found = bytearray(170 * MiB)
    until(lambda: written("never"))
kept = client.submit(block, 7, key="kept")
wait(kept)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with taskloom.config.set(multiprocessing={"retries": 1}):
        result = client.submit(hog, "x", key="hog").result
        error = raised(taskloom.WorkerDied, result, "'hog'", "of its limit of 200.00 MiB")
    words = "'hog'", "replaced", "of its limit of 200.00 MiB"
    until(lambda: any(all(word in str(warning.message) for word in words) for warning in list(caught)))
assert total(kept.result()) == 7 * (16 << 17)
client.wait_for_workers(2)
assert client.submit(abs, -1).result() == 1
""",
    "pause": TWO
    + """
def hog():
    found = bytearray(130 * MiB)
    once("there")
    until(lambda: written("end"))
future = client.submit(hog, workers=["worker-0"])
until(lambda: client.cluster.memory["worker-0"]["status"] == "paused")
assert set(client.gather(client.map(lambda i: os.getpid(), range(50)))) == {
    worker.pid for worker in client.cluster.workers.values() if worker.name == "worker-1"}
there = client.submit(abs, -1, workers=["worker-0"])
assert client.scheduler_info()["workers"]["worker-0"]["status"] == "paused"
assert there.status == "pending"
once("end")
future.result(timeout=10)
assert there.result(timeout=10) == 1
until(lambda: client.cluster.memory["worker-0"]["status"] == "running")
""",
    "what-actors-keep": ONE
    + """
class Keeps:
    def __init__(self):
        self.kept = []
    def keep(self, mib):
        while len(self.kept) < mib:
            self.kept.append(bytearray(MiB))
            time.sleep(0.002)
    def keep_later(self, mib):
        threading.Thread(target=self.keep, args=(mib,), daemon=True).start()
warnings.simplefilter("ignore")
def status():
    return {worker["status"] for worker in client.cluster.memory.values()}
actor = client.submit(Keeps, actor=True).result()
raised(taskloom.WorkerDied, actor.keep(1000).result, "actor")
client.wait_for_workers(1)
actor = client.submit(Keeps, actor=True).result()
actor.keep_later(130).result()
until(lambda: status() == {"paused"})
""",
    "all-are-paused-and-nothing-helps": ONE
    + """
client.run(lambda: setattr(sys, "kept", bytearray(130 * MiB)))
first = client.submit(begun, "first")
until(lambda: client.cluster.memory["worker-0"]["status"] == "paused")
once("first-end")
assert client.gather(client.map(lambda i: [i], range(10), pure=False)) == [[i] for i in range(10)]
assert client.submit(lambda: get_client().submit(abs, -2).result()).result() == 2
""",
    "what-cannot-be-pickled-stays": ONE
    + """
class Stays:
    def __init__(self, i):
        self.nbytes = 20 * MiB
        self.data = bytes(self.nbytes)
    def __reduce__(self):
        raise ValueError("not me")
stay = client.map(Stays, range(4))
futures = client.map(block, range(20))
wait(futures)
assert client.gather(client.map(lambda s: s.nbytes, stay)) == [20 * MiB] * 4
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(20)]
""",
    "too-much-that-cannot-be-pickled": ONE
    + """
class Stays:
    def __init__(self, i):
        self.nbytes = 10 * MiB
        self.data = bytearray(self.nbytes)
    def __reduce__(self):
        raise ValueError("not me")
stay = client.map(Stays, range(30))
wait(stay)
there = [future for future in stay if future.status == "finished"]
assert 5 < len(there) < 20, stay
error = next(error for future in stay if (error := future.exception()))
assert isinstance(error, taskloom.SpillError) and "cannot be pickled" in str(error), error
assert client.gather(client.map(lambda s: s.nbytes, there)) == [10 * MiB] * len(there)
del stay, there
assert client.submit(abs, -1).result() == 1
""",
    "pickling-that-ends-the-worker": ONE
    + """
class Bad:
    nbytes = 20 * MiB
    def __init__(self):
        self.data = bytes(self.nbytes)
    def __reduce__(self):
        os._exit(5)
with taskloom.config.set(multiprocessing={"retries": 0}):
    bad = client.submit(Bad, key="bad")
    wait(bad)
    futures = client.map(block, range(20))
    wait(futures)
assert client.gather(client.map(total, futures)) == [i * (16 << 17) for i in range(20)]
raised(taskloom.WorkerDied, bad.result, "'bad'", "code 5")
""",
}


@pytest.mark.parametrize("name", [*BEYOND, *DAMAGE, *LIMITS])
def test_memory(name: str) -> None:
    program = {**BEYOND, **DAMAGE, **LIMITS}[name]
    check_program(program + END, start="")


def test_a_full_file_system(tmp_path: Path) -> None:
    """Not a limit of ours, but the disk's own."""
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        program = LIMITS["the-disk-may-not-be-used-more"].replace('"distributed.spill.max_bytes"', '"ENOSPC"')
        program = program.replace('"spill.max_bytes": "100 MiB"', '"spill.directory": spill')
        check_program(program.replace(DIRECTORY, repr(str(tmp_path))) + END, start="")
        assert not os.listdir(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_a_killed_cluster_has_left_on_disk_is_swept(tmp_path: Path) -> None:
    program = ONE.replace(DIRECTORY, repr(str(tmp_path)))
    killed = """
wait(client.map(block, range(12)))
until(lambda: len(files()) > 2)
print(len(files()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = in_child(f"{PRELUDE}\n{program}\n{killed}")
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.glob("taskloom-*/spill-*")
    swept = f"assert os.path.exists({str(left)!r})\n{program}\nassert not os.path.exists({str(left)!r})\n"
    check_program(swept + END, start="")
