"""What the programs begin with in which something goes wrong in a cluster, each in a process of its own."""

from tests.engines.cases import check_child, in_child

__all__ = ["PRELUDE", "START", "check_program", "in_child"]

#: `client` has two workers of one thread. `check()` sees whether it is as good as new, and whether closing leaves
#: anything behind.
PRELUDE = """
import contextlib, io, os, signal, subprocess, sys, tempfile, threading, time
import psutil
import taskloom
from taskloom.distributed import Client, LocalCluster, as_completed, get_client, wait
place = tempfile.mkdtemp()
descriptors = psutil.Process().num_fds()

def once(name):
    '''Whether this is the first time that anybody asks.'''
    try:
        os.close(os.open(os.path.join(place, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def written(name):
    return os.path.exists(os.path.join(place, name))

def until(met):
    '''Wait for what must come.'''
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)

def pids():
    return {worker.pid for worker in psutil.Process().children()}

def begun(name):
    '''Wait in a task until it is told to end; it can be seen that it has begun.'''
    once(name)
    while not written(name + "-end"):
        time.sleep(0.005)
    return name

def patience(seconds=10.0):
    '''Give cancelled tasks so long to leave: on a slow machine those need it that do leave when they are told to.'''
    from taskloom.engines.cluster.coordinator import stops
    stops.PATIENCE = seconds

def raised(kind, function, *words):
    '''What a call raises, which is to be of a kind and to say something.'''
    try:
        value = function()
    except kind as error:
        for word in words:
            assert word in str(error), error
        return error
    raise SystemExit(f"no error, but {value!r:.200}")

def check():
    assert client.submit(abs, -1, pure=False).result(timeout=10) == 1
    assert client.gather(client.map(lambda x: [x], range(20), pure=False)) == [[x] for x in range(20)]
    assert client.get({"a": (abs, -1), "b": (lambda x: x + 1, "a")}, "b") == 2
    close()

def close():
    client.close()
    assert not pids(), psutil.Process().children()
    assert not [name for _, names, _ in os.walk(tempfile.gettempdir()) for name in names if "cluster-" in name]
    print("fine")
"""

START = "client = Client(n_workers=2, threads_per_worker=1)\n"


def check_program(program: str, start: str = START, limit: float = 90.0) -> None:
    """Run a program, which must end well and say nothing else."""
    assert check_child(f"{PRELUDE}\n{start}\n{program}", limit=limit) == "fine\n"
