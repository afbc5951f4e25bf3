"""What a client hears of its tasks from a dask scheduler, written to its records."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from itertools import groupby
from math import nan
from operator import itemgetter
from time import perf_counter
from typing import Any
from weakref import ref

from distributed import Client, Future

from taskloom.adapters.distributed import events as kinds
from taskloom.adapters.distributed.book import ClusterRun, Submission, SubmittedBook
from taskloom.adapters.distributed.clock import Clock
from taskloom.adapters.distributed.failure import failure_of, note
from taskloom.adapters.distributed.occupancy import Occupancy
from taskloom.adapters.distributed.records import ClusterRecords
from taskloom.adapters.distributed.replay import Recall, plan_of


class Listener:
    """Takes in events of one client's tasks, on that client's thread.

    Tasks have several numbers: those of the scheduler's plugin, an id for each submission that they are part of, and a
    row of a run record.
    """

    def __init__(self, client: Client) -> None:
        self._client = ref(client)
        self.clock = Clock()
        self.records = ClusterRecords(self, self._plan_of)
        self._occupancy = Occupancy()
        self._used: dict[int, Any] = {}  # what workers have told of themselves: CPU, memory and bytes of results
        self._sampled_at = 0.0
        self._shifts: dict[int, float] = {}  # what has to be added to times of workers, which align their clocks badly
        self._next = 1
        self._ids: dict[int, list[int]] = {}  # by the plugin's number
        self._books: dict[int, SubmittedBook] = {}  # by id
        self._pending: list[tuple[Submission, SubmittedBook]] = []  # graphs that are on their way
        self._blamed: dict[Any, list[tuple[SubmittedBook, int]]] = {}  # by key: the failure that it shares

    # -- what the records ask -----------------------------------------------------------------------------------------

    def running(self) -> list[tuple[int, int, float]]:
        return [(worker, id, since) for worker, task, since in self._occupancy for id in self._ids.get(task, ())]

    def send(self, kind: str, *fields: Any) -> None:
        raise NotImplementedError("A dask scheduler is told by its own client.")

    def alive(self) -> Callable[[], bool]:
        client = self._client()
        comm = getattr(client, "scheduler_comm", None)  # None: what is sent now goes over the connection to come

        def alive() -> bool:
            nonlocal comm
            client = self._client()
            if client is None or client.status not in ("running", "connecting"):
                return False
            comm = comm or client.scheduler_comm
            return client.scheduler_comm is comm

        return alive

    def cancel(self, submissions: Sequence[Submission]) -> None:
        client = self._client()
        if client is not None and client.status == "running":
            keys = {key for each in submissions for key in each.keys if each.is_pending}
            futures = [Future(key, client) for key in keys if key in client.futures]
            client.loop.add_callback(client._cancel, futures)

    def _plan_of(self, run: ClusterRun, row: int, fresh: bool) -> Any:
        return plan_of(self._client(), run, row, fresh)

    # -- in the threads of the caller ---------------------------------------------------------------------------------

    @property
    def awaited(self) -> list[Submission]:
        """What the scheduler has not told of so far."""
        return [submission for submission, _ in list(self._pending)]

    def expect(self, submission: Submission, book: SubmittedBook | None) -> None:
        """Await the graph of what is about to be sent: a part of a record of futures, or of this record."""
        if book is None:
            book = self.records.expect(submission)
        else:
            book.expect(submission)
        self._pending.append((submission, book))

    def withdraw(self, submission: Submission) -> None:
        """It has not been sent."""
        for entry in [entry for entry in self._pending if entry[0] is submission]:
            entry[1].withdraw(submission)
            self._pending.remove(entry)

    def explain(self, book: SubmittedBook, error: BaseException) -> None:
        """The call that waits for the tasks of a record has raised this."""
        failure = book.run.failure
        if failure is not None and isinstance(failure.exception, str):
            book.explain(failure, failure_of(error))
            note(book.run, book.run.failed_task or 0, error)

    # -- on the client's thread ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """There is a new connection: what was on its way is lost, and tasks and workers are numbered anew."""
        for entry in [entry for entry in self._pending if not entry[1].is_connected]:
            self._pending.remove(entry)
        self._occupancy = Occupancy()
        self.clock = Clock()
        for known in (self._used, self._shifts, self._ids, self._books, self._blamed):
            known.clear()

    def hear(self, event: tuple[float, Sequence[Any]]) -> None:
        """A batch has come."""
        stamp, batch = event
        self.clock.heard(stamp)
        self.take_in(batch)

    def take_in(self, batch: Sequence[Any]) -> None:
        """Write events to the records."""
        for kind, group in groupby(batch, lambda entry: entry[0]):
            _HEARS[kind](self, [entry[1:] for entry in group])

    def _graphs(self, graphs: Iterable[Any]) -> None:
        for token, n, names, rows in graphs:
            numbers = {row[1]: row[0] for row in rows}
            tasks = {row[0]: row for row in rows}
            if token is None:
                found = [entry for entry in self._pending if entry[0].keys <= numbers.keys()]
            else:
                found = [entry for entry in self._pending if token in entry[0].keys and len(entry[0].keys) == n][:1]
            for entry in found:
                self._pending.remove(entry)
                submission, book = entry
                if book.run.status == "running":
                    self._take(book, [numbers[key] for key in submission.keys if key in numbers], tasks, names)
                    submission.arrived = True

    def _take(self, book: SubmittedBook, wanted: Sequence[int], tasks: dict[int, Any], names: Sequence[str]) -> None:
        """Add tasks to a record, in an order in which they can run."""
        known = {number: id for number in tasks for id in self._ids.get(number, ()) if self._books[id] is book}
        order = _ordered(wanted, tasks, known)
        first = self._next
        self._next += len(order)
        ids = known | dict(zip(order, range(first, self._next), strict=True))
        for number in order:
            self._ids.setdefault(number, []).append(ids[number])
            self._books[ids[number]] = book
        if order:
            book.add(
                first,
                [tasks[number][1] for number in order],
                [names[tasks[number][2]] for number in order],
                [[ids[dep] for dep in tasks[number][3] if dep in ids] for number in order],
                [ids[number] for number in wanted if number not in known],
            )

    def _have(self, tasks: Iterable[Any]) -> None:
        self.records.done([id for (task,) in tasks for id in self._ids.get(task, ())])

    def _done(self, tasks: Sequence[Any]) -> None:
        here = self.clock.here
        for worker, group in groupby(sorted(tasks, key=_worker_of), _worker_of):
            done: dict[SubmittedBook, tuple[list[int], list[float], dict[int, float]]] = {}
            moves: list[tuple[int, Any]] = []
            shift = self._shifts.get(worker, 0.0)
            for task, _, start, stop, nbytes, sources, sent, known in group:
                shift = min(max(shift, sent - start), known - stop)  # it can have run only between these
                start, stop = here(start + shift), here(stop + shift)
                self._occupancy.end(task, stop)
                for id in self._ids.get(task, ()):
                    ids, times, sizes = done.setdefault(self._books[id], ([], [], {}))
                    ids.append(id)
                    times += (start, stop)
                    sizes[id] = nbytes
                    if sources:
                        moves.append((id, [(source, here(when + shift)) for source, when in sources if source >= 0]))
            self._shifts[worker] = shift
            for ids, times, sizes in done.values():
                self.records.report(worker, ids, times, {}, sizes, nan)
            for id, sources in moves:
                book = self._books[id]
                book.note_moves(book.row(id), worker, sources)

    def _failed(self, tasks: Sequence[Any]) -> None:
        causes: dict[int, list[int]] = {}
        for task, cause, *_ in tasks:
            causes.setdefault(cause, []).append(task)
        told = {entry[0]: entry for entry in tasks}
        for cause, followers in causes.items():
            _, _, worker, start, stop, attempts, text = told.get(cause) or told[followers[0]]
            stop = self.clock.here(stop) if stop else perf_counter()
            for task in followers:
                self._occupancy.end(task, stop)
            ids = [id for task in followers for id in self._ids.get(task, ())]
            blamed = {self._books[id]: id for id in self._ids.get(cause, ()) if self._is_open(id)}
            for id in ids:  # one of these stands for a task that failed in a record that has ended
                blamed.setdefault(self._books[id], id)
            for book, number in blamed.items():
                same = [id for id in ids if self._books[id] is book]
                row = book.row(number)
                if row in book.run.failures:  # it was told before
                    book.fail(book.run.failures[row], [book.row(id) for id in same], stop)
                else:
                    begun = self.clock.here(start) if start else 0.0
                    recall = Recall(self._client, book.run, book.run.graph.keys[row])
                    where = worker if worker >= 0 else None
                    self.records.failed(number, text, where, begun, stop, attempts, same, recall)
                for id in same:
                    self._blamed.setdefault(self._key_of(id), []).append((book, row))
        for id in [id for task, *_ in tasks for id in self._ids.get(task, ())]:
            self.erred(self._key_of(id))  # it may have come already

    def _key_of(self, id: int) -> Any:
        book = self._books[id]
        return book.run.graph.keys[book.row(id)]

    def failed_tasks(self) -> set[int]:
        """The tasks that have failed in records that are open."""
        return {
            task
            for task, ids in self._ids.items()
            for id in ids
            if self._is_open(id) and self._books[id].row(id) in self._books[id].run.failures
        }

    def _is_open(self, id: int) -> bool:
        return self._books[id].run.status == "running"

    def erred(self, key: Any) -> None:
        """The exception of a task has come to the client, on a way of its own."""
        state = self._client_future(key)
        if state is not None and state.status == "error" and state.exception is not None:
            for book, row in self._blamed.get(key, ()):
                failure = book.run.failures.get(row)
                if failure is not None and isinstance(failure.exception, str):
                    book.explain(failure, failure_of(state.exception))
                note(book.run, row, state.exception)

    def _client_future(self, key: Any) -> Any:
        client = self._client()
        return None if client is None else client.futures.get(key)

    def _gone(self, tasks: Iterable[Any]) -> None:
        now = perf_counter()
        given_up: list[int] = []
        for (task,) in tasks:
            self._occupancy.end(task, now)
            for id in self._ids.pop(task, ()):
                self._blamed.pop(self._key_of(id), None)
                book = self._books.pop(id)
                if not book.run.stop[book.row(id)]:
                    given_up.append(id)
        self.records.cancelled(given_up)

    def _joined(self, workers: Iterable[Any]) -> None:
        for number, _, name, pid, threads in workers:
            self._occupancy.join(number, threads)
            self.records.joined(number, name, pid, threads)

    def _left(self, workers: Iterable[Any]) -> None:
        for (number,) in workers:
            self._occupancy.leave(number)
            self._used.pop(number, None)
            self.records.left(number)

    def _begun(self, tasks: Iterable[Any]) -> None:
        again: list[int] = []
        for task, worker, since in tasks:
            self._occupancy.begin(task, worker, self.clock.here(since))
            for id in self._ids.get(task, ()):
                book = self._books[id]
                row = book.row(id)
                if book.run.stop[row] and row not in book.again:
                    again.append(id)
        if again:
            self.records.again(again)

    def _waits(self, tasks: Iterable[Any]) -> None:
        for (task,) in tasks:
            self._occupancy.end(task, perf_counter())
            for id in self._ids.get(task, ()):
                book = self._books[id]
                row = book.row(id)
                if not book.run.stop[row] and book.run.status == "running":
                    book.run.start[row] = 0.0

    def _sampled(self, samples: Iterable[Any]) -> None:
        """Workers have told what they use, each in its own time: of the others what they told last holds on."""
        for worker, time, *used in samples:
            self._used[worker] = used
            self._sampled_at = max(self._sampled_at, self.clock.here(time))
        for worker, (cpu, rss, held) in self._used.items():
            self.records.sampled(worker, self._sampled_at, cpu, rss, held)

    def _others(self, tasks: Sequence[Any]) -> None:
        here = self.clock.here
        for worker, group in groupby(sorted(tasks, key=itemgetter(0)), itemgetter(0)):
            _, keys, clients, starts, stops, sizes = zip(*group, strict=True)
            shift = self._shifts.get(worker, 0.0)
            times = [here(time + shift) for pair in zip(starts, stops, strict=True) for time in pair]
            self.records.others(worker, keys, clients, times, sizes)


_HEARS: dict[int, Callable[[Listener, Any], None]] = {
    kinds.GRAPH: Listener._graphs,
    kinds.HAVE: Listener._have,
    kinds.DONE: Listener._done,
    kinds.FAILED: Listener._failed,
    kinds.GONE: Listener._gone,
    kinds.JOINED: Listener._joined,
    kinds.LEFT: Listener._left,
    kinds.BEGUN: Listener._begun,
    kinds.WAITS: Listener._waits,
    kinds.SAMPLE: Listener._sampled,
    kinds.OTHERS: Listener._others,
}


def _worker_of(entry: Any) -> int:
    return int(entry[1])


def _ordered(wanted: Iterable[int], tasks: dict[int, Any], known: Container[int]) -> list[int]:
    """The tasks that are to be done for those wanted, each behind its inputs; but none of those known."""
    order: dict[int, None] = {}
    todo = [number for number in wanted if number not in known]
    while todo:
        number = todo[-1]
        inputs = () if number in order else tasks[number][3]
        missing = [
            dep for dep in inputs if dep not in order and dep not in known and dep in tasks and not tasks[dep][4]
        ]
        if missing:
            todo += missing
        else:
            order[todo.pop()] = None
    return list(order)
