"""A run of one task: a call of a worker process, without queues and without telling it of a plan."""

from __future__ import annotations

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
    calls.submit(0, plan.functions[0], inputs)
    arrived = calls.get()
    if arrived is None or run.stopped:
        raise run.cancelled()
    _, outcome = arrived
    if not run.workers:  # it could not be sent to any
        run.join(outcome.worker, outcome.pid)
    run.start[0] = outcome.start or run.start[0]  # it has none where its worker died
    if outcome.error is not None:
        run.fail(0, plan, outcome.error, inputs)
        raise outcome.take_error()
    run.stop[0] = outcome.stop
    run.done.append(0)
    results[0] = outcome.value
    return results
