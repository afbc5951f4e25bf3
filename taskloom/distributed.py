"""The door to clusters on this machine, as `dask.distributed` is to Dask's.

>>> from taskloom.distributed import Client
>>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
...     client.submit(sum, [1, 2]).result()
3
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from taskloom import views
from taskloom.collections.delayed import delayed
from taskloom.collections.delayed_call import Finish
from taskloom.engines.cluster.client.client import Client
from taskloom.engines.cluster.client.current import default_client, get_client
from taskloom.engines.cluster.client.event import Event
from taskloom.engines.cluster.client.executor import ClientExecutor
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.client.lock import Lock, MultiLock, Semaphore
from taskloom.engines.cluster.client.progress import progress
from taskloom.engines.cluster.client.queue import Queue
from taskloom.engines.cluster.client.state import FutureCancelledError
from taskloom.engines.cluster.client.variable import Variable
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

TimeoutError = TimeoutError  # by this name programs import it from here

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "CancelledError",
    "Client",
    "ClientExecutor",
    "Event",
    "Future",
    "FutureCancelledError",
    "LocalCluster",
    "Lock",
    "MultiLock",
    "Queue",
    "Semaphore",
    "TimeoutError",
    "Variable",
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

_STATE = "Keep state in futures, and pass them on; the result of a task can be anything."
_EVENTS = "Client.log_event and Client.subscribe_topic send messages to whoever wants them."
_PLUGINS = "Client.run calls a function on all workers."
_ONE_MACHINE = "A cluster is on this machine: LocalCluster makes its workers."
_INSIDE = "get_client() gives a client inside of a task, and waiting for its futures frees the task's slot by itself."
_BUILTIN = "Python's own does: what tasks print and warn of is shown."

#: What dask.distributed has, and what to use instead.
_ELSEWHERE = {
    "Actor": _STATE,
    "ActorFuture": _STATE,
    "Adaptive": "cluster.scale(n) says how many workers there are.",
    "BaseActorFuture": _STATE,
    "CompatibleExecutor": "Client.get_executor() gives an executor.",
    "CondaInstall": _PLUGINS,
    "Environ": _PLUGINS,
    "InstallPlugin": _PLUGINS,
    "KilledWorker": "taskloom.WorkerDied is raised where a worker died of a task.",
    "Nanny": "Workers that die are replaced. " + _ONE_MACHINE,
    "NannyPlugin": _PLUGINS,
    "PipInstall": _PLUGINS,
    "Pub": _EVENTS,
    "Reschedule": "retries= of submit has a task tried again.",
    "SSHCluster": _ONE_MACHINE,
    "Scheduler": _ONE_MACHINE,
    "SchedulerPlugin": "A taskloom.Callback hears of tasks.",
    "Security": "It is safe as it is: a Unix socket of its owner's only, and a secret that both sides must know.",
    "SpecCluster": _ONE_MACHINE,
    "Status": "The status of clients and clusters is a text.",
    "Sub": _EVENTS,
    "SubprocessCluster": _ONE_MACHINE,
    "UploadDirectory": _PLUGINS,
    "UploadFile": _PLUGINS,
    "Worker": _ONE_MACHINE,
    "WorkerPlugin": _PLUGINS,
    "config": "taskloom.config holds the settings.",
    "connect": "Client(address) connects.",
    "get_task_metadata": "get_task_stream() tells of the tasks that ran.",
    "get_worker": _INSIDE,
    "local_client": _INSIDE,
    "print": _BUILTIN,
    "rejoin": _INSIDE,
    "rpc": "Client(address) connects.",
    "secede": _INSIDE,
    "span": "get_task_stream() tells of the tasks that ran in a block.",
    "sync": "A client that is not asynchronous waits by itself.",
    "warn": _BUILTIN,
    "worker_client": _INSIDE,
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:  # an ImportError: of others an import would say no more than that the name is not there
        raise ImportError(f"taskloom.distributed has no {name}, unlike dask.distributed. {_ELSEWHERE[name]}", name=name)
    raise AttributeError(f"module 'taskloom.distributed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)


def _dashboard_server(port: int) -> Any:
    from taskloom.notebook.dashboard_server import DashboardServer  # has a web server, wanted only here

    return DashboardServer(port)


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
