"""Tasks that wait where there is no worker, and none is to come: whoever submitted them is told, once."""

from __future__ import annotations

from collections import defaultdict

from taskloom import config
from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import Task
from taskloom.engines.processes_errors import describe


class Vacancy:
    """Tells clients of it, on the coordinator's thread. The tasks go on waiting.

    Parameters
    ----------
    name : of the cluster.
    """

    def __init__(self, name: str, scheduler: Scheduler, crew: Crew) -> None:
        self._name = name
        self._scheduler = scheduler
        self._crew = crew
        self._due = 0.0  # when to tell those who have not been; 0: nothing waits
        self._told: dict[int, int] = {}  # clients, and how many workers had been started by then

    def __bool__(self) -> bool:
        """Whether something waits in vain."""
        return not self._crew.size and self._scheduler.is_any_ready()  # workers that are to leave get none

    def look(self, now: float) -> None:
        if not self:
            self._due = 0.0
            self._told.clear()
        elif not self._due:
            self._due = now + config.get("distributed.no_workers_timeout")
        elif now >= self._due:
            self._tell()
            self._due = 0.0  # others may come to wait

    def _tell(self) -> None:
        waiting: defaultdict[int, list[Task]] = defaultdict(list)
        for task in self._scheduler.ready_tasks():
            waiting[self._scheduler.client_of(task).number].append(task)
        for client, tasks in waiting.items():
            if self._told.get(client) != self._crew.started:
                self._told[client] = self._crew.started
                self._scheduler.tell(client, "said", self._text(tasks), None)

    def _text(self, tasks: list[Task]) -> str:
        others = f" and {len(tasks) - 1:,} more wait" if len(tasks) > 1 else " waits"
        return (
            f"Task {describe(tasks[0].key)}{others}, as the cluster {self._name!r} has no workers and none is to come. "
            "Have some: cluster.scale(n), or cluster.adapt(...)."
        )
