"""What one client's runs and futures leave on the bus: graph runs, and a record that grows with submitted futures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import nan
from threading import Lock
from time import perf_counter
from typing import Any, Protocol

from taskloom.bus.event_bus import bus
from taskloom.bus.failure import Failure
from taskloom.bus.growing_run import GrowingRun
from taskloom.bus.run import Run
from taskloom.engines.base import where_failed
from taskloom.engines.cluster.client.books import Book, FuturesBook, GraphBook, Member, Workers
from taskloom.engines.cluster.client.others import ForeignRun, OthersBook, name_of_others
from taskloom.engines.cluster.client.recall import Recalled
from taskloom.graph import Key, Plan


class Wire(Protocol):
    """What records need of a connection."""

    def running(self) -> list[tuple[int, int, float]]:
        """Worker, id and start of what runs right now."""

    def send(self, kind: str, *fields: Any) -> None:
        """Say something to the coordinator."""


class Records:
    """The open run records of one client: who has which id, and what became of it.

    An id belongs to a graph run (`begin_run`), to a record of futures (`submitted`), or to neither: then it is ignored.
    All but `begin_run`, `end_run`, `submitted` and `released` are called on the connection's thread, and none blocks.

    Parameters
    ----------
    engine : name of the engine, as the runs carry it.
    connection : has ``running()`` and ``send(kind, *fields)``.
    recall : makes of an id what brings its function and inputs, see `Recall`.

    Examples
    --------
    >>> class Connection:
    ...     def running(self): return []
    ...     def send(self, kind, *fields): print(kind, fields)
    >>> records = Records("distributed", Connection(), recall=lambda id: None)
    >>> records.joined(0, "worker-0", 4711, 1)
    >>> records.submitted(1, ["x", "y"], ["load", "inc"], [(), (1,)])
    >>> records.report(0, [1, 2], [1.0, 2.0, 2.0, 2.5], {2: 5}, {1: 800.0}, 0.0)
    >>> records.gone()
    """

    def __init__(self, engine: str, connection: Wire, recall: Callable[[int], Any]) -> None:
        self.recall = recall
        self._engine = engine
        self._connection = connection
        self._workers = Workers(connection.running)
        self._lock = Lock()  # between those who submit, and who ends a record for want of anything new
        self._books: tuple[Book, ...] = ()  # of runs that are open; replaced, never changed
        self._newest: FuturesBook | None = None  # to which submitted futures are added
        self._others: OthersBook | None = None
        self._released: deque[int] = deque()  # finalizers call `released`, which must not wait for a lock

    # -- in the threads of the caller -------------------------------------------------------------------------------

    def begin_run(self, run: Run, first: int, n: int) -> None:
        """Write what becomes of the ids ``first`` to ``first + n - 1`` to the tasks of `run`, in that order.

        To be called before the tasks are sent. The run is ended by whoever made it; `run.fail` is left to the one who
        raises the error, who knows the plan.
        """
        book = GraphBook(run, self._workers, first, n)
        with self._lock:
            self._books = (book, *self._books)

    def end_run(self, run: Run) -> None:
        """Write no more to `run`: what is still heard of its tasks is ignored."""
        with self._lock:
            for book in self._books:
                if book.run is run:
                    self._forget(book)
        if len(run.done) < run.n_tasks:
            run.running  # noqa: B018 - this notes when those have begun that are under way
        run.current = ()

    def submitted(
        self,
        first: int,
        keys: Sequence[Key],
        functions: Sequence[str],
        dependencies: Sequence[Sequence[int]],
        wanted: Sequence[int] | None = None,
    ) -> None:
        """Note futures, with ids from `first` on; to be called before they are sent, by any thread.

        `dependencies` are numbers as in ``Slice.args``: ids of other tasks of this client count, all else does not.
        There are futures of those that are `wanted`, or of all. Also for a retry of tasks whose record has ended.
        """
        with self._lock:
            book = self._newest
            if book is not None and book.takes(len(keys)):
                book.add(first, keys, functions, dependencies, wanted)
                return
            run = GrowingRun(self._engine, self._settled)
            book = FuturesBook(run, self._workers, bus.bursts)
            run.on_cancel(partial(self._cancel, book))
            run.on_recall(partial(self._recalled, book))
            book.add(first, keys, functions, dependencies, wanted)
            self._books = (book, *self._books)
            bus.started(run)
            bus.make_room(at_once=False)
            self._newest = book  # last: what an interrupt has kept from being seen gets no more

    def submitted_call(self, number: int, key: Key, function: str) -> None:
        """Note a future that takes no others, as `submitted` would."""
        with self._lock:
            book = self._newest
            if book is not None and book.takes(1):
                book.add_call(number, key, function)
                return
        self.submitted(number, [key], [function], [()])

    def runs_of(self, ids: Sequence[int]) -> list[Run]:
        """The open records that have these."""
        return [book.run for book, _ in self._by_book(ids)]

    def released(self, ids: Iterable[int]) -> None:
        """No future of these is left: those that are not done will not be, unless others need them. Never waits.

        Not to be called for what is to be computed without a future, as by `fire_and_forget`.
        """
        self._released.extend(ids)

    def open_runs(self) -> list[Run]:
        """The runs of which more may be heard."""
        return [book.run for book in self._books]

    # -- on the connection's thread -----------------------------------------------------------------------------------

    def report(
        self,
        worker: int,
        ids: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        """Tasks are done, in this order; the fields are those of the message."""
        for book in self._books:
            rows = book.rows(ids)
            if len(rows) == len(ids):
                book.report(worker, ids, rows, times, values, sizes, cpu)
                return
            if rows:  # the others are of another record
                mine = [place for place, number in enumerate(ids) if book.row(number) >= 0]
                stamps = [time for place in mine for time in times[2 * place : 2 * place + 2]]
                book.report(worker, [ids[place] for place in mine], rows, stamps, values, sizes, nan)

    def done(self, ids: Sequence[int]) -> None:
        """Results are there that no worker computed for this client, such as of a key that another one has had."""
        now = perf_counter()
        for book, rows in self._by_book(ids):
            fresh = [row for row in rows if not book.run.stop[row]]
            for row in fresh:
                book.run.start[row] = book.run.stop[row] = now
            book.note_done(fresh)

    def others(
        self,
        worker: int,
        keys: Sequence[Key],
        clients: Sequence[int],
        times: Sequence[float],
        sizes: Sequence[float],
    ) -> None:
        """Tasks of other clients are done."""
        with self._lock:
            book = self._others
            if book is None or not book.takes(len(keys)):
                book = self._others = self._open_others(name_of_others(self._engine))
                book.begin(min(times))
                self._books = (*self._books, book)
                bus.started(book.run)
            book.see(worker, keys, clients, times, sizes)

    def _open_others(self, engine: str) -> OthersBook:
        return OthersBook(ForeignRun(engine, self._settled), self._workers, bus.bursts)

    def failed(
        self,
        number: int,
        error: BaseException | str,
        worker: int | None = None,
        start: float = 0.0,
        stop: float = 0.0,
        attempt: int = 1,
        ids: Sequence[int] = (),
        recall: Callable[[], Any] | None = None,
    ) -> tuple[str, int | None]:
        """Task `number` has failed for good, and with it all of `ids`, which need it: a sentence on where it was, and
        its number in its run where it is not that run's first failure.

        `recall` brings its function and inputs. The sentence is empty where no record has the task, as it is another
        client's.
        """
        where, later = "", None
        failure = Failure("of an earlier record", error, 0, attempt).without_inputs()
        for book, (row,) in self._by_book([number]):
            book.begin_failed(row, worker, start)
            failure = replace(failure, key=book.run.graph.keys[row], worker=book.run.worker[row], recall=recall)
            where = where_failed(book.run, failure)
            if book.run.failure is not None and worker is not None:  # else it is the failure of something else
                later = row
        for book, rows in self._by_book([number, *[other for other in ids if other != number]]):
            if isinstance(book, FuturesBook):
                book.fail(failure, rows, stop)
        return where, later

    def again(self, ids: Sequence[int]) -> None:
        """Tasks are to be done once more: their results were lost, or they failed and are tried again."""
        for book, rows in self._by_book(ids):
            book.do_again(rows)

    def cancelled(self, ids: Sequence[int]) -> None:
        """Tasks are forgotten."""
        for book, rows in self._by_book(ids):
            if isinstance(book, FuturesBook):
                book.give_up(rows)

    def moved(self, number: int, source: int, target: int, nbytes: int) -> None:
        """A result went from worker to worker."""
        for book, (row,) in self._by_book([number]):
            book.move(row, source, target, nbytes)

    def held(self, worker: int, now: int, most: int) -> None:
        """How many bytes of results a worker holds, and the most it ever did."""
        before = self._workers.held.get(worker, (0, 0))[1]
        self._workers.held[worker] = (now, most)
        for book in self._books:
            book.hold(worker, now, most if most > before else now)

    def joined(self, worker: int, name: str, pid: int, threads: int, memory_limit: int | None = None) -> None:
        """A worker is there. It joins a run when it reports a task of it."""
        self._workers.members[worker] = Member(name, pid, threads, perf_counter())

    def left(self, worker: int, why: str = "") -> None:
        """A worker is gone."""
        self._workers.held.pop(worker, None)
        for book in self._books:
            book.leave(worker)

    def gone(self, why: str = "") -> None:
        """The client is closed, or the cluster: what is outstanding will not be done."""
        with self._lock:
            books, self._books, self._newest, self._others = self._books, (), None, None
        for book in books:
            if isinstance(book, FuturesBook):
                book.end()
                bus.finish_later(book.run)

    # -- on the thread of whoever looks -------------------------------------------------------------------------------

    def _settled(self, run: GrowingRun) -> bool:
        """End a record of futures if it is over; asked by the bus, ten times a second."""
        self._take_in_released()
        with self._lock:
            for book in self._books:
                if book.run is run and isinstance(book, FuturesBook) and book.is_over():
                    self._forget(book)
                    book.end()
                    return True
        return False

    def _take_in_released(self) -> None:
        released = [self._released.popleft() for _ in range(len(self._released))]
        if released:
            self.cancelled(released)

    def _cancel(self, book: FuturesBook) -> None:
        """Ask the coordinator to forget what is outstanding; it answers with `cancelled`."""
        if ids := book.unsettled():
            self._connection.send("cancel", ids, False)

    def _recalled(self, book: FuturesBook, row: int, fresh: bool) -> Plan:
        recalled: Recalled = self.recall(book.number(row)).bring(fresh)
        return recalled.plan(book.run.graph.keys, lambda number: row if number == recalled.id else book.row(number))

    def _forget(self, book: Book) -> None:
        self._books = tuple(other for other in self._books if other is not book)
        if self._newest is book:
            self._newest = None
        if self._others is book:
            self._others = None

    def _by_book(self, ids: Sequence[int]) -> Iterator[tuple[Book, Sequence[int]]]:
        for book in self._books if ids else ():
            rows = book.rows(ids)
            if rows:
                yield book, rows
