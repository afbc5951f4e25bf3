"""Workers and clients without processes, threads and sockets."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskloom.engines.cluster.scheduler.tasks import (
    SHIFT,
)

LARGE = 100_000  # bytes of the results of functions that make large ones


class Boom(Exception):
    """What tasks raise."""


class Stays(Exception):
    """What is raised when a result that cannot travel is sent for."""


@dataclass(eq=False)
class Packed:
    """A parcel that knows whether it was closed."""

    content: Any
    nbytes: int = 10
    closed: bool = False

    @property
    def payload(self) -> Any:
        return self.content

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


@dataclass(frozen=True)
class Function:
    """What a task does.

    Attributes
    ----------
    large : whether its results are too large for messages.
    raises : how often it raises in each task before it returns something.
    stays : whether its result cannot be pickled.
    moves : how often it asks to be run elsewhere before it does anything else.
    """

    name: str
    large: bool = False
    raises: float = 0
    stays: bool = False
    moves: int = 0

    def __call__(self, *args: Any) -> Any:
        return (self.name, *args)


SMALL = Function("small")
BIG = Function("large")
RAISES = Function("raises", raises=float("inf"))
RAISES_ONCE = Function("raises-once", raises=1)
STAYS = Function("stays", stays=True)
MOVES = Function("moves", moves=1)


@dataclass
class Queued:
    id: int
    code: int
    args: tuple[int, ...]
    plain: tuple[Any, ...]
    function: Function | None = None  # of those that run
    values: Sequence[Any] = ()


class Worker:
    """What a worker does with its messages, one step at a time. It has two inboxes: that for tasks is read by idle
    threads only."""

    def __init__(self, cluster: Any, number: int, threads: int) -> None:
        self.cluster = cluster
        self.number = number
        self.threads = threads
        self.work: deque[tuple[Any, ...]] = deque()
        self.questions: deque[tuple[Any, ...]] = deque()
        self.out: deque[tuple[Any, ...]] = deque()
        self.store: dict[int, Any] = {}
        self.staying: set[int] = set()  # results that cannot travel
        self.functions: dict[int, Function] = {}
        self.ready: deque[Queued] = deque()
        self.parked: list[Queued] = []
        self.running: list[Queued] = []
        self.blocked: list[Queued] = []
        self.cancelled: set[int] = set()
        self.unreported: list[tuple[int, Any, float]] = []
        self.clock = 0.0

    # -- what may happen next -------------------------------------------------------------------------------------

    def steps(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        if self.questions:
            found.append(self.answer)
        idle = len(self.running) < self.threads
        if self.ready and idle:
            found.append(self.begin)
        elif self.work and idle:
            found.append(self.read)
        if self.running:
            found.append(self.finish)
        if self.unreported:
            found.append(self.report)
        if self.blocked:
            found.append(self.unblock)
        return found

    def read(self) -> None:
        ids, codes, args, plains, functions, values, packed, dropped, dropped_codes = self.work.popleft()
        self.drop(dropped, dropped_codes)
        self.functions.update(functions)
        self.store.update(values)
        self.store.update(packed)
        tasks = [Queued(*fields) for fields in zip(ids, codes, args, plains, strict=True)]
        self.cancelled.difference_update(ids)
        self.ready.extend(tasks)
        self._unpark()

    def lose(self, place: int) -> None:
        """A file on disk turns out to be damaged."""
        reported = [id for id in self.store if id not in [done[0] for done in self.unreported]]
        if reported:
            id = reported[place % len(reported)]
            del self.store[id]
            self.staying.discard(id)
            self.cluster.lossy = True
            self.out.append(("lost", id, "its checksum does not match"))

    def drop(self, ids: Iterable[int], codes: Iterable[int] = ()) -> None:
        for id in ids:
            self.store.pop(id, None)
            self.staying.discard(id)
        for code in codes:
            del self.functions[code]

    def begin(self) -> None:
        task = self.ready.popleft()
        if task.id in self.cancelled:
            self._end([task.id], ("cancelled", [task.id]))
            return
        absent = [arg for arg in task.args if arg >= 0 and arg not in self.store]
        task.function = self.functions.get(task.code)
        if task.function is None:  # given up, for nobody needs the task any more
            self._end([task.id], ("failed", task.id, 0.0, 0.0, KeyError(task.code)))
        elif not absent:
            task.values = [self.store[arg] if arg >= 0 else task.plain[~arg] for arg in task.args]
            self.running.append(task)
        elif set(absent) <= self._pending():
            self.parked.append(task)
        else:
            self.out.append(("missing", task.id, [arg for arg in absent if arg not in self._pending()]))
            self._miss()

    def finish(self, place: int = 0) -> None:
        task = self.running.pop(place % len(self.running))
        start, self.clock = self.clock, self.clock + 0.001
        function, cluster = task.function, self.cluster
        assert function is not None
        if task.id in self.cancelled and task.id % 3:  # every third one does not let itself be stopped
            self.report()
            self._end([task.id], ("cancelled", [task.id]))
        elif cluster.moved[task.id] < function.moves:
            cluster.moved[task.id] += 1
            self.report()
            self._end([task.id], ("rescheduled", task.id))
        elif cluster.raised[task.id] < function.raises:
            cluster.raised[task.id] += 1
            self.report()
            self._end([task.id], ("failed", task.id, start, self.clock, Boom(task.id)))
        else:
            cluster.ran[task.id] += 1
            self.cancelled.discard(task.id)
            self.store[task.id] = function(*task.values)
            if function.stays:
                self.staying.add(task.id)
            self.unreported.append((task.id, start, self.clock))
            self._unpark()

    def report(self) -> None:
        if not self.unreported:
            return
        done, self.unreported = self.unreported, []
        values, sizes = {}, {}
        for id, _, _ in done:
            value = self.store.get(id)
            if value is not None and (self.cluster.is_large(value) or id in self.staying):
                sizes[id] = LARGE
            else:
                values[id] = value
        self.out.append(
            ("done", [id for id, _, _ in done], [time for _, a, b in done for time in (a, b)], values, sizes, 0.001)
        )

    def block(self, place: int = 0) -> None:
        self.report()
        self.blocked.append(self.running.pop(place % len(self.running)))
        self.out.append(("blocked",))

    def unblock(self) -> None:
        self.running.append(self.blocked.pop())
        self.out.append(("unblocked",))

    def answer(self) -> None:
        kind, *fields = self.questions.popleft()
        getattr(self, f"_{kind}")(*fields)

    def _fetch(self, id: int) -> None:
        if id not in self.store:
            self.cluster.lossy = True  # it may be in the other inbox
            self.out.append(("gone", id))
        elif id in self.staying:
            self.out.append(("no_data", id, Stays(id)))
        else:
            self.out.append(("data", id, self.cluster.pack(self.store[id])))

    def _drop(self, ids: list[int]) -> None:
        self.drop(ids)

    def _take_back(self, ids: list[int]) -> None:
        found = self._take_out(ids)
        self._end(found, ("returned", found))

    def _cancel(self, ids: list[int]) -> None:
        self.cancelled |= {task.id for task in (*self.running, *self.blocked) if task.id in ids}
        found = self._take_out(ids)
        if found:
            self._end(found, ("cancelled", found))

    def _take_out(self, ids: Sequence[int]) -> list[int]:
        found = [task.id for task in (*self.ready, *self.parked) if task.id in ids]
        self.ready = deque([task for task in self.ready if task.id not in ids])
        self.parked = [task for task in self.parked if task.id not in ids]
        return found

    def _pending(self) -> set[int]:
        return {task.id for task in (*self.ready, *self.parked, *self.running, *self.blocked)}

    def _end(self, ids: Sequence[int], message: tuple[Any, ...]) -> None:
        """Tasks have come to another end than a result: those that are parked for them miss them."""
        self.out.append(message)
        self.cancelled.difference_update(ids)
        self._miss()

    def _miss(self) -> None:
        while True:
            pending = self._pending() | set(self.store)
            for task in self.parked:
                lost = [arg for arg in task.args if arg >= 0 and arg not in pending]
                if lost:
                    self.parked.remove(task)
                    self.out.append(("missing", task.id, lost))
                    break
            else:
                return

    def _unpark(self) -> None:
        for task in list(self.parked):
            if all(arg < 0 or arg in self.store for arg in task.args):
                self.parked.remove(task)
                self.ready.appendleft(task)


@dataclass
class Client:
    """A client, and what it knows of its futures: "pending", "finished", "error" or "cancelled".

    Attributes
    ----------
    asked : how many answers it waits for, by id.
    brought : values by id.
    """

    number: int
    count: int = 0
    status: dict[int, str] = field(default_factory=dict)
    errors: dict[int, Any] = field(default_factory=dict)
    brought: dict[int, Any] = field(default_factory=dict)
    asked: Counter[int] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    heard: list[tuple[Any, ...]] = field(default_factory=list)
    codes: dict[Function, int] = field(default_factory=dict)

    def allocate(self, n: int = 1) -> int:
        first = (self.number << SHIFT) + self.count + 1
        self.count += n
        return first

    def hear(self, kind: str, fields: tuple[Any, ...], parcels: tuple[Any, ...]) -> None:
        self.heard.append((kind, *fields))
        assert not any(parcel.closed for parcel in parcels)
        if kind == "report":
            _, ids, times, values, _, _ = fields
            assert len(times) == 2 * len(ids)
            self._finish(ids, values)
        elif kind == "done":
            self._finish(fields[0], fields[1])
        elif kind == "data":
            self.asked.pop(fields[0], None)
            self.brought[fields[0]] = parcels[0].content
        elif kind == "no_data":
            self.asked.pop(fields[0], None)
        elif kind == "erred":
            for id in fields[6]:
                self._set(id, "error")
                self.errors[id] = fields[1]
                self.asked.pop(id, None)
        elif kind == "again":
            for id in fields[0]:
                self._set(id, "pending")
        elif kind == "cancelled":
            for id in fields[0]:
                self._set(id, "cancelled")
                self.asked.pop(id, None)
        elif kind == "said":
            self.said.append(fields[0])
        elif kind == "answer":
            self.answered.append(fields[0])

    def _finish(self, ids: Iterable[int], values: dict[int, Any]) -> None:
        for id in ids:
            self._set(id, "finished")
            if id in values:
                self.brought[id] = values[id]
                self.asked.pop(id, None)

    def _set(self, id: int, status: str) -> None:
        if self.status.get(id, "cancelled") != "cancelled":
            self.status[id] = status
