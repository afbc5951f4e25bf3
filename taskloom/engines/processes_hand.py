"""A worker process in a run: what it was given, and what it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from taskloom.bus.run import Run
from taskloom.engines.worker.page import NOTHING, POSITION, RUN, STARTED
from taskloom.engines.worker.process import WorkerProcess


class Hand:
    """A worker in this run: its queue, by position."""

    def __init__(self, worker: WorkerProcess, run: int, number: int, index: int) -> None:
        self.worker = worker
        self.run = run
        self.number = number  # among the run's workers
        self.index = index  # among the hands
        self.queue: list[int] = []  # all that it was ever given; NOWHERE for what was taken back
        self.sent = 0  # the position up to which it has been told
        self.reported = 0  # ... and up to which it is done
        self.left = 0  # how many are in the queue and not done
        self.returns = 0  # how often it gave back what it had not begun
        self.limited = False  # whether it will do so as soon as it comes to its limit
        self.known: set[int] = set()  # the parts of the plan that it has
        self.functions: set[int] = set()
        self.copies: set[int] = set()  # results of others that it has
        self.dropped: list[int] = []
        self.asked = -1  # the position at which it was asked for a report

    def running(self) -> int:
        """The position of the task that it began last, or -1."""
        page = self.worker.page
        return int(page[POSITION]) if page[RUN] == self.run else -1


class Running(Collection[int]):
    """The tasks that run right now, as the workers' pages say."""

    def __init__(self, hands: list[Hand], run: Run) -> None:
        self._hands = hands
        self._run = run

    def _found(self) -> list[int]:
        found = []
        for hand in list(self._hands):
            try:
                page = hand.worker.page
                position, started = int(page[POSITION]), page[STARTED]
                if started == NOTHING or page[RUN] != hand.run or not hand.reported <= position < len(hand.queue):
                    continue
            except ValueError:  # its page was given up just now
                continue
            task = hand.queue[position]
            if task >= 0 and not self._run.stop[task]:
                self._run.start[task] = started
                self._run.worker[task] = hand.number
                found.append(task)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __contains__(self, task: object) -> bool:
        return task in self._found()
