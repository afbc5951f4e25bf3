"""Dask's collections among taskloom's own: what `taskloom.compute` and its like make of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask
import dask.multiprocessing

from taskloom.adapters.dask.choice import current_client
from taskloom.adapters.dask.gets import annotations_of, get_processes
from taskloom.adapters.dask.graphs import DaskGraph, future_of
from taskloom.adapters.dask.methods import scheduler_for, shares_no_files
from taskloom.adapters.dask.optimized import mapping_of, optimized_expression
from taskloom.collections.base import DefaultScheduler, threads
from taskloom.containers import flat
from taskloom.graph import Key

processes = DefaultScheduler("processes")

#: Read when the module is loaded, which may be while Dask runs on taskloom.
_PROCESSES = (get_processes, dask.multiprocessing.get)


class Adopted:
    """A collection of Dask's over a graph that was made of it and others together."""

    def __init__(self, collection: Any, dsk: Any, keys: Any) -> None:
        self.collection = collection
        self._dsk = dsk
        self._keys = keys

    def __dask_graph__(self) -> Any:
        return self._dsk

    @staticmethod
    def __taskloom_graph__(collections: Sequence[Adopted]) -> Any:
        return collections[0]._dsk  # they were adopted together

    def __dask_keys__(self) -> Any:
        return self._keys

    @property
    def __dask_scheduler__(self) -> DefaultScheduler:
        return processes if self.collection.__dask_scheduler__ in _PROCESSES else threads

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        finish: tuple[Callable[..., Any], tuple[Any, ...]] = self.collection.__dask_postcompute__()
        return finish

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        rebuild: tuple[Callable[..., Any], tuple[Any, ...]] = self.collection.__dask_postpersist__()
        return rebuild


def adopt(collections: Sequence[Any], optimize_graph: bool) -> list[Adopted]:
    """The collections over one graph, which Dask has optimised where it should."""
    keys: dict[int, Any] = {}  # by the collections' places
    dsk = DaskGraph({})
    for places in by_kind(collections, range(len(collections))):
        with _shuffling_here():
            source, found = optimized_expression([collections[place] for place in places], optimize_graph)
        dsk.update(mapping_of(source))
        dsk.annotations.update(annotations_of(source))
        keys.update(zip(places, found, strict=True))
    dsk.update(futures_for(dsk, flat(list(keys.values()))))
    return [Adopted(collection, dsk, keys[place]) for place, collection in enumerate(collections)]


def _shuffling_here() -> AbstractContextManager[Any]:
    """A block in which frames do not shuffle as only workers of Dask's client can, or only those of one process."""
    method = dask.config.get("dataframe.shuffle.method", None)
    free = method is None and shares_no_files(scheduler_for(sys._getframe(1)))
    if not free and (current_client() is None or method not in (None, "p2p")):
        return nullcontext()
    settings: AbstractContextManager[Any] = dask.config.set({"dataframe.shuffle.method": "tasks"})
    return settings


def by_kind(collections: Sequence[Any], places: Iterable[int]) -> list[list[int]]:
    """The places of collections that Dask optimises together: a mixture comes back in another order."""
    groups: dict[Any, list[int]] = {}
    for place in places:
        collection = collections[place]
        kind = "expr" if hasattr(type(collection), "expr") else collection.__dask_optimize__
        groups.setdefault(kind, []).append(place)
    return list(groups.values())


def futures_for(dsk: Mapping[Key, Any], keys: Iterable[Key]) -> dict[Key, Any]:
    """Futures of keys that a graph does not have: Dask leaves of futures only who wants them."""
    lost = [key for key in keys if key not in dsk]
    return {key: future for key in lost if (future := future_of(key)) is not None}
