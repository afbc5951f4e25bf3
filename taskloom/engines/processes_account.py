"""How many bytes of results each worker process holds."""

from __future__ import annotations


class Account:
    """Bytes of results, as far as they have a size that can be told, by the worker that made and holds them.

    >>> account = Account(workers=2)
    >>> account.take(7, 100.0, worker=0)
    >>> account.take(8, 50.0, worker=1)
    >>> account.give_up(7)
    100.0
    >>> account.held, account.peak, account.total
    ([0.0, 50.0], [100.0, 50.0], 50.0)
    """

    def __init__(self, workers: int) -> None:
        self.sizes: dict[int, float] = {}  # by task
        self.held = [0.0] * workers
        self.peak = [0.0] * workers
        self._holders: dict[int, int] = {}

    @property
    def total(self) -> float:
        """Bytes that all hold."""
        return sum(self.held)

    def take(self, task: int, size: float, worker: int) -> None:
        """A worker holds the result of a task from now on."""
        self.give_up(task)
        self.sizes[task], self._holders[task] = size, worker
        self.held[worker] += size
        self.peak[worker] = max(self.peak[worker], self.held[worker])

    def give_up(self, task: int) -> float:
        """Nobody holds it any more; returns how large it was."""
        size = self.sizes.pop(task, 0.0)
        if size:
            self.held[self._holders.pop(task)] -= size
        return size

    def lose(self, worker: int) -> None:
        """A worker is gone with all that it held."""
        for task in [task for task, holder in self._holders.items() if holder == worker]:
            self.give_up(task)
