"""Proxies of actors, and futures of what their methods return."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.hearing import Arrival
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cluster.client.reply import Reply, block, in_loop
from taskloom.engines.cluster.compared import ACTOR, compared
from taskloom.engines.cluster.worker.actors import ActorHome, home_of
from taskloom.engines.cluster.worker.place import worker_here
from taskloom.errors import TaskloomError
from taskloom.graph import Key, short_key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client
    from taskloom.engines.cluster.client.future import Future


@compared(ACTOR)
class Actor:
    """An object that stays in the worker that has made it, as seen from elsewhere.

    ``client.submit(Class, ..., actor=True)`` makes one: the result of that future is a proxy. Its methods are called in
    the worker, in the order in which the calls come there, one at a time, outside of the slots for tasks; coroutines
    run side by side. A call gives an `ActorFuture` at once. Attributes that the object has had from the beginning are
    read there; they cannot be set from here.
    Whoever holds a proxy in a client keeps the actor. With its worker an actor is lost, as its state is nowhere else.

    Examples
    --------
    >>> from taskloom.distributed import Client
    >>> class Counter:
    ...     def __init__(self, n):
    ...         self.n = n
    ...     def add(self, more):
    ...         self.n += more
    ...         return self.n
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     counter = client.submit(Counter, 3, actor=True).result()
    ...     counter.add(4).result(), counter.n
    (7, 7)
    """

    __slots__ = ("__weakref__", "_address", "_cls", "_future", "_home", "_id", "_key", "_names")

    def __init__(
        self,
        cls: type,
        names: frozenset[str],
        key: Key,
        id: int,
        address: str | None,
        home: ActorHome | None,
        future: Future | None = None,
    ) -> None:
        self._cls = cls
        self._names = names  # of what can be read beside what the class has
        self._key = key
        self._id = id
        self._address = address
        self._home = home
        self._future = future

    @property
    def key(self) -> Key:
        """The name of the task that has made it."""
        return self._key

    @property
    def client(self) -> Client:
        """The client by which its methods are called."""
        from taskloom.engines.cluster.client.current import client_of

        if self._future is not None:
            return self._future.client
        client = client_of(self._address)
        if client is None:
            raise TaskloomError(f"The actor {short_key(self._key)} is out of reach: open a client of its cluster.")
        return client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cls, name, None)
        if not callable(method):
            if name in self._names or hasattr(self._cls, name):
                return self._read(name)
            # Nobody is asked: tools look for many such that show, copy or measure objects.
            raise AttributeError(f"The actor {self._cls.__name__} has no attribute {name!r}.")

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> ActorFuture:
            return self._call(name, args, kwargs)

        return call

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorFuture:
        future = ActorFuture()
        if self._home is not None:
            self._home.call(name, lambda: (args, kwargs), future._settle)
            return future
        session = self._session()
        self._ask(future, session, session.pack((args, kwargs)), name)
        return future

    def _read(self, name: str) -> Any:
        future = ActorFuture()
        if self._home is not None:
            self._home.read(name, future._settle)
            return future.result()
        self._ask(future, self._session(), None, name)
        return self.client._do(future._result())

    def _session(self) -> Any:
        if self._future is not None and (error := self._future._state.error()) is not None:
            raise error
        return self.client._session

    def _ask(self, future: ActorFuture, session: Any, parcel: Any, name: str) -> None:
        reply = session.ask("actor", self._id, name, parcels=() if parcel is None else (parcel,))
        reply.then(partial(future._take, reply, session.connection.unpack_error))

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in Actor.__slots__:
            raise AttributeError(f"An attribute of an actor is set by its methods: {name!r} cannot be set from here.")
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._names, *[name for name in dir(self._cls) if name[0] != "_"]})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Actor):
            return NotImplemented
        return (self._address, self._id) == (other._address, other._id)

    def __hash__(self) -> int:
        return hash((self._address, self._id))

    def __reduce__(self) -> Any:
        return _unpickled, (self._cls, self._names, self._key, self._id, self._address)

    def __dask_tokenize__(self) -> Any:
        return self._address, self._id

    def __repr__(self) -> str:
        return f"<Actor: {self._cls.__name__}, key={short_key(self._key)}>"


def _unpickled(cls: type, names: frozenset[str], key: Key, id: int, address: str | None) -> Actor:
    """A proxy where it has come to. In a client it holds a future; in a worker it does not, as the results there, of
    which it may be a part, are kept for futures."""
    from taskloom.engines.cluster.client.current import any_client_of
    from taskloom.engines.cluster.client.future import Future

    home = home_of(address, id)
    client = None if home is not None or worker_here() is not None else any_client_of(address)
    return Actor(cls, names, key, id, address, home, None if client is None else Future(key, client))


class BaseActorFuture(ABC, Awaitable[Any]):
    """What becomes of a call of an actor's method."""

    __slots__ = ()

    @abstractmethod
    def result(self, timeout: Any = None) -> Any:
        """Wait for the result."""

    @abstractmethod
    def done(self) -> bool:
        """Whether it is there."""


class ActorFuture(BaseActorFuture):
    """The result of an actor's method, which may not be there yet. It can be awaited, too."""

    __slots__ = ("_error", "_lock", "_packed", "_unpack_error", "_value", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Reply] | None = []  # None: it is there
        self._packed: Any = None
        self._value: Any = None
        self._error: Any = None
        self._unpack_error: Callable[[Any], BaseException] | None = None

    def done(self) -> bool:
        """Whether it has an outcome."""
        return self._waiting is None

    def result(self, timeout: Any = None) -> Any:
        """Wait for the result; inside of a task the slot of the task is free meanwhile.

        Parameters
        ----------
        timeout : seconds, or a text such as ``"2s"``.

        Raises
        ------
        TimeoutError
            It has not come in time. The call goes on.
        WorkerDied
            The actor is lost with its worker.
        Exception
            What the method raised, as itself.
        """
        __tracebackhide__ = True
        return block(self._result(), seconds_of(timeout))

    def __await__(self) -> Generator[Any, Any, Any]:
        return in_loop(self._result()).__await__()

    async def _result(self) -> Any:
        __tracebackhide__ = True
        reply = Reply()
        with self._lock:
            if self._waiting is None:
                reply.resolve()
            else:
                self._waiting.append(reply)
        await reply
        with self._lock:
            if self._packed is not None:  # here, and not in the thread that hears of it: it may run a user's code
                self._value, self._packed = self._packed.value(), None
        if self._error is not None:
            raise self._error if self._unpack_error is None else self._unpack_error(self._error)
        return self._value

    def _settle(self, value: Any, error: Any) -> None:
        self._value, self._error = value, error
        self._over()

    def _take(self, reply: Reply, unpack_error: Callable[[Any], BaseException]) -> None:
        """The coordinator has answered: with what went wrong, or with what the worker has said."""
        if self._waiting is None:
            return
        ok, answer, parcels = reply.value
        self._unpack_error = unpack_error
        if ok:
            ((ok, answer),) = answer.values()
        if ok:
            self._packed = Arrival(parcels[answer])
        else:
            self._error = answer
        self._over()

    def _over(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        for reply in waiting or ():
            reply.resolve()

    def __repr__(self) -> str:
        return f"<ActorFuture: {'finished' if self.done() else 'pending'}>"
