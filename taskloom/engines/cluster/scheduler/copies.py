"""Where results are: copies on several workers, as many bytes on each, and workers that have too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from taskloom.engines.cluster.scheduler.tasks import ABSENT, DONE, Task, WorkerState
from taskloom.engines.cluster.scheduler.worker_events import WorkerEvents

MOST_COPIES = 16  # results that are on their way at a time, for one who has asked


@dataclass(slots=True)
class Move:
    """A result that a worker is to have, and the one that is to have it no longer then, if any."""

    task: Task
    target: WorkerState
    source: WorkerState | None = None


@dataclass(slots=True)
class Errand:
    """What a client waits for: moves, the last one first, and the number of its question."""

    client: int
    number: int
    moves: list[Move]


class Copies(WorkerEvents):
    """The events that are about where results are.

    Attributes
    ----------
    errands : that are not done.
    copying : by id of a result, the workers that are to have it when it comes.
    """

    def __init__(self, pack_error: Callable[[BaseException], Any]) -> None:
        super().__init__(pack_error)
        self.errands: list[Errand] = []
        self.copying: dict[int, set[int]] = {}

    # -- memory ---------------------------------------------------------------------------------------------------

    def has_spilled(self, number: int, nbytes: float) -> None:
        """A worker has so many bytes of what it holds on disk."""
        self.workers[number].spilled = nbytes

    def pause(self, number: int) -> None:
        """A worker has too much in memory: it gets nothing more, and gives back what it has not begun."""
        worker = self.workers[number]
        worker.paused, worker.stuck = True, False
        if worker.leaving:
            return
        for task in list(worker.transit.values()):
            self.put_back(task)
        if worker.outstanding:
            worker.asks.append(("take_back", list(worker.outstanding)))
            worker.recalls.append(False)

    def is_stuck(self, number: int, stuck: bool) -> None:
        """Whether a worker that is paused can do nothing about it."""
        self.workers[number].stuck = stuck

    def resume(self, number: int) -> None:
        """It has not too much any more."""
        worker = self.workers[number]
        worker.paused = worker.stuck = False

    def lost(self, number: int, id: int, why: str) -> None:
        """A worker cannot read what it had on disk."""
        worker = self.workers[number]
        task = self.tasks.get(id)
        if task is not None and task.state is DONE and number in task.holders:
            self.is_not_at(task, worker)
            self.how_lost = f"lost: worker {worker.name!r} had them on disk, in a file that is damaged, {why}"
            self.lose((task,))

    # -- copies ---------------------------------------------------------------------------------------------------

    def replicate(
        self, client: int, number: int, ids: Iterable[int], n: int | None = None, workers: Iterable[int] | None = None
    ) -> None:
        """Have each of these results on `n` of some workers, or all; on no more than that, if a number is given."""
        places = self._places(workers)
        moves = []
        for task in self._there(ids):
            have = [place for place in places if place.number in task.holders]
            lack = sorted([place for place in places if place not in have], key=_held)
            missing = len(lack) if n is None else n - len(have)
            moves += [Move(task, place) for place in lack[: max(0, missing)]]
            for place in have[n:] if n is not None else ():
                self._take_away(task, place)
        self._begin(Errand(client, number, moves))

    def rebalance(
        self, client: int, number: int, ids: Iterable[int] | None = None, workers: Iterable[int] | None = None
    ) -> None:
        """Have as many bytes of results on each of some workers, or all, by moving some of these results, or of all."""
        places = self._places(workers)
        held = {place.number: place.held for place in places}
        chosen = None if ids is None else set(self._there(ids))
        moves = []
        for source in sorted(places, key=_held, reverse=True):
            for task in source.has:
                if (
                    not task.nbytes
                    or task.stays
                    or task.value is not ABSENT
                    or task.options.actor
                    or (chosen is not None and task not in chosen)
                ):
                    continue
                target = min(places, key=lambda place: held[place.number])
                after = held[target.number] + task.nbytes
                if after < held[source.number] and target.number not in task.holders:
                    held[target.number] = after
                    held[source.number] -= task.nbytes
                    moves.append(Move(task, target, source))
        self._begin(Errand(client, number, moves[::-1]))

    def _places(self, workers: Iterable[int] | None) -> list[WorkerState]:
        numbers = self.workers if workers is None else workers
        there = [self.workers[number] for number in numbers if number in self.workers]
        return [worker for worker in there if not worker.leaving]

    def _there(self, ids: Iterable[int]) -> list[Task]:
        """The results of these that are there, each once."""
        tasks = dict.fromkeys([task for id in ids if (task := self.tasks.get(id)) is not None])
        return [task for task in tasks if task.state is DONE and not task.options.actor]

    def _begin(self, errand: Errand) -> None:
        self.errands.append(errand)

    def assign(self) -> None:
        """Give work to those who can take it, and have copies made."""
        super().assign()
        for errand in self.errands[:]:
            self._go_on(errand)

    def _go_on(self, errand: Errand) -> None:
        moves = errand.moves
        while moves:
            while moves and self._is_over(moves[-1]):
                self._conclude(moves.pop())
            for move in moves[-MOST_COPIES:]:
                self._bring_to(move.task, move.target)
            if moves and not self._is_over(moves[-1]):
                return  # it is on its way
        self.errands.remove(errand)
        self.tell(errand.client, "answer", errand.number, True, None)

    def _is_over(self, move: Move) -> bool:
        """Whether the result is where it is to go, or cannot go there."""
        task, target = move.task, move.target
        if task.state is not DONE or task.stays or target.number in task.holders:
            return True
        return self.workers.get(target.number) is not target or target.leaving

    def _conclude(self, move: Move) -> None:
        task, source = move.task, move.source
        targets = self.copying.get(task.id)
        if targets is not None:
            targets.discard(move.target.number)
            if not targets:
                del self.copying[task.id]
        if source is not None and move.target.number in task.holders:
            self._take_away(task, source)

    def _bring_to(self, task: Task, target: WorkerState) -> None:
        if task.state is not DONE or target.number in task.holders:
            return
        if task.value is not ABSENT:
            target.values[task.id] = task.value
            self.hold(task, target)
        elif task.parcel is not None:
            target.packed[task.id] = task.parcel
            self.hold(task, target)
        else:
            self.copying.setdefault(task.id, set()).add(target.number)
            self.fetch(task)

    def _take_away(self, task: Task, worker: WorkerState) -> None:
        """Have a worker drop a result that is elsewhere, too, unless it is still needed there."""
        number, id = worker.number, task.id
        if number not in task.holders or len(task.holders) == 1 or task.fetching == number:
            return
        if any(user.worker is worker for user in (task.dependents or {}).values()):
            return
        task.holders = tuple([holder for holder in task.holders if holder != number])
        worker.has.pop(task, None)
        worker.held -= task.nbytes
        if worker.packed.pop(id, None) is None and worker.values.pop(id, ABSENT) is ABSENT:
            worker.dropped.append(id)
            worker.dropped_bytes += task.nbytes

    def data(self, number: int, id: int, parcel: Any) -> None:
        """A result has come from a worker, for others and for clients."""
        super().data(number, id, parcel)
        targets: Sequence[int] = sorted(self.copying.get(id, ()))
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            return
        for target in targets:
            worker = self.workers.get(target)
            if worker is not None and not worker.leaving and target not in task.holders:
                self._move(task, worker, number, parcel)


def _held(worker: WorkerState) -> float:
    return worker.held
