"""The door to clusters on this machine, as `dask.distributed` is to Dask's.

>>> from taskloom.distributed import Client
>>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
...     client.submit(sum, [1, 2]).result()
3
"""

from __future__ import annotations

from typing import Any

from taskloom import views
from taskloom.collections.delayed import delayed
from taskloom.collections.delayed_call import Finish
from taskloom.engines.cluster.client.client import Client
from taskloom.engines.cluster.client.current import default_client, get_client
from taskloom.engines.cluster.client.executor import ClientExecutor
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.client.progress import progress
from taskloom.engines.cluster.client.state import FutureCancelledError
from taskloom.engines.cluster.client.views_of_client import get_task_stream, performance_report
from taskloom.engines.cluster.client.waiting import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    as_completed,
    fire_and_forget,
    futures_of,
    wait,
)
from taskloom.engines.cluster.local_cluster import LocalCluster
from taskloom.scheduling import is_collection, merged_graph, rebuilt

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "Client",
    "ClientExecutor",
    "Future",
    "FutureCancelledError",
    "LocalCluster",
    "as_completed",
    "default_client",
    "fire_and_forget",
    "futures_of",
    "get_client",
    "get_task_stream",
    "performance_report",
    "progress",
    "wait",
]


def _dashboard_server() -> Any:
    from taskloom.notebook.dashboard_server import DashboardServer  # has a web server, wanted only here

    return DashboardServer()


higher |= {
    "dashboard_server": _dashboard_server,
    "delayed": delayed,
    "finish": Finish,
    "is_collection": is_collection,
    "merged_graph": merged_graph,
    "profile": views.profile,
    "rebuilt": rebuilt,
    "task_stream": views.task_stream,
}
