"""How frames shuffle and arrays rechunk: by tasks, where workers share no files, or are none of Dask's clusters.

Dask chooses while it makes a graph, by the clients that are open; who computes is known to whoever asked for that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import dask.base
import dask.utils

from taskloom.adapters.dask.gets import ClientGet, get_processes, get_sync, get_threads
from taskloom.engines import Engine

their_shuffle_method = dask.utils.get_default_shuffle_method  # Dask's own

#: Functions that know what computes before they make a graph, by module and name, and what they call it.
_PERSIST = ("dask.dataframe.dask_expr._collection", "persist")
_CHOOSERS = {
    ("dask.base", "compute"): "schedule",
    ("dask.base", "persist"): "schedule",
    ("taskloom.scheduling", "_prepared"): "get",
    ("taskloom.engines.cluster.client.collections_of_futures", "compute"): "client",
    ("taskloom.engines.cluster.client.collections_of_futures", "persist"): "client",
    _PERSIST: "kwargs",
}
_ENGINES_APART = ("processes", "distributed")


def shuffle_method() -> str:
    """In place of `dask.utils.get_default_shuffle_method`."""
    method: str = their_shuffle_method()
    if dask.config.get("dataframe.shuffle.method", None) is not None:
        return method
    caller = sys._getframe(1)
    get = scheduler_for(caller)
    if get is None and caller.f_globals["__name__"] == "dask.bag.core":
        get = get_processes  # as bags prefer
    return "tasks" if shares_no_files(get) or (method == "p2p" and _is_ours(get)) else method


def rechunk_method(their_method: Callable[..., str], *args: Any, **options: Any) -> str:
    """In place of `dask.array.rechunk._choose_rechunk_method`, which it is given."""
    method = their_method(*args, **options)
    if method != "p2p" or dask.config.get("array.rechunk.method", None) is not None:
        return method
    return "tasks" if _is_ours(_found()) else method


def scheduler_for(frame: FrameType | None) -> Any:
    """What is to compute the graph that is being made: as the call says that makes it, else what is in force.

    A graph that is made before anything computes it, as those of bags are, is for the scheduler that is in force then.
    """
    while frame is not None:
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place in _CHOOSERS:
            chosen: Any = frame.f_locals.get(_CHOOSERS[place])
            if place == _PERSIST:  # of a dataframe, which makes its graph before it asks for a scheduler
                return _found(chosen.get("scheduler"), [frame.f_locals["self"]])
            return chosen
        frame = frame.f_back
    return _found()


def _found(scheduler: Any = None, collections: Sequence[Any] | None = None) -> Any:
    try:
        return dask.base.get_scheduler(scheduler=scheduler, collections=collections)
    except RuntimeError:  # the client in force is asynchronous: what is submitted to it is for its cluster
        return None


def shares_no_files(get: Any) -> bool:
    """Whether workers are other processes, or may be."""
    engine = _engine_of(get)
    return (
        isinstance(get, ClientGet)
        or _function_of(get) is get_processes
        or (engine.name in _ENGINES_APART if isinstance(engine, Engine) else hasattr(engine, "run_plan"))
    )


def _is_ours(get: Any) -> bool:
    return shares_no_files(get) or _function_of(get) in (get_sync, get_threads) or isinstance(_engine_of(get), Engine)


def _function_of(get: Any) -> Any:
    return get.func if isinstance(get, partial) else get


def _engine_of(get: Any) -> Any:
    """The engine or client, or that whose method it is."""
    return getattr(_function_of(get), "__self__", get)
