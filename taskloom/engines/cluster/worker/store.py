"""What a worker holds: results, values that have come and not been looked at, and functions."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.cluster.worker.page import MANAGED, SPILLED, UNMAPPED, Words
from taskloom.engines.cluster.worker.spill_files import Damaged, SpillFiles
from taskloom.engines.worker.parcel import Parcel, parts_of

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.actors import ActorHome

Package = Parcel | Loose

_ABSENT: Final = object()
_ONLY_HERE = 2  # references to a value that nobody else has in hand: ours, and that of the call that counts them


class NotHere(Exception):
    """There is no value with this id."""


class Sender(Protocol):
    """What messages to the coordinator are given to."""

    def send(self, kind: str, *fields: Any) -> None: ...


class Store:
    """Values by id and functions by code. Packed ones are unpacked when they are first used, and so are those on disk.

    Parameters
    ----------
    page : where it notes how many bytes are where.
    channel : to the coordinator, which is told what is lost.

    Attributes
    ----------
    values, functions : what can be used at once. The loop that runs tasks looks here itself.
    actors : the objects behind those values that are proxies of actors.
    prepare : what becomes of a function that has come before it is used.
    sizes : bytes of those values in memory that are not small and simple, what has been there longest first; 0.0 where
        nobody knows.
    nbytes : their sum.
    unmapped : the part of it that has come in files of memory and has not been looked at.
    files : what is on disk.
    """

    def __init__(self, page: Words, channel: Sender) -> None:
        self.values: dict[int, Any] = {}
        self.functions: dict[int, Callable[..., Any]] = {}
        self.actors: dict[int, ActorHome] = {}
        self.prepare: Callable[[Callable[..., Any]], Callable[..., Any]] = _as_it_is
        self.sizes: dict[int, float] = {}
        self.nbytes = 0.0
        self.unmapped = 0.0
        self.files = SpillFiles("")
        self._packed: dict[int, Package] = {}
        self._function_parcels: dict[int, Package] = {}
        self._unpacking = threading.RLock()  # two threads may need the same one
        self._counting = threading.Lock()
        self._page = page
        self._channel = channel

    def __contains__(self, id: int) -> bool:
        return (
            id in self.values or id in self._packed or id in self.files or id in self.values  # by now
        )

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
        if packed:
            for id, number in packed.items():
                self._packed[id] = parcels[number]
            sizes = {id: float(parcels[number].nbytes) for id, number in packed.items()}
            self.count(sizes, unmapped=sum(sizes.values()))

    def unpack(self, code: int, ids: Iterable[int]) -> dict[int, Any]:
        """Have a function and values ready, and return the values, as far as they are here; raises whatever unpickling
        them raises."""
        found = {}
        with self._unpacking:
            if code not in self.functions:
                parcel = self._function_parcels[code]
                self.functions[code] = self.prepare(parcel.value())
                parcel.close()
            for id in ids:
                value = self._find(id)
                if value is not _ABSENT:
                    found[id] = value
        return found

    def _find(self, id: int) -> Any:
        """A value, which is in memory then."""
        if (packed := self._packed.get(id)) is not None:
            value = self.values[id] = packed.value()
            del self._packed[id]
            self.count({}, unmapped=-packed.nbytes)
            packed.close()
            return value
        value = self.values.get(id, _ABSENT)
        if value is _ABSENT and id in self.files:
            value = self._bring_back(id)
        return value

    def value(self, id: int) -> Any:
        """A value, whoever made it; raises whatever unpickling it raises, and KeyError where it is not here."""
        with self._unpacking:
            value = self._find(id)
        if value is _ABSENT:
            raise KeyError(id)
        return value

    def _bring_back(self, id: int) -> Any:
        """Have a value in memory that is on disk. One that is damaged there is lost."""
        try:
            payload, views = self.files.read(id)
        except KeyError:  # dropped just now
            return _ABSENT
        except Damaged as error:
            self._is_lost(id, error)
            return _ABSENT
        value = self.values[id] = pickle.loads(payload, buffers=views)
        self.count({id: float(len(payload) + sum([memoryview(view).nbytes for view in views]))})
        if not self.files.discard(id):  # dropped meanwhile
            self.drop([id])
        return value

    def _is_lost(self, id: int, error: Damaged) -> None:
        self.files.discard(id)
        self._channel.send("lost", id, str(error))

    def parcel(self, id: int, pack: Callable[[Any], Package]) -> Package:
        """A value for somebody else, who closes the parcel; raises whatever packing the value raises, and `NotHere` if
        there is none."""
        if id in self._packed:
            with self._unpacking:  # who unpacks it closes its files, the numbers of which others may have then
                packed = self._packed.get(id)
                if packed is not None:
                    return packed.copy()
        value = self.values.get(id, _ABSENT)
        if value is _ABSENT:
            try:
                payload, views = self.files.read(id)
            except KeyError:
                value = self.values.get(id, _ABSENT)
                if value is _ABSENT:
                    raise NotHere(id) from None
            except Damaged as error:
                self._is_lost(id, error)
                raise NotHere(id) from error
            else:
                value = pickle.loads(payload, buffers=views)
        return pack(value)

    def drop(self, ids: Sequence[int], codes: Iterable[int] = ()) -> None:
        for id in ids:
            self.values.pop(id, None)
            if self._packed:
                packed = self._packed.pop(id, None)
                if packed is not None:
                    self.count({}, unmapped=-packed.nbytes)
                    self._close(packed)
            if self.actors:
                self.actors.pop(id, None)
        if self.sizes or self.files:
            self._uncount(ids)
        for code in codes:
            self.functions.pop(code, None)
            self._close(self._function_parcels.pop(code, None))

    def _uncount(self, ids: Sequence[int]) -> None:
        """Values are not wanted any more."""
        if self.files:
            for id in ids:
                self.files.discard(id)
        with self._counting:
            for id in ids:
                self.nbytes -= self.sizes.pop(id, 0.0)
            self._page[MANAGED], self._page[SPILLED] = self.nbytes, self.files.nbytes

    def _close(self, parcel: Package | None) -> None:
        if parcel is not None:
            with self._unpacking:
                parcel.close()

    # -- room -----------------------------------------------------------------------------------------------------

    def count(self, sizes: Mapping[int, float], unmapped: float = 0.0) -> None:
        """Note values that are in memory now, and how many bytes more of that have not been looked at."""
        with self._counting:
            for id, size in sizes.items():
                self.nbytes += size - self.sizes.pop(id, 0.0)
                self.sizes[id] = size
            self.unmapped += unmapped
            page = self._page
            page[MANAGED], page[UNMAPPED], page[SPILLED] = self.nbytes, self.unmapped, self.files.nbytes

    def is_in_hand(self, id: int) -> bool:
        """Whether anybody else has a value, such as a task that runs: then nothing is won by its being put away."""
        try:
            return sys.getrefcount(self.values[id]) > _ONLY_HERE
        except KeyError:
            return False

    def put_away(self, id: int) -> float:
        """Have a value on disk, and no longer in memory; returns how many bytes that frees there.

        Raises
        ------
        SpillError
            There is no room.
        """
        packed = self._packed.get(id)
        if packed is not None:
            with self._unpacking:
                if self._packed.get(id) is not packed:  # by now
                    return 0.0
                parts = (packed.payload, packed.buffers()) if isinstance(packed, Parcel) else parts_of(packed.value())
        else:
            value = self.values.get(id, _ABSENT)
            if value is _ABSENT:
                return 0.0
            parts = parts_of(value)
            del value
        self.files.write(id, parts)
        del parts
        if packed is None:
            is_ours = self.values.pop(id, _ABSENT) is not _ABSENT
        else:
            with self._unpacking:
                is_ours = self._packed.pop(id, None) is not None
                if is_ours:
                    self.count({}, unmapped=-packed.nbytes)
                    packed.close()
        if not is_ours:  # dropped, or unpacked, meanwhile
            self.files.discard(id)
            return 0.0
        with self._counting:
            size = self.sizes.pop(id, 0.0)
            self.nbytes -= size
        self.count({})
        return size


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
