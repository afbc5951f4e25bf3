"""Graphs on a cluster of which callbacks want to see each task: every one is submitted on its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any

from taskloom.bus.run import Run
from taskloom.engines.cluster.client.asked import asked_for
from taskloom.engines.cluster.client.functions import runnable
from taskloom.engines.cluster.client.plan_run import PlanRun
from taskloom.engines.observed import Observer, Outcome, run_observed
from taskloom.graph import Plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client


def run_watched(client: Client, plan: Plan, run: Run, observer: Observer, options: Mapping[str, Any]) -> list[Any]:
    """Run a plan within a run record, and call the observer: the list of its results."""
    __tracebackhide__ = True
    calls = _Calls(client, plan, run, options)
    run.on_cancel(calls.wake)
    try:
        return run_observed(plan, run, observer, calls.submit, calls, calls.width)
    finally:
        calls.close()


class _Calls:
    """Submits tasks, and is the queue from which `run_observed` takes the outcomes."""

    def __init__(self, client: Client, plan: Plan, run: Run, options: Mapping[str, Any]) -> None:
        self._session = client._session
        self._plan = plan
        self._run = run
        self._asked = asked_for(**options)
        self._under_way: dict[int, PlanRun] = {}
        self._over: SimpleQueue[int] = SimpleQueue()
        self.width = max(1, sum([worker.threads for worker in self._session.workers.values()]))

    def submit(self, task: int, function: Callable[..., Any], args: list[Any]) -> None:
        plan = _single(self._plan.keys[task], _Timed(runnable(function)), args)
        if task in self._plan.annotations:
            plan.annotations = {0: self._plan.annotations[task]}
        call = self._under_way[task] = PlanRun(self._session, plan, self._run)
        self._run.start[task] = perf_counter()
        try:
            call.begin(self._asked)
        except Exception as error:  # it cannot be pickled
            call.fail(error)
        call.over.then(partial(self._over.put, task))

    def get(self, *, timeout: float = inf) -> tuple[int, Outcome] | None:
        """The next outcome, None once the run is cancelled.

        Raises
        ------
        queue.Empty
            None has come in time.
        """
        task = self._over.get(timeout=None if timeout == inf else timeout)
        while task >= 0 and task not in self._under_way:  # it was told twice
            task = self._over.get(timeout=None if timeout == inf else timeout)
        if task < 0 or self._run.stopped:
            return None
        call = self._under_way.pop(task)
        started = self._run.start[task]
        try:
            error = call.take_error()
            if error is not None:
                return task, Outcome(None, error, started, perf_counter(), "cluster", 0)
            ((value, start, stop, name, pid),) = call.results()[:1]
            return task, Outcome(value, None, start, stop, name, pid)
        except Exception as error:  # the result cannot be unpickled
            return task, Outcome(None, error, started, perf_counter(), "cluster", 0)
        finally:
            call.end()

    def wake(self) -> None:
        """The run was cancelled."""
        self._over.put(-1)

    def close(self) -> None:
        for call in self._under_way.values():
            call.end(complete=False)


class _Timed:
    """A function that tells when and where it has run."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args: Any) -> tuple[Any, float, float, str, int]:
        from taskloom.engines.cluster.worker.place import current_task

        __tracebackhide__ = True
        here = current_task()
        start = perf_counter()
        value = self.function(*args)
        return value, start, perf_counter(), here[0].name if here else "cluster", os.getpid()


def _single(key: Any, function: Callable[..., Any], args: list[Any]) -> Plan:
    plan = Plan(key)
    plan.keys, plan.functions, plan.constants, plan.requested = [key], [function], list(args), [0]
    plan.args = [tuple([-1 - number for number in range(len(args))])]
    return plan
