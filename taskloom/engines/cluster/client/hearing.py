"""What a client hears from the coordinator, and what that means for its futures, its runs and its questions."""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from _thread import interrupt_main, start_new_thread
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

from taskloom.engines.cluster.client.printing import Printing
from taskloom.engines.cluster.client.records import Records
from taskloom.engines.cluster.client.reply import Reply
from taskloom.engines.cluster.client.state import ELSEWHERE, Failed, State
from taskloom.graph import Key

_log = logging.getLogger("taskloom")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as clients know it."""

    number: int
    name: str
    pid: int
    threads: int
    memory_limit: float


class Arrival:
    """A result that has come in a file, for all who have asked for it: it is closed when none of them is left."""

    __slots__ = ("_parcel",)

    def __init__(self, parcel: Any) -> None:
        self._parcel = parcel

    def value(self) -> Any:
        return self._parcel.value()

    def __del__(self) -> None:
        try:
            self._parcel.close()
        except KeyboardInterrupt:  # which goes nowhere from here
            start_new_thread(interrupt_main, ())


class Fetch(Reply):
    """Results that were asked for; there when all of them have come, or cannot."""

    __slots__ = ("arrivals", "failures", "left", "values")

    def __init__(self, ids: Iterable[int]) -> None:
        super().__init__()
        self.left = set(ids)
        self.values: dict[int, Any] = {}  # small ones
        self.arrivals: dict[int, Any] = {}
        self.failures: dict[int, Any] = {}

    def _came(self, id: int) -> None:
        self.left.discard(id)
        if not self.left:
            self.resolve()


class Hearing:
    """The part of a `Session` that the connection's thread runs. It is quick there, never blocks and never raises."""

    states: dict[int, State]
    workers: dict[int, WorkerInfo]
    runs: tuple[Any, ...]
    printing: Printing
    records: Records
    connection: Any
    gone: str

    def __init__(self) -> None:
        self.workers_changed: list[Reply] = []
        self._sizable = False  # whether a result that takes room has been made since futures were given up
        self.handlers: dict[str, Callable[..., None]] = {}  # by topic, what is called for its events
        self.watchings: dict[str, Any] = {}  # by name: what tells plugins of what is heard
        self._lock = threading.Lock()
        self._fetching = threading.Lock()  # held for moments only: the connection's thread takes it
        self._fetches: dict[int, list[Fetch]] = {}
        self._questions: dict[int, Reply] = {}
        self._early: list[tuple[str, Any, Any]] | None = []  # what is heard before everything is here

    def call_back(self, action: Callable[..., Any], *args: Any) -> None:
        raise NotImplementedError

    def _end(self, status: Any, why: str) -> None:
        raise NotImplementedError

    def hear(self, kind: str, fields: Sequence[Any], parcels: Sequence[Any]) -> None:
        """What the coordinator says. Quick, never blocks, never raises."""
        if self._early is not None:
            with self._lock:
                if self._early is not None:
                    self._early.append((kind, fields, parcels))
                    return
        self._take(kind, fields, parcels)

    def _take(self, kind: str, fields: Sequence[Any], parcels: Sequence[Any]) -> None:
        try:
            _HANDLERS[kind](self, parcels, *fields)
            for watching in self.watchings.values() if self.watchings else ():
                watching.hear(kind, fields)
        except Exception:
            _log.exception("taskloom: a client could not take in what its coordinator said: %s", kind)

    def _on_report(
        self,
        parcels: Any,
        worker: int,
        ids: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        self.records.report(worker, ids, times, values, sizes, cpu)
        self._take_results(ids, values, sizes)

    def _on_done(self, _: Any, ids: Sequence[int], values: dict[int, Any], sizes: dict[int, float]) -> None:
        self.records.done(ids)
        self._take_results(ids, values, sizes)

    def _take_results(self, ids: Sequence[int], values: dict[int, Any], sizes: dict[int, float]) -> None:
        states = self.states
        if sizes:
            self._sizable = True
        if states:
            for id in ids:
                state = states.get(id)
                if state is not None:
                    state.finish(values.get(id, ELSEWHERE), sizes.get(id, 0.0))
        for run in self.runs:
            run.take(values)
        if self._fetches:
            for id in self._fetches.keys() & values.keys():
                for fetch in self._takers(id):
                    fetch.values[id] = values[id]
                    fetch._came(id)

    def _on_data(self, parcels: Sequence[Any], id: int) -> None:
        arrival = Arrival(parcels[0]) if parcels[0].files else parcels[0]
        for run in self.runs:
            run.take_parcel(id, arrival)
        for fetch in self._takers(id):
            fetch.arrivals[id] = arrival
            fetch._came(id)

    def _on_no_data(self, _: Any, id: int, packed: Any) -> None:
        for run in self.runs:
            run.refuse(id, packed)
        for fetch in self._takers(id):
            fetch.failures[id] = packed
            fetch._came(id)

    def _takers(self, id: int) -> list[Fetch]:
        with self._fetching:
            return self._fetches.pop(id, [])

    def _on_erred(
        self, _: Any, id: int, packed: Any, worker: int, start: float, stop: float, attempt: int, ids: Sequence[int]
    ) -> None:
        place = None if worker < 0 else worker
        recall = self.records.recall(id)
        where, task = self.records.failed(id, _told(packed), place, start, stop, attempt, ids, recall)
        failure = Failed(packed, self.connection.unpack_error, where, ref(recall), task)
        for other in ids:
            state = self.states.get(other)
            if state is not None:
                state.failure = failure
                state.settle("error")
        for run in self.runs:
            run.failed(id, failure, ids)

    def _on_again(self, _: Any, ids: Sequence[int]) -> None:
        self.records.again(ids)
        released = []  # while this was on its way, or before: others need them
        for id in ids:
            state = self.states.get(id)
            if state is None or not state.is_usable:
                released.append(id)
            elif state.value is ELSEWHERE:
                state.status = "pending"
        self.records.released(released)

    def _on_cancelled(self, _: Any, ids: Sequence[int], note: str) -> None:
        self.records.cancelled(ids)
        for id in ids:
            state = self.states.get(id)
            if state is not None:
                state.note = note
                state.settle("cancelled")
        for run in self.runs:
            run.cancelled(ids)

    def _on_others(
        self,
        _: Any,
        worker: int,
        keys: Sequence[Key],
        clients: Sequence[int],
        times: Sequence[float],
        sizes: Sequence[float],
    ) -> None:
        self.records.others(worker, keys, clients, times, sizes)

    def _on_moved(self, _: Any, id: int, source: int, target: int, nbytes: float) -> None:
        self.records.moved(id, source, target, int(nbytes))

    def _on_held(self, _: Any, worker: int, now: float, most: float) -> None:
        self.records.held(worker, int(now), int(most))

    def _on_joined(self, _: Any, worker: int, name: str, pid: int, threads: int, memory_limit: float) -> None:
        self.workers[worker] = WorkerInfo(worker, name, pid, threads, memory_limit)
        self.records.joined(worker, name, pid, threads)
        self._tell_of_workers()

    def _on_client_joined(self, _: Any, number: int) -> None:
        """Another client: of interest to plugins."""

    def _on_client_left(self, _: Any, number: int) -> None:
        """Another client: of interest to plugins."""

    def _on_left(self, _: Any, worker: int, why: str) -> None:
        self.workers.pop(worker, None)
        self.records.left(worker, why)
        self._tell_of_workers()

    def _tell_of_workers(self) -> None:
        while self.workers_changed:
            self.workers_changed.pop().resolve()

    def _on_answer(self, parcels: Sequence[Any], number: int, ok: bool, value: Any) -> None:
        reply = self._questions.pop(number, None)
        if reply is not None:
            reply.resolve((ok, value, parcels))

    def _on_event(self, parcels: Sequence[Any], topic: str, when: float, content: Any) -> None:
        handler = self.handlers.get(topic)
        if handler is not None:
            self.call_back(handler, when, content, parcels)
            return
        for parcel in parcels:
            parcel.close()

    def _on_said(self, _: Any, text: str, key: Key) -> None:
        self.call_back(warnings.warn, text, UserWarning)

    def _on_printed(self, _: Any, id: int, name: str, texts: Sequence[str]) -> None:
        self.printing.printed(id, name, texts)

    def _on_told(self, _: Any, id: int, what: str, payload: bytes) -> None:
        self.printing.told(id, what, payload)

    def _on_gone(self, _: Any, why: str) -> None:
        if not self.gone:
            self.gone = why
            self._end("lost", why)


def _told(packed: Any) -> str:
    """What a packed error says, without unpacking it: that may run code of its class."""
    if isinstance(packed, bytes):
        name, text, _ = pickle.loads(packed)[2]
        return f"{name}: {text}"
    return type(packed).__name__


_HANDLERS: dict[str, Callable[..., None]] = {
    name.removeprefix("_on_"): method for name, method in vars(Hearing).items() if name.startswith("_on_")
}
