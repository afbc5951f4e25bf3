"""Pools of the user's own: anything with `submit` or `apply_async`."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from taskloom.engines.cpus import usable_cpus
from taskloom.engines.observed import Outcome, Submit, call
from taskloom.engines.worker.failure import pack_error, unpack_error
from taskloom.engines.worker.parcel import dumps
from taskloom.errors import ConfigError


def pool_size(pool: Any) -> int:
    """How many tasks a pool runs at a time; the number of cores where it does not say."""
    for attribute in ("_max_workers", "_processes"):  # concurrent.futures and loky; multiprocessing
        size = getattr(pool, attribute, None)
        if isinstance(size, int) and size > 0:
            return size
    return usable_cpus()


def submit_to(pool: Any, outcomes: SimpleQueue[Any], context: Context, stopped: list[str]) -> Submit:
    """A function that hands one task to `pool`, whose outcome then arrives in `outcomes`.

    What still waits in a pool of threads when a task fails, or `stopped` gets an entry, does not start.

    Raises
    ------
    ConfigError
        `pool` is no pool; or, from the function, it was shut down.
    """
    in_threads = isinstance(pool, ThreadPoolExecutor) or type(pool).__name__ == "ThreadPool"
    failed: list[str] = []

    def work_for(function: Any, args: list[Any]) -> tuple[Any, ...]:
        if in_threads:
            return context.copy().run, call_in_time, function, args
        return call_packed, dumps((function, args))

    def call_in_time(function: Any, args: list[Any]) -> Outcome | None:
        if stopped or failed:
            return None
        outcome = call(function, args)
        if outcome.error is not None:
            failed.append("failed")
        return outcome

    def arrive(task: int, outcome: Outcome | bytes | None) -> None:
        if isinstance(outcome, bytes):
            outcome = _unpacked(outcome)
        if outcome is not None:
            outcomes.put((task, outcome))

    if hasattr(pool, "submit"):

        def hand_over(task: int, work: tuple[Any, ...]) -> None:
            def arrived(future: Future[Any]) -> None:
                arrive(task, _outcome_of(future, pool))

            pool.submit(*work).add_done_callback(arrived)

    elif hasattr(pool, "apply_async"):

        def hand_over(task: int, work: tuple[Any, ...]) -> None:
            pool.apply_async(
                work[0],
                work[1:],
                callback=lambda outcome: arrive(task, outcome),
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


def call_packed(work: bytes) -> bytes:
    """Run one task in a process of a pool: function, arguments and outcome travel as taskloom pickles them."""
    import pickle

    function, args = pickle.loads(work)
    outcome = call(function, args)
    packed, outcome.error = None if outcome.error is None else pack_error(outcome.error), None
    outcome.worker = f"pool-{os.getpid()}"
    try:
        return dumps((outcome, packed))
    except Exception as error:
        outcome.value = None
        return dumps((outcome, pack_error(error)))


def _unpacked(packed: bytes) -> Outcome:
    import pickle

    outcome: Outcome
    outcome, error = pickle.loads(packed)
    if error is not None:
        outcome.error = unpack_error(error)
    return outcome


def check_pool(pool: Any) -> None:
    """Find out why no outcome comes: a multiprocessing pool that is terminated forgets its tasks without a word.

    Raises
    ------
    ConfigError
        It was terminated.
    """
    if getattr(pool, "_state", None) == "TERMINATE":
        raise ConfigError(f"The pool {pool!r} was shut down while tasks were waiting in it.")


def _outcome_of(future: Future[Any], pool: Any) -> Outcome | bytes | None:
    if future.cancelled():
        return _lost(ConfigError(f"The pool {pool!r} was shut down while tasks were waiting in it."))
    error = future.exception()
    return future.result() if error is None else _lost(error)


def _lost(error: BaseException) -> Outcome:
    """The outcome of a task that the pool could not run, or whose result it could not bring."""
    now = perf_counter()
    return Outcome(None, error, now, now, "pool", os.getpid())
