"""The processes engine: several tasks at a time in worker processes that stay warm, or in a pool of the user's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import cache, partial
from numbers import Integral
from queue import SimpleQueue
from typing import Any

from taskloom import config
from taskloom.bus.run import Run, current_run
from taskloom.config.keys import START_METHODS
from taskloom.config.sizes import parse_size
from taskloom.engines import worker
from taskloom.engines.base import Engine, workers_wanted
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer, run_observed
from taskloom.engines.pools import PoolCheck, pool_size, submit_to
from taskloom.engines.sync import SyncEngine
from taskloom.errors import ConfigError
from taskloom.graph import Key, Plan


class ProcessesEngine(Engine):
    """Several tasks at a time, in worker processes.

    Runs that are started from several threads take turns, in the order in which they came: each has all workers, and
    the whole of the memory limit. One that waits is in the records as running, with nothing done, and can be cancelled.
    One that is started inside of a callback cannot wait for the run that calls it, and gets workers for itself; so does
    one that the callback may be waiting for, in another thread, after a few seconds.
    """

    name = "processes"
    names = ("processes", "multiprocessing")
    summary = "Several tasks at a time in worker processes: for Python code that computes, and keeps the lock."
    cost = "Takes 2 to 6 µs per task; what goes from one worker to another is copied once."
    advice = (
        ("Pure Python that computes", "each worker has an interpreter lock of its own"),
        ("Code that may crash", "a worker that dies is replaced, and its task is tried again"),
    )
    settings = ("num_workers", "multiprocessing.memory_limit", "multiprocessing.context")
    options = frozenset({"num_workers", "pool", "context", "initializer", "initargs", "retries", "memory_limit"})

    def unavailable(self) -> str:
        return "" if _has_processes() else "It has no worker processes of its own on Windows."

    def run(
        self,
        plan: Plan,
        run: Run,
        interrupt: Interrupt,
        observer: Observer | None,
        *,
        num_workers: int | None = None,
        pool: Any = None,
        context: str | None = None,
        initializer: Any = None,
        initargs: tuple[Any, ...] = (),
        retries: int | Mapping[Key, int] | None = None,
        memory_limit: float | str | None = None,
        **options: Any,
    ) -> list[Any]:
        __tracebackhide__ = True
        method = _start_method(context)
        width = workers_wanted(num_workers)
        tries = _retries(retries, plan)
        limit = _bytes(memory_limit)
        if pool is None:
            pool = config.get("pool")
        if pool is not None:
            return self._run_in(pool, plan, run, observer, pool_size(pool) if num_workers is None else width)
        if not _has_processes():
            raise ConfigError(
                "The processes engine has no worker processes of its own on Windows. Use scheduler='threads', or pass "
                "a pool= of your own, such as a ProcessPoolExecutor."
            )
        if worker.inside:  # a run inside a task: this process is the worker that it has
            return SyncEngine().run(plan, run, interrupt, observer)
        if not len(plan):
            return plan.results()
        from taskloom.engines.processes_turn import (
            run_in_turn,  # what runs workers takes half as long as all else to load
        )

        return run_in_turn(
            plan, run, observer, width, tries, limit, method, None if initializer is None else (initializer, initargs)
        )

    def _run_in(self, pool: Any, plan: Plan, run: Run, observer: Observer | None, width: int) -> list[Any]:
        """Run in a pool of the user's."""
        __tracebackhide__ = True
        context = copy_context()
        context.run(current_run.set, run)
        outcomes: SimpleQueue[Any] = SimpleQueue()
        run.on_cancel(partial(outcomes.put, None))
        submit = submit_to(pool, outcomes, context, run.stopped)
        try:
            return run_observed(plan, run, observer or Observer([], {}, {}), submit, outcomes, width, PoolCheck(pool))
        finally:
            run.stopped.append("over")


def _has_processes() -> bool:
    """Whether workers can be started here: Linux and macOS have what they need."""
    return hasattr(os, "fork")


def _start_method(context: Any) -> str:
    """How to start workers: as the call says, else the configuration."""
    method = config.get("multiprocessing.context") if context is None else context
    if not isinstance(method, str) or method not in START_METHODS:
        choices = ", ".join(map(repr, START_METHODS))
        raise ConfigError(f"context={method!r} cannot be used: worker processes are started by one of {choices}.")
    return method


def _retries(value: Any, plan: Plan) -> Callable[[int], int]:
    """How often a task, by number, is tried again: as the call says for all or for its key, else the configuration.

    Keys that are not in the plan are nobody's mistake: an optimisation may have left them out.
    """
    default: int = config.get("multiprocessing.retries")
    if value is None:
        return lambda task: default
    if not isinstance(value, Mapping):
        every = _whole(value)
        return lambda task: every
    own = {key: _whole(number) for key, number in value.items()}
    return lambda task: own.get(plan.keys[task], default) if task >= 0 else default


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ConfigError(f"retries={value!r} cannot be used: it takes a whole number, 0 or more, or one for each key.")
    return int(value)


def _bytes(limit: Any) -> float:
    """The bytes that results may take: as the call says, else the configuration, else 70% of the memory."""
    if limit is None:
        limit = config.get("multiprocessing.memory_limit", 0.7)
    try:
        size = parse_size(limit)
    except ValueError:
        raise ConfigError(
            f"memory_limit={limit!r} cannot be used: it takes a number of bytes above 0, a text such as '4 GiB' or "
            "'50%', or a fraction of the memory such as 0.5."
        ) from None
    return size * _total_memory() if size <= 1 and limit.__class__ is not int else size


@cache
def _total_memory() -> int:
    """Bytes of memory that this machine, or its container, has."""
    import psutil

    total: int = psutil.virtual_memory().total
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            total = min(total, int(file.read()))
    return total
