"""What a worker holds: results, values that have come and not been looked at, and functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.worker.parcel import Parcel

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.actors import ActorHome

Package = Parcel | Loose


class Store:
    """Values by id and functions by code. Packed ones are unpacked when they are first used.

    Attributes
    ----------
    values, functions : what can be used at once. The loop that runs tasks looks here itself.
    actors : the objects behind those values that are proxies of actors.
    prepare : what becomes of a function that has come before it is used.
    """

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.functions: dict[int, Callable[..., Any]] = {}
        self.actors: dict[int, ActorHome] = {}
        self.prepare: Callable[[Callable[..., Any]], Callable[..., Any]] = _as_it_is
        self._packed: dict[int, Package] = {}
        self._function_parcels: dict[int, Package] = {}
        self._unpacking = threading.RLock()  # two threads may need the same one

    def __contains__(self, id: int) -> bool:
        return id in self.values or id in self._packed or id in self.values  # it may have been unpacked just now

    def learn(
        self,
        functions: Mapping[int, int],
        values: Mapping[int, Any],
        packed: Mapping[int, int],
        parcels: Sequence[Package],
    ) -> None:
        """Take in what has come with a message."""
        for code, number in functions.items():
            self._function_parcels[code] = parcels[number]
        self.values.update(values)
        for id, number in packed.items():
            self._packed[id] = parcels[number]

    def unpack(self, code: int, ids: Iterable[int]) -> None:
        """Have a function and values ready, as far as they are here; raises whatever unpickling them raises."""
        with self._unpacking:
            if code not in self.functions:
                parcel = self._function_parcels[code]
                self.functions[code] = self.prepare(parcel.value())
                parcel.close()
            for id in ids:
                self._unpack(id)

    def _unpack(self, id: int) -> None:
        if (packed := self._packed.get(id)) is not None:
            self.values[id] = packed.value()
            del self._packed[id]
            packed.close()

    def value(self, id: int) -> Any:
        """A value, whoever made it; raises whatever unpickling it raises, and KeyError where it is not here."""
        with self._unpacking:
            self._unpack(id)
            return self.values[id]

    def parcel(self, id: int, pack: Callable[[Any], Package]) -> tuple[Package, bool]:
        """A value for somebody else, and whether the parcel stays ours; raises whatever packing the value raises."""
        packed = self._packed.get(id)
        return (pack(self.values[id]), False) if packed is None else (packed, True)

    def drop(self, ids: Iterable[int], codes: Iterable[int] = ()) -> None:
        for id in ids:
            self.values.pop(id, None)
            if self._packed:
                self._close(self._packed.pop(id, None))
            if self.actors:
                self.actors.pop(id, None)
        for code in codes:
            self.functions.pop(code, None)
            self._close(self._function_parcels.pop(code, None))

    def _close(self, parcel: Package | None) -> None:
        if parcel is not None:
            with self._unpacking:
                parcel.close()


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
