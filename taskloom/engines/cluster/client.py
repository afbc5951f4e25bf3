"""The client: what a user holds of a cluster."""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from taskloom import config
from taskloom.bus.run import Run
from taskloom.containers import extract, fill
from taskloom.engines.cluster import client_collections, current
from taskloom.engines.cluster.call_key import call_token
from taskloom.engines.cluster.client_info import ClusterInfo
from taskloom.engines.cluster.client_views import ClusterViews
from taskloom.engines.cluster.compile import Draft, Packing
from taskloom.engines.cluster.future import Future
from taskloom.engines.cluster.gathering import bring, settled
from taskloom.engines.cluster.html import client_html, client_text
from taskloom.engines.cluster.options import options_of, seconds_of
from taskloom.engines.cluster.scattering import scatter
from taskloom.engines.cluster.session import Session
from taskloom.engines.cluster.state import State
from taskloom.engines.processes_errors import describe
from taskloom.graph import Graph, Key, Plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.executor import ClientExecutor
    from taskloom.engines.cluster.local_cluster import LocalCluster

CHUNK = 1_000  # calls of a `map` over iterators of unknown length that are submitted at a time


class Client(ClusterViews, ClusterInfo):
    """Submits work to a cluster, and gets futures of the results.

    An open client runs what `taskloom.compute` is given until something newer is set as scheduler.

    Parameters
    ----------
    address : a `LocalCluster`, or the address of one; by default the client makes its own.
    timeout : seconds that connecting may take.
    set_as_default : False: `taskloom.compute`, `wait` and so on do not use this client by themselves.
    asynchronous : methods give something to await. Start it by ``async with Client(asynchronous=True) as client``, or
        by ``await``.
    name : what it is called.
    options : of the `LocalCluster` that it makes.

    Examples
    --------
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     future = client.submit(sum, [1, 2, 3])
    ...     client.submit(pow, future, 2).result()
    36
    """

    def __init__(
        self,
        address: LocalCluster | str | None = None,
        timeout: Any = None,
        set_as_default: bool = True,
        asynchronous: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.asynchronous = asynchronous
        self.is_default = set_as_default
        self.id = f"{name or 'Client'}-{uuid.uuid4().hex[:12]}"
        self.status = "connecting"
        self.cluster: LocalCluster | None = None
        self._given = address
        self._options = options
        self._timeout = timeout
        self._owns_cluster = address is None
        self._setting: config.Assignment | None = None
        self._unique = itertools.count()
        self._series = os.urandom(8).hex()
        if address is not None and options:
            raise TypeError(
                f"{', '.join(f'{name}=' for name in options)} would be options of a new LocalCluster, but the client "
                "is to connect to one that is there."
            )
        if not asynchronous or address is not None:
            self._start()

    def _start(self) -> None:
        from taskloom.engines.cluster.local_cluster import LocalCluster, connector

        if self.status != "connecting":
            return
        if self._given is None:
            self._given = LocalCluster(**self._options)
        self.cluster = self._given if isinstance(self._given, LocalCluster) else None
        try:
            self._session = Session(connector(self._given))
        except BaseException:
            if self._owns_cluster and self.cluster is not None:
                self.cluster.close()
            raise
        self.status = "running"
        current.opened(self)
        if self.is_default:
            self._setting = config.Assignment({"scheduler": self}, source="an open client")

    # -- submitting -----------------------------------------------------------------------------------------------

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
        **kwargs: Any,
    ) -> Future:
        """Call a function on a worker.

        Parameters
        ----------
        func, args, kwargs : the call. Futures among the arguments, also inside of containers, stand for their results.
        key : the name of the task; by default one that equal calls share.
        pure : False: the call is computed anew although there was an equal one.
        workers : names or numbers of workers that may run it.
        allow_other_workers : whether others may, where none of those is there.
        resources : what it needs of what workers have, such as ``{"GPU": 1}``.
        retries : how often it is tried again if it raises.
        priority : larger ones go first.

        Raises
        ------
        SerializationError
            The function or an argument cannot be pickled.
        """
        if not callable(func):
            raise TypeError(f"The first argument of submit is the function to call, not {describe(func)}.")
        options = None
        if workers is not None or resources is not None or retries or priority or allow_other_workers:
            options = options_of(priority, retries, workers, allow_other_workers, resources)
        session = self._session
        function = Packing(session).function(func if key is None else key, func)
        chosen = key is not None
        if key is None:
            token = call_token(function, args, kwargs) if pure else self._new_token()
            key = f"{function.name}-{token}"
        while True:
            state = session.share(key) if pure or chosen else None
            if state is not None:
                if chosen and state.code != function.code:
                    self._warn_of_reuse(key)
                return Future._of(self, state)
            draft = Draft(session)
            draft.add(key, function, args, kwargs)
            for state in session.submit(draft, options, named=True):
                return Future._of(self, state)

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
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[Future]:
        """Call a function with each item of an iterable, or with the items of several, as `map` does.

        Parameters
        ----------
        func, iterables : the calls. Iterators are consumed, and what they give is submitted as it comes.
        key : names of the tasks, or what all their names begin with.
        batch_size : how many calls are submitted at a time; by default all, and 1,000 of iterators.
        kwargs : arguments that all calls have.
        workers, retries, resources, priority, allow_other_workers, pure : as for `submit`.
        """
        if not callable(func):
            raise TypeError(f"The first argument of map is the function to call, not {describe(func)}.")
        if not iterables:
            raise TypeError("map takes at least one iterable behind the function.")
        options = options_of(priority, retries, workers, allow_other_workers, resources)
        if batch_size is None and not all([hasattr(iterable, "__len__") for iterable in iterables]):
            batch_size = CHUNK
        names: Iterator[Key] | None = None
        if key is not None and not isinstance(key, str):
            names = iter(_checked_keys(key, iterables))
        calls = zip(*iterables, strict=False)
        futures: list[Future] = []
        while chunk := list(itertools.islice(calls, batch_size)):
            futures += self._map(func, chunk, kwargs, names, key if isinstance(key, str) else None, pure, options)
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
        options: Any,
    ) -> list[Future]:
        session = self._session
        draft = Draft(session)
        function = draft.function(prefix or func, func)
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
            state = session.share(key) if pure or names is not None else None
            if state is not None:
                made[key] = Future._of(self, state)
                continue
            made[key] = None
            draft.add(key, function, args, kwargs)
        for state in session.submit(draft, options, named=True):
            made[state.key] = Future._of(self, state)
        return [made[key] or self.submit(func, *args, key=key, **kwargs) for key, args in zip(keys, calls, strict=True)]

    def _new_token(self) -> str:
        return f"{self._series}{next(self._unique):016x}"

    def _warn_of_reuse(self, key: Key) -> None:
        warnings.warn(
            f"Key {describe(key)} is in use for a task with another function. You get the future of that one; give "
            "another key, or release the futures of that one first.",
            UserWarning,
            stacklevel=3,
        )

    def scatter(
        self, data: Any, workers: Any = None, broadcast: bool = False, direct: Any = None, hash: bool = True
    ) -> Any:
        """Bring data to the workers: futures that stand for them.

        Parameters
        ----------
        data : a list, tuple, set or iterator of values gives such of futures; a dictionary, futures by its keys, which
            name them; anything else, one future.
        workers : names of workers that may hold them.
        broadcast : True: each of those workers gets all of them.
        hash : False: equal data are not taken for the same.
        """
        return self._do(scatter(self, data, workers, broadcast, hash))

    # -- results --------------------------------------------------------------------------------------------------

    def gather(self, futures: Any, errors: str = "raise", direct: Any = None, asynchronous: Any = None) -> Any:
        """Wait for futures, in containers of any depth, and bring their results: the same containers with those.

        Parameters
        ----------
        errors : ``"raise"`` what a task raised; ``"skip"``: leave such futures out of a list, and have None elsewhere.

        Raises
        ------
        FutureCancelledError
            A future was cancelled.
        Exception
            What a task raised, as itself.
        """
        __tracebackhide__ = True
        if errors not in ("raise", "skip"):
            raise ValueError(f'errors={errors!r} cannot be used: it takes "raise" or "skip".')
        return self._do(self._gather(futures, errors))

    async def _gather(self, futures: Any, errors: str) -> Any:
        __tracebackhide__ = True
        if isinstance(futures, Iterator):
            futures = list(futures)
        states: list[State] = []
        packing = Packing(self._session)

        def find(item: Any) -> int | None:
            if item.__class__ is not Future:
                return None
            packing.own(item)
            states.append(item._state)
            return len(states) - 1

        template = extract(futures, find)
        values = await bring(self._session, states, errors)
        if errors == "skip" and isinstance(futures, list):
            kept = [item for item in futures if item.__class__ is not Future or item._state.id in values]
            states.clear()
            template = extract(kept, find)
        return fill(template, [values.get(state.id) for state in states])

    def get(self, dsk: Graph, keys: Any, *, sync: bool = True, callbacks: Any = None, **options: Any) -> Any:
        """Compute keys of a graph on the cluster: a key gives its value, a list a list, nested alike.

        Parameters
        ----------
        dsk, keys : as for `taskloom.get`. Futures in the graph stand for their results.
        sync : False: give futures instead of values.
        options : ``priority``, ``retries``, ``workers``, ``allow_other_workers`` and ``resources``, as for `submit`.
        """
        __tracebackhide__ = True
        if not sync:
            return self.hold(dsk, keys, **options)
        from taskloom.engines.cluster.engine import DistributedEngine

        return DistributedEngine().get(dsk, keys, callbacks=callbacks, client=self, **options)

    def run_plan(self, plan: Plan, run: Run, options: Mapping[str, Any]) -> list[Any]:
        """Run a plan within a run record: the list of its results, in which those requested are kept."""
        from taskloom.engines.cluster.plan_run import run_plan

        __tracebackhide__ = True
        return run_plan(self._session, plan, run, options_of(**options))

    def hold(self, dsk: Graph, keys: Any, **options: Any) -> Any:
        """Futures of keys of a graph: a key gives its future, a list a list, nested alike."""
        return client_collections.hold(self, dsk, keys, options_of(**options))

    def compute(
        self,
        collections: Any,
        sync: bool = False,
        optimize_graph: bool = True,
        traverse: bool = True,
        **options: Any,
    ) -> Any:
        """Futures of the values of collections: of one or of several, in a list.

        Parameters
        ----------
        collections : a `delayed` value or any other collection, or a list of such; what is none comes back as it is.
        sync : True: wait, and give the values.
        optimize_graph : False leaves out the optimisations of the collections.
        traverse : False looks for collections in the list only, not deeper inside.
        options : ``priority``, ``retries``, ``workers``, ``allow_other_workers`` and ``resources``, as for `submit`.
        """
        __tracebackhide__ = True
        futures = client_collections.compute(self, collections, optimize_graph, traverse, options_of(**options))
        return self.gather(futures) if sync else futures

    def persist(self, collections: Any, optimize_graph: bool = True, **options: Any) -> Any:
        """The same collections over futures of their results, which stay on the cluster.

        Takes the arguments of `compute`.
        """
        return client_collections.persist(self, collections, optimize_graph, options_of(**options))

    # -- what becomes of futures ----------------------------------------------------------------------------------

    def cancel(
        self, futures: Any, asynchronous: Any = None, force: bool = False, reason: Any = None, msg: Any = None
    ) -> Any:
        """Forget tasks and all that build on them. Code that runs for them is stopped.

        Parameters
        ----------
        futures : futures or persisted collections, in containers of any depth.
        force : also what other clients want; and a worker that cannot be stopped otherwise is replaced, whatever
            it runs and holds.
        """
        return self._do(self._tell("cancel", futures, force))

    def retry(self, futures: Any, asynchronous: Any = None) -> Any:
        """Run tasks again that have raised."""
        return self._do(self._tell("retry", futures))

    async def _tell(self, kind: str, futures: Any, *fields: Any) -> None:
        from taskloom.engines.cluster.waiting import futures_of

        packing = Packing(self._session)
        found = futures_of(futures)
        for future in found:
            packing.own(future)
        self._session.send(kind, [future._state.id for future in found], *fields)
        await self._session.answer("named", [])  # when that is answered, what has become of them is known here

    async def _settled(self, states: Sequence[State]) -> None:
        await settled(states)

    async def _bring(self, states: Sequence[State]) -> list[Any]:
        __tracebackhide__ = True
        values = await bring(self._session, states)
        return [values[state.id] for state in states]

    def _state_of(self, key: Key) -> State:
        """The state of a key that the cluster knows, for a future more."""
        state = self._session.share(key)
        if state is None:
            state = self._session.adopt(key)
        return state

    def get_executor(self, **options: Any) -> ClientExecutor:
        """A `concurrent.futures.Executor` whose calls run on the cluster.

        Parameters
        ----------
        options : ``pure``, ``priority``, ``retries``, ``workers``, ``allow_other_workers`` and ``resources``, as for
            `submit`.
        """
        from taskloom.engines.cluster.executor import ClientExecutor

        return ClientExecutor(self, **options)

    # -- open and close -------------------------------------------------------------------------------------------

    @classmethod
    def current(cls, allow_global: bool = True) -> Client:
        """The client that `as_current` chose here, else the default client."""
        found = current.chosen.get()
        if found is None and not allow_global:
            raise ValueError("No client was chosen here by as_current().")
        return current.default_client()

    @contextmanager
    def as_current(self) -> Iterator[Client]:
        """A block in which this client is the current one."""
        token = current.chosen.set(self)
        try:
            yield self
        finally:
            current.chosen.reset(token)

    def close(self, timeout: Any = None) -> Any:
        """Leave the cluster, and close it if the client has made it. Futures that are not done are cancelled."""
        if self.asynchronous:
            return asyncio.to_thread(self._close_now)
        return self._close_now()

    def _close_now(self) -> None:
        if self.status == "closed":
            return
        started, self.status = self.status == "running", "closed"
        if self._setting is not None:
            self._setting.undo()
            self._setting = None
        current.closed(self)
        self._stop_serving()
        if started:
            self._session.close()
        if self._owns_cluster and self.cluster is not None:
            self.cluster.close()

    shutdown = close

    def _address(self) -> str | None:
        return self.cluster.scheduler_address if self.cluster is not None else str(self._given)

    def __enter__(self) -> Client:
        if self.asynchronous:
            raise TypeError("An asynchronous client is opened by `async with`.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close_now()

    async def _started(self) -> Client:
        await asyncio.to_thread(self._start)
        return self

    def __await__(self) -> Generator[Any, Any, Client]:
        return self._started().__await__()

    async def __aenter__(self) -> Client:
        return await self._started()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close_now)

    def __reduce__(self) -> Any:
        return partial(_connected, self._address()), ()

    def __repr__(self) -> str:
        return client_text(self)

    def _repr_html_(self) -> str:
        return client_html(self)


def _connected(address: str) -> Client:
    return current.get_client(address)


def _checked_keys(keys: Sequence[Key], iterables: Sequence[Iterable[Any]]) -> Sequence[Key]:
    keys = list(keys)
    lengths = [len(iterable) for iterable in iterables if hasattr(iterable, "__len__")]
    if lengths and min(lengths) != len(keys):
        raise ValueError(f"key= holds {len(keys)} keys for {min(lengths)} calls: it takes a key for each.")
    return keys
