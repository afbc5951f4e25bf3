"""Dask's clients as schedulers of taskloom's: what they are given, and who follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.base
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Client

from taskloom.adapters.dask.collections import Adopted, by_kind, futures_for
from taskloom.adapters.dask.gets import annotations_of
from taskloom.adapters.dask.optimized import mapping_of, optimized_expression
from taskloom.adapters.distributed import connection, following
from taskloom.containers import flat
from taskloom.engines.base import check_options
from taskloom.graph import Annotations, Key, adopter_of, is_task
from taskloom.graph import annotations_of as annotations_of_function
from taskloom.scheduling import Get, in_tuples, merged_graph

OPTIONS = frozenset(
    {"workers", "allow_other_workers", "resources", "retries", "priority", "fifo_timeout", "actors", "direct"}
)


def get_of(client: Client) -> Get:
    """What computes graphs through a client, which is followed from now on."""
    if client.asynchronous:
        return dask.base.get_scheduler(scheduler=client)  # type: ignore[no-any-return]  # refuses, or falls back
    if not connection.is_in_task(client):
        following.attach(client)
    return ClientOfDask(client)


class ClientOfDask:
    """Computes graphs through a client of Dask's, and collections as Dask would, whatever is among them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a graph, or of an expression."""
        __tracebackhide__ = True
        check_options(options, OPTIONS)
        return self._client.get(dsk, keys, **options)

    def hold(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Futures of keys of a graph, whose results stay on the cluster."""
        check_options(options, OPTIONS)
        return self._client.get(dsk, keys, sync=False, **options)

    def graph_of(self, collections: Sequence[Any], optimize_graph: bool) -> tuple[Any, list[Any]]:
        """One graph for all collections, and the collections, which know their keys in it.

        Dask's alone go as an expression, which the scheduler makes into a graph: it needs Dask only. Those of others
        go as graphs, together with what Dask's are made into.
        """
        theirs = [place for place, collection in enumerate(collections) if adopter_of(collection) is not None]
        kinds = by_kind(collections, theirs)
        if len(kinds) == 1 and len(theirs) == len(collections):
            source, keys = optimized_expression(collections, optimize_graph)
            return source, [Adopted(one, source, names) for one, names in zip(collections, keys, strict=True)]
        found = list(collections)
        dsk: dict[Key, Any] = {}
        annotations: dict[Key, Annotations] = {}
        for places in kinds:
            source, keys = optimized_expression([collections[place] for place in places], optimize_graph)
            dsk.update(mapping_of(source))
            annotations.update(annotations_of(source))
            for place, names in zip(places, keys, strict=True):
                found[place] = Adopted(collections[place], dsk, names)
        dsk.update(futures_for(dsk, flat([found[place].__dask_keys__() for place in theirs])))
        others = [collection for collection in collections if adopter_of(collection) is None]
        if others:
            own = in_tuples(merged_graph(others, optimize_graph))
            dsk.update(own)
            annotations.update(
                {key: said for key, task in own.items() if is_task(task) and (said := annotations_of_function(task[0]))}
            )
        return (_in_layers(dsk, annotations) if annotations else dsk), found


def _in_layers(dsk: Mapping[Key, Any], annotations: Mapping[Key, Annotations]) -> HighLevelGraph:
    """The graph with a layer for all tasks that are annotated alike: only layers can be annotated."""
    said: dict[str, Annotations] = {}
    layers: dict[str, dict[Key, Any]] = {}
    for key, task in dsk.items():
        how = annotations.get(key, {})
        name = repr(sorted(how.items()))
        said[name] = how
        layers.setdefault(name, {})[key] = task
    return HighLevelGraph(
        {name: MaterializedLayer(tasks, annotations=dict(said[name])) for name, tasks in layers.items()},
        {name: set() for name in layers},  # which of them need which is known of the tasks
    )
