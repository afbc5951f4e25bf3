"""The plan in a loop: the fastest way to run it with one thread."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.measure import LONG, Meter
from taskloom.graph import Plan


def run_in_order(plan: Plan, run: Run, results: list[Any], halt: list[str]) -> int:
    """Run the tasks of a plan in their order, until `halt` has an entry; returns how many have been run.

    Results go as soon as their last user is done. A task begins when the one before has ended and its inputs have
    gone, so one clock reading a task is enough. A task that raises ends the loop with its exception; it is the task
    with the number ``len(run.done)``.
    """
    __tracebackhide__ = True
    get_result = results.__getitem__
    last_use = _last_uses(plan, len(results))
    starts, stops, finished = run.start, run.stop, run.done.append
    meter = Meter(run)
    clock, long = perf_counter, LONG
    start = clock()
    for task, function, arg in zip(range(len(plan)), plan.functions, plan.args, strict=True):
        if halt:
            return task
        starts[task] = start
        # Results are in no variable of this loop, so that they go when they are released.
        if arg.__class__ is int:
            results[task] = function(results[arg])
            if last_use[arg] == task:
                results[arg] = None
        else:
            results[task] = function(*map(get_result, arg))
            for slot in arg:
                if last_use[slot] == task:
                    results[slot] = None
        stops[task] = stop = clock()
        finished(task)
        if stop - start > long:
            meter.measure(task, results[task])
            stop = clock()
        start = stop
    return len(plan)


def _last_uses(plan: Plan, size: int) -> list[int]:
    """Per slot the task that is the last to take it, -1 where the result is requested."""
    last_use = [-1] * size
    for task, arg in enumerate(plan.args):
        if arg.__class__ is int:
            last_use[arg] = task
        else:
            for slot in arg:
                last_use[slot] = task
    for slot in plan.requested:
        last_use[slot] = -1
    return last_use
