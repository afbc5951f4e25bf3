"""Results that may not be there yet."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.html import future_html
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cluster.client.reply import Reply, block, cancelled_together, in_loop, waiting
from taskloom.engines.cluster.client.state import ELSEWHERE, State, Status
from taskloom.engines.cluster.compared import FUTURE, compared
from taskloom.engines.cluster.worker.place import current_task
from taskloom.errors import SerializationError
from taskloom.graph import Key, short_key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.aside import Hold
    from taskloom.engines.cluster.client.client import Client


#: Where futures are noted that are pickled; None where nobody wants to know.
pickled: ContextVar[list[Future] | None] = ContextVar("pickled", default=None)

#: Where what is pickled goes, if that is not a cluster of ours: there, nobody could make anything of a future.
abroad: ContextVar[str] = ContextVar("abroad", default="")


@compared(FUTURE)
class Future:
    """The result of a task on a cluster. Its data stay there as long as somebody has a future of them.

    `Client.submit` and its like make them. As an argument of `submit`, also inside of lists, dictionaries and so on,
    a future stands for its result. It can be pickled: as an argument of a task it becomes its value, and in another
    client of the same cluster a future of the same key.

    Parameters
    ----------
    key : a key that the cluster knows.
    client : by default the current one.

    Raises
    ------
    KeyError
        The cluster knows no such key.
    """

    __slots__ = ("__weakref__", "_client", "_hold", "_state")

    #: A collection takes it for an input, which the engine puts in, and not for a value.
    __taskloom_input__ = True

    _client: Client
    _state: State
    _hold: Hold | None

    def __init__(self, key: Key, client: Client | None = None) -> None:
        from taskloom.engines.cluster.client.current import get_client

        self._client = client or get_client()
        session = self._client._session
        if session.share(key, self._own) is None:
            session.adopt(key, self._own)

    @classmethod
    def _of(cls, client: Client, state: State) -> Future:
        """A future of a state, whose session is locked."""
        self = cls.__new__(cls)
        self._client = client
        return self._own(state)

    def _own(self, state: State) -> Future:
        self._state = state
        self._hold = self._client._session.hold(self, state)
        return self

    @property
    def key(self) -> Key:
        """The name of the task."""
        return self._state.key

    @property
    def client(self) -> Client:
        """Whose future it is."""
        return self._client

    @property
    def status(self) -> Status:
        """``"pending"``, ``"finished"``, ``"error"``, ``"cancelled"``, or ``"lost"`` once the cluster is gone."""
        return self._state.status

    @property
    def type(self) -> Any:
        """The type of a result that is here already, else None."""
        state = self._state
        return None if state.value is ELSEWHERE else type(state.value)

    def done(self) -> bool:
        """Whether it is no longer pending."""
        return self._state.status != "pending"

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._state.status == "cancelled"

    def result(self, timeout: Any = None) -> Any:
        """Wait for the result, and bring it here. Ctrl-C ends the wait, and not the task: `cancel` does that.

        Parameters
        ----------
        timeout : seconds, or a text such as ``"2s"``.

        Raises
        ------
        TimeoutError
            It has not come in time. The task goes on.
        FutureCancelledError
            It was cancelled, or its cluster is gone.
        Exception
            What the task raised, as itself.
        """
        __tracebackhide__ = True
        try:
            if self._client.asynchronous:
                return self._do(self._result(), timeout)
            state = self._state
            if state.status == "pending":
                reply = Reply()
                state.when_done(reply.resolve)
                if timeout is None:
                    if current_task() is None:
                        reply.wait()
                    else:
                        with cancelled_together(self._cancel), waiting():
                            reply.wait()
            if state.value is not ELSEWHERE and state.status == "finished":
                return state.value
            return self._do(self._result(), timeout)
        finally:
            del self  # a traceback holds this frame, perhaps for long: it is not to hold the future

    def _do(self, steps: Coroutine[Reply, None, Any], timeout: Any) -> Any:
        """The result of a coroutine; in an asynchronous client, something to await that gives it."""
        __tracebackhide__ = True
        seconds = seconds_of(timeout)
        if self._client.asynchronous:
            return self._in_loop(steps, seconds)
        try:
            return block(steps, seconds)
        except TimeoutError:
            self._check_late(seconds)
            raise
        finally:
            del self

    async def _in_loop(self, steps: Coroutine[Reply, None, Any], seconds: float | None) -> Any:
        __tracebackhide__ = True
        try:
            return await in_loop(steps, seconds)
        except TimeoutError:
            self._check_late(seconds)
            raise

    def _check_late(self, seconds: float | None) -> None:
        """Say so if it is the future that is late, and not the task that has raised this error."""
        __tracebackhide__ = True
        if seconds is not None and self.status != "error":
            raise TimeoutError(f"{short_key(self.key)} is {self.status} after {seconds:g} s. It goes on.") from None

    def _cancel(self) -> None:
        self._client._session.send("cancel", [self._state.id], False)

    async def _result(self) -> Any:
        __tracebackhide__ = True
        try:
            (value,) = await self._client._bring([self._state])
            return value
        finally:
            del self

    def exception(self, timeout: Any = None) -> Any:
        """Wait for the outcome: what the task raised, or None where it has a result."""
        return self._do(self._error(), timeout)

    async def _error(self) -> BaseException | None:
        await self._client._settled([self._state])
        return self._state.error()

    def traceback(self, timeout: Any = None) -> Any:
        """Wait for the outcome: the traceback of what the task raised, or None where it has a result."""
        return self._do(self._trace(), timeout)

    async def _trace(self) -> TracebackType | None:
        error = await self._error()
        return None if error is None else error.__traceback__

    def cancel(self, reason: Any = None, msg: Any = None, force: bool = False) -> Any:
        """Forget the task and all that is needed for it only, see `Client.cancel`."""
        return self._client.cancel([self], force=force)

    def retry(self) -> Any:
        """Run a task again that has raised."""
        return self._client.retry([self])

    def release(self) -> None:
        """Give it up now rather than with the last reference to it."""
        if self._hold is not None:
            self._client._session.give_up(self._hold)
            self._hold = None

    def _check_held(self) -> None:
        if self._hold is None:
            raise ValueError(f"The future of {short_key(self.key)} was released.")

    def add_done_callback(self, fn: Callable[[Future], Any]) -> None:
        """Have `fn(future)` called once it is no longer pending, in a thread of its own, in the order of outcomes."""
        session = self._client._session
        called: list[bool] = []

        def call(_: State) -> None:
            if not called:
                called.append(True)
                session.call_back(fn, self)

        self._state.when_done(call)

    def __await__(self) -> Generator[Any, Any, Any]:
        return in_loop(self._result()).__await__()

    def __reduce__(self) -> Any:
        self._check_held()
        if where := abroad.get():
            raise SerializationError(
                f"The future of {short_key(self.key)} belongs to a cluster of taskloom's, and cannot go to {where}. "
                "Compute what takes it through its own client, scheduler=client, or bring its result here before."
            )
        found = pickled.get()
        if found is not None:
            found.append(self)
        return _unpickled, (self.key, self._client._address())

    def __copy__(self) -> Future:
        return self

    def __deepcopy__(self, memo: Any) -> Future:
        return self

    def __dask_tokenize__(self) -> Any:
        return "Future", self.key

    def __repr__(self) -> str:
        kind = f", type: {self.type.__name__}" if self.type is not None else ""
        return f"<Future: {self.status}{kind}, key: {short_key(self.key)}>"

    def _repr_html_(self) -> str:
        return future_html(self)


def _unpickled(key: Key, address: str | None) -> Future:
    """A future that was pickled, where there is a client of its cluster."""
    from taskloom.engines.cluster.client.current import client_of

    client = client_of(address)
    if client is None:
        raise SerializationError(
            f"The future of {short_key(key)} can be unpickled only where a client of its cluster is open: "
            f"Client({address!r})."
        )
    return Future(key, client)
