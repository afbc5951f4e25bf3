"""``python -m benchmarks [NAME ...]``: measure, and print a table for each benchmark and one of the promises."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

from benchmarks import (
    cluster,
    cluster_hand_over,
    dask_jobs,
    dask_overhead,
    futures,
    hand_over,
    imports,
    latency,
    memory,
    memory_limit,
    metg,
    metg_processes,
    nested,
    overhead,
    processes,
    real_clusters,
    recording,
    rsds,
    scaling,
    views,
)
from benchmarks.report import Promise, machine, promises_table, replace_tables
from benchmarks.rounds import Effort

BENCHMARKS = {
    "overhead": overhead,
    "scaling": scaling,
    "latency": latency,
    "nested": nested,
    "memory": memory,
    "metg": metg,
    "processes": processes,
    "hand_over": hand_over,
    "metg_processes": metg_processes,
    "cluster": cluster,
    "futures": futures,
    "cluster_hand_over": cluster_hand_over,
    "memory_limit": memory_limit,
    "rsds": rsds,
    "real_clusters": real_clusters,
    "dask_overhead": dask_overhead,
    "dask_jobs": dask_jobs,
    "recording": recording,
    "views": views,
    "imports": imports,
}
README = Path(__file__).with_name("README.md")


def main() -> None:
    arguments = _parse()
    effort = Effort(arguments.rounds or (2 if arguments.quick else 7), arguments.quick)
    kind = "A quick run: it shows that everything works, its figures mean nothing." if effort.quick else ""
    texts = [f"{machine()} {effort.rounds} rounds. {kind}".rstrip() + "\n"]
    print(texts[0])
    promises: list[Promise] = []
    for name in arguments.names or BENCHMARKS:
        begun = perf_counter()
        report = BENCHMARKS[name].measure(effort)
        print(f"({name}: {perf_counter() - begun:.0f} s)", file=sys.stderr)
        promises += report.promises
        texts.append(str(report))
        print(report, flush=True)
    if promises:
        texts.append(promises_table(promises))
        print(texts[-1])
    if arguments.write:
        README.write_text(replace_tables(README.read_text(), "\n" + "\n".join(texts) + "\n"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure taskloom against its peers.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run (default: all): {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each measurement (default: 7)")
    parser.add_argument("--quick", action="store_true", help="small graphs, two rounds: only to see that all works")
    parser.add_argument("--write", action="store_true", help="write the tables to benchmarks/README.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if arguments.write and (arguments.names or arguments.quick):
        parser.error("--write takes a full run of all benchmarks: leave out the names and --quick")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds takes a number of 1 or more")
    return arguments


if __name__ == "__main__":
    main()
