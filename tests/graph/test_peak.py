"""How many results are alive at a time: no more than with dask on the same graph."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, sleep
from typing import Any, ClassVar

import pytest
from dask import threaded as dask_threaded
from dask.local import get_sync as dask_sync

import taskloom
from taskloom import threaded

Graph = dict[Any, Any]


class Result:
    """Counts how many of its kind are alive."""

    lock: ClassVar[threading.RLock] = threading.RLock()
    alive: ClassVar[int] = 0
    peak: ClassVar[int] = 0

    def __init__(self) -> None:
        with Result.lock:
            Result.alive += 1
            Result.peak = max(Result.peak, Result.alive)

    def __del__(self) -> None:
        with Result.lock:
            Result.alive -= 1


def make(*args: Any) -> Result:
    return Result()


def peak(get: Callable[..., Any], dsk: Graph) -> int:
    Result.peak = 0
    answer = get(dsk, ["end"])
    peak = Result.peak
    del answer
    wait_until_alive(0)
    return peak


def wait_until_alive(count: int) -> None:
    """Wait until so many results are: a thread may hold the last one for a moment after the end of its run."""
    deadline = monotonic() + 20
    while Result.alive != count:
        assert monotonic() < deadline, f"{Result.alive} results are alive"
        sleep(0.001)


class LockStep:
    """Lets tasks finish in the order in which they began, and only while as many run as can.

    How many results are alive then depends on the scheduler's choices alone, not on the machine: else a thread that
    the system holds up for a moment would have the other run far ahead.
    """

    def __init__(self, dsk: Graph, workers: int) -> None:
        self.workers = workers
        self.needs = {key: {arg for arg in _flat(task[1:]) if arg in dsk} for key, task in dsk.items()}
        self.graph: Graph = {key: (partial(self.run, key), *task[1:]) for key, task in dsk.items()}
        self.changed = threading.Condition()
        self.running: list[Any] = []
        self.done: set[Any] = set()

    def run(self, key: Any, *args: Any) -> Result:
        with self.changed:
            self.running.append(key)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.may_finish(key), timeout=20)
            self.running.remove(key)
            self.done.add(key)
            self.changed.notify_all()
            return Result()

    def may_finish(self, key: Any) -> bool:
        if self.running[0] != key:
            return False
        able = sum(1 for other, needs in self.needs.items() if other not in self.done and needs <= self.done)
        return len(self.running) >= min(self.workers, able)


def _flat(args: Any) -> Iterator[Any]:
    for arg in args:
        if isinstance(arg, list):
            yield from _flat(arg)
        else:
            yield arg


def peak_in_lock_step(get: Callable[..., Any], dsk: Graph, workers: int) -> int:
    return peak(get, LockStep(dsk, workers).graph)


def tree(leaves: int, branches: int) -> Graph:
    dsk: Graph = {("x", 0, i): (make, i) for i in range(leaves)}
    level = 0
    while leaves > 1:
        level, below, leaves = level + 1, leaves, -(-leaves // branches)
        for i in range(leaves):
            inputs = range(branches * i, min(branches * (i + 1), below))
            dsk["x", level, i] = (make, *[("x", level - 1, j) for j in inputs])
    return dsk | {"end": (make, ("x", level, 0))}


def stencil(width: int, steps: int) -> Graph:
    dsk: Graph = {("x", 0, i): (make, i) for i in range(width)}
    for step in range(1, steps):
        for i in range(width):
            dsk["x", step, i] = (make, *[("x", step - 1, j) for j in (i - 1, i, i + 1) if 0 <= j < width])
    return dsk | {"end": (make, [("x", steps - 1, i) for i in range(width)])}


def shuffle(inputs: int, outputs: int) -> Graph:
    dsk: Graph = {("in", i): (make, i) for i in range(inputs)}
    dsk |= {("split", i, j): (make, ("in", i), j) for i in range(inputs) for j in range(outputs)}
    dsk |= {("out", j): (make, [("split", i, j) for i in range(inputs)]) for j in range(outputs)}
    return dsk | {"end": (make, [("out", j) for j in range(outputs)])}


def anomaly(n: int) -> Graph:
    """Each chunk minus the mean over all."""
    dsk: Graph = {"mean": (make, [("part", i) for i in range(n)])}
    for i in range(n):
        dsk |= {("x", i): (make, i), ("part", i): (make, ("x", i)), ("diff", i): (make, ("x", i), "mean")}
    return dsk | {"end": (make, [("diff", i) for i in range(n)])}


def scattered(n: int, seed: int, most: int, window: int) -> Graph:
    """Each task takes up to `most` random ones of the `window` before it."""
    pick = random.Random(seed)
    dsk: Graph = {}
    for i in range(n):
        inputs = pick.sample(range(max(0, i - window), i), min(i, pick.randint(0, most)))
        dsk["x", i] = (make, *[("x", j) for j in inputs])
    used = {key for task in dsk.values() for key in task[1:]}
    return dsk | {"end": (make, [key for key in dsk if key not in used])}


GRAPHS = {
    "tree": tree(256, 2),
    "wide tree": tree(300, 8),
    "uneven tree": tree(100, 3),
    "stencil": stencil(30, 30),
    "wide stencil": stencil(100, 10),
    "long stencil": stencil(10, 100),
    "shuffle": shuffle(10, 10),
    "uneven shuffle": shuffle(20, 5),
    "anomaly": anomaly(30),
    "chain": {"x0": (make,)} | {f"x{i}": (make, f"x{i - 1}") for i in range(1, 500)} | {"end": (make, "x499")},
    **{f"random {seed}": scattered(400, seed, 3, 50) for seed in range(4)},
    **{f"random wide {seed}": scattered(400, seed, 4, 400) for seed in range(4)},
    **{f"random narrow {seed}": scattered(400, seed, 2, 10) for seed in range(4)},
}


@pytest.mark.parametrize("dsk", GRAPHS.values(), ids=GRAPHS)
def test_sync_keeps_no_more_results_than_dask(dsk: Graph) -> None:
    assert peak(taskloom.get, dsk) <= peak(dask_sync, dsk)


@pytest.mark.parametrize("dsk", GRAPHS.values(), ids=GRAPHS)
def test_threads_keep_hardly_more_results_than_sync(dsk: Graph) -> None:
    workers = 2
    with ThreadPoolExecutor(workers) as pool:
        peak_of_dask = peak_in_lock_step(partial(dask_threaded.get, pool=pool), dsk, workers)
    allowed = max(peak(taskloom.get, dsk) + 2 * workers, peak_of_dask)
    assert peak_in_lock_step(partial(threaded.get, num_workers=workers), dsk, workers) <= allowed


def test_parts_of_what_is_kept_for_others_are_not_made_before_they_are_wanted() -> None:
    """As where an array is rechunked in two steps: each block of the second takes a part of each of the first."""
    dsk: Graph = {("in", i, j): (make, i, j) for i in range(3) for j in range(4)}
    dsk |= {("merge", i): (make, [("in", i, j) for j in range(4)]) for i in range(3)}
    dsk |= {("split", i, j): (make, ("merge", i), j) for i in range(3) for j in range(3)}
    dsk |= {("out", j): (make, [("split", i, j) for i in range(3)]) for j in range(3)}
    dsk["end"] = (make, [("out", j) for j in range(3)])
    assert peak(taskloom.get, dsk) == 8  # the first `out`, and three merged, their parts and the second


@pytest.mark.parametrize("get", [taskloom.get, partial(threaded.get, num_workers=2)], ids=["sync", "threads"])
def test_requested_results_stay_and_others_go_at_their_last_use(get: Any) -> None:
    seen: list[int] = []
    dsk: Graph = {"a": (make,), "b": (make, "a"), "kept": (make, "b"), "d": (make, "kept"), "e": (make, "d")}
    dsk["end"] = (lambda x: seen.append(Result.alive), "e")
    answer = get(dsk, ["end", "kept"])
    assert seen == [2]  # kept and e
    wait_until_alive(1)
    del answer
    wait_until_alive(0)
