"""Pools of the user's own: anything with `submit` or `apply_async`."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from time import perf_counter
from typing import Any

from taskloom.engines.cpus import usable_cpus
from taskloom.engines.observed import Outcome, Outcomes, Submit, call
from taskloom.errors import ConfigError


def pool_size(pool: Any) -> int:
    """How many tasks a pool runs at a time; the number of cores where it does not say."""
    for attribute in ("_max_workers", "_processes"):  # concurrent.futures and loky; multiprocessing
        size = getattr(pool, attribute, None)
        if isinstance(size, int) and size > 0:
            return size
    return usable_cpus()


def submit_to(pool: Any, outcomes: Outcomes, context: Context) -> Submit:
    """A function that hands one task to `pool`, whose outcome then arrives in `outcomes`.

    Raises
    ------
    ConfigError
        `pool` is no pool; or, from the function, it was shut down.
    """
    in_threads = isinstance(pool, ThreadPoolExecutor) or type(pool).__name__ == "ThreadPool"

    def work_for(function: Any, args: list[Any]) -> tuple[Any, ...]:
        return (context.copy().run, call, function, args) if in_threads else (call, function, args)

    if hasattr(pool, "submit"):

        def hand_over(task: int, work: tuple[Any, ...]) -> None:
            def arrived(future: Future[Outcome]) -> None:
                outcomes.put((task, _outcome_of(future)))

            pool.submit(*work).add_done_callback(arrived)

    elif hasattr(pool, "apply_async"):

        def hand_over(task: int, work: tuple[Any, ...]) -> None:
            pool.apply_async(
                work[0],
                work[1:],
                callback=lambda outcome: outcomes.put((task, outcome)),
                error_callback=lambda error: outcomes.put((task, _lost(error))),
            )

    else:
        raise ConfigError(
            f"pool={pool!r} is no pool: it has neither `submit` nor `apply_async`. "
            "Pass a concurrent.futures.Executor or a multiprocessing.pool.Pool."
        )

    def submit(task: int, function: Any, args: list[Any]) -> None:
        try:
            hand_over(task, work_for(function, args))
        except (RuntimeError, ValueError) as error:  # what pools raise once they are shut down
            raise ConfigError(f"The pool {pool!r} takes no tasks, it seems to be shut down: {error}") from error

    return submit


def _outcome_of(future: Future[Outcome]) -> Outcome:
    if future.cancelled():
        return _lost(RuntimeError("The pool cancelled this task: it was shut down meanwhile."))
    error = future.exception()
    return future.result() if error is None else _lost(error)


def _lost(error: BaseException) -> Outcome:
    """The outcome of a task that the pool could not run, or whose result it could not bring."""
    now = perf_counter()
    return Outcome(None, error, now, now, "pool", os.getpid())
