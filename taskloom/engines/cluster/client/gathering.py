"""Waiting for futures, and bringing their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskloom.engines.cluster.client.reply import Reply
from taskloom.engines.cluster.client.session import Session
from taskloom.engines.cluster.client.state import ELSEWHERE, State
from taskloom.engines.processes_errors import result_stays
from taskloom.errors import TaskloomError
from taskloom.graph import Key

ROUNDS = 20  # times that results may get lost on their way before that is an error


async def settled(states: Sequence[State], stop: Callable[[State], bool] | None = None) -> None:
    """Wait until none of them is pending, or until `stop` says so of one that is not."""
    pending = [state for state in states if state.status == "pending"]
    if stop is not None and any(state.status != "pending" and stop(state) for state in states):
        return
    if not pending:
        return
    reply = Reply()
    if len(pending) == 1:
        pending[0].when_done(reply.resolve)
    else:
        left = set(pending)

        def tick(state: State) -> None:
            left.discard(state)
            if not left or (stop is not None and stop(state)):
                reply.resolve()

        for state in pending:
            state.when_done(tick)
    await reply


async def bring(session: Session, states: Sequence[State], errors: str = "raise") -> dict[int, Any]:
    """The results of some futures, by id; with ``errors="skip"`` only of those that have one.

    Raises
    ------
    FutureCancelledError
        One was cancelled.
    Exception
        What one of the tasks raised.
    """
    __tracebackhide__ = True
    values: dict[int, Any] = {}
    for _ in range(ROUNDS):
        await settled(states, _has_failed if errors == "raise" else None)
        wanted = {}
        for state in states:
            if state.status in ("error", "cancelled", "lost"):
                if errors == "raise":
                    error = state.error()
                    assert error is not None
                    raise error
            elif state.id not in values:
                value = state.value
                if value is ELSEWHERE:
                    wanted[state.id] = state
                else:
                    values[state.id] = value
        if not wanted:
            break
        if await _fetch(session, wanted, values, errors):
            break
    return values


def _has_failed(state: State) -> bool:
    return state.status != "finished"


async def _fetch(session: Session, wanted: dict[int, State], values: dict[int, Any], errors: str) -> bool:
    """Bring results into `values`; False where one of them is being computed again."""
    __tracebackhide__ = True
    fetch = session.fetch(list(wanted))
    await fetch
    complete = True
    for id, state in wanted.items():
        arrival = fetch.arrivals.pop(id, None)
        if id in fetch.values:
            values[id] = fetch.values[id]
        elif arrival is not None:
            try:
                values[id] = arrival.value()
            except Exception as error:
                if errors == "raise":
                    raise result_stays(state.key, error) from error
        elif id in fetch.failures:
            if state.status != "finished":  # its end came in between: that is the outcome
                complete = False
            elif errors == "raise":
                raise not_brought(state.key, session.connection.unpack_error(fetch.failures[id]))
    return complete


def not_brought(key: Key, error: BaseException) -> BaseException:
    """What is raised for a result that did not come: pickling it has raised an error, or ours says why."""
    if isinstance(error, TaskloomError):
        return error
    stays = result_stays(key, error)
    stays.__cause__ = error
    return stays
