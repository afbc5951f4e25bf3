"""How a worker keeps within its memory: results go to disk when there is too much."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from taskloom.engines.cluster.sizes import size_text
from taskloom.engines.cluster.worker.channel import Channel
from taskloom.engines.cluster.worker.page import EXHAUSTED, SPILLING, Words
from taskloom.engines.cluster.worker.spill_files import SpillFiles
from taskloom.engines.cluster.worker.store import Store
from taskloom.engines.cluster.worker.task_queue import TaskQueue
from taskloom.engines.worker.page import NOTHING
from taskloom.errors import SpillError

if TYPE_CHECKING:
    import psutil

SLACK = 0.05  # of the limit: what is put away beyond what has to be, so that it is not every time a little
COLLECT_EVERY = 1.0  # seconds
LOOK_EVERY = 0.02  # of the limit: after so many bytes of results the memory of the process is looked at


class Limits(NamedTuple):
    """Bytes of memory of a worker.

    Attributes
    ----------
    limit : what it may have, as its user has said.
    target : what results may take before some go to disk.
    spill : what the process may take before they do.
    pause : what the process may take before it is given no tasks.
    terminate : what it may take before it is ended.
    """

    limit: float = float("inf")
    target: float = float("inf")
    spill: float = float("inf")
    pause: float = float("inf")
    terminate: float = float("inf")


class Room:
    """Makes room: old results go first, those that queued tasks take last, and none that somebody has in hand.

    Parameters
    ----------
    store, queue : of the worker.
    page : where it tells how it goes.
    channel : to the coordinator, which is told when the disk is full.
    resident : gives the bytes of memory of the process; 0 where that is not the worker's own.
    """

    def __init__(
        self, store: Store, queue: TaskQueue, page: Words, channel: Channel, resident: Callable[[], float]
    ) -> None:
        self._store = store
        self._queue = queue
        self._page = page
        self._channel = channel
        self._resident = resident
        self._limits = Limits()
        self._limited = False
        self._unseen = 0.0  # bytes of results since the memory was looked at
        self._making = Lock()
        self._staying: set[int] = set()  # what cannot be pickled
        self._collected = 0.0  # when the garbage was
        self._told = False  # that there is none

    def set_up(self, given: tuple[float, ...], directory: str, most: float, parcels: object = ()) -> None:
        """Keep within limits from now on, by means of so many bytes at most in a directory."""
        self._limits = limits = Limits(*given)
        self._limited = min(limits.target, limits.spill) < float("inf")
        self._store.files = SpillFiles(directory, most)

    def is_short(self, more: float = 0.0) -> bool:
        """Whether room has to be made for so many bytes, which are in memory already. It is quick to tell."""
        if not self._limited:
            return False
        if self._store.nbytes + more > self._limits.target:
            return True
        self._unseen += more
        if more and self._unseen < LOOK_EVERY * self._limits.limit:
            return False
        self._unseen = 0.0
        return self._used(more) > self._limits.spill

    def make(self, more: float = 0.0) -> None:
        """Have no more in memory than there should be, with so many bytes for which this is done.

        Raises
        ------
        SpillError
            The disk is full, or results cannot be pickled, and the memory is full, too.
        """
        if not self._limited:
            return
        why = ""
        with self._making:
            excess = self._excess(more)
            if excess > 0:
                why = self._put_away(excess + SLACK * self._limits.limit, more)
                excess = self._excess(more)
            if excess > 0:
                self._give_back()
                excess = self._excess(more)
            if excess > 0 and not why:
                why = self._put_away(excess, more)
                excess = self._excess(more)
            self._page[EXHAUSTED] = float(excess > 0)
            if excess > 0 and not why:
                why = self._what_stays(excess)
        if why and self._used(more) > self._limits.pause:
            raise self._explained(why, more)

    def make_aside(self) -> None:
        """The same in a thread of its own, unless that is being done."""
        if not self._making.locked():
            try:
                self.make()
                self._told = False
            except SpillError as error:
                if not self._told:
                    self._told = True
                    self._channel.send("no_room", str(error))

    def _used(self, more: float) -> float:
        """Bytes of memory that the worker takes, as far as is known."""
        store = self._store
        return max(store.nbytes + more, self._resident() + store.unmapped)

    def _excess(self, more: float) -> float:
        store, limits = self._store, self._limits
        resident = self._resident()
        too_much = resident + store.unmapped - limits.spill if resident else 0.0
        return max(store.nbytes + more - limits.target, too_much)

    def _put_away(self, goal: float, more: float) -> str:
        """Put so many bytes on disk; returns what keeps it from that, if it is the disk."""
        store = self._store
        self._staying.intersection_update(store.sizes)
        freed = 0.0
        for id in self._candidates(more):
            self._page[SPILLING] = id
            try:
                freed += store.put_away(id)
            except SpillError as error:
                return f"its disk is full: {error}"
            except BaseException:  # it cannot be pickled
                self._staying.add(id)
            finally:
                self._page[SPILLING] = NOTHING
            if freed >= goal:
                break
        return ""

    def _candidates(self, more: float) -> Iterator[int]:
        """What can be put away, in that order."""
        store = self._store
        wanted = self._queue.inputs()
        ids = [id for id in list(store.sizes) if id not in self._staying]
        order = [id for id in ids if id not in wanted] + [id for id in reversed(wanted) if id in store.sizes]
        in_hand = []
        for id in order:
            if store.is_in_hand(id):
                in_hand.append(id)
            elif id not in self._staying:
                yield id
        if (
            self._used(more) > self._limits.pause
        ):  # what tasks have in hand goes when they end; some refer to themselves
            yield from in_hand

    def _give_back(self) -> None:
        """Have what is free go back to the system."""
        now = monotonic()
        if now - self._collected > COLLECT_EVERY:
            self._collected = now
            gc.collect()
        if sys.platform == "linux":
            import ctypes

            with suppress(AttributeError, OSError):  # another C library than the GNU one
                ctypes.CDLL(None).malloc_trim(0)

    def _what_stays(self, excess: float) -> str:
        """What keeps results in memory, if it is those that are too much."""
        sizes = self._store.sizes
        staying = sum([sizes.get(id, 0.0) for id in self._staying])
        return (
            f"{size_text(staying)} of results cannot be pickled, and so not be put on disk" if staying > excess else ""
        )

    def _explained(self, why: str, more: float) -> SpillError:
        held = f"{size_text(self._used(more))} of its limit of {size_text(self._limits.limit)}"
        return SpillError(
            f"There is no room: the worker holds {held} in memory, and {why}. Release futures, give workers more "
            "memory (memory_limit=), or set distributed.spill.directory to a larger disk."
        )


def resident(pid: int) -> float:
    """The bytes of memory that a process takes; 0 if it is gone."""
    import psutil

    try:
        return float(_process(pid).memory_info().rss)
    except psutil.Error:
        return 0.0


@lru_cache(maxsize=256)  # finding one takes longer than asking it
def _process(pid: int) -> psutil.Process:
    import psutil

    return psutil.Process(pid)
