"""Questions about what clients share: answers may come late, and what nobody waits for any more is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.engines.cluster.client.future import Future, pickled
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cluster.client.reply import Reply, in_loop, waiting
from taskloom.engines.cluster.client.waiting import futures_in
from taskloom.engines.cluster.worker.place import current_task, undisturbed
from taskloom.engines.worker.parcel import Parcel, is_plain
from taskloom.errors import SerializationError
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

#: Seconds that a task waits in its place before it makes room for others. What is answered sooner starts no others:
#: of a thousand tasks that take one lock in turn, few have begun at a time.
PATIENCE = 0.005


class Outcome(NamedTuple):
    """What was answered.

    Attributes
    ----------
    late : whether it has not come in time.
    value, items : the answer, and values that belong to it.
    """

    late: bool
    value: Any
    items: Sequence[Any]


class Question:
    """A question, and the wait for its answer.

    Parameters
    ----------
    client : who asks.
    kind, action, args, values : what is asked, see `Coordination`.
    finish : makes the result of an `Outcome` and the number of the question. Until it has, the question is undone if
        anything interferes.
    timeout : seconds that the answer may take.
    """

    def __init__(
        self,
        client: Client,
        kind: str,
        action: str,
        *args: Any,
        values: Sequence[Any] = (),
        finish: Callable[[Outcome, int], Any],
        timeout: Any = None,
    ) -> None:
        seconds = seconds_of(timeout)
        self._client = client
        self._session = client._session
        self._what = kind, action, args
        self._values = values
        self._finish = finish
        self._seconds = None if seconds is None else max(0.0, seconds)
        self._number = self._session.new_question()

    def ask(self) -> Any:
        """The result; where the calling thread is not to wait, something to await that gives it."""
        if self._client.asynchronous or _in_coroutine_of_task():
            return self.in_loop()
        with self._asked() as reply:
            if not self._wait(reply):
                self._session.send("expire", self._number)  # it may have come meanwhile: the cluster knows
                reply.wait()
            return self._finish(self._opened(reply), self._number)

    async def in_loop(self) -> Any:
        """The result, in whatever event loop is running."""
        with self._asked() as reply:
            try:
                await in_loop(_awaited(reply), self._seconds)
            except TimeoutError:
                self._session.send("expire", self._number)
                await in_loop(_awaited(reply))
            return self._finish(self._opened(reply), self._number)

    @contextmanager
    def _asked(self) -> Iterator[Reply]:
        """A block in which the question is asked. It is undone if the block is left by an error."""
        session = self._session
        try:
            contents, parcels = _contents([_pack(self._client, value) for value in self._values])
            with undisturbed():
                reply = session.ask_as(self._number, "coordinate", *self._what, contents, parcels=parcels)
            yield reply
        except BaseException:
            session.undo(self._number)
            raise

    def _wait(self, reply: Reply) -> bool:
        """Wait for the answer; False where it has not come in time."""
        seconds = self._seconds
        deadline = None if seconds is None else monotonic() + seconds
        if reply.wait(PATIENCE if seconds is None else min(PATIENCE, seconds)):
            return True
        with ExitStack() as stack:
            try:
                stack.enter_context(waiting())
            except RecursionError:  # so many wait already that it may as well keep its place
                pass
            return reply.wait(None if deadline is None else max(0.0, deadline - monotonic()))

    def _opened(self, reply: Reply) -> Outcome:
        ok, value, parcels = reply.value
        session = self._session
        if not ok:
            raise session.connection.unpack_error(value)
        late, answer, contents = value
        if not contents:
            return Outcome(late, answer, ())
        try:
            with self._client.as_current():
                items = [unpack(content, parcels) for content in contents]
        except SerializationError:  # it would not be otherwise the next time
            session.send("confirm", self._number)
            raise
        finally:
            for parcel in parcels:
                parcel.close()
        session.send("confirm", self._number)
        return Outcome(late, answer, items)


def _in_coroutine_of_task() -> bool:
    return current_task() is not None and asyncio._get_running_loop() is not None


async def _awaited(reply: Reply) -> None:
    await reply


class _Packed(NamedTuple):
    value: Any
    keys: Sequence[Key]  # of the futures inside


def _pack(client: Client, value: Any) -> _Packed:
    """A value on its way to the cluster."""
    if is_plain(value):
        return _Packed(value, ())
    session = client._session
    found: list[Future] = []
    token = pickled.set(found)
    try:
        # Where nothing needs to be pickled, futures must be, as those who read them are to have their own.
        pack = Parcel.of if session.connection.threads and futures_in(value) else session.pack
        parcel = pack(value)
    except Exception as error:
        raise SerializationError(f"A value of type {type(value).__name__} cannot be pickled: {error}") from error
    finally:
        pickled.reset(token)
    for future in found:
        if future.client._address() != client._address():
            parcel.close()
            raise ValueError(f"{future!r} belongs to another cluster: use its result.")
    return _Packed(parcel, list(dict.fromkeys([future.key for future in found])))


def _contents(packed: Sequence[_Packed]) -> tuple[list[Any], list[Any]]:
    """Values as they are in a message, and its parcels."""
    contents: list[Any] = []
    parcels: list[Any] = []
    for value, keys in packed:
        if is_plain(value):
            contents.append(((value,), keys))
        else:
            contents.append((len(parcels), keys))
            parcels.append(value)
    return contents, parcels


def unpack(content: Any, parcels: Sequence[Any]) -> Any:
    """A value that has come in a message.

    Raises
    ------
    SerializationError
        It cannot be unpickled.
    """
    if isinstance(content, tuple):
        return content[0]
    try:
        return parcels[content].value()
    except Exception as error:
        raise SerializationError(f"A value that another client has put there cannot be unpickled: {error}") from error
