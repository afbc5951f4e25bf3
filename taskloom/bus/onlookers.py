"""Listeners that want to see what other clients of a cluster do, and who has to see to that."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

from taskloom.bus.run import Run


class Shows(Protocol):
    """Who can have it shown what other clients do."""

    def look_on(self, wanted: bool) -> None:
        """Have it shown from now on, or not any more."""


class Onlookers:
    """Subscriptions of listeners with a true attribute `looks_on`."""

    def __init__(self) -> None:
        self._there: list[Any] = []
        self._shows: WeakSet[Any] = WeakSet()

    def came(self, subscription: Any) -> None:
        if looks_on(subscription.listener):
            self._there.append(subscription)
            self._tell()

    def went(self, subscription: Any) -> None:
        if subscription in self._there:
            self._there.remove(subscription)
            self._tell()

    def follow(self, shows: Shows) -> None:
        """Tell it whether somebody looks on: now, and when that changes, until `leave`."""
        self._shows.add(shows)
        if self._there:
            shows.look_on(True)

    def leave(self, shows: Shows) -> None:
        self._shows.discard(shows)

    def _tell(self) -> None:
        for shows in list(self._shows):
            shows.look_on(bool(self._there))


def looks_on(listener: object) -> bool:
    return bool(getattr(listener, "looks_on", False))


def wants(listener: object, run: Run) -> bool:
    """Whether a listener is to hear of a run: of those of others only who looks on."""
    return not run.foreign or looks_on(listener)
