"""Locks of files: with worker processes they have to reach as far as these do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dask.base
import dask.utils

from taskloom.adapters.at_import import once_imported
from taskloom.adapters.dask.gets import ClientGet, get_processes

plain_lock = dask.utils.get_scheduler_lock  # Dask's own

#: Where xarray asks which of Dask's schedulers is chosen, to know how to lock a file, and the names of that.
_XARRAY = "xarray.backends.locks"
_ASKED = ("get_dask_scheduler", "_get_scheduler")


def scheduler_lock(collection: Any = None, scheduler: Any = None) -> Any:
    """In place of `dask.utils.get_scheduler_lock`: with worker processes, one for all processes of this machine."""
    found = dask.base.get_scheduler(collections=[collection], scheduler=scheduler)
    if found == get_processes or (isinstance(found, ClientGet) and found.has_processes):
        return _machine_lock()
    return plain_lock(collection, scheduler)


def tell_xarray() -> Callable[[], None]:
    """Have xarray, once it is imported, know what our engines need to write files; returns the undoing.

    It takes a scheduler that it does not know for threads, and its own locks for processes cannot be sent to them.
    """
    return once_imported(_XARRAY, lambda undo: undo.append(_replace_in_xarray()))


def _replace_in_xarray() -> Callable[[], None]:
    locks = sys.modules[_XARRAY]
    name = next(name for name in _ASKED if hasattr(locks, name))
    plain_scheduler: Callable[..., Any] = getattr(locks, name)
    plain_maker: Callable[..., Any] = locks._get_lock_maker

    def get_dask_scheduler(get: Any = None, collection: Any = None) -> Any:
        found = dask.base.get_scheduler(get, collection)
        if isinstance(found, ClientGet):
            return "multiprocessing" if found.has_processes else "threaded"
        return plain_scheduler(get, collection)

    def get_lock_maker(scheduler: Any = None) -> Any:
        return _machine_lock if scheduler == "multiprocessing" else plain_maker(scheduler)

    replaced: dict[Any, Callable[..., Any]] = {plain_scheduler: get_dask_scheduler, plain_maker: get_lock_maker}
    names = (name, plain_maker.__name__)
    _swap(names, replaced)
    return partial(_swap, names, {ours: theirs for theirs, ours in replaced.items()})


def _swap(names: tuple[str, ...], replaced: Mapping[Any, Callable[..., Any]]) -> None:
    """Replace functions wherever xarray has imported them by these names."""
    for module in [module for path, module in sys.modules.items() if path.startswith("xarray.backends.")]:
        for name in names:
            found = getattr(module, name, None)
            if found in replaced:
                setattr(module, name, replaced[found])


def _machine_lock(name: str | None = None) -> Any:
    from taskloom.adapters.dask.machine_lock import MachineLock  # where there are no worker processes it has no place

    return MachineLock(name)
