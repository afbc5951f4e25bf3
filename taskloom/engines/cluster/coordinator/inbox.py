"""What comes in: the messages of workers and clients, each given to whom it concerns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator

#: Called with the number of the worker or client, and with the fields and parcels of a message.
Take = Callable[[int, tuple[Any, ...], Sequence[Any]], None]


class Inbox:
    """Takes in messages, on the coordinator's thread.

    Attributes
    ----------
    of_workers, of_clients : by kind of message, who takes it.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        scheduler, coordinating = coordinator.scheduler, coordinator.coordinating
        self.of_workers: dict[str, Take] = {
            "answer": self._answer,
            "blocked": self._blocked,
            "cancelled": _plain(scheduler.cancelled),
            "data": self._fetched(scheduler.data),
            "done": self._done,
            "failed": _plain(scheduler.failed),
            "gone": self._fetched(scheduler.gone),
            "lost": _plain(scheduler.lost),
            "missing": _plain(scheduler.missing),
            "no_data": self._fetched(scheduler.no_data),
            "no_room": _plain(coordinator.memory.has_no_room),
            "printed": _plain(coordinator.output.printed),
            "rescheduled": _plain(scheduler.rescheduled),
            "returned": _plain(scheduler.returned),
            "told": _plain(coordinator.output.told),
            "unblocked": self._unblocked,
        }
        self.of_clients: dict[str, Take] = {
            "ask": self._ask,
            "call": self._call,
            "cancel": _plain(scheduler.cancel),
            "close": _plain(coordinator.clients.leave),
            "confirm": _plain(coordinating.confirm),
            "expire": _plain(coordinating.expire),
            "fire": _plain(coordinator.clients.fire),
            "gather": _plain(scheduler.gather),
            "hide": _plain(scheduler.hide),
            "release": _plain(scheduler.release),
            "retry": _plain(scheduler.retry),
            "scatter": self._scatter,
            "submit": self._submit,
            "wants": _plain(coordinator.crew.wants),
            "watch": _plain(scheduler.watch),
            "withdraw": _plain(coordinating.withdraw),
        }

    def from_worker(self, number: int, kind: str, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        """A worker says something."""
        if number in self._coordinator.scheduler.workers or kind == "answer":  # before it takes part, and after
            self.of_workers[kind](number, fields, parcels)
        else:
            _close(parcels)

    def from_client(self, number: int, kind: str, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        """A client has something done."""
        if number not in self._coordinator.scheduler.clients:
            _close(parcels)
        elif kind in self.of_clients:
            self.of_clients[kind](number, fields, parcels)
        else:
            raise TypeError(f"There is no message {kind!r:.50}.")

    # -- workers --------------------------------------------------------------------------------------------------

    def _answer(self, worker: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        number, ok, value = fields
        self._coordinator.questions.answered(worker, number, ok, value, parcels)

    def _blocked(self, worker: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        self._coordinator.scheduler.blocked(worker, 1)

    def _unblocked(self, worker: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        self._coordinator.scheduler.blocked(worker, -1)

    def _done(self, worker: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        crew = self._coordinator.crew
        crew.reported[worker] = crew.reported.get(worker, 0) + len(fields[0])
        crew.has_done_something()
        self._coordinator.scheduler.done(worker, *fields)

    def _fetched(self, take: Callable[..., None]) -> Take:
        def fetched(worker: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
            self._coordinator.stops.has_come(worker, fields[0])
            take(worker, *fields, *parcels)

        return fetched

    # -- clients --------------------------------------------------------------------------------------------------

    def _submit(self, client: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        self._coordinator.crew.try_again()
        self._coordinator.scheduler.submit(client, fields[0], parcels)

    def _call(self, client: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        self._coordinator.crew.try_again()
        self._coordinator.scheduler.call(client, *fields)

    def _scatter(self, client: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        items, *where = fields
        self._coordinator.scheduler.scatter(client, items, parcels, *where)

    def _ask(self, client: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        number, what, args = fields
        self._coordinator.questions.ask(client, number, what, args, parcels)


def _plain(take: Callable[..., object]) -> Take:
    """Of messages without parcels."""

    def taken(number: int, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        take(number, *fields)

    return taken


def _close(parcels: Sequence[Any]) -> None:
    for parcel in parcels:
        parcel.close()
