"""How many workers a cluster should have, and which of them may go: decisions without a clock, socket or thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple

from taskloom.engines.cluster.scheduler.tasks import MASK, READY, Task, WorkerState

if TYPE_CHECKING:
    from taskloom.engines.cluster.scheduler.scheduler import Scheduler

FRESH = 0.5  # seconds that a task is expected to take of whose function nothing is known
FULL = 0.6  # of the memory of all workers: with more in it there should be more of them
SAMPLE = 1_000  # tasks of a queue that are looked at; the others are taken to be like them


class Demand(NamedTuple):
    """What there is to do and to keep.

    Attributes
    ----------
    tasks : how many could run now, or do.
    seconds : that those are expected to take, one after the other.
    held : bytes of results in the workers.
    """

    tasks: int
    seconds: float
    held: float


def demand_of(scheduler: Scheduler, elapsed: Mapping[int, float]) -> Demand:
    """What there is to do; `elapsed` are the seconds since when tasks run, by id."""
    known = dict(scheduler.seconds)
    for id, seconds in elapsed.items():
        task = scheduler.tasks.get(id)
        if task is not None:  # it takes that long at least, and others with its function may as well
            known[task.code] = max(known.get(task.code, FRESH), seconds)
    tasks, seconds = 0, 0.0
    for queue, length in _queues(scheduler):
        seen = [task for task in islice(queue, SAMPLE) if task is not None]
        if seen:
            count = len(seen) * length // min(SAMPLE, length)
            tasks += count
            seconds += count * sum([known.get(task.code, FRESH) for task in seen]) / len(seen)
    return Demand(tasks, seconds, sum([worker.held for worker in scheduler.workers.values()]))


def _queues(scheduler: Scheduler) -> Iterator[tuple[Iterable[Task | None], int]]:
    """All tasks that could run now, or do, with how many those are at most: None stands for what is out of date."""
    for worker in scheduler.workers.values():
        for given in (worker.outstanding, worker.transit):
            yield given.values(), len(given)
    heaps = [heap for client in scheduler.clients.values() for heap in (client.ready, client.roots)]
    heaps += [worker.own for worker in scheduler.workers.values()]
    heaps += scheduler.special.values()
    for heap in heaps:
        yield (_ready(scheduler, rank) for rank in heap), len(heap)


def _ready(scheduler: Scheduler, rank: int) -> Task | None:
    task = scheduler.tasks.get(rank & MASK)
    return task if task is not None and task.state is READY else None


def workers_wanted(demand: Demand, threads: int, memory_limit: float, target_duration: float) -> int:
    """How many workers of some threads and memory would do all of that in `target_duration` seconds, and keep it.

    >>> workers_wanted(Demand(tasks=100, seconds=50.0, held=0.0), threads=2, memory_limit=1e9, target_duration=5.0)
    5
    >>> workers_wanted(Demand(tasks=3, seconds=5000.0, held=0.0), threads=1, memory_limit=1e9, target_duration=5.0)
    3
    >>> workers_wanted(Demand(tasks=0, seconds=0.0, held=4e9), threads=1, memory_limit=2e9, target_duration=5.0)
    4
    """
    for_work = ceil(min(demand.tasks, max(1.0, demand.seconds / target_duration)) / threads)
    for_data = 0
    if demand.held > 0:
        for_data = 1 if memory_limit == inf else ceil(demand.held / (FULL * memory_limit))
    return max(for_work, for_data)


class Sizer:
    """Says how many workers there should be, each time it is told how many are wanted: more at once, fewer only when
    so few have been wanted for a while.

    Parameters
    ----------
    minimum, maximum : bounds.
    wait_count : how often in a row fewer must have been wanted.

    Examples
    --------
    >>> sizer = Sizer(minimum=0, maximum=4, wait_count=2)
    >>> sizer.size(7, now=1), sizer.size(0, now=4), sizer.size(1, now=4), sizer.size(0, now=1)
    (4, 4, 1, 1)
    """

    def __init__(self, minimum: int, maximum: int, wait_count: int) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self._last: deque[int] = deque(maxlen=max(1, wait_count))

    def size(self, wanted: int, now: int) -> int:
        """How many there should be, where there are `now`."""
        wanted = min(max(wanted, self.minimum), self.maximum)
        self._last.append(wanted)
        if len(self._last) == self._last.maxlen:
            return min(max(now, wanted), max(self._last))
        return max(wanted, min(now, self.maximum))


def first_to_go(workers: Iterable[WorkerState], n: int) -> list[int]:
    """The numbers of `n` workers whose end costs least: of those with least to do, then with least data, the newest."""
    ranked = sorted(workers, key=lambda worker: (worker.given(), worker.held, -worker.number))
    return [worker.number for worker in ranked[: max(0, n)]]


def idle(workers: Iterable[WorkerState]) -> list[int]:
    """The numbers of those that have nothing to do, and hold nothing."""
    return [worker.number for worker in workers if not worker.given() and not worker.has]
