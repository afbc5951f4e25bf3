"""How many results are alive at once, at most, while a graph is computed."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from time import sleep

from benchmarks import contenders, graphs
from benchmarks.graphs import Case, Function
from benchmarks.report import Promise, Report
from benchmarks.rounds import Effort

TASK = 20e-6  # seconds that a task sleeps, so that others run meanwhile

PLAYERS = {
    "sync": contenders.taskloom_sync,
    "dask sync": contenders.dask_sync,
    "threads": contenders.taskloom_threads,
    "dask threads": contenders.dask_threads,
}

SHAPES: dict[str, Callable[[Function], Case]] = {
    "tree 256 by 2": lambda function: graphs.tree(256, 2, function),
    "tree 300 by 8": lambda function: graphs.tree(300, 8, function),
    "stencil 30 × 30": lambda function: graphs.stencil(30, 30, function),
    "stencil 100 × 10": lambda function: graphs.stencil(100, 10, function),
    "stencil 10 × 100": lambda function: graphs.stencil(10, 100, function),
    "shuffle 10 to 10": lambda function: graphs.shuffle(10, 10, function),
    "shuffle 30 to 10": lambda function: graphs.shuffle(30, 10, function),
} | {
    f"random {fan_in} of {window}, no. {seed}": lambda function, fan_in=fan_in, window=window, seed=seed: (
        graphs.random_graph(400, fan_in, window, seed, function)
    )
    for fan_in, window in ((2, 10), (3, 50), (4, 400))
    for seed in range(3)
}


class Census:
    """Counts the results that are alive."""

    def __init__(self) -> None:
        self.alive = 0
        self.peak = 0
        self.lock = RLock()  # the collector may end a result in a thread that is just counting another

    def make(self, *inputs: object) -> Result:
        """The function of every task."""
        result = Result(self)
        sleep(TASK)
        return result


class Result:
    __slots__ = ("_census",)

    def __init__(self, census: Census) -> None:
        self._census = census
        with census.lock:
            census.alive += 1
            census.peak = max(census.peak, census.alive)

    def __del__(self) -> None:
        with self._census.lock:
            self._census.alive -= 1


def measure(effort: Effort) -> Report:
    shapes = effort.choose(SHAPES, {name: SHAPES[name] for name in ("tree 256 by 2", "shuffle 10 to 10")})
    rounds = effort.choose(max(3, effort.rounds // 2), 1)
    rows = []
    sync_misses, threads_misses = [], []
    for shape, build in shapes.items():
        peaks = {name: max(_peak(player, build) for _ in range(rounds)) for name, player in PLAYERS.items()}
        limit = max(peaks["dask threads"], peaks["sync"] + 2 * contenders.WORKERS)
        rows.append([shape, *map(str, peaks.values()), str(limit)])
        if peaks["sync"] > peaks["dask sync"]:
            sync_misses.append(shape)
        if peaks["threads"] > limit:
            threads_misses.append(shape)
    promises = [
        _on_all("peak of live results, sync: that of dask's sync get", sync_misses, len(shapes)),
        _on_all("peak of live results, threads: the table's limit", threads_misses, len(shapes)),
    ]
    notes = (
        f"Results alive at once, the most seen in {rounds} runs; a task sleeps {TASK * 1e6:.0f} µs, so that two "
        "workers run at a time. The limit for threads is the larger of what dask's threads need and what sync needs "
        "plus twice the number of workers."
    )
    return Report("Peak of live results", ("graph", *PLAYERS, "limit for threads"), rows, notes, promises)


def _peak(get: Callable[..., object], build: Callable[[Function], Case]) -> int:
    census = Census()
    get(*build(census.make))
    return census.peak


def _on_all(what: str, misses: list[str], n: int) -> Promise:
    missed = f", not on {'; '.join(misses)}" if misses else ""
    return Promise(what, f"at most, on {n} graphs", f"on {n - len(misses)}{missed}", not misses)
