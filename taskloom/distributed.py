"""The door to clusters on this machine, as `dask.distributed` is to Dask's.

>>> from taskloom.distributed import Client
>>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
...     client.submit(sum, [1, 2]).result()
3

The docstring of each class says how its names compare with those of dask.distributed: see ``help(Client)``.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from taskloom import views
from taskloom.collections.delayed import delayed
from taskloom.collections.delayed_call import Finish
from taskloom.engines.cluster.adaptive import Adaptive
from taskloom.engines.cluster.client.actor import Actor, ActorFuture, BaseActorFuture
from taskloom.engines.cluster.client.client import Client
from taskloom.engines.cluster.client.current import default_client, get_client
from taskloom.engines.cluster.client.event import Event
from taskloom.engines.cluster.client.executor import ClientExecutor
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.client.inside import local_client, worker_client
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
from taskloom.engines.cluster.compared import Comparison
from taskloom.engines.cluster.local_cluster import LocalCluster
from taskloom.engines.cluster.plugin import Environ, SchedulerPlugin, UploadFile, WorkerPlugin
from taskloom.engines.cluster.worker.ending import Reschedule
from taskloom.engines.cluster.worker.handle import get_worker
from taskloom.engines.cluster.worker.place import rejoin, secede
from taskloom.notebook.output_cell import output_cell
from taskloom.scheduling import is_collection, merged_graph, rebuilt

TimeoutError = TimeoutError  # by this name programs import it from here

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "Actor",
    "ActorFuture",
    "Adaptive",
    "BaseActorFuture",
    "CancelledError",
    "Client",
    "ClientExecutor",
    "Environ",
    "Event",
    "Future",
    "FutureCancelledError",
    "LocalCluster",
    "Lock",
    "MultiLock",
    "Queue",
    "Reschedule",
    "SchedulerPlugin",
    "Semaphore",
    "TimeoutError",
    "UploadFile",
    "Variable",
    "WorkerPlugin",
    "as_completed",
    "default_client",
    "fire_and_forget",
    "futures_of",
    "get_client",
    "get_task_stream",
    "get_worker",
    "local_client",
    "performance_report",
    "progress",
    "rejoin",
    "secede",
    "wait",
    "worker_client",
]

_EVENTS = "Client.log_event and Client.subscribe_topic send messages to whoever wants them."
_PLUGINS = "A WorkerPlugin runs code in all workers; UploadFile and Environ are there."
_ONE_MACHINE = "A cluster is on this machine: LocalCluster makes its workers."
_BUILTIN = "Python's own does: what tasks print and warn of is shown."

#: What dask.distributed has, and what to use instead.
_ELSEWHERE = {
    "CompatibleExecutor": "Client.get_executor() gives an executor.",
    "CondaInstall": _PLUGINS,
    "InstallPlugin": _PLUGINS,
    "KilledWorker": "taskloom.WorkerDied is raised where a worker died of a task.",
    "Nanny": "Workers that die are replaced. " + _ONE_MACHINE,
    "NannyPlugin": _PLUGINS,
    "PipInstall": _PLUGINS,
    "Pub": _EVENTS,
    "SSHCluster": _ONE_MACHINE,
    "Scheduler": _ONE_MACHINE,
    "Security": "It is safe as it is: a Unix socket of its owner's only, and a secret that both sides must know.",
    "SpecCluster": _ONE_MACHINE,
    "Status": "The status of clients and clusters is a text.",
    "Sub": _EVENTS,
    "SubprocessCluster": _ONE_MACHINE,
    "UploadDirectory": _PLUGINS,
    "Worker": _ONE_MACHINE,
    "config": "taskloom.config holds the settings.",
    "connect": "Client(address) connects.",
    "dask": "Import dask itself: taskloom does not need it.",
    "get_task_metadata": "get_task_stream() tells of the tasks that ran.",
    "print": _BUILTIN,
    "rpc": "Client(address) connects.",
    "span": "get_task_stream() tells of the tasks that ran in a block.",
    "sync": "A client that is not asynchronous waits by itself.",
    "warn": _BUILTIN,
    "widgets": "Clients, clusters and futures show themselves at the end of a cell.",
}

_DIFFERS = {
    "Adaptive": "LocalCluster.adapt() makes it.",
    "default_client": "its argument is client=, in place of c=.",
    "futures_of": "its argument is value=, in place of o=, and there is no client=.",
    "get_client": "no resolve_address=: there is nothing to resolve.",
    "performance_report": "no stacklevel=, mode= and storage_options=: it writes one page to a file of this machine.",
    "progress": "no multi=, complete= and group_by=: it shows tasks by their names.",
}

_OURS_ONLY = {"ALL_COMPLETED", "FIRST_COMPLETED", "ClientExecutor", "FutureCancelledError"}  # dask has them elsewhere

_COMPARISON = Comparison(" ".join(sorted({*__all__} - {*_DIFFERS} - _OURS_ONLY)), _DIFFERS, _ELSEWHERE)
__doc__ = f"{__doc__}\n{_COMPARISON.section()}\n"


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
    "cell": output_cell,
    "dashboard_server": _dashboard_server,
    "delayed": delayed,
    "finish": Finish,
    "is_collection": is_collection,
    "merged_graph": merged_graph,
    "profile": views.profile,
    "rebuilt": rebuilt,
    "task_stream": views.task_stream,
}
