"""Cancelled code that runs: it is stopped, or its worker is replaced, or the user is told that it goes on."""

from __future__ import annotations

from time import monotonic

from taskloom.engines.cluster.crew import Crew
from taskloom.engines.cluster.scheduler import Scheduler
from taskloom.engines.cluster.tasks import SHIFT

PATIENCE = 1.0  # seconds in which a task may leave


class Stops:
    """The tasks that were cancelled while they ran, by worker and id, and until when they may leave by themselves."""

    def __init__(self, scheduler: Scheduler, crew: Crew) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self._deadlines: dict[tuple[int, int], float] = {}

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def add(self, worker: int, id: int) -> None:
        self._deadlines[worker, id] = monotonic() + PATIENCE

    def look(self, now: float) -> None:
        """See who has left, and send the others the signal again; replace workers of those that are deaf to it."""
        for (number, id), deadline in list(self._deadlines.items()):
            process = self._crew.workers.get(number)
            state = self._scheduler.workers.get(number)
            if process is None or state is None or id not in state.strays:
                del self._deadlines[number, id]
            elif id not in [running for _, running, _ in process.running()]:
                continue  # it has not begun, or was about to end
            elif now < deadline:
                process.interrupt(id)
            else:
                del self._deadlines[number, id]
                self._is_deaf(number, id)

    def _is_deaf(self, number: int, id: int) -> None:
        scheduler = self._scheduler
        forced = id in scheduler.forced
        scheduler.forced.discard(id)
        if self._crew.processes and scheduler.may_end(number, forced):
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
