"""What Dask makes of collections before they run: graphs, or expressions of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import dask.base

from taskloom.graph import Key

#: Whether arrays are optimised as a scheduler of Dask's does it, which has Dask's own function for that.
as_dask_does: ContextVar[bool] = ContextVar("as_dask_does", default=False)


def mapping_of(dsk: Any) -> Mapping[Key, Any]:
    """The graph of an expression, or a mapping as it is."""
    mapping: Mapping[Key, Any] = dsk if isinstance(dsk, Mapping) else dsk.__dask_graph__()
    return mapping


def optimized_expression(collections: Sequence[Any], optimize_graph: bool) -> tuple[Any, list[Any]]:
    """The expression of collections of one kind, and the keys of each."""
    expression = dask.base.collections_to_expr(collections, optimize_graph)
    # Without this there is no graph of a dataframe: its expressions are what they are made into.
    expression = expression.optimize(fuse=optimize_graph)
    return expression, expression.__dask_keys__()
