"""How a client submits calls and data."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskloom.engines.cluster.client.asked import Asked, asked_for
from taskloom.engines.cluster.client.call_key import call_token
from taskloom.engines.cluster.client.compile import Draft
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.info import ClusterInfo
from taskloom.engines.cluster.client.options import check_key, seconds_of
from taskloom.engines.cluster.client.scattering import scatter
from taskloom.engines.cluster.client.state import State
from taskloom.engines.cluster.worker.actors import MakeActor
from taskloom.engines.processes_errors import describe
from taskloom.engines.worker.parcel import is_plain
from taskloom.graph import Key
from taskloom.graph.annotations import NONE, here

CHUNK = 1_000  # calls of a `map` over iterators of unknown length that are submitted at a time


class Submitting(ClusterInfo):
    """Calls of functions, and data, that become futures."""

    def __init__(self) -> None:
        self._unique = itertools.count()
        self._series = os.urandom(8).hex()

    def _own(self, state: State) -> Future:
        """A future of a state, whose session is locked."""
        raise NotImplementedError

    def submit(
        self,
        func: Any,
        *args: Any,
        key: Key | None = None,
        workers: Any = None,
        resources: Mapping[str, float] | None = None,
        retries: int | None = None,
        priority: int = 0,
        allow_other_workers: bool = False,
        pure: bool = True,
        fifo_timeout: Any = None,
        actor: bool = False,
        actors: bool = False,
        **kwargs: Any,
    ) -> Future:
        """Call a function on a worker.

        It does not see the context variables of who submits, not even in a cluster of threads: a future may outlive
        them. Tasks of `Client.get` and `taskloom.compute` see those of the caller, who waits for them.

        Parameters
        ----------
        func, args, kwargs : the call. Futures among the arguments, also inside of containers, stand for their results.
            A coroutine function is run by an event loop of its own.
        key : the name of the task; by default one that equal calls share.
        pure : False: the call is computed anew although there was an equal one.
        workers : names or numbers of workers that may run it.
        allow_other_workers : whether others may, where none of those is there.
        resources : what it needs of what workers have, such as ``{"GPU": 1}``.
        retries : how often it is tried again if it raises.
        priority : larger ones go first.
        fifo_timeout : taken for the sake of programs for dask.distributed, and ignored: what is submitted first goes
            first, however much later the next comes.
        actor, actors : True: what the function returns, such as an object of a class, stays in the worker, and the
            result is an `Actor`, which calls its methods there. Equal calls make one each.

        Raises
        ------
        TypeError
            The key is none.
        SerializationError
            The function or an argument cannot be pickled.
        """
        if not callable(func):
            raise TypeError(f"The first argument of submit is the function to call, not {describe(func)}.")
        asked = NONE
        if workers is not None or resources is not None or retries or priority or allow_other_workers or here.get():
            asked = asked_for(priority, retries, workers, allow_other_workers, resources)
        if actor := actor or actors:
            func, asked, pure = MakeActor(func), {**asked, "actor": True}, False
        session = self._session
        chosen = key is not None
        if chosen:
            check_key(key)
        function = session.function(key if chosen else func, func)
        if key is None:
            token = call_token(function, args, kwargs) if pure else self._new_token()
            key = f"{function.name}-{token}"
        while True:
            future: Future | None = session.share(key, self._own) if key in session.names else None
            if future is not None:
                if chosen and future._state.code != function.code:
                    _warn_of_reuse(key)
                return future
            if not (chosen or kwargs or asked or function.parcel) and all(map(is_plain, args)):
                future = session.submit_call(key, function, args, self._own)
                if future is not None:
                    return future
            draft = Draft(session, chosen)
            draft.add(key, function, (key, *args) if actor else args, kwargs)
            for future in session.submit(draft, asked, self._own):
                return future

    def map(
        self,
        func: Any,
        *iterables: Iterable[Any],
        key: str | Sequence[Key] | None = None,
        workers: Any = None,
        retries: int | None = None,
        resources: Mapping[str, float] | None = None,
        priority: int = 0,
        allow_other_workers: bool = False,
        pure: bool = True,
        fifo_timeout: Any = None,
        batch_size: int | None = None,
        actor: bool = False,
        actors: bool = False,
        **kwargs: Any,
    ) -> list[Future]:
        """Call a function with each item of an iterable, or with the items of several, as `map` does.

        Parameters
        ----------
        func, iterables : the calls. Iterators are consumed, and what they give is submitted as it comes.
        key : names of the tasks, or what all their names begin with.
        batch_size : how many calls are submitted at a time; by default all, and 1,000 of iterators.
        kwargs : arguments that all calls have.
        workers, retries, resources, priority, allow_other_workers, pure, fifo_timeout, actor, actors : as for `submit`.
        """
        if not callable(func):
            raise TypeError(f"The first argument of map is the function to call, not {describe(func)}.")
        if not iterables:
            raise TypeError("map takes at least one iterable behind the function.")
        asked = asked_for(priority, retries, workers, allow_other_workers, resources)
        if actor or actors:
            func, asked, pure = MakeActor(func), {**asked, "actor": True}, False
        if batch_size is None and not all(hasattr(iterable, "__len__") for iterable in iterables):
            batch_size = CHUNK
        names: Iterator[Key] | None = None
        if key is not None and not isinstance(key, str):
            names = iter(_checked_keys(key, iterables))
        calls = zip(*iterables, strict=False)
        futures: list[Future] = []
        while chunk := list(itertools.islice(calls, batch_size)):
            futures += self._map(func, chunk, kwargs, names, key if isinstance(key, str) else None, pure, asked)
            if batch_size is None:
                break
        return futures

    def _map(
        self,
        func: Any,
        calls: Sequence[tuple[Any, ...]],
        kwargs: Mapping[str, Any],
        names: Iterator[Key] | None,
        prefix: str | None,
        pure: bool,
        asked: Asked,
    ) -> list[Future]:
        session = self._session
        actor = func.__class__ is MakeActor
        draft = Draft(session, chosen=names is not None)
        function = session.function(prefix or func, func)
        prefix = prefix or function.name
        keys: list[Key] = []
        made: dict[Key, Future | None] = {}
        for args in calls:
            if names is not None:
                key = next(names)
            else:
                key = f"{prefix}-{call_token(function, args, kwargs) if pure else self._new_token()}"
            keys.append(key)
            if key in made:
                continue
            future: Future | None = session.share(key, self._own) if key in session.names else None
            made[key] = future
            if future is not None:
                if names is not None and future._state.code != function.code:
                    _warn_of_reuse(key, depth=4)
                continue
            draft.add(key, function, (key, *args) if actor else args, kwargs)
        made.update([(future.key, future) for future in session.submit(draft, asked, self._own)])
        plain = func.func if actor else func
        return [
            made[key] or self.submit(plain, *args, key=key, actor=actor, **kwargs)
            for key, args in zip(keys, calls, strict=True)
        ]

    def _new_token(self) -> str:
        return f"{self._series}{next(self._unique):016x}"

    def scatter(
        self,
        data: Any,
        workers: Any = None,
        broadcast: bool = False,
        direct: Any = None,
        hash: bool = True,
        timeout: Any = None,
        asynchronous: Any = None,
    ) -> Any:
        """Bring data to the workers: futures that stand for them.

        Parameters
        ----------
        data : a list, tuple, set or iterator of values gives such of futures; a dictionary, futures by its keys, which
            name them; anything else, one future.
        workers : names of workers that may hold them.
        broadcast : True: each of those workers gets all of them.
        hash : False: equal data are not taken for the same.
        timeout : seconds, or a text such as ``"2s"``.

        Raises
        ------
        TimeoutError
            They are not there in time.
        """
        return self._do(scatter(self, data, workers, broadcast, hash), seconds_of(timeout))


def _warn_of_reuse(key: Key, depth: int = 3) -> None:
    warnings.warn(
        f"Key {describe(key)} is in use for a task with another function. You get the future of that one; give "
        "another key, or release the futures of that one first.",
        UserWarning,
        stacklevel=depth,
    )


def _checked_keys(keys: Sequence[Key], iterables: Sequence[Iterable[Any]]) -> Sequence[Key]:
    keys = list(keys)
    for key in keys:
        check_key(key)
    sized: Any = [iterable for iterable in iterables if hasattr(iterable, "__len__")]
    lengths = [len(iterable) for iterable in sized]
    if lengths and min(lengths) != len(keys):
        raise ValueError(f"key= holds {len(keys)} keys for {min(lengths)} calls: it takes a key for each.")
    return keys
