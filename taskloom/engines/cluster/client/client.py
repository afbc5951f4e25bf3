"""The client: what a user holds of a cluster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from taskloom import config
from taskloom.bus.run import Run
from taskloom.containers import extract, fill
from taskloom.engines.cluster.client import collections_of_futures, current
from taskloom.engines.cluster.client.asked import asked_for
from taskloom.engines.cluster.client.compile import Packing
from taskloom.engines.cluster.client.datasets import Publishing
from taskloom.engines.cluster.client.elsewhere import MaybeElsewhere
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.gathering import bring, settled
from taskloom.engines.cluster.client.html import client_html, client_text
from taskloom.engines.cluster.client.logs import ClusterLogs
from taskloom.engines.cluster.client.memory import Memory
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cluster.client.plugins import Plugging
from taskloom.engines.cluster.client.replaced import close_replaced
from taskloom.engines.cluster.client.reply import block, cancelled_together
from taskloom.engines.cluster.client.retiring import Retiring
from taskloom.engines.cluster.client.session import Session
from taskloom.engines.cluster.client.state import State
from taskloom.engines.cluster.client.submitting import Submitting
from taskloom.engines.cluster.client.topics import Topics
from taskloom.engines.cluster.client.views_of_client import ClusterViews, Served
from taskloom.engines.cluster.compared import CLIENT, compared
from taskloom.engines.cluster.engine import DistributedEngine
from taskloom.engines.cluster.forks import give_up_in_forks
from taskloom.engines.cluster.option_names import check_client_names
from taskloom.graph import Graph, Plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.executor import ClientExecutor
    from taskloom.engines.cluster.local_cluster import LocalCluster


@compared(CLIENT)
class Client(MaybeElsewhere, ClusterLogs, ClusterViews, Memory, Plugging, Publishing, Retiring, Submitting, Topics):
    """Submits work to a cluster, and gets futures of the results.

    An open client runs what `taskloom.compute` is given until something newer is set as scheduler.

    Parameters
    ----------
    address : a `LocalCluster`, or the address of one; by default the client makes its own, which ends with it: when it
        is closed, or once a later client has replaced it and nobody has it. Of a dask scheduler, such as
        ``"host:8786"``, a cluster of dask's, or ``scheduler_file=``: a `dask.distributed.Client` whose runs are shown.
        Without options the default is the ``scheduler-address`` of Dask's configuration, as ``DASK_SCHEDULER_ADDRESS``.
    timeout : seconds that connecting may take.
    set_as_default : False: `taskloom.compute`, `wait` and so on do not use this client by themselves.
    asynchronous : methods give something to await. Start it by ``async with Client(asynchronous=True) as client``, or
        by ``await``. What waits by itself, as `taskloom.compute`, holds up the loop: ``await client.compute(...)``.
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
        super().__init__()
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
        check_client_names(options, Client, connects=address is not None)
        if not asynchronous or address is not None:
            self._start()

    def __getattr__(self, name: str) -> Any:
        if name in ("_session", "_served"):
            raise RuntimeError(
                "This asynchronous client has not been started. Start it by  async with Client(asynchronous=True) as "
                "client  or by  client = await Client(asynchronous=True)."
            )
        return CLIENT.absent(self, name)

    def _start(self) -> None:
        from taskloom.engines.cluster.local_cluster import LocalCluster, connector

        if self.status != "connecting":
            return
        if self._given is None:
            self._given = LocalCluster(**self._options)
        self.cluster = self._given if isinstance(self._given, LocalCluster) else None
        self._served = Served() if self.cluster is None else self.cluster._served
        try:
            self._session = Session(connector(self._given))
            self._catch_up(seconds_of(self._timeout))  # the workers
        except BaseException:
            if self._owns_cluster and self.cluster is not None:
                self.cluster.close()
            raise
        self.status = "running"
        current.opened(self)
        give_up_in_forks(self)
        if self.is_default:
            scheduler = self._get_now if self.asynchronous else self
            self._setting = config.Assignment({"scheduler": scheduler}, source="an open client")
        close_replaced()

    def _catch_up(self, timeout: float | None = None) -> None:
        """Wait until all is known here that the coordinator has told so far."""
        block(self._session.answer("named", []), timeout)

    # -- results --------------------------------------------------------------------------------------------------

    def gather(self, futures: Any, errors: str = "raise", direct: Any = None, asynchronous: Any = None) -> Any:
        """Bring the results of futures, in containers of any depth, as the same containers. Ctrl-C ends only the wait.

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
        try:
            with cancelled_together(partial(self._cancel_pending, futures)):
                return self._do(self._gather(futures, errors))
        finally:
            del futures  # a traceback holds this frame, perhaps for long

    def _cancel_pending(self, futures: Any) -> None:
        from taskloom.engines.cluster.client.waiting import futures_in

        pending = [future._state.id for future in futures_in(futures) if not future.done()]
        self._session.send("cancel", pending, False)

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
        with current.bringing(self):
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
        get = partial(self._get_now, dsk, keys, callbacks=callbacks, **options)
        return asyncio.to_thread(get) if self.asynchronous else get()

    def _get_now(self, dsk: Graph, keys: Any, **options: Any) -> Any:
        """Compute keys of a graph, and wait, also in an asynchronous client."""
        __tracebackhide__ = True
        return DistributedEngine().get(dsk, keys, client=self, **options)

    @property
    def is_lost(self) -> bool:
        """Whether it has no cluster any more."""
        return self.status == "closed" or bool(self._session.gone)

    @property
    def is_idle(self) -> bool:
        """Whether no graph runs, and there are no futures."""
        session = self._session
        return not session.runs and not any(state.has_futures for state in list(session.states.values()))

    def run_plan(self, plan: Plan, run: Run, options: Mapping[str, Any]) -> list[Any]:
        """Run a plan within a run record: the list of its results, in which those requested are kept."""
        from taskloom.engines.cluster.client.plan_run import run_plan

        __tracebackhide__ = True
        return run_plan(self._session, plan, run, asked_for(**options))

    def hold(self, dsk: Graph, keys: Any, **options: Any) -> Any:
        """Futures of keys of a graph: a key gives its future, a list a list, nested alike."""
        return collections_of_futures.hold(self, dsk, keys, asked_for(**options))

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
        futures = collections_of_futures.compute(self, collections, optimize_graph, traverse, asked_for(**options))
        return self.gather(futures) if sync else futures

    def persist(self, collections: Any, optimize_graph: bool = True, **options: Any) -> Any:
        """The same collections over futures of their results, which stay on the cluster.

        Takes the arguments of `compute`.
        """
        return collections_of_futures.persist(self, collections, optimize_graph, asked_for(**options))

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
        from taskloom.engines.cluster.client.waiting import futures_in

        packing = Packing(self._session)
        found = futures_in(futures)
        for future in found:
            packing.own(future)
        self._session.send(kind, [future._state.id for future in found], *fields)
        await self._session.answer("named", [])  # when that is answered, what has become of them is known here

    async def _settled(self, states: Sequence[State]) -> None:
        await settled(states)

    async def _bring(self, states: Sequence[State]) -> list[Any]:
        __tracebackhide__ = True
        with current.bringing(self):
            values = await bring(self._session, states)
        return [values[state.id] for state in states]

    def _own(self, state: State) -> Future:
        return Future._of(self, state)

    def get_executor(self, **options: Any) -> ClientExecutor:
        """A `concurrent.futures.Executor` whose calls run on the cluster.

        Parameters
        ----------
        options : ``pure``, ``priority``, ``retries``, ``workers``, ``allow_other_workers`` and ``resources``, as for
            `submit`.
        """
        from taskloom.engines.cluster.client.executor import ClientExecutor

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
        if started:
            self._session.close()
            if self.cluster is None:
                self._served.close()
        if self._owns_cluster and self.cluster is not None:
            self.cluster.close()

    shutdown = close

    def let_go(self) -> None:
        """Be closed, in a fork: the cluster is its parent's."""
        self.status = "closed"
        if self._setting is not None:
            self._setting.undo()
            self._setting = None
        current.closed(self)

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
        return partial(current.get_client, self._address()), ()

    def __repr__(self) -> str:
        return client_text(self)

    def _repr_html_(self) -> str:
        return client_html(self)
