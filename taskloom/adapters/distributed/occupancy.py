"""Which tasks run on the workers of a dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator


class Occupancy:
    """The tasks that workers were given, and those of them that they run by all appearances.

    A dask worker is given more tasks than it has threads for: the first of them run, the others wait there.

    Examples
    --------
    >>> occupancy = Occupancy()
    >>> occupancy.join(0, threads=1)
    >>> occupancy.begin(7, 0, since=1.0)
    >>> occupancy.begin(8, 0, since=1.1)
    >>> list(occupancy)
    [(0, 7, 1.0)]
    >>> occupancy.end(7, now=2.0)
    >>> list(occupancy)
    [(0, 8, 2.0)]
    """

    def __init__(self) -> None:
        self._threads: dict[int, int] = {}
        self._run: dict[int, dict[int, float]] = {}  # by worker
        self._wait: dict[int, dict[int, float]] = {}
        self._where: dict[int, int] = {}  # by task

    def join(self, worker: int, threads: int) -> None:
        """A worker is there."""
        self._threads[worker] = threads
        self._run[worker], self._wait[worker] = {}, {}

    def leave(self, worker: int) -> None:
        """It is gone, and what it ran with it."""
        for tasks in (self._run.pop(worker, {}), self._wait.pop(worker, {})):
            for task in tasks:
                self._where.pop(task, None)

    def begin(self, task: int, worker: int, since: float) -> None:
        """A worker was given a task."""
        if worker in self._run:
            self.end(task, since)
            self._where[task] = worker
            has_room = len(self._run[worker]) < self._threads[worker]
            (self._run if has_room else self._wait)[worker][task] = since

    def end(self, task: int, now: float) -> None:
        """The task is done there, one way or another: the next one begins."""
        worker = self._where.pop(task, None)
        if worker is None:
            return
        wait = self._wait[worker]
        if self._run[worker].pop(task, None) is None:
            wait.pop(task, None)
        elif wait:
            following = next(iter(wait))
            self._run[worker][following] = max(now, wait.pop(following))

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        """Worker, task and start of what runs."""
        for worker, tasks in list(self._run.items()):
            for task, since in list(tasks.items()):
                yield worker, task, since
