"""What other libraries have, and who knows it: collections and graphs to run, and schedulers to run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from taskloom.graph.task import Graph

#: ``adopt(collections, optimize_graph)`` gives, for each of the collections, one that follows the same protocol with a
#: graph that engines can run.
Adopt = Callable[[Sequence[Any], bool], list[Any]]

#: ``choose(scheduler)`` gives the scheduler for collections of a library: what it means by that of the call or, where
#: that is None, what is in force by its own settings and taskloom's; None where there is none.
Choose = Callable[[Any], Any]

#: ``get_of(scheduler)`` gives the ``get(dsk, keys, **options)`` of a scheduler of a library.
GetOf = Callable[[Any], Callable[..., Any]]

Found = TypeVar("Found")

#: The library that defines a collection's class, or a base of it, and who adopts such.
foreign: dict[str, Adopt] = {}

#: The same library, and who knows what its settings choose.
foreign_choices: dict[str, Choose] = {}

#: The library that defines a scheduler's class, and who knows how it is called.
foreign_schedulers: dict[str, GetOf] = {}

#: The module that defines what the values of a graph are, and what makes of such a graph one that engines can run.
foreign_graphs: dict[str, Callable[[Graph], Graph]] = {}


def adopter_of(value: Any) -> Adopt | None:
    """Who adopts a value, which may be no collection; None for what is of no such library."""
    return of_library(foreign, value)


def of_library(known: Mapping[str, Found], value: Any) -> Found | None:
    """What is known of the library that defines a value's class, or a base of it."""
    for cls in type(value).__mro__:
        found = known.get(cls.__module__.partition(".")[0])
        if found is not None:
            return found
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
