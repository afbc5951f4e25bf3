"""Puts taskloom's engines in the places where Dask looks for a scheduler, and takes them out again."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import dask
import dask.base
import dask.callbacks
import dask.local
import dask.multiprocessing
import dask.threaded
import dask.utils

import taskloom
from taskloom.adapters.at_import import Undo, once_imported
from taskloom.adapters.dask.blocks import blockwise_graph, their_blockwise_graph
from taskloom.adapters.dask.choice import configured, newest
from taskloom.adapters.dask.drawings import start_drawing, stop_drawing
from taskloom.adapters.dask.gets import ClientGet, Get, get_cluster, get_processes, get_sync, get_threads
from taskloom.adapters.dask.locks import plain_lock, scheduler_lock, tell_xarray
from taskloom.adapters.dask.methods import rechunk_method, shuffle_method, their_shuffle_method
from taskloom.bus import Callback
from taskloom.collections.base import DefaultScheduler
from taskloom.engines import engine_named

#: What stands in Dask, and what takes its place.
_REPLACED: dict[Any, Callable[..., Any]] = {
    dask.local.get_sync: get_sync,
    dask.threaded.get: get_threads,
    dask.multiprocessing.get: get_processes,
    their_shuffle_method: shuffle_method,
    plain_lock: scheduler_lock,
    their_blockwise_graph: blockwise_graph,
}

#: Where those stand: modules and classes, where they are loaded, and the names in them.
_PLACES = (
    ("dask", "", "get"),
    ("dask.local", "", "get_sync"),
    ("dask.threaded", "", "get"),
    ("dask.multiprocessing", "", "get"),
    ("dask.array.core", "", "DEFAULT_GET"),
    ("dask.array.core", "Array", "__dask_scheduler__"),
    ("dask.array._array_expr._collection", "Array", "__dask_scheduler__"),
    ("dask.bag.core", "", "DEFAULT_GET"),
    ("dask.bag.core", "Bag", "__dask_scheduler__"),
    ("dask.bag.core", "Item", "__dask_scheduler__"),
    ("dask.blockwise", "", "_make_blockwise_graph"),
    ("dask.dataframe.core", "", "DEFAULT_GET"),
    ("dask.dataframe.dask_expr._collection", "FrameBase", "__dask_scheduler__"),
    ("dask.utils", "", "get_default_shuffle_method"),
    ("dask.utils", "", "get_scheduler_lock"),
    ("dask.array.core", "", "get_scheduler_lock"),
    ("dask.dataframe.io.hdf", "", "get_scheduler_lock"),
    ("dask.bag.core", "", "get_default_shuffle_method"),
    ("dask.dataframe.dask_expr._collection", "", "get_default_shuffle_method"),
    ("dask.dataframe.dask_expr._merge", "", "get_default_shuffle_method"),
    ("dask.dataframe.dask_expr._shuffle", "", "get_default_shuffle_method"),
    ("dask.dataframe.dask_expr._util", "", "get_default_shuffle_method"),
    ("dask.delayed", "", "DEFAULT_GET"),
    ("dask.delayed", "Delayed", "__dask_scheduler__"),
)

_OF_ENGINES: dict[str, Get] = {
    "sync": get_sync,
    "threads": get_threads,
    "processes": get_processes,
    "distributed": get_cluster,
}

#: taskloom's own functions, which are strict and take no expressions, and Dask's, which somebody may have imported
#: before they were replaced; and what Dask is given in their place.
_DOORS = (
    (dask.local.get_sync, get_sync),
    (dask.threaded.get, get_threads),
    (dask.multiprocessing.get, get_processes),
    (taskloom.get, get_sync),
    (taskloom.threaded.get, get_threads),
    (taskloom.multiprocessing.get, get_processes),
)

_get_scheduler = dask.base.get_scheduler  # Dask's own
_HIDDEN = re.escape(str(Path(__file__).parents[2])) + r"[\\\/]"  # files whose frames tracebacks do without

_undo: Undo = []  # not empty while Dask runs on taskloom
_switching = RLock()


def enable() -> None:
    """Have Dask run on taskloom; does nothing where it does."""
    with _switching:
        if not _undo:
            _plug_in()


def disable() -> None:
    """Have Dask run on its own schedulers again."""
    with _switching:
        while _undo:
            _undo.pop()()


def _plug_in() -> None:
    _swap(_REPLACED)
    _undo.append(partial(_swap, {ours: theirs for theirs, ours in _REPLACED.items()}))
    dask.base.get_scheduler = get_scheduler
    _undo.append(partial(setattr, dask.base, "get_scheduler", _get_scheduler))
    _undo.append(_share_callbacks())
    _hide_frames()
    _undo.append(_show_frames)
    _undo.append(tell_xarray())
    start_drawing()
    _undo.append(stop_drawing)
    _undo.append(once_imported("dask.array", _take_over_arrays))


# -- which engine ------------------------------------------------------------------------------------------------------


def get_scheduler(get: Any = None, scheduler: Any = None, collections: Any = None, cls: Any = None) -> Any:
    """In place of `dask.base.get_scheduler`: also knows taskloom's engines, clients and settings.

    The first of these that says something decides: the call, Dask's configuration, the newest of what was set in
    taskloom and an open client of `dask.distributed`, taskloom's environment and files, the collections.
    """
    if get is None and scheduler is None:
        scheduler = configured() or newest()
    found = _get_of(scheduler) if get is None else None
    if found is None:
        found = _get_scheduler(get, scheduler)
    if found is not None:
        return found
    preferred = [_preferred(collection) for collection in collections or () if collection is not None]
    if cls is None and len(preferred) > 1 and any(get != preferred[0] for get in preferred):
        return _get_scheduler(collections=collections)  # explains what is to be done
    return _preferred(cls) if cls is not None else preferred[0] if preferred else None


def _preferred(collection: Any) -> Any:
    """What runs a collection where nobody says anything; one of taskloom's, where it is of a class made before."""
    get = collection.__dask_scheduler__
    if isinstance(get, DefaultScheduler):
        return _OF_ENGINES[get.engine_name]
    try:
        return _REPLACED.get(get, get)
    except TypeError:  # cannot be hashed
        return get


