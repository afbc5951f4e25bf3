"""What it costs a dask scheduler to tell of its tasks, and how late that is known here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import distributed

import taskloom
from benchmarks.contenders import WORKERS
from benchmarks.report import Promise, Report, at_most, micro
from benchmarks.rounds import Effort
from taskloom.adapters.distributed import connect

COST = 3  # percent of the scheduler's time
LATE = 100  # milliseconds until an event is known here, in the median

_CLIENTS: dict[str, Callable[[str], Any]] = {
    "dask's own client": distributed.Client,
    "the same, with its runs on the bus": connect,
}


def measure(effort: Effort) -> Report:
    n = effort.choose(5_000, 100)
    seconds: dict[str, list[float]] = {name: [] for name in _CLIENTS}
    with _cluster() as address:
        for number in range(effort.rounds + 1):
            turns = list(_CLIENTS.items())
            for name, client_of in turns if number % 2 else reversed(turns):
                seconds[name].append(_scheduler_seconds(partial(client_of, address), n, number))
        delay = _delay(address, effort.choose(200, 20))
    plain, told = (times[1:] for times in seconds.values())  # without the first round, which warms
    extra = 100 * (median(mine / theirs for mine, theirs in zip(told, plain, strict=True)) - 1)
    rows = [[name, micro(median(times[1:]) / n)] for name, times in seconds.items()]
    notes = (
        f"µs of the scheduler's CPU time per task, of {n:,} tasks that do nothing, submitted as one graph whose "
        f"results are all gathered; the scheduler and {WORKERS} workers are processes of their own. From the end "
        f"of a task to its row in the run record here it took {delay * 1000:.0f} ms in the median."
    )
    promises: list[Promise] = [
        at_most("a dask scheduler that tells of its tasks, more of its time", extra, COST, "%"),
        at_most("from the end of a task on a dask cluster to its row here, median", delay * 1000, LATE, " ms"),
    ]
    return Report("Dask's own clusters", ("client", "µs per task"), rows, notes, promises)


def _scheduler_seconds(client_of: Callable[[], Any], n: int, round: int) -> float:
    """CPU seconds that the scheduler takes for `n` tasks."""
    with client_of() as client:
        client.wait_for_workers(WORKERS)
        before = client.run_on_scheduler(time.process_time)
        client.get({("nothing", round, i): (int,) for i in range(n)}, [("nothing", round, i) for i in range(n)])
        after = client.run_on_scheduler(time.process_time)
    return float(after - before)


def _delay(address: str, n: int) -> float:
    """Seconds from the end of a task to its row here, the median."""
    seen: list[float] = []
    over = threading.Event()

    def watch(run: taskloom.Run) -> None:
        known = 0
        while not over.wait(0.001):
            rows = list(run.done)[known:]
            known += len(rows)
            now = perf_counter()
            seen.extend([now - run.stop[row] for row in rows])

    with connect(address) as client:
        client.wait_for_workers(WORKERS)
        before = taskloom.last_run()
        futures = client.map(partial(_sleep, 0.02), range(n), pure=False)
        while (run := taskloom.last_run()) is None or run is before:
            time.sleep(0.001)
        watcher = threading.Thread(target=watch, args=[run])
        watcher.start()
        client.gather(futures)
        time.sleep(0.3)
        over.set()
        watcher.join()
    return median(seen)


def _sleep(seconds: float, _: int) -> None:
    time.sleep(seconds)


@contextmanager
def _cluster() -> Iterator[str]:
    """A scheduler and workers, as their command line starts them: the scheduler's address."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        start = partial(subprocess.Popen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        dask = [sys.executable, "-m", "dask"]
        options = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
        processes = [start([*dask, "scheduler", *options])]
        address = ""
        while not address:
            with suppress(OSError, ValueError):
                address = json.loads(file.read_text())["address"]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        processes += [start([*dask, "worker", address, *options]) for _ in range(WORKERS)]
        try:
            yield address
        finally:
            for process in processes:
                process.kill()
                process.wait()
