"""Collections of other libraries that bring their own pictures: an adapter that knows them adds a source here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from taskloom.bus import RunGraph


class GraphSource(Protocol):
    """What knows how the collections of a library are drawn."""

    def owns(self, collection: Any) -> bool:
        """Whether it is one of that library."""

    def graphs(self, collections: Sequence[Any], optimized: bool, may_compute: bool) -> dict[str, RunGraph]:
        """The graphs to draw of collections, by title.

        Parameters
        ----------
        collections : at least one is the library's own; the others follow its protocol.
        optimized : only what would run.
        may_compute : what can only be found by computing something is left out otherwise.
        """

    def scheduled_by(self, get: Callable[..., Any]) -> AbstractContextManager[Any]:
        """Has `get(graph, keys, **options)` called for whatever the library computes."""

    def graph_of(self, dsk: Any) -> RunGraph | None:
        """What is drawn of a graph that such a `get` was given, if it is the library's."""


graph_sources: list[GraphSource] = []
