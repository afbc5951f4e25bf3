"""Locks of files: on a cluster they have to reach as far as its worker processes do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import dask.base
import dask.multiprocessing
import dask.utils

from taskloom.adapters.at_import import AtImport
from taskloom.adapters.dask.gets import ClientGet

plain_lock = dask.utils.get_scheduler_lock  # Dask's own

#: Where xarray asks which of Dask's schedulers is chosen, to know how to lock a file.
_ASKS = ("xarray.backends.locks", "xarray.backends.writers")


def scheduler_lock(collection: Any = None, scheduler: Any = None) -> Any:
    """In place of `dask.utils.get_scheduler_lock`: on a cluster of ours, one for all processes of this machine."""
    if isinstance(dask.base.get_scheduler(collections=[collection], scheduler=scheduler), ClientGet):
        return dask.multiprocessing.get_context().Manager().Lock()
    return plain_lock(collection, scheduler)


def tell_xarray() -> Callable[[], None]:
    """Have xarray take a cluster of ours for what has worker processes, once it is imported; returns the undoing.

    It takes what it does not know for threads, and then its locks reach no further than these.
    """
    undo: list[Callable[[], None]] = []
    waiting = AtImport(_ASKS[0], lambda: undo.append(_replace_in_xarray()))
    waiting.arm()

    def untell() -> None:
        waiting.disarm()
        while undo:
            undo.pop()()

    return untell


def _replace_in_xarray() -> Callable[[], None]:
    plain = sys.modules[_ASKS[0]].get_dask_scheduler

    def get_dask_scheduler(get: Any = None, collection: Any = None) -> Any:
        found = dask.base.get_scheduler(get, collection)
        return "multiprocessing" if isinstance(found, ClientGet) else plain(get, collection)

    _swap(plain, get_dask_scheduler)
    return partial(_swap, get_dask_scheduler, plain)


def _swap(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    for name in _ASKS:
        module: Any = sys.modules.get(name)
        if getattr(module, "get_dask_scheduler", None) is old:
            module.get_dask_scheduler = new
