"""Microseconds per task that does nothing, by `client.get` of a local cluster, beside distributed's and frisky's."""

from __future__ import annotations

from benchmarks import graphs
from benchmarks.clusters import clients, measure_graph, warm_up
from benchmarks.contenders import WORKERS
from benchmarks.report import Report, at_least, micro, times
from benchmarks.rounds import Effort

DISTRIBUTED = {"flat": 40, "stencil": 30, "tree": 15}  # times faster than distributed, at least


def measure(effort: Effort) -> Report:
    cases = {
        "flat": graphs.flat(effort.choose(5_000, 200)),
        "stencil": graphs.stencil(*effort.choose((100, 50), (20, 10))),
        "tree": graphs.tree(effort.choose(2_500, 100)),
        "chain": graphs.chain(effort.choose(1_000, 30)),
    }
    rows, promises = [], []
    with clients() as opened:
        warm_up(opened)
        for name, case in cases.items():
            measured = measure_graph(opened, case, effort)
            n = len(case.dsk)
            cells = {player: micro(measured.median(player) / n) for player in opened}
            ratio = measured.ratio("distributed", "taskloom")
            rows.append(
                [f"{name}, {n:,}", cells["taskloom"], cells["distributed"], times(ratio), cells.get("frisky", "–")]
            )
            if name in DISTRIBUTED:
                promises.append(at_least(f"the cluster is faster than distributed's: {name}", ratio, DISTRIBUTED[name]))
    notes = (
        f"µs per null task, `client.get`, {WORKERS} workers with a thread each, compiling included. distributed and "
        "frisky get dask's own task objects, so that making them is not in their time. After each turn everybody has "
        "half a second to forget results. A dash: not installed."
    )
    header = ("graph, tasks", "taskloom", "distributed", "ratio", "frisky")
    return Report("Cluster: whole graphs", header, rows, notes, promises)
