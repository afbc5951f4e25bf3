"""What can become of a task, and what that means for others: the base of the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any

from taskloom.engines.cluster.tasks import (
    ABSENT,
    DONE,
    ERRED,
    FORGOTTEN,
    READY,
    RELEASED,
    SENT,
    SHIFT,
    TRANSIT,
    WAITING,
    ClientState,
    Requirement,
    Task,
    WorkerState,
)
from taskloom.graph import Key

WORTH_A_MOVE = 65_536  # bytes: smaller inputs are no reason to prefer a worker
SPEED = 1e9  # bytes a second from worker to worker

Letter = tuple[int, str, tuple[Any, ...], tuple[Any, ...]]  # client, kind, fields, parcels


class Transitions:
    """Tasks, workers and clients, and the steps that lead from one state of a task to another.

    Attributes
    ----------
    tasks : all tasks that are not done, and those whose results somebody needs, by id. A task that several clients have
        submitted under one name has an id for each.
    names : tasks by the keys that all clients share.
    special : the ranks of ready tasks that not every worker may run, by what they require.
    letters : what is to be told to clients.
    orders : what else is to be done: ("expire", id) in a while, ("stop", worker, id), ("end", worker).
    """

    def __init__(self, pack_error: Callable[[BaseException], Any]) -> None:
        self.pack_error = pack_error
        self.tasks: dict[int, Task] = {}
        self.names: dict[Key, Task] = {}
        self.workers: dict[int, WorkerState] = {}
        self.clients: dict[int, ClientState] = {}
        self.special: dict[Requirement, list[int]] = {}
        self.functions: dict[int, Any] = {}  # parcels by code
        self.letters: list[Letter] = []
        self.orders: list[tuple[Any, ...]] = []
        self.seconds: dict[int, float] = {}  # that tasks take, by the code of their function
        self.turn = 0  # of the clients
        self.forced: set[int] = set()  # ids of those whose worker may be ended at any price
        self.used_up: list[Any] = []  # parcels to be closed when the messages have gone out

    def tell(self, client: int, kind: str, *fields: Any, parcels: tuple[Any, ...] = ()) -> None:
        if client in self.clients:
            self.letters.append((client, kind, fields, parcels))

    # -- forward --------------------------------------------------------------------------------------------------

    def offer(self, task: Task) -> None:
        """All inputs are there: let it be taken by a worker."""
        task.state = READY
        requirement = task.options.requirement
        if requirement is not None:
            heappush(self.special.setdefault(requirement, []), task.rank)
            if not self.can_be_met(requirement):
                self.orders.append(("expire", task.id))
            return
        if task.inputs:
            home = self._home_of(task)
            if home is not None:
                heappush(home.own, task.rank)
                return
        client = self.client_of(task)
        heappush(client.ready if task.inputs else client.roots, task.rank)

    def client_of(self, task: Task) -> ClientState:
        """The client whose turn it is when the task runs: who submitted it, or else somebody who wants it."""
        number = task.id >> SHIFT
        client = self.clients.get(number)
        if client is None:
            for number in task.wanted or ():
                return self.clients[number]
            client = next(iter(self.clients.values()))
        return client

    def can_be_met(self, requirement: Requirement) -> bool:
        """Whether there is a worker that satisfies a requirement, or others may do as well."""
        if requirement.allow_other_workers and not requirement.resources:
            return True
        return any(worker.satisfies(requirement) for worker in self.workers.values() if not worker.leaving)

    def _home_of(self, task: Task) -> WorkerState | None:
        """The worker on which a task would be done first, for what its inputs weigh; None where they weigh little."""
        total = 0.0
        for dep in task.inputs:
            total += dep.nbytes
        if total < WORTH_A_MOVE:
            return None
        held: dict[int, float] = {}
        for dep in task.inputs:
            for number in dep.holders:
                held[number] = held.get(number, 0.0) + dep.nbytes
        candidates = [self.workers[number] for number in held if not self.workers[number].leaving]
        others = [worker for worker in self.workers.values() if worker.number not in held and not worker.leaving]
        if others:
            candidates.append(min(others, key=_load))
        if not candidates:
            return None
        return min(candidates, key=lambda worker: worker.load + (total - held.get(worker.number, 0.0)) / SPEED)

    # -- back -----------------------------------------------------------------------------------------------------

    def withdraw(self, task: Task) -> None:
        """It was sent to a worker, or was about to be, and is there no longer."""
        worker = task.worker
        if worker is None:
            return
        if task.state == SENT:
            worker.outstanding.pop(task.id, None)
            for user in (task.dependents or {}).values():
                if user.home is worker:
                    user.local -= 1
                    if user.local <= 0:
                        user.home, user.local = None, 0
        elif task.state == TRANSIT:
            worker.transit.pop(task.id, None)
            for dep in task.inputs:
                if dep.takers and task in dep.takers:
                    dep.takers.remove(task)
        worker.load = max(0.0, worker.load - task.estimate)
        for name, amount in task.options.resources:
            worker.free[name] += amount
        task.worker = None

    def put_back(self, task: Task) -> None:
        """Let it be taken anew."""
        self.withdraw(task)
        if task.open:
            task.state = WAITING
        else:
            self.offer(task)

    # -- the end --------------------------------------------------------------------------------------------------

    def let_go(self, tasks: Iterable[Task], how: str = "take_back") -> None:
        """Nobody may need these any more: drop results, and forget what is not done, if so; and what that leaves.

        Workers are asked to "take_back" what they have not begun, or to "cancel" what they have, too.
        """
        todo = list(tasks)
        while todo:
            task = todo.pop()
            if task.wanted or task.dependents or task.state in (RELEASED, FORGOTTEN):
                continue
            if task.state == DONE:
                self.drop(task)
                continue
            state, worker = task.state, task.worker
            self.withdraw(task)
            if state == SENT and worker is not None:
                worker.strays.add(task.id)
                worker.asks.append((how, [task.id]))
                if how == "cancel":
                    self.orders.append(("stop", worker.number, task.id))
            task.state = FORGOTTEN
            task.open = 0
            self._unlist(task)
            for dep in task.inputs:
                if dep.dependents:
                    dep.dependents.pop(task.id, None)
            todo += task.inputs

    def drop(self, task: Task) -> None:
        """Nobody needs its result any more."""
        for number in task.holders:
            worker = self.workers[number]
            worker.dropped.append(task.id)
            worker.dropped_bytes += task.nbytes
            worker.has.discard(task)
            worker.held -= task.nbytes
        task.holders = ()
        task.state = RELEASED
        task.value = ABSENT
        if task.parcel is not None:
            self.used_up.append(task.parcel)
            task.parcel = None
        self._unlist(task)

    def _unlist(self, task: Task) -> None:
        self.tasks.pop(task.id, None)
        if task.named and self.names.get(task.key) is task:
            del self.names[task.key]

    # -- errors ---------------------------------------------------------------------------------------------------

    def fail(
        self, culprit: Task, error: Any, worker: int = -1, start: float = 0.0, stop: float = 0.0, attempt: int = 1
    ) -> None:
        """A task has failed for good, and with it all that build on it."""
        todo = [culprit]
        hit: dict[int, list[int]] = {}
        while todo:
            task = todo.pop()
            if task.state in (ERRED, DONE, RELEASED, FORGOTTEN) and task is not culprit:
                continue
            state, holder = task.state, task.worker
            self.withdraw(task)
            if state == SENT and holder is not None:
                holder.strays.add(task.id)
                holder.asks.append(("take_back", [task.id]))
            task.state = ERRED
            task.error = error
            task.blamed = culprit
            for client, id in (task.wanted or {}).items():
                hit.setdefault(client, []).append(id)
            todo += (task.dependents or {}).values()
            self._disappoint(task)
        hit.setdefault(culprit.id >> SHIFT, [])
        for client, ids in hit.items():
            id = (culprit.wanted or {}).get(client, culprit.id)
            self.tell(client, "erred", id, error, worker, start, stop, attempt, ids)

    def _disappoint(self, task: Task) -> None:
        """Tell those who wait for its result that it will not come."""
        for client in task.askers or ():
            self.tell(client, "no_data", (task.wanted or {}).get(client, task.id), task.error)
        task.askers = None
        task.takers = None

    # -- losses ---------------------------------------------------------------------------------------------------

    def lose(self, tasks: Iterable[Task]) -> None:
        """Results are gone that were there: have those that somebody needs computed again."""
        again: dict[int, list[int]] = {}
        for task in tasks:
            if task.state != DONE or task.holders or task.value is not ABSENT or task.parcel is not None:
                continue
            if not (task.wanted or task.dependents):
                self.drop(task)
                continue
            for client, id in (task.wanted or {}).items():
                again.setdefault(client, []).append(id)
            self.revive(task)
        for client, ids in again.items():
            self.tell(client, "again", ids)

    def revive(self, lost: Task) -> None:
        """Compute again what is not there any more, and what that needs in turn."""
        todo = [lost]
        revived: list[Task] = []
        while todo:
            task = todo.pop()
            if task.state not in (DONE, RELEASED) or (task.state == DONE and task is not lost):
                continue
            task.nbytes = 0.0
            if not task.has_function:
                task.state = DONE
                self.tasks[task.id] = task
                revived.append(task)
                continue
            for user in (task.dependents or {}).values():
                if task.state == DONE and user.state not in (DONE, RELEASED, FORGOTTEN, ERRED):
                    self._wait_again(user)
            task.state = WAITING
            task.fetching = -1
            task.home, task.local, task.open = None, 0, 0
            self.tasks[task.id] = task
            if task.named:
                self.names.setdefault(task.key, task)
            revived.append(task)
            todo += [dep for dep in task.inputs if dep.state == RELEASED]
        self._relink(revived)

    def _wait_again(self, user: Task) -> None:
        """An input of a task is gone that was there. Where the task was sent the input is too, or it will be missed."""
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
                if dep.state != DONE:
                    task.open += 1
        for task in revived:
            if not task.has_function:
                self.fail(task, self.pack_error(self._gone(task)))
        for task in revived:
            if task.state != WAITING:
                continue
            failed = next((dep for dep in task.inputs if dep.state == ERRED), None)
            if failed is not None:
                self.fail(task, failed.error)
            elif not task.open:
                self.offer(task)

    def _gone(self, task: Task) -> BaseException:
        raise NotImplementedError


def _load(worker: WorkerState) -> float:
    return worker.load
