"""Collections of other libraries whose graphs are not made of tuples: who can adopt them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskloom.graph.task import Graph

#: ``adopt(collections, optimize_graph)`` gives, for each of the collections, one that follows the same protocol with a
#: graph that engines can run.
Adopt = Callable[[Sequence[Any], bool], list[Any]]

#: The library that defines a collection's class, or a base of it, and who adopts such.
foreign: dict[str, Adopt] = {}

#: The module that defines what the values of a graph are, and what makes of such a graph one that engines can run.
foreign_graphs: dict[str, Callable[[Graph], Graph]] = {}


def adopter_of(value: Any) -> Adopt | None:
    """Who adopts a value, which may be no collection; None for what is of no such library."""
    for cls in type(value).__mro__:
        adopt = foreign.get(cls.__module__.partition(".")[0])
        if adopt is not None:
            return adopt
    return None


def adopted(collections: Sequence[Any], optimize_graph: bool) -> list[Any]:
    """The collections, those of other libraries adopted: all of one library at once, as they may share work."""
    result = list(collections)
    places: dict[Adopt, list[int]] = {}
    for place, collection in enumerate(result):
        adopt = adopter_of(collection)
        if adopt is not None:
            places.setdefault(adopt, []).append(place)
    for adopt, mine in places.items():
        for place, collection in zip(mine, adopt([result[place] for place in mine], optimize_graph), strict=True):
            result[place] = collection
    return result
