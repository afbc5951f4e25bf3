"""Locks and semaphores: of each name so many may have a lease at a time, and the others wait in turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from taskloom.engines.cluster.coordination.desk import Asker, Desk

Name = Any


class _Request:
    """Somebody wants leases of names: of so many of them."""

    __slots__ = ("asker", "left", "names")

    def __init__(self, asker: Asker, names: Sequence[Name], left: int) -> None:
        self.asker = asker
        self.names = names
        self.left = left


class _Turns:
    """Who has a lease of a name, and who is next."""

    __slots__ = ("has", "limit", "waits")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.has: dict[Asker, _Request] = {}
        self.waits: OrderedDict[Asker, _Request] = OrderedDict()


class Leases:
    """Leases by name. A request stands in line for all of its names at once, so that two never wait for each other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._limits: dict[Name, int] = {}  # of semaphores that were registered
        self._turns: dict[Name, _Turns] = {}  # of names that are in use
        self._requests: dict[Asker, _Request] = {}

    def register(self, asker: Asker, name: Name, limit: int) -> None:
        """There is a semaphore of so many leases, until it is closed."""
        self._register(name, limit)
        self._desk.answer(asker)

    def _register(self, name: Name, limit: int) -> None:
        known = self._limits.setdefault(name, limit)
        if known != limit:
            raise ValueError(
                f"Inconsistent max leases: {limit}. The semaphore {name!r:.100} has {known} until it is closed."
            )

    def enter(self, asker: Asker, name: Name, limit: int | None) -> None:
        """Have a lease of a semaphore; without a limit, of one that was registered."""
        if limit is not None:
            self._register(name, limit)
        elif name not in self._limits:
            raise RuntimeError(f"The semaphore {name!r:.100} is not known: it was closed.")
        self.acquire(asker, (name,), 1)

    def acquire(self, asker: Asker, names: Sequence[Name], needed: int) -> None:
        """Have leases of so many of the names."""
        names = tuple(dict.fromkeys(names))
        if not 0 < needed <= len(names):
            raise ValueError(f"{needed} of {len(names)} locks cannot be had.")
        request = self._requests[asker] = _Request(asker, names, needed)
        for name in sorted(names, key=self._is_taken):
            turns = self._turns.get(name)
            if turns is None:
                turns = self._turns[name] = _Turns(self._limits.get(name, 1))
            if len(turns.has) >= turns.limit:
                turns.waits[asker] = request
            elif self._have(turns, request):
                return
        self._desk.wait(asker, self._free)

    def _is_taken(self, name: Name) -> bool:
        turns = self._turns.get(name)
        return turns is not None and len(turns.has) >= turns.limit

    def _have(self, turns: _Turns, request: _Request) -> bool:
        """Somebody gets a lease of a name; whether they have all that they want now."""
        turns.has[request.asker] = request
        request.left -= 1
        if request.left:
            return False
        for name in request.names:
            if name in self._turns:
                self._turns[name].waits.pop(request.asker, None)
        self._desk.give(request.asker, self._free)
        return True

    def _free(self, asker: Asker) -> None:
        """A request is over: whoever is next gets what it had."""
        request = self._requests.pop(asker, None)
        if request is None:
            return
        for name in request.names:
            turns = self._turns.get(name)
            if turns is None:
                continue
            turns.waits.pop(asker, None)
            if turns.has.pop(asker, None) is not None and turns.waits:
                _, following = turns.waits.popitem(last=False)
                self._have(turns, following)
            if not turns.has:
                del self._turns[name]

    def value(self, asker: Asker, name: Name) -> None:
        """How many leases of a name are in use."""
        turns = self._turns.get(name)
        self._desk.answer(asker, 0 if turns is None else len(turns.has))

    def close(self, asker: Asker, name: Name) -> None:
        """Forget a semaphore, whoever has leases of it. Those who wait get an error."""
        self._limits.pop(name, None)
        turns = self._turns.pop(name, None)
        for other in () if turns is None else turns.waits:
            del self._requests[other]
            self._desk.answer(other, RuntimeError(f"The semaphore {name!r:.100} was closed."))
        for other in () if turns is None else turns.has:
            del self._requests[other]
            self._desk.returned(other)
        self._desk.answer(asker)

    def held_by(self, client: int) -> list[Name]:
        """The names of which a client has leases."""
        return [name for name, turns in self._turns.items() if any(asker[0] == client for asker in turns.has)]
