"""The functions that Dask calls to run a graph: one for each engine, and one for each client of a cluster of ours.

They keep Dask's habits where those differ from taskloom's own doors: unknown keywords are passed over, nested keys are
answered with nested tuples, and Dask's configuration says what the call does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

import dask
from dask._task_spec import DataNode, convert_legacy_graph
from dask.optimization import cull, fuse
from dask.utils import ensure_dict

from taskloom.adapters.dask.graphs import DaskGraph
from taskloom.adapters.dask.layers import note
from taskloom.adapters.dask.optimized import mapping_of
from taskloom.adapters.dask.rerun import fail_here
from taskloom.bus import Callback
from taskloom.bus.callback import Hooks, hooks_of
from taskloom.engines import Engine, find_engine
from taskloom.engines.base import add_note
from taskloom.graph import Annotations, Key, is_annotation

Get = Callable[..., Any]

#: Options of engines that Dask's configuration knows by these names.
_CONFIGURED = {
    "num_workers": "num_workers",
    "pool": "pool",
    "context": "multiprocessing.context",
    "initializer": "multiprocessing.initializer",
}


def get_sync(dsk: Any, keys: Any, **options: Any) -> Any:
    """Compute keys of a graph, one task at a time, in this thread: in place of `dask.local.get_sync`."""
    __tracebackhide__ = True
    return _run(find_engine("sync"), dsk, keys, options)


def get_threads(dsk: Any, keys: Any, **options: Any) -> Any:
    """Compute keys of a graph with threads: in place of `dask.threaded.get`."""
    __tracebackhide__ = True
    return _run(find_engine("threads"), dsk, keys, options)


def get_processes(dsk: Any, keys: Any, optimize_graph: bool = True, **options: Any) -> Any:
    """Compute keys of a graph in worker processes: in place of `dask.multiprocessing.get`."""
    __tracebackhide__ = True
    dsk, dependencies = cull(ensure_dict(_noted(dsk)), keys if isinstance(keys, list) else [keys])
    if optimize_graph:
        dsk, _ = fuse(dsk, keys, dependencies)
    if (options.get("context") or dask.config.get("multiprocessing.context", None)) == "fork":
        configured = dask.config.get("multiprocessing.initializer", None)
        options.setdefault("initializer", configured or _nothing)  # new workers, which see this process as it is now
    run = partial(_run, dsk=dsk, keys=keys, options=options)
    again = options.get("rerun_exceptions_locally")
    if again is None:
        again = dask.config.get("rerun_exceptions_locally", False)
    return fail_here(run) if again else run(find_engine("processes"))


get_threads.__name__ = get_processes.__name__ = "get"  # as those are called in whose place they are


def _nothing() -> None:
    """An initializer of workers."""


class ClientGet:
    """Computes graphs of Dask's through a client of taskloom's, and persists collections as futures of it.

    Parameters
    ----------
    client : None: the newest that is open, or one of a cluster of all cores, which is made for it.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a graph."""
        __tracebackhide__ = True
        return _run(find_engine("distributed"), dsk, keys, {**options, "client": self._client})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientGet) and other._client is self._client

    def __hash__(self) -> int:
        return hash(self._client)

    @property
    def has_processes(self) -> bool:
        """Whether tasks run in other processes than this one."""
        from taskloom.engines.cluster.client.current import own_client  # what has sockets is loaded when needed

        client = self._client or own_client()
        return client is None or client.cluster is None or bool(client.cluster.processes)

    def hold(self) -> ClientHold:
        return ClientHold(self._client)

    def persist(self, collections: Any, optimize_graph: bool = True, **options: Any) -> Any:
        """The same collections of Dask's over futures of their results, which stay on the cluster."""
        return dask.base.persist(
            *collections, scheduler=self.hold(), optimize_graph=optimize_graph, traverse=False, **options
        )


