"""What one client's submissions to a dask scheduler leave on the bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from taskloom.adapters.distributed.book import (
    ClusterRun,
    OthersOnCluster,
    SampledBook,
    SampledOthersBook,
    Submission,
    SubmittedBook,
)
from taskloom.bus import GrowingRun
from taskloom.bus.event_bus import bus
from taskloom.bus.run import Status
from taskloom.engines.cluster.client.books import FuturesBook
from taskloom.engines.cluster.client.others import OthersBook
from taskloom.engines.cluster.client.records import Records, Wire
from taskloom.graph import Plan

ENGINE = "dask.distributed"


class ClientWire(Wire, Protocol):
    """What these records need of who listens to a scheduler."""

    def alive(self) -> Callable[[], bool]:
        """What says whether the connection that is there now is still there."""

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """Have the scheduler forget what of these is outstanding."""


class ClusterRecords(Records):
    """The open run records of one client: one for each call that waits, and one that grows with futures.

    Parameters
    ----------
    wire : who listens to the scheduler.
    replan : makes of a record, a row, and whether its inputs are to be fresh, what runs that task again.
    """

    def __init__(self, wire: ClientWire, replan: Callable[[ClusterRun, int, bool], Plan]) -> None:
        super().__init__(ENGINE, wire, recall=partial(_no_recall))
        self._wire = wire
        self._replan = replan

    # -- in the threads of the caller -------------------------------------------------------------------------------

    def begin_call(self) -> SubmittedBook:
        """A record of its own, which `end_call` ends."""
        with self._lock:
            return self._open(ClusterRun(ENGINE, _never))

    def end_call(self, book: SubmittedBook, status: Status) -> None:
        """Close such a record. The bus is still to be told."""
        with self._lock:
            self._forget(book)
        if status == "finished":
            book.settle()
        elif status == "cancelled":
            book.give_up([row for row, stop in enumerate(book.run.stop) if not stop])
        book.run.end(status)
        book.run.let_go_of_futures()

    def expect(self, submission: Submission) -> SubmittedBook:
        """The record of futures to which a submission is to be added."""
        with self._lock:
            book = self._newest
            if not isinstance(book, SubmittedBook) or not book.takes(len(submission.keys)):
                book = self._newest = self._open(ClusterRun(ENGINE, self._settled))
            book.expect(submission)
            return book

    def _open(self, run: ClusterRun) -> SubmittedBook:
        book = SubmittedBook(run, self._workers, bus.bursts, self._wire.alive)
        run.on_cancel(partial(self._cancel, book))
        run.on_recall(partial(self._replan, run))
        self._books = (book, *self._books)
        bus.started(run)
        bus.make_room(at_once=False)
        return book

    def gone(self, why: str = "") -> None:
        runs = self.open_runs()
        super().gone(why)
        for run in runs:
            if isinstance(run, ClusterRun):
                run.let_go_of_futures()

    def _cancel(self, book: FuturesBook) -> None:
        assert isinstance(book, SubmittedBook)
        self._wire.cancel(book.submissions)

    # -- on the connection's thread -----------------------------------------------------------------------------------

    def sampled(self, worker: int, time: float, cpu: float, rss: int, held: int) -> None:
        """A worker has told what it uses."""
        for book in self._books:
            if isinstance(book, SampledBook):
                book.sample(worker, time, cpu, rss, held)

    def _open_others(self, engine: str) -> OthersBook:
        return SampledOthersBook(OthersOnCluster(engine, self._settled), self._workers, bus.bursts)


def _no_recall(_: int) -> Any:
    raise ValueError("The records of dask's clusters bring what was called by themselves.")


def _never(_: GrowingRun) -> bool:
    return False
