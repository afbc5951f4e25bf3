"""A cluster on this machine."""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psutil

from taskloom import config
from taskloom.config.sizes import parse_size
from taskloom.engines.cluster.client.hearing import WorkerInfo
from taskloom.engines.cluster.client.html import cluster_html, cluster_text
from taskloom.engines.cluster.client.logs import texts_of
from taskloom.engines.cluster.client.options import amounts_of
from taskloom.engines.cluster.client.views_of_client import Served
from taskloom.engines.cluster.compared import CLUSTER, compared
from taskloom.engines.cluster.forks import give_up_in_forks
from taskloom.engines.cluster.option_names import check_names
from taskloom.engines.cluster.sized import Sized
from taskloom.engines.cpus import usable_cpus
from taskloom.errors import ConfigError

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_clusters: dict[str, LocalCluster] = {}  # that are open, by address


@compared(CLUSTER)
class LocalCluster(Sized):
    """Workers on this machine, with a coordinator that lives until `close`.

    Parameters
    ----------
    n_workers, threads_per_worker : how many workers, and how many tasks each of them runs at a time. By default as many
        in all as there are cores: up to four cores a worker each, beyond that fewer workers of about four threads.
        The settings ``distributed.n_workers`` and ``distributed.threads_per_worker`` say it for all clusters, the
        second also as ``TASKLOOM_THREADS_PER_WORKER`` or ``DASK_THREADS_PER_WORKER``.
    processes : False: workers are threads of this process, and share its memory.
    memory_limit : of each worker: bytes, ``"4 GiB"``, a fraction of the memory, ``"auto"`` for an equal share of it,
        or None for no limit. Of results beyond 60% of it some go to disk, a worker whose process takes 80% is given no
        tasks for a while, and one that takes 95% is replaced: see ``distributed.memory`` and ``distributed.spill`` in
        `taskloom.config.defaults`.
    dashboard_address : False: there is no dashboard. Else one is served to this machine when its link is first read, at
        a port of its own, or at the one that is given, such as ``":8787"`` or 8787.
    name : what it is called, in up to 100 characters.
    resources : what each worker has, such as ``{"GPU": 1}``; tasks may ask for it.
    asynchronous : start it by ``async with`` or ``await``.
    env : variables of the workers' environment, beside those of this process; by default the setting
        ``distributed.worker.env``. They are set before a worker loads any library of yours.
    preload : what each worker loads before it gets tasks: names of modules, paths of .py files, or source code, one or
        several; by default the setting ``distributed.worker.preload``. If they define ``dask_setup(worker)`` or
        ``dask_teardown(worker)``, these are called.

    Raises
    ------
    ConfigError
        An option cannot be used, or workers could not load what they were to preload.
    TypeError
        An option that only dask.distributed has. The message says what to do instead.

    Examples
    --------
    >>> with LocalCluster(n_workers=1, threads_per_worker=2, processes=False) as cluster:
    ...     with cluster.get_client() as client:
    ...         client.gather(client.map(abs, [-1, -2]))
    [1, 2]
    """

    def __init__(
        self,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        processes: bool = True,
        memory_limit: Any = "auto",
        dashboard_address: Any = None,
        name: str | None = None,
        resources: dict[str, float] | None = None,
        asynchronous: bool = False,
        env: Mapping[str, Any] | None = None,
        preload: str | Sequence[str] | None = None,
        **others: Any,
    ) -> None:
        check_names(others, LocalCluster)
        self.name = str(name or f"cluster-{uuid.uuid4().hex[:8]}")[:100]
        self.status = "created"
        self.asynchronous = asynchronous
        self._served = Served(dashboard_address is not False, _port_of(dashboard_address))
        self.processes = processes
        n_workers, threads = _sizes(n_workers, threads_per_worker, processes)
        most = max(1, usable_cpus() // threads)  # of a cluster that begins with none, to be adapted
        self._make = partial(
            _coordinator, n_workers, threads, processes, _limit(memory_limit, n_workers or most), self.name
        )
        self._resources = amounts_of(resources)
        self._environment = _environment(env, processes)
        self._preload = config.get("distributed.worker.preload") if preload is None else preload
        self._coordinator: Any = None
        if not asynchronous:
            self._start()

    def _start(self) -> None:
        if self.status != "created":
            return
        self._coordinator = self._make(self._resources, self._environment, _packed(self._preload))
        self._check_preload()
        self.status = "running"
        _clusters[self.scheduler_address] = self
        atexit.register(self._close_now)
        give_up_in_forks(self)

    def _check_preload(self) -> None:
        """Wait until the workers have loaded what they are to, if anything."""
        plugins = self._coordinator.plugins
        while self._preload and self._coordinator.crew.size and not plugins.settled.wait(0.1):
            if self._coordinator.closed:
                break
        if plugins.failure:
            self._coordinator.close()
            raise ConfigError(f"The cluster cannot start: a worker {plugins.failure}.")

    @property
    def scheduler_address(self) -> str:
        """What `Client` takes, also in another process of the same user."""
        if self._coordinator is None:
            return ""
        return str(self._coordinator.address)

    @property
    def workers(self) -> dict[int, WorkerInfo]:
        """The workers that are there, by number."""
        if self.status != "running":
            return {}
        return {
            worker.number: WorkerInfo(worker.number, worker.name, worker.pid, worker.threads, worker.memory_limit)
            for worker in list(self._coordinator.scheduler.workers.values())
        }

    def get_logs(self, cluster: bool = True, scheduler: bool = True, workers: Any = True) -> Any:
        """Worker -> the last of what it has printed, warned of and logged, as text, oldest line first.

        Workers that have ended are among them, also when the cluster is closed; see `Client.get_worker_logs`.

        Parameters
        ----------
        workers : names of workers; True for all that there are or have been.
        cluster, scheduler : taken for the sake of programs for dask.distributed, and ignored: these have no logs of
            their own.
        """
        if self._coordinator is None:
            self._check()
        get = partial(texts_of, self._coordinator.output.logs.entries(), workers)
        return asyncio.to_thread(get) if self.asynchronous else get()

    logs = get_logs

    @property
    def memory(self) -> dict[str, dict[str, Any]]:
        """What workers take: name -> ``"memory"`` of the process, ``"managed"`` by results, ``"spilled"`` on disk, all
        in bytes, and the ``"status"``, which is "paused" for one that is given no tasks as it has too much."""
        if self.status != "running":
            return {}
        workers = list(self._coordinator.scheduler.workers.values())
        return {worker.name: self._coordinator.memory.describe(worker) for worker in workers}

    def get_client(self) -> Client:
        """A client of this cluster."""
        from taskloom.engines.cluster.client.client import Client

        return Client(self)

    @property
    def dashboard_link(self) -> str | None:
        """Where the dashboard is, which is served from the first time that this is read; None where there is none."""
        return self._served.link() if self.status == "running" else None

    def close(self, timeout: Any = None) -> Any:
        """End the workers; what they hold is gone. Safe to call twice."""
        if self.asynchronous:
            return asyncio.to_thread(self._close_now)
        return self._close_now()

    def _close_now(self) -> None:
        if self.status == "running":
            self.status = "closed"
            atexit.unregister(self._close_now)
            _clusters.pop(self.scheduler_address, None)
            self._served.close()
            self._stop_adapting()
            self._coordinator.close()
        self.status = "closed"

    def is_used_beside(self, client: Client) -> bool:
        """Whether tasks run, or clients are connected beside this one and those that its tasks have."""
        workers = list(self._coordinator.scheduler.workers.values())
        own = {worker.pid for worker in workers} - {os.getpid()}
        others = dict(self._coordinator.clients)
        others.pop(client._session.connection.number, None)
        return any(worker.outstanding for worker in workers) or any(
            getattr(other, "pid", None) not in own for other in others.values()
        )

    def let_go(self) -> None:
        """Be closed, in a fork: the workers are its parent's."""
        self.status = "closed"
        atexit.unregister(self._close_now)
        _clusters.pop(self.scheduler_address, None)

    def _check(self) -> None:
        if self.status != "running":
            raise RuntimeError(f"The cluster {self.name!r} is {self.status}.")

    def __enter__(self) -> LocalCluster:
        if self.asynchronous:
            raise TypeError("An asynchronous cluster is opened by `async with`.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close_now()

    async def _started(self) -> LocalCluster:
        await asyncio.to_thread(self._start)
        return self

    def __await__(self) -> Generator[Any, Any, LocalCluster]:
        return self._started().__await__()

    async def __aenter__(self) -> LocalCluster:
        return await self._started()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close_now)

    def __repr__(self) -> str:
        return cluster_text(self)

    def _repr_html_(self) -> str:
        return cluster_html(self)


def cluster_at(address: str) -> LocalCluster | None:
    """The open cluster of this process that has an address."""
    return _clusters.get(address)


def connector(given: LocalCluster | str) -> Callable[[Callable[..., None]], Any]:
    """What connects a client to a cluster, or to the one at an address.

    Raises
    ------
    ConfigError
        There can be none at this address.
    """
    if isinstance(given, str):
        given = cluster_at(given) or given
    if isinstance(given, LocalCluster):
        given._check()
        return given._coordinator.connect  # type: ignore[no-any-return]
    if not isinstance(given, str):
        raise TypeError(f"A client connects to a LocalCluster or to an address, not to {given!r}.")
    if given.startswith("inproc://"):
        raise ConfigError(f"There is no cluster {given} in this process: clusters of threads are reached in it only.")
    from taskloom.engines.cluster.door.remote import connect

    return partial(connect, given)


def nprocesses_nthreads(cores: int) -> tuple[int, int]:
    """How many workers of how many threads a number of cores makes.

    >>> nprocesses_nthreads(4), nprocesses_nthreads(8), nprocesses_nthreads(32)
    ((4, 1), (4, 2), (8, 4))
    """
    if cores <= 4:
        return cores, 1
    workers = min([n for n in range(1, cores + 1) if cores % n == 0 and n >= math.sqrt(cores)])
    return workers, cores // workers


def _sizes(n_workers: Any, threads: Any, processes: bool) -> tuple[int, int]:
    """How many workers of how many threads."""
    n_workers = config.get("distributed.n_workers") if n_workers is None else n_workers
    threads = _threads_configured() if threads is None else threads
    for name, value, least in (("n_workers", n_workers, 0), ("threads_per_worker", threads, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ConfigError(f"{name}={value!r} cannot be used: it takes a whole number, {least} or more.")
    cores = usable_cpus()
    if n_workers is None and threads is None:
        return nprocesses_nthreads(cores) if processes else (1, cores)
    if n_workers is None:
        return (max(1, cores // threads), threads) if processes else (1, threads)
    if threads is None:
        threads = max(1, math.ceil(cores / max(1, n_workers)))
    return n_workers, threads


def _threads_configured() -> int | None:
    configured = config.get("distributed.threads_per_worker")
    if configured is not None:
        return int(configured)
    for name in ("TASKLOOM_THREADS_PER_WORKER", "DASK_THREADS_PER_WORKER"):  # the first may be newer than the settings
        text = os.environ.get(name)
        if text:
            if not text.strip().isdecimal() or int(text) < 1:
                raise ConfigError(f"{name}={text!r} cannot be used: it takes a whole number, 1 or more.")
            return int(text)
    return None


def _limit(memory_limit: Any, n_workers: int) -> float:
    """Bytes of memory per worker; infinity for no limit."""
    total = psutil.virtual_memory().total
    if memory_limit is None or memory_limit == 0:
        return math.inf
    if memory_limit == "auto":
        memory_limit = config.get("distributed.memory_limit") or "auto"
    if memory_limit == "auto":
        return float(total // n_workers)
    try:
        size = parse_size(memory_limit)
    except ValueError:
        raise ConfigError(
            f"memory_limit={memory_limit!r} cannot be used: it takes bytes, a text such as '4 GiB', a fraction of the "
            "memory such as 0.5, 'auto' or None."
        ) from None
    return size * total if size <= 1 else size


def _port_of(address: Any) -> int:
    """The port of a dashboard on this machine, 0 for any.

    >>> _port_of(":8787"), _port_of("127.0.0.1:8787"), _port_of(8787), _port_of(None)
    (8787, 8787, 8787, 0)
    """
    if address is None or isinstance(address, bool):
        return 0
    host, _, port = str(address).strip().removeprefix("http://").rpartition(":")
    if host not in ("", "127.0.0.1", "localhost"):
        raise ConfigError(
            f"dashboard_address={address!r} cannot be used: a dashboard is served to this machine only, at 127.0.0.1. "
            'Give its port, such as ":8787".'
        )
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f'dashboard_address={address!r} cannot be used: it takes a port, such as ":8787", or False.')
    return int(port)


def _environment(given: Mapping[str, Any] | None, processes: bool) -> dict[str, str]:
    """Variables of the workers' environment."""
    variables = config.get("distributed.worker.env") if given is None else given
    if variables and not isinstance(variables, Mapping):
        raise ConfigError(f"env={variables!r} cannot be used: it takes a mapping of variables to their values.")
    if given and not processes:
        raise ConfigError("env= is for processes: workers that are threads have the environment of this one.")
    return {str(name): str(value) for name, value in (variables or {}).items()}


def _packed(preload: str | Sequence[str] | None) -> list[tuple[str, bytes]]:
    """Plugins that load what is to be loaded."""
    if not preload:
        return []
    from taskloom.engines.cluster.plugin import preloads
    from taskloom.engines.worker.parcel import dumps

    plugins = enumerate(preloads(preload))
    return [(f"preload {i}: {' '.join(plugin.what.split())[:100]}", dumps(plugin)) for i, plugin in plugins]


def _coordinator(n_workers: int, threads: int, processes: bool, memory_limit: float, name: str, *more: Any) -> Any:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator

    return Coordinator(n_workers, threads, processes, memory_limit, name, *more)
