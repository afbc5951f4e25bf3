"""Plugins: a user's code that runs when workers come and go, and when tasks go from one state to another."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.compared import SCHEDULER_PLUGIN, WORKER_PLUGIN, compared
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.handle import WorkerHandle

_ARCHIVES = (".zip", ".egg")


@compared(WORKER_PLUGIN)
class WorkerPlugin:
    """Runs in each worker: override what is of use. `Client.register_plugin` has it copied to the workers.

    All of its methods are called in one thread of the worker, in turn, aside of the tasks.

    Attributes
    ----------
    name : under which it is registered, if that does not say another one.
    idempotent : whether it is passed over if there is one of its name, rather than taking its place.

    Examples
    --------
    >>> from taskloom.distributed import Client
    >>> class Greeting(WorkerPlugin):
    ...     def setup(self, worker):
    ...         worker.greeting = f"This is {worker.name}."
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     client.register_plugin(Greeting(), name="greeting")
    ...     client.run(lambda dask_worker: dask_worker.greeting)
    {'worker-0': {'status': 'OK'}}
    {'worker-0': 'This is worker-0.'}
    """

    idempotent = False

    def setup(self, worker: WorkerHandle) -> Any:
        """The plugin has come to a worker: to one that is there, or to a new one before that gets tasks. May be a
        coroutine function.

        If it raises, registering the plugin does so, and it is taken back; a new worker is not used then.
        """

    def teardown(self, worker: WorkerHandle) -> Any:
        """The plugin is taken away, or the worker is about to end by itself. May be a coroutine function.

        It is not called where a worker is killed, as by `Client.restart`.
        """

    def transition(self, key: Key, start: str, finish: str, **kwargs: Any) -> None:
        """A task of the worker has gone from one state to another: ``"released"``, ``"ready"``, ``"executing"``,
        ``"memory"`` or ``"error"``.

        It is called soon after that, in the order in which it happened. Tasks pay for this only while there is a plugin
        that overrides it.
        """


@compared(SCHEDULER_PLUGIN)
class SchedulerPlugin:
    """Hears of what happens in a cluster: override what is of use.

    Unlike in dask.distributed it runs in the process of the client that has registered it, on a thread that calls the
    client's callbacks in turn: the coordinator runs no code of users. It hears of things soon after they happened, and
    cannot change them; in the place of a scheduler it is given the client. It goes with the client.

    Attributes
    ----------
    name : under which it is registered, if that does not say another one.
    idempotent : whether it is passed over if there is one of its name, rather than taking its place.
    """

    idempotent = False

    def start(self, scheduler: Any) -> Any:
        """It was registered."""

    def close(self) -> Any:
        """It is taken away, or the client leaves the cluster, or the cluster has gone."""

    def add_worker(self, scheduler: Any, worker: str) -> Any:
        """A worker has come; also called for those that were there."""

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> Any:
        """A worker has gone; ``reason`` says why."""

    def add_client(self, scheduler: Any, client: str) -> Any:
        """Another client has come."""

    def remove_client(self, scheduler: Any, client: str) -> Any:
        """Another client has gone."""

    def transition(self, key: Key, start: str, finish: str, *args: Any, **kwargs: Any) -> Any:
        """A task of which the client has a future has gone from ``"processing"`` to ``"memory"`` or ``"erred"``, or
        from ``"memory"`` to ``"processing"`` again, as its result was lost; ``worker`` says where."""


class UploadFile(WorkerPlugin):
    """Has a file in each worker: .py, .zip and .egg can be imported there.

    Parameters
    ----------
    filepath : the file, which is read now.
    load : whether a .py file is imported at once, so that its errors are seen.
    """

    def __init__(self, filepath: Any, load: bool = True) -> None:
        path = Path(filepath)
        self.filename = path.name
        self.name = f"upload_file-{self.filename}"
        self.load = load
        self.data = path.read_bytes()

    def setup(self, worker: WorkerHandle) -> None:
        path = Path(worker.local_directory, self.filename)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(self.data)
        temporary.replace(path)
        self._place = str(path if path.suffix in _ARCHIVES else path.parent)
        if self._place not in sys.path:
            sys.path.insert(0, self._place)
        for name in _modules_in(path):
            sys.modules.pop(name, None)
        sys.path_importer_cache.pop(self._place, None)
        importlib.invalidate_caches()
        if path.suffix == ".py":
            with suppress(OSError, NotImplementedError):  # one of the same size and second would be taken for it
                os.unlink(importlib.util.cache_from_source(str(path)))
            if self.load:
                importlib.import_module(path.stem)

    def teardown(self, worker: WorkerHandle) -> None:
        path = Path(worker.local_directory, self.filename)
        path.unlink(missing_ok=True)
        if path.suffix in _ARCHIVES:
            with suppress(ValueError):
                sys.path.remove(self._place)


def _modules_in(path: Path) -> list[str]:
    """The names of the loaded modules that an uploaded file may bring anew."""
    if path.suffix == ".py":
        return [path.stem]
    if path.suffix in _ARCHIVES:
        return [
            name
            for name, module in [*sys.modules.items()]
            if str(getattr(module, "__file__", "")).startswith(f"{path}/")
        ]
    return []


class Environ(WorkerPlugin):
    """Sets environment variables in each worker, also of those that run. What libraries read when they are loaded is
    rather given to the cluster: ``LocalCluster(env=...)``.

    In a cluster of threads the environment is that of the whole process.
    """

    def __init__(self, environ: Mapping[str, Any] | None = None) -> None:
        self.environ = {str(name): str(value) for name, value in (environ or {}).items()}
        self._before: dict[str, str | None] = {}

    def setup(self, worker: WorkerHandle) -> None:
        self._before = {name: os.environ.get(name) for name in self.environ}
        os.environ.update(self.environ)

    def teardown(self, worker: WorkerHandle) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Preload(WorkerPlugin):
    """Loads something in each worker before that gets tasks: `LocalCluster` makes one of its ``preload=``.

    Parameters
    ----------
    what : the name of a module, the path of a .py file, or source code. If it defines ``dask_setup(worker)`` or
        ``dask_teardown(worker)``, these are called.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._names: dict[str, Any] = {}

    def setup(self, worker: WorkerHandle) -> Any:
        self._names = _loaded(self.what)
        setup = self._names.get("dask_setup")
        return None if setup is None else setup(worker)

    def teardown(self, worker: WorkerHandle) -> Any:
        teardown = self._names.get("dask_teardown")
        return None if teardown is None else teardown(worker)


def _loaded(what: str) -> dict[str, Any]:
    """The names that a module, a file or a piece of code defines."""
    if "\n" not in what and what.endswith(".py"):
        code, source = Path(what).read_text(), what
    elif all(part.isidentifier() for part in what.split(".")):
        return vars(importlib.import_module(what))
    else:
        code, source = what, "<preload>"
    names: dict[str, Any] = {"__name__": "preload", "__file__": source}
    exec(compile(code, source, "exec"), names)
    return names


def preloads(given: str | Sequence[str] | None) -> list[Preload]:
    """One plugin for each thing to load."""
    return [Preload(what) for what in ([given] if isinstance(given, str) else given or ())]
