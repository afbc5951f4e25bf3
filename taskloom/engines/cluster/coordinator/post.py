"""What the scheduler wants told, on its way out: to the workers, and to the clients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from taskloom.engines.cluster.coordinator.clients import StandIn
from taskloom.engines.cluster.coordinator.connection import LocalConnection
from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.coordinator.stops import Stops
from taskloom.engines.cluster.door.remote import RemoteClient
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import WorkerState

LARGE = 65_536  # bytes: of such results the worker is told at once that they are not wanted any more

_log = logging.getLogger("taskloom")


class Post:
    """Sends messages. On the coordinator's thread."""

    def __init__(
        self,
        scheduler: Scheduler,
        crew: Crew,
        stops: Stops,
        clients: Mapping[int, LocalConnection | RemoteClient | StandIn],
    ) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self._stops = stops
        self._clients = clients
        self.names_tasks = False  # to the workers: their plugins want to know

    def send(self) -> None:
        """Send all that is to be told."""
        scheduler = self._scheduler
        for worker in scheduler.workers.values():
            if worker.batch or worker.packed or worker.values:
                self._send_tasks(worker)
            elif worker.dropped_bytes >= LARGE:
                self._crew.workers[worker.number].ask("drop", worker.dropped, worker.dropped_codes)
                worker.dropped, worker.dropped_codes, worker.dropped_bytes = [], [], 0.0
            if worker.asks:
                self._send_asks(worker)
        self.tell_clients()
        if scheduler.used_up:
            used_up, scheduler.used_up = scheduler.used_up, []
            for parcel in used_up:
                parcel.close()

    def tell_clients(self) -> None:
        """Send what is to be told to clients."""
        scheduler = self._scheduler
        if not scheduler.letters:
            return
        letters, scheduler.letters = scheduler.letters, []
        for number, kind, fields, parcels in letters:
            client = self._clients.get(number)
            if client is not None:
                tell(client, kind, fields, parcels)

    def _send_asks(self, worker: WorkerState) -> None:
        asks, worker.asks = worker.asks, []
        for kind, *fields in asks:
            if kind == "fetch":
                self._stops.sent_for(worker.number, *fields)
            self._crew.workers[worker.number].ask(kind, *fields)

    def _send_tasks(self, worker: WorkerState) -> None:
        batch = worker.batch
        codes = [task.code for task in batch]
        parcels: list[Any] = []
        functions = {}
        for code in set(codes) - worker.functions:
            worker.functions.add(code)
            functions[code] = len(parcels)
            parcels.append(self._scheduler.functions[code])
        packed = {}
        for id, parcel in worker.packed.items():
            packed[id] = len(parcels)
            parcels.append(parcel)
        if self.names_tasks:
            self._crew.workers[worker.number].send("keys", {task.id: task.key for task in batch})
        self._crew.workers[worker.number].send(
            "tasks",
            [task.id for task in batch],
            codes,
            [task.args for task in batch],
            [task.plain for task in batch],
            functions,
            worker.values,
            packed,
            worker.dropped,
            worker.dropped_codes,
            parcels=parcels,
        )
        worker.batch, worker.values, worker.packed, worker.dropped = [], {}, {}, []
        worker.dropped_codes, worker.dropped_bytes = [], 0.0


def tell(
    client: LocalConnection | RemoteClient | StandIn, kind: str, fields: Sequence[Any], parcels: Sequence[Any]
) -> None:
    """Send a message to a client, with copies of the parcels. Whatever goes wrong there is no concern of others."""
    try:
        own = tuple([parcel.copy() for parcel in parcels])
        if isinstance(client, RemoteClient):
            client.send(kind, *fields, parcels=own)
        else:
            client.hear(kind, tuple(fields), own)
    except Exception:
        _log.exception("A client could not be told: %s", kind)
