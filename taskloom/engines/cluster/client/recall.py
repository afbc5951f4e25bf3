"""What a task that failed was called with, brought back from its cluster to be run again here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from taskloom.engines.cluster.client.hearing import Arrival
from taskloom.engines.cluster.client.reply import block

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.session import Session

PATIENCE = 10.0  # seconds for bringing all of it

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Recall:
    """Brings the function and the inputs of a task, as long as there is a future of it, or of what needs it.

    Parameters
    ----------
    session : of the client that has heard of the failure; it is not kept alive for this.
    id : of the task.
    """

    __slots__ = ("_id", "_session")

    def __init__(self, session: Session, id: int) -> None:
        self._session = ref(session)
        self._id = id

    def __call__(self) -> Call:
        try:
            session = self._session()
            if session is None:
                raise RuntimeError("Its client is gone.")
            return block(_bring(session, self._id), PATIENCE)  # type: ignore[no-any-return]
        except Exception as error:
            raise ValueError(
                "The function and the inputs of the task are not at hand: its cluster has them only as long as there "
                "is a future of it. Submit it again, and keep the future."
            ) from error


async def _bring(session: Session, id: int) -> Call:
    (args, plain), (function,) = await session.answer("call", id)
    inputs = {}
    ids = [arg for arg in dict.fromkeys(args) if arg >= 0]
    if ids:
        fetch = session.fetch(ids)
        await fetch
        for failure in fetch.failures.values():
            raise session.connection.unpack_error(failure)
        inputs = {**fetch.values, **{id: arrival.value() for id, arrival in fetch.arrivals.items()}}
    if function.file >= 0:
        function = Arrival(function)
    return function.value(), tuple([inputs[arg] if arg >= 0 else plain[~arg] for arg in args])
