"""The synchronous engine: the plan in a loop, in the calling thread. What debuggers and profilers want."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from taskloom.bus.run import Run, current_run
from taskloom.engines.base import Engine
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.measure import LONG, Meter
from taskloom.engines.observed import Observer, call, run_observed
from taskloom.graph import Plan


class SyncEngine(Engine):
    """One task at a time, in the calling thread."""

    name = "sync"
    names = ("sync", "synchronous", "single-threaded")
    summary = "One task at a time in this thread: for debugging, profiling and very small tasks."

    def run(self, plan: Plan, run: Run, interrupt: Interrupt, observer: Observer | None, **options: Any) -> list[Any]:
        __tracebackhide__ = True
        run.on_cancel(interrupt.send)
        token = current_run.set(run)
        try:
            if observer is None:
                run.join(threading.current_thread().name)
                return _run_plan(plan, run)
            outcomes: Any = SimpleQueue()
            return run_observed(
                plan, run, observer, lambda task, *work: outcomes.put((task, call(*work))), outcomes, width=1
            )
        finally:
            current_run.reset(token)


def _run_plan(plan: Plan, run: Run) -> list[Any]:
    __tracebackhide__ = True
    results = plan.results()
    get_result = results.__getitem__
    last_use = _last_uses(plan, len(results))
    starts, stops, stopped = run.start, run.stop, run.stopped
    finished = run.done.append
    meter = Meter(run)
    clock = perf_counter
    task = 0
    try:
        for task, function, arg in zip(range(len(plan)), plan.functions, plan.args, strict=True):
            if stopped:
                raise run.cancelled()
            # Results are in no variable of this loop, so that they go when they are released.
            if arg.__class__ is int:
                starts[task] = start = clock()
                results[task] = function(results[arg])
                stops[task] = stop = clock()
                if last_use[arg] == task:
                    results[arg] = None
            else:
                starts[task] = start = clock()
                results[task] = function(*map(get_result, arg))
                stops[task] = stop = clock()
                for slot in arg:
                    if last_use[slot] == task:
                        results[slot] = None
            finished(task)
            if stop - start > LONG:
                meter.measure(task, results[task])
    except BaseException as error:
        run.fail(task, plan, error, plan.inputs(task, results))
        raise
    return results


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
