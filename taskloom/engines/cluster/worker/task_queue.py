"""The tasks that wait in a worker: for a thread, or for a result that is still being computed here."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from taskloom.engines.cluster.worker.store import Store

Task = tuple[int, int, tuple[int, ...], tuple[Any, ...]]  # id, code, args, plain arguments


class TaskQueue:
    """Tasks in the order in which they are to be run.

    Attributes
    ----------
    ready : the tasks. Threads take the first one without a lock; whoever finds none looks again after `settle`.
    pending : ids of tasks that have come and have neither been reported nor given up.
    awaited : ids of results for which tasks are parked, and the ids of those.
    cancelled : ids of tasks that are not to be begun, or to be stopped. They leave when the task ends.
    """

    def __init__(self, store: Store) -> None:
        self.ready: deque[Task] = deque()
        self.pending: set[int] = set()
        self.awaited: dict[int, list[int]] = {}
        self.cancelled: set[int] = set()
        self._parked: dict[int, Task] = {}
        self._store = store
        self._lock = threading.Lock()

    def extend(self, ids: Collection[int], tasks: Iterable[Task]) -> None:
        """Take in tasks, behind the others."""
        with self._lock:
            self.cancelled.difference_update(ids)
            self.pending.update(ids)
            self.ready.extend(tasks)

    def settle(self) -> None:
        """Wait until nobody is sorting tasks out."""
        with self._lock:
            pass

    def inputs(self) -> dict[int, None]:
        """What the tasks take that are about to run, in that order."""
        tasks = [*list(self.ready), *list(self._parked.values())]
        return dict.fromkeys([arg for task in tasks for arg in task[2] if arg >= 0])

    def absent(self, task: Task) -> list[int]:
        """The inputs of a task that are not here."""
        return [arg for arg in task[2] if arg >= 0 and arg not in self._store]

    def park(self, task: Task, absent: Sequence[int]) -> list[int]:
        """Keep a task until an absent input is there; returns those that are not on their way, if it cannot be kept."""
        id, first = task[0], absent[0]
        with self._lock:
            lost = [arg for arg in absent if arg not in self.pending and arg not in self._store]
            if not lost:
                self._parked[id] = task
                self.awaited.setdefault(first, []).append(id)
                if first in self._store or id in self.cancelled:  # meanwhile: it may be too late to be told
                    self.ready.appendleft(self._parked.pop(id))
        return lost

    def arrived(self, id: int) -> None:
        """Have the tasks that are parked for this result run next."""
        with self._lock:
            for waiting in reversed(self.awaited.pop(id, ())):
                task = self._parked.pop(waiting, None)
                if task is not None:
                    self.ready.appendleft(task)

    def lose(self, ids: Iterable[int]) -> list[tuple[int, list[int]]]:
        """Give up what does not come; returns the tasks that were parked for it, with the inputs that they miss."""
        gone = list(ids)
        found: list[Task] = []
        with self._lock:
            while gone:
                id = gone.pop()
                self.pending.discard(id)
                for waiting in self.awaited.pop(id, ()):
                    task = self._parked.pop(waiting, None)
                    if task is not None:
                        found.append(task)
                        gone.append(waiting)
            return [(task[0], [arg for arg in self.absent(task) if arg not in self.pending]) for task in found]

    def withdraw(self, ids: Iterable[int], cancel: bool = False) -> list[int]:
        """Take out those that have not begun. With `cancel` the others are noted as cancelled, if they are there."""
        asked = set(ids)
        with self._lock:
            tasks = []
            while self.ready:
                try:
                    tasks.append(self.ready.popleft())
                except IndexError:  # a thread has taken the last one
                    break
            found = [task[0] for task in tasks if task[0] in asked]
            self.ready.extend([task for task in tasks if task[0] not in asked])
            found += [id for id in asked if self._parked.pop(id, None) is not None]
            if cancel:
                begun = asked.intersection(self.pending).difference(found)
                self.cancelled.update([id for id in begun if id not in self._store.values])
        return found
