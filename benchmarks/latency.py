"""How long a call takes that computes a single task, on warm engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dask.base import compute as dask_compute
from dask.delayed import delayed as dask_delayed

import taskloom
from benchmarks import contenders, graphs
from benchmarks.report import Report, at_most, micro
from benchmarks.rounds import Effort, interleave

LIMIT = 40  # µs


class Listener:
    """Hears of every run and does nothing with it."""

    def run_started(self, run: taskloom.Run) -> None: ...

    def run_updated(self, run: taskloom.Run) -> None: ...

    def run_finished(self, run: taskloom.Run) -> None: ...


def measure(effort: Effort) -> Report:
    calls = effort.choose(500, 20)
    case = graphs.flat(1)
    ours = taskloom.delayed(graphs.null)(0)
    theirs = dask_delayed(graphs.null)(0)
    our_compute = partial(taskloom.compute, ours, scheduler="threads", num_workers=contenders.WORKERS)
    their_compute = partial(dask_compute, theirs, scheduler="threads", num_workers=contenders.WORKERS)
    players: dict[str, Callable[[], object]] = {
        "get, sync": partial(contenders.taskloom_sync, *case),
        "get, threads": partial(contenders.taskloom_threads, *case),
        "compute(delayed), threads": our_compute,
        "dask get, sync": partial(contenders.dask_sync, *case),
        "dask get, threads": partial(contenders.dask_threads, *case),
        "dask compute(delayed), threads": their_compute,
    }
    turns = {name: partial(_repeat, player, calls) for name, player in players.items()}
    heard = {name: partial(_repeat_with_listener, player, calls) for name, player in players.items() if _is_ours(name)}
    measured = interleave(turns | {_with_listener(name): turn for name, turn in heard.items()}, effort.rounds)
    rows = [
        [
            name,
            micro(measured.median(name) / calls),
            micro(measured.median(_with_listener(name)) / calls) if name in heard else "–",
        ]
        for name in players
    ]
    promises = [
        at_most(f"one task, warm: {name}", measured.median(name) / calls * 1e6, LIMIT, " µs")
        for name in ("get, threads", "compute(delayed), threads")
    ]
    notes = (
        f"µs per call, the mean of {calls} in a row, and of that the median over rounds. With a listener, a call ends "
        "after the listener has been told on the ticker's thread, which two hand-overs between threads take."
    )
    return Report("Latency of one task", ("call", "µs", "with a listener"), rows, notes, promises)


def _is_ours(name: str) -> bool:
    return not name.startswith("dask")


def _with_listener(name: str) -> str:
    return f"{name}, with a listener"


def _repeat(call: Callable[[], object], n: int) -> None:
    for _ in range(n):
        call()


def _repeat_with_listener(call: Callable[[], object], n: int) -> None:
    with taskloom.subscribe(Listener()):
        _repeat(call, n)
