"""The cluster that a process makes by itself, when a graph is to run on one and no client is open."""

import os
from time import monotonic, sleep

import pytest

from .cases import PATIENCE, check_child

#: What the programs begin with. `told()` prints what there is of the cluster, for the test to see that it goes.
PRELUDE = """
import os, sys
import taskloom
from taskloom import config, delayed
from taskloom.engines.cluster.shared import open_client
os.environ.pop("TASKLOOM_SCHEDULER", None)
config.set(distributed={"n_workers": 2, "threads_per_worker": 1})

def told(client=None):
    client = client or open_client()
    print(client.cluster.scheduler_address, *[worker.pid for worker in client.cluster.workers.values()], flush=True)
"""


def run(program: str) -> list[str]:
    """Run a program; returns what it printed, when nothing is left of the clusters that it told of."""
    lines = check_child(PRELUDE + program).splitlines()
    deadline = monotonic() + PATIENCE
    for line in lines:
        address, *pids = line.split()
        if "/" in address:
            while any(map(_lives, pids)) or os.path.exists(address.removeprefix("unix://")):
                assert monotonic() < deadline, f"left behind: {line}"
                sleep(0.01)
    return lines


def _lives(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("name", ["distributed", "cluster"])
def test_one_cluster_serves_the_whole_process(name: str) -> None:
    lines = run(f"""
pids = [delayed(os.getpid)().compute(scheduler="{name}") for _ in range(5)]
assert len(set(pids)) <= 2 and os.getpid() not in pids, pids
with config.set(scheduler="{name}"):
    assert taskloom.compute(delayed(abs)(-1)) == (1,)
assert taskloom.last_run().engine == "distributed"
told()
""")
    assert len(lines[0].split()) == 3, "two workers, as configured"


def test_it_is_no_default_for_other_calls() -> None:
    run("""
delayed(abs)(-1).compute(scheduler="cluster")
delayed(abs)(-1).compute()
assert taskloom.last_run().engine == "threads"
told()
""")


def test_an_open_client_comes_first() -> None:
    lines = run("""
from taskloom.distributed import Client
delayed(abs)(-1).compute(scheduler="cluster")
told()
with Client(n_workers=1, threads_per_worker=1) as client:
    pid = delayed(os.getpid)().compute(scheduler="cluster")
    assert pid == client.cluster.workers[0].pid
    told()
assert delayed(os.getpid)().compute(scheduler="cluster") != pid
told()
""")
    assert lines[0] == lines[2] != lines[1]


def test_other_settings_make_another_one() -> None:
    lines = run("""
delayed(abs)(-1).compute(scheduler="cluster")
told()
with config.set(distributed={"n_workers": 1}):
    delayed(abs)(-1).compute(scheduler="cluster")
    told()
""")
    assert [len(line.split()) for line in lines] == [3, 2]


def test_several_threads_make_one() -> None:
    run("""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    work = [pool.submit(delayed(os.getpid)().compute, scheduler="cluster") for _ in range(8)]
    assert len({future.result() for future in work}) <= 2
told()
""")


def test_one_that_is_gone_is_replaced() -> None:
    lines = run("""
delayed(abs)(-1).compute(scheduler="cluster")
told()
open_client().cluster.close()
assert delayed(abs)(-1).compute(scheduler="cluster") == 1
told()
""")
    assert lines[0] != lines[1]


def test_inside_of_a_task() -> None:
    """The task's own process is the worker that it has."""
    run("""
def inner():
    import os
    from taskloom import delayed
    return os.getpid(), delayed(os.getpid)().compute(scheduler="distributed")

here, there = delayed(inner)().compute(scheduler="distributed")
assert here == there != os.getpid()
told()
here, there = delayed(inner)().compute(scheduler="threads")
assert here == os.getpid() != there
""")


def test_in_a_forked_child() -> None:
    """It has a cluster of its own; that of the parent goes on, and the parent's clients say whose they are."""
    lines = run("""
from taskloom.distributed import Client
given = Client(n_workers=1, threads_per_worker=1, set_as_default=False)
delayed(abs)(-1).compute(scheduler="cluster")
told()
child = os.fork()
if not child:
    told()
    assert delayed(abs)(-2).compute(scheduler="cluster") == 2
    try:
        given.submit(abs, -1)
    except RuntimeError as error:
        assert "is a fork" in str(error), error
    else:
        raise SystemExit("no error")
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert delayed(abs)(-3).compute(scheduler="cluster") == 3
told()
given.close()
""")
    assert lines[0] == lines[2] != lines[1]
