"""Watches what memory the workers take: who has too much makes room, is given nothing for a while, or is replaced."""

from __future__ import annotations

import math
from typing import Any

from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import WorkerState
from taskloom.engines.cluster.sizes import size_text
from taskloom.engines.cluster.worker.page import EXHAUSTED, MANAGED, SPILLED, UNMAPPED
from taskloom.engines.processes_errors import describe

EVERY = 0.1  # seconds
AGAIN = 1.0  # seconds after which a worker that has found nothing to put on disk tries again
PATIENCE = 5.0  # seconds after which a worker that is paused and does nothing is given a task all the same
RELIEF = 0.95  # of the limit at which a worker is paused: below, it is not any more


class MemoryWatch:
    """On the coordinator's thread. Workers are seen from outside: they may be too busy to tell anything.

    Attributes
    ----------
    is_limited : whether workers may have too much. Also one without tasks may, by what its actors and threads keep.
    """

    def __init__(self, scheduler: Scheduler, crew: Crew) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self.is_limited = min(crew.allowance.limits[1:]) < math.inf
        self._looked = 0.0
        self._asked: dict[int, float] = {}  # when workers were asked to make room
        self._paused: dict[int, float] = {}  # since when
        self._fates: dict[int, str] = {}  # of those that were ended

    def __bool__(self) -> bool:
        """Whether somebody has to `look`, even if nothing is heard."""
        return bool(self._paused)

    def look(self, now: float) -> None:
        """See who has too much."""
        if now - self._looked < EVERY:
            return
        self._looked = now
        limits = self._crew.allowance.limits
        for worker in list(self._scheduler.workers.values()):
            process = self._crew.workers[worker.number]
            page = process.page
            self._scheduler.has_spilled(worker.number, max(0.0, worker.held - page[MANAGED]) if page[SPILLED] else 0.0)
            used = process.memory()
            own = used - page[UNMAPPED]  # what has been sent there and not been looked at is not its fault
            if own <= limits.terminate or not self._crew.processes:
                self._relieve(worker, used, now)
            elif worker.number not in self._fates:
                self._end(worker, own)

    def _relieve(self, worker: WorkerState, used: float, now: float) -> None:
        limits, number = self._crew.allowance.limits, worker.number
        process = self._crew.workers[number]
        exhausted = bool(process.page[EXHAUSTED])
        if (used > limits.spill or process.page[MANAGED] > limits.target) and now - self._asked.get(number, 0.0) > (
            AGAIN if exhausted else EVERY
        ):
            self._asked[number] = now
            process.ask("make_room")
        if used > limits.pause and number not in self._paused:
            self._paused[number] = now
            self._scheduler.pause(number)
        elif number in self._paused:
            if used < RELIEF * limits.pause:
                del self._paused[number]
                self._scheduler.resume(number)
            else:
                self._scheduler.is_stuck(number, exhausted or now - self._paused[number] > PATIENCE)

    def _end(self, worker: WorkerState, used: float) -> None:
        """A worker has so much that the next one to want memory may get none: another one takes its place."""
        limit = self._crew.allowance.limits.limit
        held = f"{size_text(used)} of its limit of {size_text(limit)}"
        tasks = self._scheduler.tasks
        running = [id for number, id, _ in self._crew.running() if number == worker.number and id in tasks]
        while_running = ", while it ran " + ", ".join([describe(tasks[id].key) for id in running]) if running else ""
        self._fates[worker.number] = f"was ended, as it held {held}"
        text = (
            f"Worker {worker.name!r} was ended and replaced, as it held {held}{while_running}. What it held is "
            "computed again. Have tasks make smaller pieces, or give workers more memory (memory_limit=)."
        )
        self._warn(text)
        self._crew.workers[worker.number].kill()

    def _warn(self, text: str) -> None:
        for client in self._scheduler.clients:
            self._scheduler.tell(client, "said", text, None)

    def has_no_room(self, number: int, text: str) -> None:
        """A worker cannot put on disk what is too much."""
        self._warn(f"Worker {self._scheduler.workers[number].name!r}: {text}")

    def fate(self, number: int) -> str | None:
        """Why a worker was ended, if it was for its memory; it is forgotten."""
        self._asked.pop(number, None)
        self._paused.pop(number, None)
        return self._fates.pop(number, None)

    def describe(self, worker: WorkerState) -> dict[str, Any]:
        """What a worker takes, which is nothing once it has ended. Any thread may ask."""
        try:
            process = self._crew.workers[worker.number]
            memory, managed, spilled = process.memory(), process.page[MANAGED], process.page[SPILLED]
        except (KeyError, ValueError):  # it ended just now, and its page was given up
            return {"memory": 0.0, "managed": 0.0, "spilled": 0.0, "status": "closed"}
        status = "closing_gracefully" if worker.leaving else "paused" if worker.paused else "running"
        return {"memory": memory, "managed": managed, "spilled": spilled, "status": status}
