"""What is lost with a worker, or was not where it was believed to be, and what has to be computed again for it."""

from __future__ import annotations

from collections.abc import Iterable

from taskloom.engines.cluster.scheduler.placement import Placement
from taskloom.engines.cluster.scheduler.tasks import (
    ABSENT,
    DONE,
    ERRED,
    FORGOTTEN,
    READY,
    RELEASED,
    SHIFT,
    TRANSIT,
    WAITING,
    Task,
    WorkerState,
)
from taskloom.engines.processes_errors import describe
from taskloom.errors import TaskloomError, WorkerDied


class Losses(Placement):
    """Results that were there and are not any more."""

    how_lost = ""  # the last results that were

    def is_not_at(self, task: Task, worker: WorkerState) -> None:
        """A worker does not have a result after all. What may be on its way to there is not to be kept."""
        if worker.number in task.holders:
            worker.dropped.append(task.id)
            task.holders = tuple([holder for holder in task.holders if holder != worker.number])
            worker.has.pop(task, None)
            worker.held -= task.nbytes
            self.how_lost = gone_with(worker.name)

    def lose(self, tasks: Iterable[Task]) -> None:
        """Have those of these results computed again that nobody holds and somebody needs."""
        lost = []
        for task in tasks:
            if task.state is not DONE or task.holders or task.value is not ABSENT or task.parcel is not None:
                continue
            if not (task.wanted or task.dependents):
                self.drop(task)
                continue
            lost.append(task)
        self._tell_again(lost)
        for task in lost:
            self._revive(task)

    def _tell_again(self, tasks: Iterable[Task]) -> None:
        """Let those who have futures of them know, and those who have submitted them and count what is done."""
        again: dict[int, list[int]] = {}
        for task in tasks:
            for id, client in {**(task.wanted or {}), task.id: task.id >> SHIFT}.items():
                again.setdefault(client, []).append(id)
        self.tell_futures(again, "again")

    def _revive(self, lost: Task) -> None:
        """Compute again what is not there any more, and what that needs in turn."""
        for user in (lost.dependents or {}).values():
            self._wait_again(user)
        todo = [lost]
        revived: list[Task] = []
        while todo:
            task = todo.pop()
            if task.state is not RELEASED and task is not lost:
                continue
            self.tasks[task.id] = task
            task.fetching = -1
            task.home, task.local, task.open = None, 0, 0
            if task.parcel is None:
                task.state = WAITING
                task.stays = False
                task.nbytes = 0.0
            else:  # a constant
                task.state = DONE
            if task.named:
                self.names.setdefault(task.key, task)
            revived.append(task)
            todo += [dep for dep in task.inputs if dep.state is RELEASED]
        self._tell_again([task for task in revived if task is not lost and task.has_function])
        self._relink(revived)

    def _wait_again(self, user: Task) -> None:
        """An input of a task is gone that was there. Where the task was sent the input is too, or it will be missed."""
        if user.state in (DONE, RELEASED, FORGOTTEN, ERRED):
            return
        if user.state in (TRANSIT, READY):
            self.withdraw(user)
            user.state = WAITING
        user.open += 1

    def _relink(self, revived: list[Task]) -> None:
        for task in revived:
            for dep in task.inputs:
                if dep.dependents is None:
                    dep.dependents = {}
                dep.dependents[task.id] = task
                if dep.state is not DONE:
                    task.open += 1
        for task in revived:
            if task.state is WAITING and not task.can_be_lost:
                self.fail(task, self.pack_error(self.gone_for_good(task)))
        for task in revived:
            if task.state is WAITING:
                failed = next((dep for dep in task.inputs if dep.state is ERRED), None)
                if failed is not None:
                    self.fail(task, failed.error, blamed=failed.blamed)
                elif not task.open:
                    self.offer(task)

    def lose_actors(self, worker: WorkerState) -> None:
        """What others hold of the actors of a worker that has ended are mere proxies."""
        for task in worker.has:
            if task.options.actor and task.holders[0] == worker.number:
                for holder in task.holders[1:]:
                    self.is_not_at(task, self.workers[holder])

    def gone_for_good(self, task: Task) -> BaseException:
        if task.options.actor:
            return WorkerDied(
                f"The actor {describe(task.key)} is {self.how_lost}, and so is its state. Submit it again."
            )
        return TaskloomError(
            f"The data {describe(task.key)} are {self.how_lost}. They were brought by scatter and cannot be computed "
            "again: scatter them again, or with broadcast=True, so that several workers hold them."
        )


def gone_with(worker: str) -> str:
    return f"gone with worker {worker!r}, which held the only copy"
