"""What makes an object a collection: Dask's documented protocol, and the methods that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from taskloom import scheduling
from taskloom.engines import find_engine
from taskloom.scheduling import is_collection

__all__ = ["Collection", "CollectionMethods", "DefaultScheduler", "is_collection"]


@runtime_checkable
class Collection(Protocol):
    """Dask's collection protocol: what `taskloom.compute` and `dask.compute` need to know of an object.

    A class may also have a static method ``__taskloom_graph__(collections)``: the merged graph of several of its
    instances, for which one walk is cheaper than one graph each. Its keys are then never asked for graphs one by one.
    """

    def __dask_graph__(self) -> Mapping[Any, Any] | None:
        """The graph; None where there is nothing to compute."""

    def __dask_keys__(self) -> list[Any]:
        """The keys of the results, in nested lists."""

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """`(function, extra)`: `function(results, *extra)` makes the value, from results nested as the keys are."""

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """`(rebuild, state)`: `rebuild(graph, *state)` makes the same collection over another graph."""


class CollectionMethods:
    """`compute`, `persist`, `optimize` and `visualize` as methods."""

    __slots__ = ()

    def compute(self, **options: Any) -> Any:
        """The value. Takes the options of `taskloom.compute`."""
        __tracebackhide__ = True
        return scheduling.values_of((self,), **options)[0]

    def persist(self, **options: Any) -> Any:
        """The same collection with its results in memory. Takes the options of `taskloom.persist`."""
        return scheduling.persist(self, traverse=False, **options)[0]

    def optimize(self) -> Any:
        """The same collection over its optimised graph."""
        return scheduling.optimize(self, traverse=False)[0]

    def visualize(self, filename: str | None = None, optimize_graph: bool = False) -> Any:
        """A drawing of the graph, see `taskloom.visualize`."""
        return scheduling.visualize(self, filename=filename, traverse=False, optimize_graph=optimize_graph)


class DefaultScheduler:
    """The engine a collection prefers: its `__dask_scheduler__`.

    `taskloom.compute` reads the name. `dask.compute` calls it with a graph of Dask's own task objects, keys, and every
    keyword it was given, of which the engine takes those it knows.
    """

    def __init__(self, engine_name: str):
        self.engine_name = engine_name

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Any:
        engine = find_engine(self.engine_name)
        dsk = dsk if isinstance(dsk, Mapping) else dsk.__dask_graph__()
        known = {name: value for name, value in options.items() if name in engine.options}
        return engine.get(dsk, keys, **known)

    def __repr__(self) -> str:
        return f"<the {self.engine_name} engine>"


threads = DefaultScheduler("threads")
