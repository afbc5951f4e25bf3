"""A run of one task: a call of a worker process, without queues and without telling it of a plan."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.processes_calls import Calls
from taskloom.graph import Plan


def run_single(plan: Plan, run: Run, calls: Calls) -> list[Any]:
    """Run a plan of one task; returns the list of results."""
    __tracebackhide__ = True
    results = plan.results()
    inputs = plan.inputs(0, results)
    run.current = (0,)
    run.start[0] = perf_counter()
    calls.submit(0, plan.functions[0], inputs)
    arrived = None if run.stopped else calls.get()
    if arrived is None:
        raise run.cancelled()
    _, outcome = arrived
    run.start[0], run.stop[0] = outcome.start, outcome.stop
    if outcome.error is not None:
        run.fail(0, plan, outcome.error, inputs)
        raise outcome.take_error()
    run.done.append(0)
    if run.stopped:
        raise run.cancelled()
    results[0] = outcome.value
    return results
