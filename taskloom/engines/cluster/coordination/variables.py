"""Variables and published datasets: items by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskloom.engines.cluster.coordination.desk import Asker, Desk, Item

Name = Any


class Variables:
    """Variables by name. Who asks for one that is not set waits until it is."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._items: dict[Name, Item] = {}
        self._waiting: dict[Name, dict[Asker, None]] = {}

    def set(self, asker: Asker, name: Name, items: Sequence[Item]) -> None:
        """Have another value."""
        (item,) = items
        self._desk.keep(item)
        self._forget(name)
        self._items[name] = item
        for other in self._waiting.pop(name, ()):
            self._desk.lend(other, items)
        self._desk.answer(asker)

    def get(self, asker: Asker, name: Name) -> None:
        """The value."""
        item = self._items.get(name)
        if item is not None:
            self._desk.lend(asker, (item,))
            return

        def leave(asker: Asker) -> None:
            waiting = self._waiting[name]
            del waiting[asker]
            if not waiting:
                del self._waiting[name]

        self._waiting.setdefault(name, {})[asker] = None
        self._desk.wait(asker, leave)

    def delete(self, asker: Asker, name: Name) -> None:
        """Have no value."""
        self._forget(name)
        self._desk.answer(asker)

    def _forget(self, name: Name) -> None:
        item = self._items.pop(name, None)
        if item is not None:
            self._desk.drop(item)


class Datasets:
    """Published datasets by name."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._items: dict[Name, Item] = {}

    def publish(self, asker: Asker, names: Sequence[Name], override: bool, items: Sequence[Item]) -> None:
        """Have datasets; unless it overrides them, there must be none of these names."""
        for name in names:
            if name in self._items and not override:
                raise KeyError(f"Dataset {name!r:.100} already exists: give override=True, or unpublish it first.")
        for name, item in zip(names, items, strict=True):
            self._desk.keep(item)
            self._forget(name)
            self._items[name] = item
        self._desk.answer(asker)

    def unpublish(self, asker: Asker, names: Sequence[Name]) -> None:
        """Have these no more."""
        for name in names:
            self._forget(name)
        self._desk.answer(asker)

    def _forget(self, name: Name) -> None:
        item = self._items.pop(name, None)
        if item is not None:
            self._desk.drop(item)

    def names(self, asker: Asker) -> None:
        """The names of all."""
        self._desk.answer(asker, sorted(self._items, key=str))

    def get(self, asker: Asker, names: Sequence[Name]) -> None:
        """Those of these names that there are, and which names these are."""
        found = [name for name in names if name in self._items]
        self._desk.lend(asker, [self._items[name] for name in found], found)
