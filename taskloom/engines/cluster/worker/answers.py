"""What a worker answers while its tasks run: a thread of its own, which no task holds up."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.worker.awaited import awaited
from taskloom.engines.cluster.worker.channel import Gone, packed_error
from taskloom.engines.cluster.worker.page import FETCHING
from taskloom.engines.cluster.worker.place import place
from taskloom.engines.cluster.worker.stop import NO_TASK
from taskloom.engines.cluster.worker.store import NotHere, Package
from taskloom.engines.worker.page import NOTHING
from taskloom.errors import TaskloomError

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker


class Answers:
    """Answers the questions that come to a worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._to: dict[str, Callable[..., None]] = {
            "actor": self._actor,
            "drop": self._drop,
            "take_back": self._take_back,
            "cancel": self._cancel,
            "fetch": self._fetch,
            "make_room": self._make_room,
            "plug_in": self._plug_in,
            "report": self._report,
            "call": self._call,
            "stacks": self._stacks,
            "unplug": self._unplug,
        }

    def serve(self) -> None:
        """Answer, until the coordinator is gone."""
        with suppress(Gone):
            while True:
                kind, fields, parcels = self._worker.channel.next_question()
                self._worker.take_in()
                self._worker.wake_idle()
                self._to[kind](*fields, parcels)
                del fields, parcels
        self._worker.end()

    def _drop(self, ids: list[int], codes: list[int], parcels: object) -> None:
        self._worker.drop(ids, codes)

    def _take_back(self, ids: list[int], parcels: object) -> None:
        found = self._worker.queue.withdraw(ids)
        self._worker.wake_idle()
        self._worker.channel.send("returned", found)
        self._worker.forget(found)

    def _cancel(self, ids: list[int], parcels: object) -> None:
        worker = self._worker
        found = worker.queue.withdraw(ids, cancel=True)
        worker.wake_idle()
        if found:
            worker.channel.send("cancelled", found)
            worker.forget(found)
        for thread in list(worker.idents):
            id = worker.running[thread]
            if id in worker.queue.cancelled:
                worker.stop(thread, id)

    def _report(self, parcels: object) -> None:
        self._worker.report()

    def _make_room(self, parcels: object) -> None:
        self._worker.start_thread("taskloom-spill", self._worker.room.make_aside)

    def _fetch(self, id: int, parcels: object) -> None:
        """Send a copy of a result."""
        worker = self._worker
        if id not in worker.store:
            worker.channel.send("gone", id)
            return
        worker.page[FETCHING] = id
        try:
            parcel = worker.store.parcel(id, worker.channel.pack)
        except NotHere:  # it is lost, or was dropped just now
            worker.channel.send("gone", id)
        except BaseException as error:
            worker.channel.send("no_data", id, packed_error(worker.channel, error))
        else:
            worker.channel.send("data", id, parcels=[parcel])
            parcel.close()
        finally:
            worker.page[FETCHING] = NOTHING

    def _call(self, number: int, wait: bool, parcels: Sequence[Package]) -> None:
        self._worker.start_thread(f"taskloom-call-{number}", self._run_call, number, wait, parcels[0])

    def _run_call(self, number: int, wait: bool, parcel: Package) -> None:
        worker = self._worker
        place.host = worker
        result, error = None, None
        try:
            function, args, kwargs = parcel.value()
            if _takes(function, "dask_worker"):
                kwargs["dask_worker"] = worker.handle
            result = awaited(function(*args, **kwargs))
        except BaseException as caught:
            error = caught
        parcel.close()
        worker.flush_output()
        if wait:
            self._answer(number, result, error)

    def _answer(self, number: int, result: Any, error: BaseException | None) -> None:
        """Send what a user's code has come to."""
        channel, packed = self._worker.channel, []
        if error is None:
            try:
                packed = [channel.pack(result)]
            except BaseException as caught:
                error = caught
        outcome = None if error is None else packed_error(channel, error)
        channel.send("answer", number, error is None, outcome, parcels=packed)
        for each in packed:
            each.close()

    def _actor(self, number: int, id: int, name: str, parcels: Sequence[Package]) -> None:
        """Have a method of an actor called with the arguments in a parcel; without one, an attribute read."""
        settle = partial(self._answer, number)
        home = self._worker.store.actors.get(id)
        if home is None:
            settle(None, TaskloomError("The actor is gone from its worker."))
        elif not parcels:
            home.read(name, settle)
        else:
            home.call(name, partial(_taken_out, parcels[0]), settle)

    def _plug_in(self, number: int, given: list[tuple[str, bytes]], parcels: object) -> None:
        self._worker.plugins.add(given, partial(self._plugged, number))

    def _unplug(self, number: int, names: list[str] | None, parcels: object) -> None:
        self._worker.plugins.remove(names, partial(self._plugged, number))

    def _plugged(self, number: int, name: str, error: BaseException | None) -> None:
        """Tell what plugins have come to, and which one has raised."""
        self._worker.flush_output()
        packed = None if error is None else packed_error(self._worker.channel, error)
        self._worker.channel.send("answer", number, error is None, (name, packed))

    def _stacks(self, number: int, parcels: object) -> None:
        """Where the threads are that run tasks."""
        worker = self._worker
        frames = sys._current_frames()
        stacks = {}
        for thread, ident in list(worker.idents.items()):
            id = worker.running[thread]
            if id != NO_TASK and ident in frames:
                stacks[id] = _lines(frames[ident])
        worker.channel.send("answer", number, True, stacks)


def _taken_out(parcel: Package) -> Any:
    try:
        return parcel.value()
    finally:
        parcel.close()


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of this name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _lines(frame: FrameType) -> list[str]:
    """A stack as text, outermost call first, without the frames of this package."""
    steps = [step for step in traceback.walk_stack(frame) if not _is_ours(step[0])]
    return traceback.StackSummary.extract(reversed(steps)).format()


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("taskloom.engines.")
