"""The threads engine: several tasks at a time in this process, on threads of its own or a pool of the user's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

from taskloom import config
from taskloom.bus.run import Run, current_run
from taskloom.engines.base import Engine, workers_wanted
from taskloom.engines.crew import crew
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer, Submit, call, run_observed
from taskloom.engines.pools import PoolCheck, pool_size, submit_to
from taskloom.engines.threads_run import ThreadsRun
from taskloom.graph import Plan

#: The user's pools in whose tasks the current code runs.
_occupied: ContextVar[tuple[Any, ...]] = ContextVar("occupied", default=())


class ThreadsEngine(Engine):
    """Several tasks at a time, in threads of this process."""

    name = "threads"
    names = ("threads", "threading")
    summary = "Several tasks at a time in this process: for NumPy, pandas, files and network, which let go of the lock."
    cost = "Takes 1 to 5 µs per task; pure Python tasks take turns."
    advice = (
        ("NumPy, pandas, compression", "their loops let go of the interpreter's lock, and nothing is copied"),
        ("Files and network", "tasks wait at the same time"),
    )
    settings = ("num_workers",)
    options = frozenset({"num_workers", "pool"})

    def run(
        self,
        plan: Plan,
        run: Run,
        interrupt: Interrupt,
        observer: Observer | None,
        *,
        num_workers: int | None = None,
        pool: Any = None,
        **options: Any,
    ) -> list[Any]:
        __tracebackhide__ = True
        context = copy_context()
        context.run(current_run.set, run)
        if pool is None:
            pool = config.get("pool")
        occupied = _occupied.get()
        if any(pool is other for other in occupied):
            pool, num_workers = None, 1  # inside a task of that pool, which would wait for a place there for ever
        if pool is None and sys.is_finalizing():  # a finalizer computes, and the helpers are no more
            crew.__init__()  # type: ignore[misc]  # one of them may have taken its lock along
            num_workers = 1
        if pool is None and observer is None:
            return ThreadsRun(plan, run, workers_wanted(num_workers), context).execute(interrupt)
        context.run(_occupied.set, (*occupied, pool))
        outcomes: SimpleQueue[Any] = SimpleQueue()
        run.on_cancel(partial(outcomes.put, None))
        if pool is None:
            submit, width = _submit_to_crew(outcomes, context), workers_wanted(num_workers)
        else:
            submit = submit_to(pool, outcomes, context, run.stopped)
            width = pool_size(pool) if num_workers is None else workers_wanted(num_workers)
        try:
            check = PoolCheck(pool)
            return run_observed(plan, run, observer or Observer([], {}, {}), submit, outcomes, width, check)
        finally:
            run.stopped.append("over")  # for what still waits in the pool


def _submit_to_crew(outcomes: SimpleQueue[Any], context: Context) -> Submit:
    def submit(task: int, function: Callable[..., Any], args: list[Any]) -> None:
        def job() -> None:
            outcomes.put((task, context.copy().run(call, function, args)))

        if not crew.dispatch(job):
            job()

    return submit
