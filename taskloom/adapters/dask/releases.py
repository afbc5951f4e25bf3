"""Where the releases of Dask differ that taskloom knows, from 2025.1 on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.base

from taskloom.graph import Key

#: Dask's own, whoever stands in its place.
persist = dask.base.persist

#: Whether `persist` leaves it to a scheduler of any kind that has a method `persist`, rather than to Dask's own client.
persist_is_delegated = "ismethod" not in persist.__code__.co_names


def mapping_of(dsk: Any) -> Mapping[Key, Any]:
    """The graph of an expression, or a mapping as it is."""
    mapping: Mapping[Key, Any] = dsk if isinstance(dsk, Mapping) else dsk.__dask_graph__()
    return mapping


def optimized(collections: Sequence[Any], optimize_graph: bool) -> tuple[Any, list[Any]]:
    """What Dask makes of collections of one kind: a graph, or an expression of one; and the keys of each collection."""
    if not hasattr(dask.base, "collections_to_expr"):  # before 2025.4
        if optimize_graph:
            collections = [
                collection.optimize() if hasattr(type(collection), "expr") else collection for collection in collections
            ]
        dsk = dask.base.collections_to_dsk(collections, optimize_graph)
        return dsk, [collection.__dask_keys__() for collection in collections]
    expression = dask.base.collections_to_expr(collections, optimize_graph)
    # Without this there is no graph of a dataframe: its expressions are what they are made into.
    expression = expression.optimize(fuse=optimize_graph)
    return expression, expression.__dask_keys__()
