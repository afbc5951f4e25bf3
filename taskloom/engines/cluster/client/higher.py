"""What a cluster needs of higher layers, which put it here: see taskloom/distributed.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: For collections: ``is_collection(value)``, ``merged_graph(collections, optimize_graph)``, ``delayed(container)``,
#: ``finish(function, extra)`` and ``rebuilt(collection, graph)``. For views: ``dashboard_server(port)``, an object with
#: ``link`` and ``close()``, and ``task_stream(run)`` and ``profile(run)``, figures. For notebooks: ``cell()``, that in
#: which the calling thread prints. For libraries beside: ``client_elsewhere(address, **options)``, a client of dask's;
#: ``library_elsewhere(value)``, the module of dask's clients where one of them is meant; ``address_elsewhere()``, what
#: dask's configuration names, or None; and ``inproc_elsewhere(address)``, whether it is dask's, in this process.
higher: dict[str, Callable[..., Any]] = {}
