"""Graphs shaped like those of the RSDS benchmark, with tasks that do nothing, beside distributed and frisky.

Böhm and Beránek, *Runtime vs Scheduler: Analyzing Dask's Overheads* (2020), arXiv:2010.11105. Here are no data, arrays
or frames: each function makes the graph that dask made then, after fusing, of the program that its docstring names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks import graphs
from benchmarks.clusters import clients, measure_graph, warm_up
from benchmarks.contenders import WORKERS
from benchmarks.graphs import Case, null
from benchmarks.report import Report, micro, times
from benchmarks.rounds import Effort


def measure(effort: Effort) -> Report:
    cases = effort.choose(_cases, _quick_cases)()
    rows = []
    with clients() as opened:
        warm_up(opened)
        for name, case in cases.items():
            measured = measure_graph(opened, case, effort)
            n, dependencies = len(case.dsk), count_dependencies(case)
            cells = {player: micro(measured.median(player) / n) for player in opened}
            shape = [f"{n:,}", f"{dependencies:,}", f"{dependencies / n:.2f}"]
            ratio = measured.ratio("distributed", "taskloom")
            rows.append([name, *shape, cells["taskloom"], cells["distributed"], times(ratio), cells.get("frisky", "–")])
    notes = (
        f"µs per task, `client.get`, {WORKERS} workers with a thread each, compiling included. The shapes are those of "
        "Böhm and Beránek's benchmark (arXiv:2010.11105), where workers that only pretended to run tasks showed the "
        "scheduler's share; here real workers run tasks that do nothing, on all sides. distributed and frisky get "
        "dask's own task objects. A dash: not installed."
    )
    header = ("graph", "tasks", "dependencies", "inputs per task", "taskloom", "distributed", "ratio", "frisky")
    return Report("Shapes of the RSDS benchmark", header, rows, notes)


def _cases() -> dict[str, Case]:
    return {
        "merge-5K": merge(5_000),
        "tree-15": tree(15),
        "groupby-900": groupby(900),
        "join-24": join(24),
        "bag-50": bag(50),
        "numpy-50": numpy(50),
        "xarray-25": xarray(3, 52),
    }


def _quick_cases() -> dict[str, Case]:
    return {
        "merge-100": merge(100),
        "tree-7": tree(7),
        "groupby-20": groupby(20),
        "join-6": join(6),
        "bag-5": bag(5),
        "numpy-6": numpy(6),
        "xarray": xarray(2, 8),
    }


def count_dependencies(case: Case) -> int:
    """How many results tasks take of each other."""
    return sum(argument in case.dsk for task in case.dsk.values() for argument in task[1:])


def merge(n: int) -> Case:
    """`n` tasks, and one that takes all their results: n + 1 tasks, n dependencies."""
    dsk, _ = graphs.flat(n)
    dsk["all"] = (null, *dsk)
    return Case(dsk, ["all"])


def tree(levels: int) -> Case:
    """A sum of 2**levels numbers, two at a time: 2**levels - 1 tasks, one dependency fewer."""
    return graphs.tree(2 ** (levels - 1))


def groupby(partitions: int) -> Case:
    """`df.groupby("name").x.mean().sum() + df[condition].x.resample("2s").mean().sum()`.

    Of each partition: its source, two chunks (sums and counts by name), the rows that fit, and those resampled
    together with what the next partition begins with. Three reductions by eight: about 5.4 tasks a partition.
    """
    dsk: dict[Any, Any] = {}
    for i in range(partitions):
        dsk["source", i] = (null, i)
        dsk["sum", i] = (null, ("source", i))
        dsk["count", i] = (null, ("source", i))
        dsk["rows", i] = (null, ("source", i))
        dsk["resample", i] = (null, *[("rows", j) for j in range(i, min(i + 2, partitions))])
    parts = [_reduce(dsk, name, [(name, i) for i in range(partitions)]) for name in ("sum", "count", "resample")]
    dsk["mean"] = (null, *parts[:2])
    dsk["all"] = (null, "mean", parts[2])
    return Case(dsk, ["all"])


def join(partitions: int) -> Case:
    """`df.merge(df, on="id")`, which shuffles, and the sum of two columns.

    Each partition is split into a part for each of the others: p**2 + 4p + 1 tasks, 2p**2 + 3p dependencies.
    """
    everyone = range(partitions)
    dsk: dict[Any, Any] = {("source", i): (null, i) for i in everyone}
    dsk |= {("part", i, j): (null, ("source", i), j) for i in everyone for j in everyone}
    dsk |= {("shuffled", j): (null, *[("part", i, j) for i in everyone]) for j in everyone}
    dsk |= {("merged", j): (null, ("shuffled", j)) for j in everyone}
    dsk |= {("sum", j): (null, ("merged", j)) for j in everyone}
    dsk["all"] = (null, *[("sum", j) for j in everyone])
    return Case(dsk, ["all"])


def bag(partitions: int) -> Case:
    """`people.filter(f)`, its product with itself, a filter and a map of the pairs, and their sum by eight."""
    everyone = range(partitions)
    dsk: dict[Any, Any] = {}
    for i in everyone:
        dsk["people", i] = (null, i)
        dsk["adults", i] = (null, ("people", i))
    pairs = [(i, j) for i in everyone for j in everyone]
    for i, j in pairs:
        dsk["pairs", i, j] = (null, *[("adults", k) for k in sorted({i, j})])
        dsk["sum", i, j] = (null, ("pairs", i, j))
    return Case(dsk, [_reduce(dsk, "sum", [("sum", i, j) for i, j in pairs])])


def numpy(blocks: int) -> Case:
    """`(x + x.T)[::2, half:].mean(axis=1).sum()` of `blocks` times `blocks` chunks; what nobody needs is not made."""
    half = blocks // 2
    dsk: dict[Any, Any] = {
        ("x", i, j): (null, i, j) for i in range(blocks) for j in range(blocks) if i >= half or j >= half
    }
    rows = []
    for i in range(blocks):
        for j in range(half, blocks):
            dsk["add", i, j] = (null, *[("x", *block) for block in sorted({(i, j), (j, i)})])
            dsk["slice", i, j] = (null, ("add", i, j))
        slices = [("slice", i, j) for j in range(half, blocks)]
        rows.append(_reduce(dsk, f"mean {i}", slices, fan_in=4))
    return Case(dsk, [_reduce(dsk, "sum", rows, fan_in=4)])


def xarray(chunks: int, weeks: int) -> Case:
    """`(air - air.groupby("time.week").mean("time")).sum()` of one file, in chunks of places.

    Of each chunk: its source; of each week there: a selection, its mean, and the difference. Sums go by two along both
    axes: with 3 chunks and 52 weeks 552 tasks, 862 dependencies.
    """
    dsk: dict[Any, Any] = {"file": (null, "air.nc"), "air": (null, "file")}
    blocks = [(chunk, week) for chunk in range(chunks) for week in range(weeks)]
    dsk |= {("source", chunk): (null, "air") for chunk in range(chunks)}
    for chunk, week in blocks:
        dsk["week", chunk, week] = (null, ("source", chunk), week)
        dsk["mean", chunk, week] = (null, ("week", chunk, week))
        dsk["minus", chunk, week] = (null, ("source", chunk), ("mean", chunk, week))
    level: dict[tuple[int, int], Any] = {block: ("minus", *block) for block in blocks}
    while len(level) > 1:
        taken: dict[tuple[int, int], list[Any]] = {}
        for (chunk, week), key in level.items():
            taken.setdefault((chunk // 2, week // 2), []).append(key)
        level = {block: ("sum", len(taken), *block) for block in taken}
        dsk |= {level[block]: (null, *keys) for block, keys in taken.items()}
    return Case(dsk, list(level.values()))


def _reduce(dsk: dict[Any, Any], name: str, keys: Iterable[Any], fan_in: int = 8) -> Any:
    """Add the tasks that reduce `keys` to one, `fan_in` at a time; returns the last one's key."""
    level = list(keys)
    while len(level) > 1:
        groups = [level[i : i + fan_in] for i in range(0, len(level), fan_in)]
        level = [(f"reduce {name}", len(groups), i) for i in range(len(groups))]
        dsk |= {key: (null, *group) for key, group in zip(level, groups, strict=True)}
    return level[0]
