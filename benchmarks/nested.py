"""Tasks that compute graphs themselves, on the engine that runs them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import contenders, graphs
from benchmarks.graphs import Case
from benchmarks.report import Report, micro, times
from benchmarks.rounds import Effort, interleave

PLAYERS = {
    "taskloom threads": contenders.taskloom_threads,
    "taskloom sync": contenders.taskloom_sync,
    "dask threads": contenders.dask_threads,
    "dask sync": contenders.dask_sync,
}


def measure(effort: Effort) -> Report:
    outer, inner = effort.choose((20, 100), (5, 10))
    turns = {name: partial(player, *_nested_case(player, outer, inner)) for name, player in PLAYERS.items()}
    measured = interleave(turns, effort.rounds)
    rows = [
        [name, micro(measured.median(name)), micro(measured.median(name) / (outer * inner)), times(ratio)]
        for name in PLAYERS
        for ratio in [measured.ratio(name, "taskloom threads")]
    ]
    notes = (
        f"{outer} tasks, each of which computes a flat graph of {inner} tasks that do nothing; ratios to taskloom's "
        "threads. A `ThreadPoolExecutor` is not in this table: tasks that wait for tasks of their own pool deadlock."
    )
    return Report("Nested compute", ("engine", "µs", "µs per inner task", "ratio"), rows, notes)


def _nested_case(get: Callable[[Any, Any], Any], outer: int, inner: int) -> Case:
    inside = graphs.flat(inner)
    return graphs.flat(outer, lambda _: get(*inside))
