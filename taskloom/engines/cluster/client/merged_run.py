"""Several run records as one, for a picture of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from taskloom.bus.run import Run
from taskloom.bus.run_graph import RunGraph
from taskloom.graph import Key


def merged_run(runs: Sequence[Run]) -> Run:
    """The record of all that happened in some runs of this process, from the start of the first to the end of the last.

    It is a copy: it does not follow them.
    """
    if not runs:
        empty = Run(RunGraph([], [], []), "distributed")
        empty.end("finished", 0.0)
        return empty
    keys: list[Key] = []
    functions: list[str] = []
    dependencies: list[tuple[int, ...]] = []
    for run in runs:
        first, n = len(keys), run.n_tasks
        keys += run.graph.keys[:n]
        functions += run.graph.functions[:n]
        dependencies += [tuple([first + dep for dep in deps]) for deps in run.graph.dependencies[:n]]
    merged = Run(RunGraph(keys, functions, dependencies), runs[-1].engine)
    merged.zero = min([run.zero for run in runs])
    merged.started = min([run.started for run in runs])
    members: dict[Any, int] = {}
    first = 0
    for run in runs:
        _add(merged, run, first, members)
        first += run.n_tasks
    end = max([run.zero + run.duration for run in runs])
    status = "failed" if merged.failure is not None else "finished"
    left = [worker.left for worker in merged.workers]
    merged.end(status, end - merged.zero)  # type: ignore[arg-type]
    for worker, time in zip(merged.workers, left, strict=True):
        worker.left = time
    return merged


def _add(merged: Run, run: Run, first: int, members: dict[Any, int]) -> None:
    """Copy one run's rows, from row `first` on."""
    shift = run.zero - merged.zero
    numbers = []
    for worker in list(run.workers):
        who = (worker.name, worker.pid)
        if who not in members:
            members[who] = len(merged.workers)
            merged.workers.append(replace(worker, joined=worker.joined + shift))
        member = merged.workers[members[who]]
        member.left = None if worker.left is None else worker.left + shift
        member.peak_held = max(member.peak_held, worker.peak_held)
        numbers.append(members[who])
    n = min(run.n_tasks, len(run.start), len(run.stop))
    for row in range(n):
        merged.start[first + row] = run.start[row]
        merged.stop[first + row] = run.stop[row]
        if run.worker[row] < len(numbers):
            merged.worker[first + row] = numbers[run.worker[row]]
    merged.done.extend([first + row for row in list(run.done)])
    merged.long.update({first + row: measures for row, measures in list(run.long.items())})
    merged.samples += [
        replace(sample, time=sample.time + shift, worker=numbers[sample.worker])
        for sample in list(run.samples)
        if sample.worker < len(numbers)
    ]
    merged.transfers += [
        replace(
            move,
            time=move.time + shift,
            task=first + move.task,
            source=numbers[move.source],
            target=None if move.target is None else numbers[move.target],
        )
        for move in list(run.transfers)
        if max(move.source, move.target or 0) < len(numbers)
    ]
    merged.failures.update({first + row: failure.without_inputs() for row, failure in list(run.failures.items())})
    if run.failure is not None and merged.failure is None:
        merged.failure = run.failure.without_inputs()
