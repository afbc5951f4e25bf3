"""Pools of the user's own: anything with `submit` or `apply_async`."""

from __future__ import annotations

import os
import signal
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextvars import Context
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from taskloom.engines import worker
from taskloom.engines.cpus import usable_cpus
from taskloom.engines.observed import Outcome, Submit, call
from taskloom.errors import ConfigError, SerializationError, WorkerDied


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
        from taskloom.engines.worker.parcel import dumps  # it takes a while, and threads do without

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
            work = work_for(function, args)
        except Exception as error:
            wrong = SerializationError(f"The function or an argument of a task cannot be pickled: {error}")
            wrong.__cause__ = error
            outcomes.put((task, _lost(wrong)))
            return
        try:
            hand_over(task, work)
        except (RuntimeError, ValueError) as error:  # what pools raise once they are shut down
            raise ConfigError(f"The pool {pool!r} takes no tasks, it seems to be shut down: {error}") from error

    return submit


def call_packed(work: bytes) -> bytes:
    """Run one task in a process of a pool: function, arguments and outcome travel as taskloom pickles them."""
    import pickle

    from taskloom.engines.worker.failure import pack_error
    from taskloom.engines.worker.parcel import dumps

    function, args = pickle.loads(work)
    inside, worker.inside = worker.inside, True  # a run inside the task starts no workers of its own
    try:
        outcome = call(function, args)
    finally:
        worker.inside = inside
    packed, outcome.error = None if outcome.error is None else pack_error(outcome.error), None
    outcome.worker = f"pool-{os.getpid()}"
    try:
        return dumps((outcome, packed))
    except Exception as error:
        wrong = SerializationError(
            f"The result of a task, of type {type(outcome.value).__name__}, cannot be pickled, so it cannot leave the "
            f"pool: {error}"
        )
        wrong.__cause__ = error
        outcome.value = None
        return dumps((outcome, pack_error(wrong)))


def _unpacked(packed: bytes) -> Outcome:
    import pickle

    from taskloom.engines.worker.failure import unpack_error

    outcome: Outcome
    outcome, error = pickle.loads(packed)
    if error is not None:
        outcome.error = unpack_error(error)
    return outcome


class PoolCheck:
    """Finds out why no outcome comes: a multiprocessing pool that is terminated, or a process of which dies, forgets
    tasks without a word."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        processes = _processes_of(pool)
        self._gone = [process for process in processes if process.exitcode is not None]  # before this run
        self._seen = [process for process in processes if process not in self._gone]

    def __call__(self) -> None:
        """Look at the pool.

        Raises
        ------
        ConfigError
            It was terminated.
        WorkerDied
            A process of it has died, and its task is lost.
        """
        if getattr(self._pool, "_state", None) == "TERMINATE":
            raise ConfigError(f"The pool {self._pool!r} was shut down while tasks were waiting in it.")
        for process in _processes_of(self._pool):
            if process not in self._gone and process not in self._seen:
                self._seen.append(process)  # a dead one leaves the pool soon
        for process in self._seen:
            if process.exitcode or (process.exitcode == 0 and self._pool._maxtasksperchild is None):
                raise WorkerDied(
                    f"A process of the pool {self._pool!r} died ({_ending(process.exitcode)}), and the task that it "
                    "ran is lost: a multiprocessing.Pool does not say which. The engine's own workers name it, and try "
                    "it again."
                )


def _processes_of(pool: Any) -> list[Any]:
    """The processes of a multiprocessing pool. Executors tell by themselves when one dies."""
    if hasattr(pool, "submit") or type(pool).__name__ == "ThreadPool":
        return []
    return [*getattr(pool, "_pool", ())]


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"exit code {code}"


def _outcome_of(future: Future[Any], pool: Any) -> Outcome | bytes | None:
    if future.cancelled():
        return _lost(ConfigError(f"The pool {pool!r} was shut down while tasks were waiting in it."))
    error = future.exception()
    if isinstance(error, BrokenExecutor):
        died = WorkerDied(f"A process of the pool {pool!r} died, and takes no more tasks: {error}")
        died.__cause__ = error
        return _lost(died)
    return future.result() if error is None else _lost(error)


def _lost(error: BaseException) -> Outcome:
    """The outcome of a task that the pool could not run, or whose result it could not bring."""
    now = perf_counter()
    return Outcome(None, error, now, now, "pool", os.getpid())
