"""Dask's collections among taskloom's own: what `taskloom.compute` and its like make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.multiprocessing

from taskloom.adapters.dask.gets import annotations_of, get_processes
from taskloom.adapters.dask.graphs import DaskGraph, future_of
from taskloom.adapters.dask.releases import optimized
from taskloom.collections.base import DefaultScheduler, threads
from taskloom.containers import flat

processes = DefaultScheduler("processes")

#: Read when the module is loaded, which may be while Dask runs on taskloom.
_PROCESSES = (get_processes, dask.multiprocessing.get)


class Adopted:
    """A collection of Dask's over a graph that was made of it and others together."""

    def __init__(self, collection: Any, dsk: DaskGraph, keys: Any) -> None:
        self.collection = collection
        self._dsk = dsk
        self._keys = keys

    def __dask_graph__(self) -> DaskGraph:
        return self._dsk

    @staticmethod
    def __taskloom_graph__(collections: Sequence[Adopted]) -> DaskGraph:
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
    groups: dict[Any, list[int]] = {}  # of what Dask optimises together: a mixture comes back in another order
    for place, collection in enumerate(collections):
        kind = "expr" if hasattr(type(collection), "expr") else collection.__dask_optimize__
        groups.setdefault(kind, []).append(place)
    for places in groups.values():
        source, part, found = optimized([collections[place] for place in places], optimize_graph)
        dsk.update(part)
        dsk.annotations.update(annotations_of(source))
        keys.update(zip(places, found, strict=True))
    lost = [key for key in flat(list(keys.values())) if key not in dsk]  # Dask leaves of futures only who wants them
    dsk.update({key: future for key in lost if (future := future_of(key)) is not None})
    return [Adopted(collection, dsk, keys[place]) for place, collection in enumerate(collections)]
