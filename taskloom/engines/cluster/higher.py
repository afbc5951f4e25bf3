"""What a cluster needs of higher layers, which put it here: see taskloom/distributed.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: ``is_collection(value)``, ``merged_graph(collections, optimize_graph)``, ``rebuilt(collection, graph)`` and
#: ``finish(function, extra)`` for collections; ``dashboard_link()`` and ``close`` ... for views.
higher: dict[str, Callable[..., Any]] = {}