class ClientHold(ClientGet):
    """Gives futures of keys of a graph, in place of their values."""

    persist = None  # type: ignore[assignment]  # Dask does it with the futures

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        client = self._client
        if client is None:
            from taskloom.engines.cluster.shared import open_client  # what has sockets is loaded when it is needed

            client = open_client()
        known = find_engine("distributed").options - {"client"}
        options = {name: value for name, value in options.items() if name in known}
        return client.hold(DaskGraph(_noted(dsk), annotations_of(dsk)), keys, **options)


get_cluster = ClientGet()


def _run(engine: Engine, dsk: Any, keys: Any, options: Mapping[str, Any]) -> Any:
    __tracebackhide__ = True
    hooks = list(Callback.active) if options.get("callbacks") is None else hooks_of(options["callbacks"])
    cache = options.get("cache")
    if cache is None:
        cache = dask.config.get("cache", None)
    if cache is not None:
        hooks = [_cache_hooks(cache), *hooks]
    annotations = annotations_of(dsk) if engine.takes_futures else None
    mapping = _noted(dsk)
    graph = DaskGraph(convert_legacy_graph(mapping), annotations, True) if hooks else DaskGraph(mapping, annotations)
    try:
        answer = engine.get(graph, keys, callbacks=hooks, **options_for(engine, options))
    except RuntimeError as error:
        if str(error).startswith("P2P"):
            add_note(error, _MADE_FOR_A_CLIENT)
        raise
    return _as_tuples(keys, answer)


_MADE_FOR_A_CLIENT = (
    "This graph was made for the workers of a client of dask.distributed, which was in force then; only they can run "
    "it. Make it where another scheduler is in force, as under dask.config.set(scheduler=...), or with "
    'dask.config.set({"array.rechunk.method": "tasks", "dataframe.shuffle.method": "tasks"}).'
)


def _noted(dsk: Any) -> Mapping[Key, Any]:
    """The graph of what is about to run; views find there what layers it has."""
    note(dsk)
    return mapping_of(dsk)


def annotations_of(dsk: Any) -> Mapping[Key, Annotations]:
    """How the tasks of an expression or of layers should be run, of what our clusters know, by key."""
    found: dict[Key, dict[str, Any]] = {}
    said = getattr(dsk, "__dask_annotations__", None)
    for name, values in said().items() if said is not None else ():
        if is_annotation(name):
            for key, value in values.items():
                found.setdefault(key, {})[name] = value
    for layer in getattr(dsk, "layers", {}).values():
        for name, value in (layer.annotations or {}).items():
            if is_annotation(name):
                for key in layer:
                    found.setdefault(key, {})[name] = value(key) if callable(value) else value
    return found


def options_for(engine: Engine, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an engine knows: as the call says, else Dask's configuration."""
    options = {name: given[name] for name in engine.options if given.get(name) is not None}
    for name, key in _CONFIGURED.items():
        if name in engine.options and not options.get(name):
            options.pop(name, None)
            value = dask.config.get(key, None)
            if value:
                options[name] = value
    if "pool" in options and options.pop("initializer", None) is not None:
        warnings.warn(
            "The `initializer` argument is ignored when `pool` is provided. The user should configure `pool` with the "
            "needed `initializer` on creation.",
            stacklevel=2,
        )
    return options


def _as_tuples(keys: Any, answer: Any) -> Any:
    """The answer in tuples, nested as the keys are in lists."""
    if keys.__class__ is not list:
        return answer
    if list not in map(type, keys):
        return tuple(answer)
    return tuple([_as_tuples(key, part) for key, part in zip(keys, answer, strict=True)])


def _cache_hooks(cache: MutableMapping[Key, Any]) -> Hooks:
    """Hooks that have a run take results from a mapping, and leave its own there."""

    def start(dsk: dict[Key, Any]) -> None:
        dsk.update({key: DataNode(key, value) for key, value in cache.items()})

    def start_state(dsk: Any, state: dict[str, Any]) -> None:
        cache.update(state["cache"])
        state["cache"] = cache

    return start, start_state, None, None, None
