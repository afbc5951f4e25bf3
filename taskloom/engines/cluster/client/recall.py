"""What a task was called with, brought back from its cluster to be run again here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from taskloom.engines.cluster.client.reply import block
from taskloom.graph import Key, Plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.session import Session
    from taskloom.engines.cluster.client.state import State

PATIENCE = 10.0  # seconds for bringing all of it

_NOT_AT_HAND = (
    "The function and the inputs of the task are not at hand: its cluster has them only as long as there is a future "
    "of it. Submit it again, and keep the future."
)


class Call(NamedTuple):
    """What one task computes: its arguments are ids, and -1 - i for the i-th of `plain`."""

    function: Callable[..., Any]
    args: Sequence[int]
    plain: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Recalled:
    """The call of the task `id`, those of the tasks that have to run first, and the results that are there."""

    id: int
    calls: dict[int, Call]
    values: dict[int, Any]

    def call(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function of the task and its inputs, where those are there."""
        function, args, plain = self.calls[self.id]
        return function, tuple([self.values[arg] if arg >= 0 else plain[~arg] for arg in args])

    def plan(self, keys: Sequence[Key], row_of: Callable[[int], int]) -> Plan:
        """A plan of tasks with these keys, in which only those that were recalled can be run.

        Raises
        ------
        ValueError
            One that has to run first is not among them, or behind what needs it.
        """
        plan = Plan(None)
        plan.keys = list(keys)
        plan.functions = [_cannot_run] * len(plan)
        plan.args = [()] * len(plan)
        slots: dict[int, int] = {}
        for id, value in self.values.items():
            plan.constants.append(value)
            slots[id] = -len(plan.constants)
        for id, (function, args, plain) in self.calls.items():
            row = slots[id] = row_of(id)
            if row < 0:
                raise ValueError(_NOT_AT_HAND)
            plan.functions[row] = function
            first = len(plan.constants)
            plan.constants += plain
            plan.args[row] = tuple([arg if arg >= 0 else arg - first for arg in args])
        for id in self.calls:
            row = slots[id]
            plan.args[row] = tuple([slots[arg] if arg >= 0 else arg for arg in plan.args[row]])
            if max(plan.args[row], default=-1) >= row:
                raise ValueError(_NOT_AT_HAND)
        return plan


def _cannot_run(*_: Any) -> Any:
    raise ValueError(_NOT_AT_HAND)


class Recall:
    """Brings the function and the inputs of a task, as long as there is a future of it, or of what needs it.

    Parameters
    ----------
    session : leads to that of the client, which is not kept alive for this.
    id : of the task.
    """

    __slots__ = ("__weakref__", "_id", "_session")

    def __init__(self, session: ref[Session], id: int) -> None:
        self._session = session
        self._id = id

    def keep(self, state: State) -> None:
        """Have the cluster keep what a state is of, as long as this object lives."""
        session = self._session()
        if session is not None:
            session.keep(self, state)

    def __call__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function and the inputs.

        Raises
        ------
        ValueError
            The cluster has them no more.
        """
        return self.bring().call()

    def bring(self, fresh: bool = False) -> Recalled:
        """All that is needed to run the task again; if its inputs are to be fresh, to compute those again, too.

        Raises
        ------
        ValueError
            The cluster has that no more.
        """
        session = self._session()
        if session is None or session.gone:
            raise ValueError(
                "The function and the inputs of the task are not at hand: they were on its cluster, and the client "
                "that submitted it is closed. Submit it again, and replay it before that."
            )
        try:
            return block(_bring(session, self._id, fresh), PATIENCE)  # type: ignore[no-any-return]
        except Exception as error:
            raise ValueError(_NOT_AT_HAND) from error


async def _bring(session: Session, id: int, fresh: bool) -> Recalled:
    from taskloom.engines.cluster.client.hearing import Arrival

    (id, told, data), parcels = await session.answer("calls", id, fresh)
    objects = [(Arrival(parcel) if parcel.files else parcel).value() for parcel in parcels]
    calls = {id: Call(objects[number], args, plain) for id, (number, args, plain) in told.items()}
    values = {id: objects[number] for id, number in data.items()}
    args = {arg for call in calls.values() for arg in call.args if arg >= 0}
    if elsewhere := args - calls.keys() - values.keys():
        fetch = session.fetch(sorted(elsewhere))
        await fetch
        for failure in fetch.failures.values():
            raise session.connection.unpack_error(failure)
        values |= fetch.values | {id: arrival.value() for id, arrival in fetch.arrivals.items()}
    return Recalled(id, calls, values)
