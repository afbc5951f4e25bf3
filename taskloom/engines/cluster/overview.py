"""What a cluster is right now, for whoever draws it: its workers, and what runs on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskloom.bus.run import Run
from taskloom.engines.cluster.client.current import clients_at
from taskloom.engines.cluster.worker.room import resident

if TYPE_CHECKING:
    from taskloom.engines.cluster.local_cluster import LocalCluster


@dataclass(frozen=True, slots=True)
class WorkerOverview:
    """A worker.

    Attributes
    ----------
    busy : how many of its threads run a task.
    memory : bytes: of its process, or of the results that it holds where it is no process of its own.
    leaving : whether it is about to end.
    """

    name: str
    threads: int
    busy: int
    memory: float
    memory_limit: float
    leaving: bool


def workers_of(cluster: LocalCluster) -> list[WorkerOverview]:
    """The workers of an open cluster."""
    described = cluster._coordinator.questions.describe_workers()
    return [
        WorkerOverview(
            worker["name"],
            worker["threads"],
            min(worker["executing"], worker["threads"]),
            (resident(worker["pid"]) if cluster.processes else 0.0) or worker["held"],
            worker["memory_limit"],
            worker["leaving"],
        )
        for worker in described
    ]


def runs_on(cluster: LocalCluster) -> list[Run]:
    """What this process has running on a cluster."""
    clients = clients_at(cluster.scheduler_address)
    found = [run for client in clients for run in client._session.records.open_runs()]
    return [run for run in found if run.status == "running" and run.n_done < run.n_tasks]


def stop_runs(cluster: LocalCluster) -> None:
    """Stop what this process has running on a cluster."""
    for run in runs_on(cluster):
        run.cancel()
