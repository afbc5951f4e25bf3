"""Run records as files: JSON lines, one header, then workers, samples and tasks, a line each."""

from __future__ import annotations

import json
import os
from array import array
from ast import literal_eval
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskloom.bus.run_graph import RunGraph

if TYPE_CHECKING:
    from taskloom.bus.failure import Failure
    from taskloom.bus.run import Run

FORMAT = "taskloom-run"
VERSION = 2


def save(run: Run, path: str | os.PathLike[str]) -> None:
    """Write `run` to `path`; the file appears whole or not at all."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for line in _lines(run):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _lines(run: Run) -> Any:
    rows = len(run.start)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "rows": rows,
        "id": run.id,
        "parent": run.parent,
        "engine": run.engine,
        "status": run.status,
        "started": run.started,
        "duration": run.duration,
        "n_tasks": run.n_tasks,
        "names": run.names,
        "dropped": run.dropped,
        "done": list(run.done),
        "unfinished": sorted(run.unfinished),
        "failure": None if run.failure is None else _failure(run.failure),
        "dropped_failures": run.dropped_failures,
    }
    yield header
    for worker in run.workers:
        yield {
            "worker": worker.name,
            "pid": worker.pid,
            "threads": worker.threads,
            "joined": worker.joined,
            "left": worker.left,
            "held": worker.held,
            "peak_held": worker.peak_held,
        }
    for sample in run.samples:
        yield {
            "time": sample.time,
            "sample": sample.worker,
            "cpu": sample.cpu,
            "rss": sample.rss,
            "held": sample.held,
        }
    for move in run.transfers:
        yield {
            "time": move.time,
            "moved": move.task,
            "source": move.source,
            "target": move.target,
            "nbytes": move.nbytes,
        }
    tasks_of: dict[int, tuple[Failure, list[int]]] = {}  # one failure may stand for many tasks
    for task, failure in run.failures.items():
        tasks_of.setdefault(id(failure), (failure, []))[1].append(task)
    for failure, tasks in tasks_of.values():
        yield {"failed": tasks, **_failure(failure)}
    functions, dependencies = run.graph.functions, run.graph.dependencies
    for task, row in enumerate(run.tasks.rows(range(rows))):
        yield {
            "key": repr(row["key"]),
            "function": functions[task],
            "needs": dependencies[task],
            "worker": row["worker"],
            "start": row["start"],
            "stop": row["stop"],
            "cpu": None if isnan(row["cpu"]) else row["cpu"],
            "nbytes": None if isnan(row["nbytes"]) else row["nbytes"],
        }


def _failure(failure: Failure) -> dict[str, Any]:
    text = failure.without_inputs()
    return {
        "of": repr(text.key),
        "exception": text.exception,
        "worker": text.worker,
        "attempt": text.attempt,
    }


def load(path: str | os.PathLike[str]) -> Run:
    """Read the run that `save` wrote to `path`."""
    from taskloom.bus.failure import Failure
    from taskloom.bus.run import Run
    from taskloom.bus.workers import Sample, Transfer, Worker

    def read_failure(line: dict[str, Any]) -> Failure:
        return Failure(_key(line["of"]), line["exception"], line["worker"], line["attempt"])

    with open(path, encoding="utf-8") as file:
        try:
            header, *lines = map(json.loads, file)
            if header["format"] != FORMAT or header["version"] != VERSION:
                raise ValueError(f"format {header['format']!r}, version {header['version']!r}")
            tasks = [line for line in lines if "key" in line]
            if len(tasks) != header["rows"]:
                raise ValueError(f"{len(tasks)} of {header['rows']} tasks are there")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)} is no whole run record of version {VERSION}: {error}") from error
    graph = RunGraph(
        [_key(line["key"]) for line in tasks],
        [line["function"] for line in tasks],
        [tuple(line["needs"]) for line in tasks],
    )
    run = Run(graph, header["engine"], header["id"])
    run.parent, run.started, run.n_tasks = header["parent"], header["started"], header["n_tasks"]
    run.names, run.dropped_failures = header["names"], header["dropped_failures"]
    run.dropped = {name: (count, total) for name, (count, total) in header["dropped"].items()}
    run.end(header["status"], header["duration"])
    run.zero = 0.0  # times in the file are seconds since the start
    run.start = array("d", [line["start"] for line in tasks])
    run.stop = array("d", [line["stop"] for line in tasks])
    run.worker = array("H", [line["worker"] for line in tasks])
    run.done = array("L", header["done"])
    run.long = {
        task: (nan if line["cpu"] is None else line["cpu"], nan if line["nbytes"] is None else line["nbytes"])
        for task, line in enumerate(tasks)
        if line["cpu"] is not None or line["nbytes"] is not None
    }
    run.samples = [Sample(x["time"], x["sample"], x["cpu"], x["rss"], x["held"]) for x in lines if "sample" in x]
    run.transfers = [
        Transfer(x["time"], x["moved"], x["source"], x["target"], x["nbytes"]) for x in lines if "moved" in x
    ]
    run.unfinished = set(header["unfinished"])
    fields = ("worker", "pid", "threads", "joined", "left", "held", "peak_held")
    run.workers = [Worker(*[line[field] for field in fields]) for line in lines if "pid" in line]
    if header["failure"] is not None:
        run.failure = read_failure(header["failure"])
    for line in lines:
        if "failed" in line:
            run.failures.update(dict.fromkeys(line["failed"], read_failure(line)))
    return run


def _key(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):  # a key of another kind: its text serves
        return text
