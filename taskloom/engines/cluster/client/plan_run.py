"""A whole graph on a cluster, for a call that waits for its results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, copy_context
from typing import Any

from taskloom.bus.run import Run, current_run
from taskloom.containers import extract, fill
from taskloom.engines.base import bring_results
from taskloom.engines.cluster.client.asked import Asked
from taskloom.engines.cluster.client.compile import PlanDraft
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.gathering import bring, not_brought
from taskloom.engines.cluster.client.options import from_here
from taskloom.engines.cluster.client.reply import Reply, block, waiting
from taskloom.engines.cluster.client.session import Session
from taskloom.engines.cluster.client.state import Failed, FutureCancelledError, State
from taskloom.engines.processes_errors import result_stays
from taskloom.graph import Plan
from taskloom.graph.annotations import NONE, here

PATIENCE = 2.0  # seconds for bringing the inputs of a task that failed


class PlanRun:
    """One run, as far as the connection's thread has heard of it."""

    def __init__(self, session: Session, plan: Plan, run: Run) -> None:
        bring_results(plan, known=Future)
        self.session = session
        self.plan = plan
        self.run = run
        self.draft = PlanDraft(session, plan, _Caller(run).call if session.connection.threads else None)
        self.first = self.draft.first
        self.beyond = self.first + len(plan)
        self.wanted = {slot + self.first for slot in plan.requested if slot >= 0}
        self.waiting = set(self.wanted)
        self.values: dict[int, Any] = {}
        self.arrivals: dict[int, Any] = {}
        self.over = Reply()
        self.culprit = -1  # the task that failed
        self.error: BaseException | Failed | None = None

    # -- on the connection's thread -------------------------------------------------------------------------------

    def take(self, values: Mapping[int, Any]) -> None:
        """Small results are there."""
        waiting = self.waiting
        came = {id: value for id, value in values.items() if id in waiting}
        if came:
            self.values.update(came)
            self._came(came)

    def take_parcel(self, id: int, arrival: Any) -> None:
        """A result is there."""
        if id in self.waiting:
            self.arrivals[id] = arrival
            self._came((id,))

    def refuse(self, id: int, packed: Any) -> None:
        """A result cannot be brought."""
        if id in self.waiting:
            task = id - self.first
            key, unpack = self.plan.keys[task], self.session.connection.unpack_error
            self._end(Failed(packed, lambda packed: not_brought(key, unpack(packed))), task)

    def failed(self, id: int, failure: Failed, ids: Iterable[int]) -> None:
        """A task has failed, and with it others."""
        if self.first <= id < self.beyond:
            self._end(failure, id - self.first)
        elif not self.waiting.isdisjoint(ids):  # an input from elsewhere
            self._end(failure)

    def cancelled(self, ids: Iterable[int]) -> None:
        """Tasks were cancelled."""
        if not self.waiting.isdisjoint(ids):
            self._end(FutureCancelledError(f"Run {self.run.id} was cancelled, or something that it needs."))

    def fail(self, error: BaseException) -> None:
        """The cluster is out of reach."""
        self._end(error)

    def _came(self, ids: Iterable[int]) -> None:
        self.waiting.difference_update(ids)
        if not self.waiting:
            self.over.resolve()

    def _end(self, error: BaseException | Failed, culprit: int = -1) -> None:
        if self.error is None:
            self.error, self.culprit = error, culprit
            self.over.resolve()

    # -- in the thread that called --------------------------------------------------------------------------------

    def execute(self, asked: Asked) -> list[Any]:
        """Run it, and wait: the list of results."""
        __tracebackhide__ = True
        run = self.run
        complete = False
        try:
            self.session.records.begin_run(run, self.first, len(self.plan))
            run.on_cancel(self.over.resolve)
            self.begin(asked)
            with waiting():
                self.over.wait()
            if run.stopped:
                raise run.cancelled()
            if self.error is not None:
                self._raise()
            results = self.results()
            complete = True
            return results
        finally:
            try:
                self._leave(complete)
            except KeyboardInterrupt:  # just now: nothing is left all the same
                self._leave(complete)
                raise

    def _leave(self, complete: bool) -> None:
        self.end(complete)
        self.session.records.end_run(self.run)

    def begin(self, asked: Asked) -> None:
        """Submit it."""
        slice = self.draft.finish(asked, wanted=sorted(self.wanted), named=False, bring=True)
        if self.wanted:
            self.session.add_run(self)
            self.session.submit_plan(self.draft, from_here(slice))
        else:
            self.over.resolve()

    def end(self, complete: bool = True) -> None:
        """Give up its results, and stop what is left of it."""
        self.session.remove_run(self)
        if not complete:
            self.run.stopped.append("over")  # for what threads of this process have not begun
        with contextlib.suppress(RuntimeError):  # the cluster is gone
            if not complete:
                self.session.send("cancel", sorted(self.wanted), False)
            self.session.send("release", [*sorted(self.wanted), *self.draft.own_codes])

    def _raise(self) -> None:
        __tracebackhide__ = True
        error = self.take_error()
        assert error is not None
        if self.culprit >= 0:
            self.run.fail(self.culprit, self.plan, error, self._inputs(self.culprit))
        raise error

    def take_error(self) -> BaseException | None:
        """What it ended with, kept here no longer: frames that its traceback knows hold this object, and a circle
        would hold the results."""
        error, self.error = self.error, None
        if not isinstance(error, Failed):
            return error
        return error.error() if self.culprit >= 0 else error.explained()  # the engine explains what a task raised

    def _inputs(self, task: int) -> list[Any]:
        """The arguments that a task had, brought here for its replay; none if one of them cannot be."""
        constants = self.plan.constants
        slots = self.plan.slots(task)
        ids = {slot: slot + self.first for slot in slots if slot >= 0}
        with contextlib.suppress(Exception):
            for slot in slots:
                if slot < 0 and constants[-slot - 1].__class__ is Future:
                    ids[slot] = constants[-slot - 1]._state.id
            values = {id: self.values[id] for id in ids.values() if id in self.values}
            missing = sorted(set(ids.values()) - values.keys())
            if missing:
                fetch = self.session.fetch(missing)
                if not fetch.wait(PATIENCE):
                    return []
                values |= fetch.values | {id: arrival.value() for id, arrival in fetch.arrivals.items()}
            return [values[ids[slot]] if slot in ids else constants[-slot - 1] for slot in slots]
        return []

    def results(self) -> list[Any]:
        """The list of results, in which those requested are."""
        __tracebackhide__ = True
        results = self.plan.results()
        first = self.first
        for slot in set(self.plan.requested):
            if slot < 0:
                results[slot] = self._with_results(results[slot])
                continue
            id = slot + first
            if id in self.values:
                results[slot] = self.values[id]
                continue
            try:
                results[slot] = self.arrivals.pop(id).value()
            except Exception as caught:
                error = result_stays(self.plan.keys[slot], caught)
                self.run.fail(slot, self.plan, error, self._inputs(slot))
                raise error from caught
        return results

    def _with_results(self, value: Any) -> Any:
        """A requested constant, with results in the places of the futures inside of it."""
        __tracebackhide__ = True
        states: list[State] = []

        def find(item: Any) -> int | None:
            if item.__class__ is not Future:
                return None
            self.draft.future(item)
            states.append(item._state)
            return len(states) - 1

        template = extract(value, find)
        if not states:
            return value
        values = block(bring(self.session, states))
        return fill(template, [values[state.id] for state in states])


class _Caller:
    """What tasks see of the caller of a run, where they are in the same process."""

    def __init__(self, run: Run) -> None:
        self._outer = _caller.get()
        self._stopped = run.stopped
        self._context = copy_context()
        self._context.run(current_run.set, run)
        self._context.run(_caller.set, self)
        self._context.run(here.set, NONE)  # what a task submits is none of the block's

    def has_gone(self) -> bool:
        """Whether nobody waits for the run any more, or for one that it is inside of."""
        return bool(self._stopped) or (self._outer is not None and self._outer.has_gone())

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function of a task in the caller's context, if the caller is still there."""
        __tracebackhide__ = True
        if self.has_gone():
            raise KeyboardInterrupt
        return self._context.copy().run(function, *args)


_caller: ContextVar[_Caller | None] = ContextVar("_caller", default=None)


def run_plan(session: Session, plan: Plan, run: Run, asked: Asked) -> list[Any]:
    """Run a plan on the cluster: the list of its results, in which those requested are kept.

    Raises
    ------
    KeyboardInterrupt
        The run was cancelled, or the thread interrupted. The cluster is left as it was.
    Exception
        What a task raised.
    """
    __tracebackhide__ = True
    return PlanRun(session, plan, run).execute(asked)