def _get_of(scheduler: Any) -> Get | None:
    """The function for one of taskloom's engines, its clients, or an executor; None for anything else."""
    if isinstance(scheduler, str):
        engine = engine_named(scheduler)
        if engine is None or (engine.name == "distributed" and _distributed_client_is_open()):
            return None
        return _OF_ENGINES[engine.name]
    if isinstance(scheduler, Executor):
        return partial(get_threads, pool=scheduler)
    for door, get in _DOORS:
        if scheduler is door:
            return get
    client = getattr(scheduler, "__self__", scheduler)  # of an asynchronous client its method
    return ClientGet(client) if hasattr(client, "run_plan") and hasattr(client, "hold") else None


def _distributed_client_is_open() -> bool:
    """Whether Dask would find a client of its own."""
    client_class = getattr(sys.modules.get("distributed"), "Client", None)
    if client_class is None:
        return False
    try:
        client_class.current(allow_global=True)
    except ValueError:
        return False
    return True


# -- what is replaced --------------------------------------------------------------------------------------------------


def _swap(replaced: Mapping[Any, Callable[..., Any]]) -> None:
    for holder, name in _loaded_places():
        found = getattr(holder, name, None)
        if found in replaced:
            new = replaced[found]
            setattr(holder, name, staticmethod(new) if isinstance(holder, type) else new)
    named = dask.base.named_schedulers
    named.update({name: replaced[get] for name, get in named.items() if get in replaced})


def _loaded_places() -> Iterator[tuple[Any, str]]:
    """What holds schedulers, as far as it is loaded: what is not takes them from the named ones."""
    for module, cls, name in _PLACES:
        holder: Any = sys.modules.get(module)
        if cls:
            holder = getattr(holder, cls, None)
        if holder is not None:
            yield holder, name


def _take_over_arrays(undo: Undo) -> None:
    """Have arrays optimised and rechunked in taskloom's way."""
    from taskloom.adapters.dask.array_optimization import optimize_arrays

    method = vars(sys.modules["dask.array.core"].Array)["__dask_optimize__"]  # for which others can be configured
    rechunking = sys.modules["dask.array.rechunk"]
    choose = rechunking._choose_rechunk_method
    for place, name, ours in (
        (method, "_default", optimize_arrays),
        (rechunking, choose.__name__, partial(rechunk_method, choose)),
    ):
        undo.append(partial(setattr, place, name, getattr(place, name)))
        setattr(place, name, ours)


def _share_callbacks() -> Callable[[], None]:
    """One set of active callbacks for both, which overlapping runs cannot lose; returns the undoing."""
    before = set(dask.callbacks.Callback.active)
    Callback.active |= before
    dask.callbacks.Callback.active = Callback.active

    def part() -> None:
        theirs = {hooks for hooks in Callback.active if hooks in before or not any(map(_is_ours, hooks))}
        for hooks in theirs:
            Callback.active.discard(hooks)
        dask.callbacks.Callback.active = theirs

    return part


def _is_ours(hook: Any) -> bool:
    """Whether a hook is a method of a callback of taskloom's; one of plain functions was written for Dask, mostly."""
    return isinstance(getattr(hook, "__self__", None), Callback)


def _hide_frames() -> None:
    patterns = dask.config.get("admin.traceback.shorten", None)
    if isinstance(patterns, list):
        dask.config.set({"admin.traceback.shorten": [*patterns, _HIDDEN]})


def _show_frames() -> None:
    patterns = dask.config.get("admin.traceback.shorten", None)
    if isinstance(patterns, list) and _HIDDEN in patterns:
        dask.config.set({"admin.traceback.shorten": [pattern for pattern in patterns if pattern != _HIDDEN]})
