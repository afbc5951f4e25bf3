"""An open run record, and which of a client's ids are its tasks: those of a graph run, or of futures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import nan
from threading import Lock
from time import perf_counter
from typing import Any, NamedTuple

from taskloom.bus.event_bus import bus
from taskloom.bus.failure import Failure
from taskloom.bus.growing_run import GrowingRun
from taskloom.bus.run import Run
from taskloom.bus.workers import Transfer
from taskloom.engines.measure import LONG, bytes_of
from taskloom.graph import Key

QUIET = 0.5  # seconds without anything outstanding, and without anything new, after which a record of futures ends


MOST_ROWS = 100_000  # of one record of futures: the next task begins another


class Member(NamedTuple):
    """A worker of the cluster, as it joins a run."""

    name: str
    pid: int
    threads: int
    since: float  # a clock reading


class Workers:
    """What a client has been told of the cluster's workers.

    Parameters
    ----------
    running : callable, returns worker, id and start of what runs right now.
    """

    def __init__(self, running: Callable[[], list[tuple[int, int, float]]]) -> None:
        self.running = running
        self.members: dict[int, Member] = {}
        self.held: dict[int, tuple[int, int]] = {}  # by worker: bytes of results now, and the most so far


class Book(ABC):
    """The open record `run`. Ids are the client's, rows are task numbers of the run."""

    def __init__(self, run: Run, workers: Workers) -> None:
        self.run = run
        self.again: set[int] = set()  # rows that are done, but are being computed once more: their results were lost
        self._workers = workers
        self._members: dict[int, int] = {}  # the run's number of each worker that has joined it
        run.current = RunningRows(self, workers)

    @abstractmethod
    def row(self, number: int) -> int:
        """The row of an id, -1 where it is not of this record."""

    def rows(self, ids: Sequence[int]) -> Sequence[int]:
        """The rows of ids, of those that are of this record."""
        return [row for number in ids if (row := self.row(number)) >= 0]

    def member(self, worker: int) -> int:
        """The run's number of a worker, which joins it if it has not."""
        number = self._members.get(worker)
        if number is None:
            member = self._workers.members.get(worker) or Member(f"worker-{worker}", 0, 1, perf_counter())
            number = self._members[worker] = self.run.join(*member[:3])
            self.run.workers[number].joined = max(0.0, member.since - self.run.zero)  # it was there before it reported
            self.hold(worker, *self._workers.held.get(worker, (0, 0))[:1])
        return number

    def hold(self, worker: int, now: int, most: int = 0) -> None:
        """Note the bytes of results that a worker holds, and the most since the last time."""
        if worker in self._members:
            entry = self.run.workers[self._members[worker]]
            entry.held, entry.peak_held = now, max(entry.peak_held, now, most)

    def leave(self, worker: int) -> None:
        """Note that a worker is gone."""
        if worker in self._members:
            entry = self.run.workers[self._members[worker]]
            entry.left, entry.held = self.run.duration, 0

    def move(self, row: int, source: int, target: int, nbytes: int) -> None:
        """Note that a result went from worker to worker."""
        run = self.run
        now = perf_counter() - run.zero
        run.transfers.append(Transfer(now, row, self.member(source), self.member(target), nbytes))

    def report(
        self,
        worker: int,
        ids: Sequence[int],
        rows: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        """Note tasks that are done."""
        run = self.run
        n = len(rows)
        member = self.member(worker)
        if n == 1 and not sizes and times[1] - times[0] <= LONG:  # somebody may wait for this very one
            (row,) = rows
            run.start[row], run.stop[row] = times
            run.worker[row] = member
            self.note_done(rows)
            return
        starts, stops = times[::2], times[1::2]
        if isinstance(rows, range):
            first, last = rows.start, rows.stop
            run.start[first:last], run.stop[first:last] = starts, stops
            run.worker[first:last] = array("H", [member]) * n
        else:
            begun, ended, where = run.start, run.stop, run.worker
            for row, start, stop in zip(rows, starts, stops, strict=True):
                begun[row], ended[row], where[row] = start, stop, member
        if sizes or sum(stops) - sum(starts) > n * LONG:
            for number, row, start, stop in zip(ids, rows, starts, stops, strict=True):
                if stop - start > LONG:
                    size = bytes_of(values[number]) if number in values else sizes.get(number) or nan
                    run.long[row] = (min(cpu, stop - start) if n == 1 else nan, size)
        self.note_done(rows)

    def note_done(self, rows: Sequence[int]) -> None:
        """Count tasks as done, each once."""
        again = self.again
        if again:
            self.run.done.extend([row for row in rows if row not in again])
            again.difference_update(rows)
        else:
            self.run.done.extend(rows)

    def do_again(self, rows: Sequence[int]) -> None:
        """Note that tasks are to be done once more."""
        self.again.update([row for row in rows if self.run.stop[row]])

    def begin_failed(self, row: int, worker: int | None, start: float) -> None:
        """Note where and when a task began that has failed."""
        if worker is not None:
            self.run.worker[row] = self.member(worker)
        if start:
            self.run.start[row] = start


class GraphBook(Book):
    """The record of a graph run, whose ids are contiguous and in the order of its tasks."""

    def __init__(self, run: Run, workers: Workers, first: int, n: int) -> None:
        super().__init__(run, workers)
        self._first, self._n = first, n

    def row(self, number: int) -> int:
        row = number - self._first
        return row if 0 <= row < self._n else -1

    def rows(self, ids: Sequence[int]) -> Sequence[int]:
        low, high, first = min(ids), max(ids), self._first
        if low < first or high >= first + self._n:
            return super().rows(ids)
        if high - low == len(ids) - 1 and (high == low or list(ids) == list(range(low, high + 1))):
            return range(low - first, high - first + 1)
        return [number - first for number in ids]


class FuturesBook(Book):
    """The record of futures, whose tasks have ids of any kind."""

    run: GrowingRun

    def __init__(self, run: GrowingRun, workers: Workers, burst: int) -> None:
        super().__init__(run, workers)
        self._burst = burst
        self._rows: dict[int, int] = {}
        self._inner: set[int] = set()  # tasks that there are no futures of: they are done for others
        self._repeated: set[int] = set()  # tasks that were done, and are to be once more, or cannot be
        self._counting = Lock()  # what is released is taken in on another thread than reports
        self.touched = perf_counter()  # when something was new
        run.on_quiet(self._quiet_since)

    def row(self, number: int) -> int:
        return self._rows.get(number, -1)

    def rows(self, ids: Sequence[int]) -> Sequence[int]:
        n = self.run.n_tasks  # others belong to what an interrupt has kept from being added
        if len(ids) == 1:
            found = self._rows.get(ids[0], n)
            return (found,) if found < n else ()
        rows = list(map(self._rows.get, ids))
        return [row for row in rows if row is not None and row < n]

    def number(self, row: int) -> int:
        """The id of a row."""
        return next(number for number, other in list(self._rows.items()) if other == row)

    def takes(self, n: int) -> bool:
        """Whether `n` more futures belong into this record."""
        return not self.run.stopped and self._burst == bus.bursts and self.run.n_tasks + n <= MOST_ROWS

    def add(
        self,
        first: int,
        keys: Sequence[Key],
        functions: Sequence[str],
        dependencies: Iterable[Sequence[int]],
        wanted: Sequence[int] | None,
    ) -> None:
        """Add tasks, with ids from `first` on, and with futures of those that are wanted, or of all."""
        self._tidy()
        rows = self._rows
        row = self.run.n_tasks
        rows.update(zip(range(first, first + len(keys)), range(row, row + len(keys)), strict=True))
        inputs = [
            tuple(dict.fromkeys([rows[number] for number in numbers if number in rows])) if numbers else ()
            for numbers in dependencies
        ]
        if wanted is not None:  # noted before they count: an interrupt that comes next leaves nobody who wants them
            self._inner.update(set(range(row, row + len(keys))).difference([rows[number] for number in wanted]))
        self.run.extend(keys, functions, inputs)
        self.touched = perf_counter()

    @property
    def outstanding(self) -> int:
        """How many tasks are neither done nor given up."""
        run = self.run
        twice = len(run.unfinished & self._repeated)  # done, and failed when they were to be done again
        return run.n_tasks - len(run.done) - len(run.unfinished) + len(self.again) + twice

    def add_call(self, number: int, key: Key, function: str) -> None:
        """Add a task that takes no others, with a future of it."""
        self._tidy()
        self._rows[number] = self.run.n_tasks
        self.run.append(key, function)
        self.touched = perf_counter()

    def _tidy(self) -> None:
        """Take away what an interrupt in the middle of adding tasks has left."""
        rows, n = self._rows, self.run.n_tasks
        while rows and next(reversed(rows.values())) >= n:
            self._inner.discard(rows.popitem()[1])

    def _quiet_since(self) -> float | None:
        return None if self.outstanding else self.touched

    def _touch(self) -> None:
        """Note that something is new."""
        self.touched = perf_counter()

    def note_done(self, rows: Sequence[int]) -> None:
        with self._counting:
            if self.run.unfinished:  # one may have been released, but others need it
                self.run.revive(rows)
            if self._repeated:
                self.again.difference_update(rows)
                rows = [row for row in rows if row not in self._repeated]
            super().note_done(rows)
        self._touch()

    def do_again(self, rows: Sequence[int]) -> None:
        with self._counting:
            given_up = self.run.unfinished.intersection(rows)
            self.run.revive(given_up)
            super().do_again([row for row in rows if row not in given_up or row in self._repeated])
            self._repeated |= self.again
        self._touch()

    def fail(self, failure: Failure, rows: Sequence[int], stop: float) -> None:
        """Note tasks that have failed, the first of them by itself and the others with it, unless they had before."""
        with self._counting:
            rows = [row for row in rows if row not in self.run.failures]
            self._repeated.update([row for row in rows if self.run.stop[row] and row not in self.run.unfinished])
            self.run.fail_tasks(failure, rows, stop)
            self.again.difference_update(rows)
        self._touch()

    def give_up(self, rows: Iterable[int]) -> None:
        """Note that tasks are forgotten, those of them that were not done."""
        run = self.run
        with self._counting:
            undone = {row for row in rows if not run.stop[row]} - run.unfinished
            repeated = self.again.intersection(rows)
            if not undone and not repeated:
                return
            run.unfinished |= undone
            self.again -= repeated
        self._touch()

    def give_up_inner(self) -> None:
        """Note that tasks are forgotten that were to be done for others only, and those are not to be done any more."""
        inputs = self.run.graph.dependencies
        unsettled = {self._rows[number] for number in self.unsettled()}
        useless = unsettled & self._inner
        todo = list(unsettled - useless)
        while todo:
            needed = useless.intersection(inputs[todo.pop()])
            useless -= needed
            todo += needed
        if useless:
            self.give_up(useless)

    def unsettled(self) -> list[int]:
        """The ids of what is outstanding."""
        run = self.run
        return [
            number
            for number, row in self._rows.items()
            if row < run.n_tasks and row not in run.unfinished and (not run.stop[row] or row in self.again)
        ]

    def is_over(self) -> bool:
        """Whether nothing is outstanding, and nothing has been new for a while."""
        quiet = 0.0 if self.run.stopped else QUIET
        if perf_counter() - self.touched < quiet:
            return False
        if self._inner and self.outstanding:
            self.give_up_inner()
        return not (self.outstanding and self.unsettled())

    def end(self) -> None:
        """Close the record."""
        run = self.run
        outstanding = bool(self.outstanding and self.unsettled())
        duration = None if outstanding else self.touched - run.zero
        if outstanding or (run.stopped and run.unfinished):
            run.end("cancelled", duration)
        elif run.failures:
            run.end("failed", duration)
        else:  # futures may have been dropped before they were done
            run.end("cancelled" if run.unfinished - self._inner else "finished", duration)


class RunningRows(Collection[int]):
    """The tasks of a record that run now, which are asked for when somebody wants to see them."""

    def __init__(self, book: Book, workers: Workers) -> None:
        self._book = book
        self._workers = workers

    def __iter__(self) -> Iterator[int]:
        book = self._book
        for worker, number, started in self._workers.running():
            row = book.row(number)
            if row >= 0 and not book.run.stop[row]:
                book.run.start[row] = started
                book.run.worker[row] = book.member(worker)
                yield row

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)
