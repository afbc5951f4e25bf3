"""The synchronous engine: the plan in a loop, in the calling thread. What debuggers and profilers want."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from taskloom.bus.run import Run, current_run
from taskloom.engines.base import Engine
from taskloom.engines.in_order import run_in_order
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer, call, run_observed
from taskloom.graph import Plan


class SyncEngine(Engine):
    """One task at a time, in the calling thread."""

    name = "sync"
    names = ("sync", "synchronous", "single-threaded")
    summary = "One task at a time in this thread: for debugging, profiling and very small tasks."
    cost = "Takes 1 to 7 µs per task."
    advice = (
        ("Debugging and profiling", "nothing runs beside it, and errors come in their own frames"),
        ("Many tiny tasks", "there is nobody to hand them to"),
    )

    def run(self, plan: Plan, run: Run, interrupt: Interrupt, observer: Observer | None, **options: Any) -> list[Any]:
        __tracebackhide__ = True
        run.on_cancel(interrupt.send)
        outer = current_run.get()
        try:
            current_run.set(run)
            if observer is None:
                run.join(threading.current_thread().name)
                return _run_plan(plan, run)
            outcomes: Any = SimpleQueue()
            return run_observed(
                plan, run, observer, lambda task, *work: outcomes.put((task, call(*work))), outcomes, width=1
            )
        finally:
            current_run.set(outer)


def _run_plan(plan: Plan, run: Run) -> list[Any]:
    __tracebackhide__ = True
    results = plan.results()
    try:
        run_in_order(plan, run, results, run.stopped)
    except KeyboardInterrupt:  # nobody's failure: it may come behind the last task
        raise
    except BaseException as error:
        task = len(run.done)
        run.fail(task, plan, error, plan.inputs(task, results))
        raise
    if run.stopped:
        raise run.cancelled()
    return results
