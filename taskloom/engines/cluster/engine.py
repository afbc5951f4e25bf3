"""The distributed engine: a graph runs on a cluster, through a client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from taskloom.bus.run import Run
from taskloom.engines import worker
from taskloom.engines.base import Engine, bring_results
from taskloom.engines.interrupt import Interrupt
from taskloom.engines.observed import Observer
from taskloom.engines.sync import SyncEngine
from taskloom.graph import Plan

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client


class DistributedEngine(Engine):
    """Tasks on the workers of a cluster on this machine, which keep data between runs, for several clients.

    A graph runs on the cluster of the client that is given, else of the newest open one; where there is none, one is
    made of all cores, and stays until the process ends.
    """

    name = "distributed"
    names = ("distributed", "cluster")
    summary = "A cluster on this machine: futures, data that stay in the workers, several runs at a time."
    cost = "Takes 10 to 20 µs per task; starting it takes as long as starting its workers."
    advice = (
        ("Work that goes on while you look at it", "submit gives a future at once, and results stay where they are"),
        ("Several runs or notebooks at a time", "they share the workers fairly"),
    )
    settings = ("distributed.n_workers", "distributed.threads_per_worker", "distributed.memory_limit")
    takes_futures = True
    options = frozenset({"client", "retries", "priority", "workers", "allow_other_workers", "resources"})

    def unavailable(self) -> str:
        return "" if hasattr(os, "fork") else "It has no worker processes of its own on Windows."

    def run(
        self,
        plan: Plan,
        run: Run,
        interrupt: Interrupt,
        observer: Observer | None,
        *,
        client: Client | None = None,
        retries: Any = None,
        priority: int = 0,
        workers: Any = None,
        allow_other_workers: bool = False,
        resources: Any = None,
        **options: Any,
    ) -> list[Any]:
        __tracebackhide__ = True
        if client is None:
            if worker.inside:  # a run inside a task: this process is the worker that it has
                bring_results(plan)
                return SyncEngine().run(plan, run, interrupt, observer)
            from taskloom.engines.cluster.shared import open_client  # what has sockets is loaded when it is needed

            client = open_client()
        chosen = {
            "deaths": retries,
            "priority": priority,
            "workers": workers,
            "allow_other_workers": allow_other_workers,
            "resources": resources,
        }
        if observer is None:
            return client.run_plan(plan, run, chosen)
        from taskloom.engines.cluster.client.watched import run_watched

        return run_watched(client, plan, run, observer, chosen)
