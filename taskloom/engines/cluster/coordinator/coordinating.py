"""What the coordinator does for the locks, events, queues and so on that clients share."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from taskloom.engines.cluster.coordination.coordination import Coordination
from taskloom.engines.cluster.coordination.desk import LATE, Answer, Item
from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import NOT_A_FUNCTION, Slice
from taskloom.engines.worker.parcel import is_plain
from taskloom.graph import Key

#: A value in a message: a plain one in a tuple, or the number of a parcel.
Content = tuple[Any] | int

#: The number under which results are wanted that no client has a future of, but something that clients share has.
NOBODY = 0


class Coordinating:
    """Brings questions to the `Coordination`, and its answers to clients. On the coordinator's thread.

    Parameters
    ----------
    clients : by number.
    """

    def __init__(self, scheduler: Scheduler, crew: Crew, clients: Mapping[int, object]) -> None:
        self._coordination = Coordination()
        self._scheduler = scheduler
        self._crew = crew
        self._clients = clients
        self._ids = itertools.count(1)
        self._inside: dict[int, str] = {}  # the names of the workers inside of which clients are

    def ask(
        self,
        client: int,
        number: int,
        kind: str,
        action: str,
        args: Sequence[Any],
        values: Sequence[tuple[Content, Sequence[Key]]],
        *parcels: Any,
    ) -> None:
        """A client asks something. It may bring values, which hold futures of some keys."""
        if client not in self._inside:
            self._inside[client] = self._worker_of(client)
        if kind == "topics" and action == "log":
            args = (*args, time.time())
        items = [
            Item(content[0] if isinstance(content, tuple) else parcels[content], self._want(keys))
            for content, keys in values
        ]
        try:
            self._coordination.ask((client, number), kind, action, *args, *([items] if items else ()))
        except Exception:
            self._free(items)
            raise
        self._tell()

    def _worker_of(self, client: int) -> str:
        """The name of the worker that a client is inside of, or nothing."""
        pid = getattr(self._clients.get(client), "pid", None)
        return next((worker.name for worker in self._crew.workers.values() if pid and worker.pid == pid), "")

    def expire(self, client: int, number: int) -> None:
        """A client has waited for an answer for as long as it would."""
        self._coordination.expire((client, number))
        self._tell()

    def withdraw(self, client: int, number: int) -> None:
        """A client wants a question undone."""
        self._coordination.withdraw((client, number))
        self._tell()

    def confirm(self, client: int, number: int) -> None:
        """A client has the values that it has asked for, and futures of its own of what they hold."""
        self._coordination.confirm((client, number))
        self._tell()

    def client_left(self, client: int) -> None:
        """A client has gone: others get what it had leases of."""
        inside = self._inside.pop(client, "")
        for lease in self._coordination.client_left(client):
            holder = f"Worker {inside!r}" if inside else "A client"
            text = f"{holder} has ended and held {lease}, which goes to the next one that waits for it."
            for other in self._clients:
                if not self._worker_of(other):
                    self._scheduler.tell(other, "said", text, None)
        self._tell()

    def close(self) -> None:
        """Have no open files."""
        for item in self._coordination.items:
            if not is_plain(item.value):
                item.value.close()

    def _want(self, keys: Sequence[Key]) -> Sequence[int]:
        """Have the results of keys stay although no client has a future of them: the numbers that this goes by."""
        if not keys:
            return ()
        if NOBODY not in self._scheduler.clients:
            self._scheduler.client_joined(NOBODY)
        ids = [next(self._ids) for _ in keys]
        n = len(ids)
        slice = Slice(ids[0], list(keys), [NOT_A_FUNCTION] * n, [()] * n, [()] * n, wanted=ids, named=True)
        self._scheduler.submit(NOBODY, slice, ())
        return ids

    # -- what goes out --------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        tell = self._scheduler.tell
        for client, topic, when, item in self._coordination.take_news():
            (content,), parcels = _contents((item,))
            tell(client, "event", topic, when, content, parcels=parcels)
        for answer in self._coordination.take_answers():
            self._answer(*answer.asker, answer)
        self._free(self._coordination.take_freed())

    def _answer(self, client: int, number: int, answer: Answer) -> None:
        tell = self._scheduler.tell
        if isinstance(answer.value, Exception):
            tell(client, "answer", number, False, self._crew.pack_error(answer.value))
            return
        contents, parcels = _contents(answer.items)
        late = answer.value is LATE
        tell(client, "answer", number, True, (late, None if late else answer.value, contents), parcels=parcels)

    def _free(self, items: Sequence[Item]) -> None:
        for item in items:
            if not is_plain(item.value):
                self._scheduler.used_up.append(item.value)
            if item.futures:
                self._scheduler.release(NOBODY, item.futures)


def _contents(items: Sequence[Item]) -> tuple[list[Content], tuple[Any, ...]]:
    """Items as they are in a message, and its parcels."""
    contents: list[Content] = []
    parcels: list[Any] = []
    for item in items:
        if is_plain(item.value):
            contents.append((item.value,))
        else:
            contents.append(len(parcels))
            parcels.append(item.value)
    return contents, tuple(parcels)
