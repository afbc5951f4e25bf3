"""What is to end and does not: cancelled code that runs, and results that nobody needs whose pickling goes on.

It is stopped, or its worker is replaced, or the user is told that it goes on.
"""

from __future__ import annotations

from math import inf
from time import monotonic

from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import SHIFT

PATIENCE = 1.0  # seconds in which a task may leave
PACKING = 5.0  # seconds in which a result may be packed to its end that nobody needs any more


class Stops:
    """Cancelled tasks and useless packing, by worker and id, and until when they may end by themselves."""

    def __init__(self, scheduler: Scheduler, crew: Crew) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self._cancelled: dict[tuple[int, int], float] = {}
        self._sent_for: dict[tuple[int, int], float] = {}  # 0.0: somebody needs it

    def __bool__(self) -> bool:
        """Whether somebody has to `look`."""
        return bool(self._cancelled or self._sent_for)

    def cancelled(self, worker: int, id: int) -> None:
        """A worker was told to end a task."""
        self._cancelled[worker, id] = monotonic() + PATIENCE

    def sent_for(self, worker: int, id: int) -> None:
        """A worker was told to send a result."""
        self._sent_for[worker, id] = 0.0

    def has_come(self, worker: int, id: int) -> None:
        """A worker has sent a result, or said why it does not."""
        self._sent_for.pop((worker, id), None)

    def forget(self, worker: int) -> None:
        """A worker has ended."""
        for expected in (self._cancelled, self._sent_for):
            for key in [key for key in expected if key[0] == worker]:
                del expected[key]

    def look(self, now: float) -> None:
        """See who has left, and send the others the signal again; replace workers of those that are deaf to it."""
        for (number, id), deadline in list(self._cancelled.items()):
            process, state = self._crew.workers[number], self._scheduler.workers[number]
            if id not in state.strays:
                del self._cancelled[number, id]
            elif id in [running for _, running, _ in process.running()]:
                process.interrupt(id)
                if now >= deadline:
                    self._is_deaf(number, id)
                    self._cancelled[number, id] = inf  # it may heed yet, such as when the machine has time for it
            elif now >= deadline and id == process.packing():  # what it has raised, or the size of its result
                self._is_deaf(number, id)
        for (number, id), deadline in list(self._sent_for.items()):
            if id in self._scheduler.tasks:
                self._sent_for[number, id] = 0.0
            elif not deadline:
                self._sent_for[number, id] = now + PACKING
            elif now >= deadline and id == self._crew.workers[number].packing():
                self._is_deaf(number, id)

    def _is_deaf(self, number: int, id: int) -> None:
        self._cancelled.pop((number, id), None)
        self._sent_for.pop((number, id), None)
        scheduler = self._scheduler
        forced = id in scheduler.forced
        scheduler.forced.discard(id)
        running = [running for _, running, _ in self._crew.workers[number].running()]
        if self._crew.processes and scheduler.may_end(number, running, forced):
            scheduler.orders.append(("end", number))
            return
        why = (
            "it holds data or runs tasks that would be lost with it; cancel(force=True) ends it all the same"
            if self._crew.processes
            else "its workers are threads, which nobody can end"
        )
        scheduler.tell(
            id >> SHIFT,
            "said",
            f"A cancelled task goes on on worker {scheduler.workers[number].name!r}, as it does not answer: {why}. Its "
            "result will be discarded.",
            None,
        )
