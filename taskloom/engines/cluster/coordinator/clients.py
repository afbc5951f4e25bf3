"""The clients of a cluster, as the coordinator has them."""

from __future__ import annotations

import itertools
import select
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from taskloom.engines.cluster.coordinator.connection import LocalConnection
from taskloom.engines.cluster.door.remote import RemoteClient
from taskloom.engines.cluster.scheduler.scheduler import Scheduler

#: By kind of message, which of its fields has the ids of tasks that will not be done any more, or are.
OVER = {"cancelled": 0, "done": 0, "erred": -1, "report": 1}

Running = list[tuple[int, int, float]]  # worker, task, since when


class StandIn:
    """Is there for a client that has left, until all is over that it has fired and forgotten.

    Parameters
    ----------
    ids : of that.
    leave : called when it is over.
    """

    def __init__(self, ids: set[int], leave: Callable[[], None]) -> None:
        self._ids = ids
        self._leave = leave

    def hear(self, kind: str, fields: Sequence[Any], parcels: Sequence[Any]) -> None:
        """Hear what the client would have been told."""
        for parcel in parcels:
            parcel.close()
        if kind in OVER and not self._ids.isdisjoint(fields[OVER[kind]]):
            self._ids.difference_update(fields[OVER[kind]])
            if not self._ids:
                self._leave()


class Clients(dict[int, LocalConnection | RemoteClient | StandIn]):
    """Clients by number. Those in other processes are also known by the files of their links."""

    def __init__(self, scheduler: Scheduler, poll: select.poll, later: Callable[..., None]) -> None:
        super().__init__()
        self._later = later  # calls a function on the coordinator's thread, when that has done what it is doing
        self._fired: dict[int, set[int]] = {}
        self._scheduler = scheduler
        self._poll = poll
        self._remote: dict[int, tuple[int, RemoteClient]] = {}
        self._numbers = itertools.count(1)
        self.on_leave: Callable[[int], None] = lambda number: None  # called for each that has left

    def new_number(self) -> int:
        """A number that nobody has had."""
        return next(self._numbers)

    def join(self, client: LocalConnection) -> None:
        """Take in a client of this process."""
        self[client.number] = client
        self._scheduler.client_joined(client.number)

    def join_remote(self, client: RemoteClient) -> None:
        """Take in a client of another process."""
        number = self.new_number()
        client.send("welcome", number)
        self._remote[client.fileno()] = number, client
        self._poll.register(client.fileno(), select.POLLIN)
        self[number] = client
        self._scheduler.client_joined(number)

    def hear(self, file: int, on_message: Callable[..., None]) -> bool:
        """Take in what a client of another process has sent, if the file is one's: returns whether it is."""
        if file not in self._remote:
            return False
        number, client = self._remote[file]
        while number in self and (message := client.receive()) is not None:
            try:
                on_message(number, *message)
            except Exception:  # it has sent nonsense, which is its own concern
                why = traceback.format_exc(limit=-1)
                client.send("gone", f"The cluster could not make sense of a message of this client: {why}")
                self.leave(number)
        if client.gone:
            self.leave(number)
        return True

    def fire(self, number: int, ids: Iterable[int]) -> None:
        """A client has these done even if it leaves."""
        self._fired.setdefault(number, set()).update(ids)

    def leave(self, number: int) -> None:
        """A client has gone."""
        client = self.pop(number, None)
        if isinstance(client, StandIn):  # the client says so twice
            self[number] = client
        elif client is not None:
            left = self._scheduler.unfinished(number, self._fired.pop(number, ()))
            self._scheduler.client_left(number, but=left)
            self.on_leave(number)
            self._part_with(client)
            if left:
                self[number] = StandIn(left, partial(self._later, self._end, number))

    def _end(self, number: int) -> None:
        """What a client that has left has fired is over."""
        self.pop(number, None)
        self._scheduler.client_left(number)

    def _part_with(self, client: LocalConnection | RemoteClient | StandIn) -> None:
        if isinstance(client, RemoteClient):
            del self._remote[client.fileno()]
            self._poll.unregister(client.fileno())
            client.close()

    def any_waiting(self) -> bool:
        """Whether messages wait for room in somebody's socket."""
        return any(client.waiting for _, client in self._remote.values())

    def look_round(self, running: Callable[[], Running]) -> None:
        """Send what waited for room, and tell those in other processes what runs."""
        for _, client in self._remote.values():
            client.send_waiting()
            client.tell_running(running())

    def close(self) -> None:
        """Part with all of them."""
        for client in self.values():
            self._part_with(client)
        self.clear()
