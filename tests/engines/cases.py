"""The engines that the contract holds for. A new engine joins by one line in `CASES`."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import taskloom
from taskloom.distributed import Client
from taskloom.engines.worker.pool import pool as workers

Get = Callable[..., Any]  # get(dsk, keys, **options)

PATIENCE = 20.0  # seconds after which whatever has not happened never will
PROGRAM_LIMIT = 3 * PATIENCE  # seconds after which a program hangs: it loads much, and starts others that do
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """One way to run a graph.

    `open(n)` gives a context whose value is a `get` with `n` workers. `engine` is the name in the run record,
    `in_process` says that tasks share this process's memory, `parallel` that several run at a time, and `own_workers`
    that they are the engine's own, not a user's pool. `threads` is how many there may be of ours between runs, and
    `lag` how many seconds behind the tasks the record of a run may be.
    """

    name: str
    open: Callable[[int], AbstractContextManager[Get]]
    engine: str
    in_process: bool = True
    parallel: bool = True
    own_workers: bool = True
    threads: int = 5
    lag: float = 0.0

    def catch_up(self, there: Callable[[], object]) -> None:
        """Wait for something that a run record tells, where it may lag behind."""
        deadline = monotonic() + (self.lag and PATIENCE)
        while not there() and monotonic() < deadline:
            sleep(0.002)


def _threads(num_workers: int) -> AbstractContextManager[Get]:
    return nullcontext(partial(taskloom.threaded.get, num_workers=num_workers))


@contextmanager
def _executor(num_workers: int) -> Iterator[Get]:
    with ThreadPoolExecutor(num_workers) as pool:
        yield partial(taskloom.threaded.get, pool=pool)


@contextmanager
def _thread_pool(num_workers: int) -> Iterator[Get]:
    with ThreadPool(num_workers) as pool:
        yield partial(taskloom.threaded.get, pool=pool)


@contextmanager
def processes(num_workers: int) -> Iterator[Get]:
    """Warm workers that end with the test, as none may leave processes behind."""
    try:
        yield partial(taskloom.multiprocessing.get, num_workers=num_workers)
    finally:
        workers.close()


@contextmanager
def _process_executor(num_workers: int) -> Iterator[Get]:
    with ProcessPoolExecutor(num_workers, mp_context=get_context("forkserver")) as pool:
        yield partial(taskloom.multiprocessing.get, pool=pool)


@contextmanager
def _cluster(num_workers: int) -> Iterator[Get]:
    with Client(n_workers=num_workers, threads_per_worker=1) as client:
        yield client.get


@contextmanager
def _cluster_of_threads(num_workers: int) -> Iterator[Get]:
    with Client(n_workers=1, threads_per_worker=num_workers, processes=False) as client:
        yield client.get


# A cluster lives longer than a run: it has threads of its own besides its workers (they hand out tasks, answer
# meanwhile, start processes, give up futures), and its workers report several tasks at a time.
_CLUSTER: dict[str, Any] = {"engine": "distributed", "threads": 8, "lag": 0.1}

CASES = [
    Case("sync", lambda num_workers: nullcontext(taskloom.get), "sync", parallel=False),
    Case("threads", _threads, "threads", threads=8),
    Case("executor", _executor, "threads", own_workers=False),
    Case("thread-pool", _thread_pool, "threads", own_workers=False),
    Case("processes", processes, "processes", in_process=False),
    Case("cluster", _cluster, in_process=False, **_CLUSTER),
    Case("cluster-of-threads", _cluster_of_threads, **_CLUSTER),
    Case("process-executor", _process_executor, "processes", in_process=False, own_workers=False),
]


def case_named(name: str) -> Case:
    """Return the case with this name: how scripts in other processes find it."""
    return next(case for case in CASES if case.name == name)


def in_child(program: str, *arguments: str, limit: float = PROGRAM_LIMIT) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a process of its own, which is killed after `limit` seconds."""
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", program, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=limit, check=False)


def check_child(program: str, *arguments: str, limit: float = PROGRAM_LIMIT) -> str:
    """Run a Python program in a process of its own, which must end well and silently; returns what it printed."""
    done = in_child(program, *arguments, limit=limit)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def in_thread(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """Start `function` in a thread; the answer waits for its end and gives its result, or raises its exception."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append((function(*args), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        assert outcome, "the thread hangs"
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    return result


def until(condition: Callable[[], object]) -> bool:
    """Wait for something that must come, but of which nothing tells."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "what the test waits for never happened"
        sleep(0.002)
    return True


def wait_for(event: threading.Event) -> bool:
    """Wait for an event that must come."""
    assert event.wait(PATIENCE), "what the test waits for never happened"
    return True


class Meet:
    """Waits until as many calls as given have begun, in whatever process."""

    def __init__(self, place: Path, calls: int) -> None:
        self.place = place
        self.calls = calls

    def __call__(self, name: Any) -> None:
        (self.place / f"{name}").touch()
        deadline = monotonic() + PATIENCE
        while len(os.listdir(self.place)) < self.calls:
            if monotonic() > deadline:
                raise TimeoutError("the others have not begun")
            sleep(0.002)
