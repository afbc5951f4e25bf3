"""Events: flags to wait for."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.coordination.desk import Asker, Desk

Name = Any


class Events:
    """Events by name. One that is not set, and for which nobody waits, is not kept."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._set: set[Name] = set()
        self._waiting: dict[Name, dict[Asker, None]] = {}

    def wait(self, asker: Asker, name: Name) -> None:
        """Wait until it is set."""
        if name in self._set:
            self._desk.answer(asker, True)
            return

        def leave(asker: Asker) -> None:
            waiting = self._waiting[name]
            del waiting[asker]
            if not waiting:
                del self._waiting[name]

        self._waiting.setdefault(name, {})[asker] = None
        self._desk.wait(asker, leave)

    def set(self, asker: Asker, name: Name) -> None:
        """Let those go on who wait."""
        self._set.add(name)
        for other in self._waiting.pop(name, ()):
            self._desk.answer(other, True)
        self._desk.answer(asker)

    def clear(self, asker: Asker, name: Name) -> None:
        """Have those wait who come."""
        self._set.discard(name)
        self._desk.answer(asker)

    def is_set(self, asker: Asker, name: Name) -> None:
        """Whether it is set."""
        self._desk.answer(asker, name in self._set)
