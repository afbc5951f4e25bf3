"""The loop for runs in which something sees each task: callbacks, or a pool of the user's own.

The calling thread hands out one task at a time and takes in one result at a time, in the order and with the `state`
that Dask documents for callbacks. Who computes is a `submit` function: see sync, threads and pools.
"""

from __future__ import annotations

import os
import threading
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty
from time import perf_counter
from typing import Any, Protocol

from taskloom.bus.callback import Hooks
from taskloom.bus.run import Run
from taskloom.graph import Graph, Key, Plan

CHECK_EVERY = 0.5  # seconds


@dataclass(slots=True)
class Outcome:
    """What became of one task, stamped where it ran."""

    value: Any
    error: BaseException | None
    start: float
    stop: float
    worker: str
    pid: int

    def take_error(self) -> BaseException:
        """The error, kept here no longer: frames that its traceback knows hold this object, and a circle would hold
        the results."""
        error, self.error = self.error, None
        assert error is not None
        return error


class Outcomes(Protocol):
    """The queue through which outcomes come back."""

    def get(self, *, timeout: float) -> tuple[int, Outcome] | None:
        """The next task number and its outcome; None when the run is cancelled. Raises `queue.Empty`."""


Submit = Callable[[int, Callable[..., Any], list[Any]], None]


def call(function: Callable[..., Any], args: list[Any]) -> Outcome:
    """Run one task where it is: what a pool is given to do."""
    __tracebackhide__ = True
    outcome = Outcome(None, None, perf_counter(), 0.0, threading.current_thread().name, os.getpid())
    try:
        outcome.value = function(*args)
    except BaseException as raised:
        outcome.error = raised
    outcome.stop = perf_counter()
    return outcome


class Observer:
    """Calls the hooks of a run and keeps the `state` they see."""

    def __init__(self, hooks: list[Hooks], dsk: Graph, state: dict[str, Any]) -> None:
        self.hooks = hooks
        self.dsk = dsk
        self.state = state

    def begin(self, plan: Plan) -> None:
        """Fill the state with the plan, all by key, and tell of it."""
        keys = plan.keys
        data = {key: plan.constants[-slot - 1] for key, slot in plan.data.items()}
        named = {slot: key for key, slot in plan.data.items()}
        needs: dict[Key, set[Key]] = {key: set() for key in data}
        for task, key in enumerate(keys):
            args = plan.args[task]
            slots = (args,) if isinstance(args, int) else args
            needs[key] = {keys[slot] if slot >= 0 else named[slot] for slot in slots if slot >= 0 or slot in named}
        users: dict[Key, set[Key]] = {key: set() for key in needs}
        for key, inputs in needs.items():
            for other in inputs:
                users[other].add(key)
        waiting = {key: left for key in keys if (left := needs[key].difference(data))}
        self.state.update(
            cache=data,
            dependencies=needs,
            dependents=users,
            finished=set(),
            ready=[key for key in reversed(keys) if key not in waiting],
            released=set(),
            running=set(),
            waiting=waiting,
            waiting_data={key: set(others) for key, others in users.items() if others},
        )
        self._tell(1)

    def next(self) -> Key:
        """Take a task from the stack of those that are ready."""
        key: Key = self.state["ready"].pop()
        self.state["running"].add(key)
        self._tell(2, key)
        return key

    def finished(self, key: Key, outcome: Outcome, number: dict[Key, int], kept: set[Key]) -> None:
        """Book the result of a task, let go of inputs that nobody needs any more, and tell of it."""
        state = self.state
        cache, waiting, waiting_data = state["cache"], state["waiting"], state["waiting_data"]
        cache[key] = outcome.value
        for user in state["dependents"][key]:
            left = waiting[user]
            left.remove(key)
            if not left:
                del waiting[user]
                insort(state["ready"], user, key=lambda other: -number[other])
        for other in state["dependencies"][key]:
            users = waiting_data[other]
            users.remove(key)
            if not users:
                del waiting_data[other]
                if other not in kept:
                    state["released"].add(other)
                    del cache[other]
        state["running"].remove(key)
        state["finished"].add(key)
        self._tell(3, key, outcome.value, worker=outcome.worker)

    def _tell(self, which: int, *what: Any, worker: str | None = None) -> None:
        for hook in self.hooks:
            function = hook[which]
            if function is not None:
                arguments = (*what, self.dsk, self.state)
                function(*arguments) if worker is None else function(*arguments, worker)


def run_observed(
    plan: Plan,
    run: Run,
    observer: Observer,
    submit: Submit,
    outcomes: Outcomes,
    width: int,
    check: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Run a plan with at most `width` tasks at a time handed to `submit`.

    `check` is called now and then while no outcome comes, and may raise.
    """
    __tracebackhide__ = True
    observer.begin(plan)
    state = observer.state
    cache = state["cache"]
    number = {key: task for task, key in enumerate(plan.keys)}
    requested = set(plan.requested)
    kept = {plan.keys[slot] for slot in requested if slot >= 0}
    kept.update(key for key, slot in plan.data.items() if slot in requested)
    workers: dict[str, int] = {}
    run.current = under_way = set[int]()

    def inputs(task: int) -> list[Any]:
        arg = plan.args[task]
        slots = (arg,) if isinstance(arg, int) else arg
        return [cache[plan.keys[slot]] if slot >= 0 else plan.constants[-slot - 1] for slot in slots]

    while len(state["finished"]) < len(plan):
        while state["ready"] and len(state["running"]) < width and not run.stopped:
            task = number[observer.next()]
            if run.stopped:  # by a callback
                break
            run.start[task] = perf_counter()
            under_way.add(task)
            submit(task, plan.functions[task], inputs(task))
        arrived = None if run.stopped else _wait_for_one(outcomes, check)
        if arrived is None:
            raise run.cancelled()
        task, outcome = arrived
        under_way.discard(task)
        if outcome.worker not in workers:  # it may have joined as it was given the task
            workers.update({worker.name: number for number, worker in enumerate(run.workers)})
        if outcome.worker not in workers:
            workers[outcome.worker] = run.join(outcome.worker, outcome.pid)
        run.worker[task] = workers[outcome.worker]
        run.start[task] = outcome.start
        if outcome.error is not None:
            run.fail(task, plan, outcome.error, inputs(task))
            raise outcome.take_error()
        run.stop[task] = outcome.stop
        run.done.append(task)
        observer.finished(plan.keys[task], outcome, number, kept)
        del arrived, outcome  # the result lives in the state alone
    if run.stopped:
        raise run.cancelled()
    results = plan.results()
    for slot in plan.requested:
        if slot >= 0:
            results[slot] = cache[plan.keys[slot]]
    return results


def _wait_for_one(outcomes: Outcomes, check: Callable[[], None]) -> tuple[int, Outcome] | None:
    while True:
        try:
            return outcomes.get(timeout=CHECK_EVERY)
        except Empty:
            check()
