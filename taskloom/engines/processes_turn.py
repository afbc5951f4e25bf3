"""A run's turn on the worker processes: whose they are meanwhile, and how they are told what to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from taskloom.bus.run import Run
from taskloom.engines.observed import Observer, run_observed
from taskloom.engines.processes_calls import Calls
from taskloom.engines.processes_run import ProcessesRun
from taskloom.engines.processes_single import run_single
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.pool import WorkerPool
from taskloom.engines.worker.pool import pool as warm_pool
from taskloom.engines.worker.turns import Turn
from taskloom.errors import SerializationError
from taskloom.graph import Plan


def run_in_turn(
    plan: Plan,
    run: Run,
    observer: Observer | None,
    width: int,
    retries: Callable[[int], int],
    limit: float,
    method: str,
    initializer: tuple[Any, tuple[Any, ...]] | None,
) -> list[Any]:
    """Run a plan on workers that are started by `method`, and by an initializer with its arguments if there is one.

    Raises
    ------
    SerializationError
        The initializer cannot be pickled.
    """
    __tracebackhide__ = True
    preparation = None if initializer is None else _packed(*initializer)
    work = partial(_run, plan=plan, run=run, observer=observer, width=width, retries=retries, limit=limit)
    try:
        return _in_turn(warm_pool, run, method, preparation, work)
    finally:
        if preparation is not None:
            preparation.close()


def _in_turn(
    pool: WorkerPool, run: Run, method: str, preparation: Parcel | None, work: Callable[[WorkerPool], list[Any]]
) -> list[Any]:
    """Run on these workers when their turn comes, else on spare ones: see `Turn.comes`."""
    __tracebackhide__ = True
    if not pool.turns.mine():  # else this is a callback of a run that has these workers
        turn = Turn(pool.turns)
        run.on_cancel(turn.give_up)
        try:
            if turn.comes() and not run.stopped:
                try:
                    pool.use(method, preparation)
                    return work(pool)
                finally:
                    if preparation is not None:  # what it has set up is not for the next run
                        pool.use(method)
                    if pool is not warm_pool:
                        pool.close()
        finally:
            turn.over = True
            pool.turns.call_next()
        if run.stopped:
            raise run.cancelled()
    return _in_turn(pool.spare(), run, method, preparation, work)


def _run(
    pool: WorkerPool,
    plan: Plan,
    run: Run,
    observer: Observer | None,
    width: int,
    retries: Callable[[int], int],
    limit: float,
) -> list[Any]:
    __tracebackhide__ = True
    if observer is None and len(plan) > 1:
        return ProcessesRun(plan, run, pool, width, retries, limit).execute()
    calls = Calls(pool, run, plan, width, retries)
    try:
        if observer is None:
            return run_single(plan, run, calls)
        return run_observed(plan, run, observer, calls.submit, calls, width)
    finally:
        calls.close()


def _packed(initializer: Any, initargs: Any) -> Parcel:
    try:
        return Parcel.of((initializer, tuple(initargs)))
    except Exception as error:
        raise SerializationError(f"The initializer, or an argument of it, cannot be pickled: {error}") from error
