"""What can become of a task, and what that means for others: the base of the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any

from taskloom.engines.cluster.scheduler.tasks import (
    ABSENT,
    DONE,
    ERRED,
    FORGOTTEN,
    MASK,
    READY,
    RELEASED,
    SENT,
    SHIFT,
    TRANSIT,
    WAITING,
    ClientState,
    Heap,
    Requirement,
    Task,
    WorkerState,
)
from taskloom.errors import TaskloomError
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
    functions : parcels by code.
    users : by code, how many tasks may have to be run (again) with this function; one more as long as the client that
        has sent it may use it again.
    seconds : that tasks take, by the code of their function.
    letters : what is to be told to clients.
    orders : what else is to be done: ("expire", id) in a while, ("stop", worker, id), ("end", worker).
    forced : ids of cancelled tasks whose worker may be ended at any price.
    watchers : clients that want to see what others have run.
    used_up : parcels to be closed when the messages have gone out.
    """

    def __init__(self, pack_error: Callable[[BaseException], Any]) -> None:
        self.pack_error = pack_error
        self.tasks: dict[int, Task] = {}
        self.names: dict[Key, Task] = {}
        self.workers: dict[int, WorkerState] = {}
        self.clients: dict[int, ClientState] = {}
        self.special: dict[Requirement, Heap] = {}
        self.functions: dict[int, Any] = {}
        self.users: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self.letters: list[Letter] = []
        self.orders: list[tuple[Any, ...]] = []
        self.turn = 0  # of the clients
        self.forced: set[int] = set()
        self.watchers: set[int] = set()
        self.used_up: list[Any] = []

    def tell(self, client: int, kind: str, *fields: Any, parcels: tuple[Any, ...] = ()) -> None:
        if client in self.clients:
            self.letters.append((client, kind, fields, parcels))

    def tell_futures(self, futures: dict[int, list[int]], kind: str, *fields: Any) -> None:
        """Tell each client about its own ids."""
        for client, ids in futures.items():
            self.tell(client, kind, ids, *fields)

    # -- heaps ----------------------------------------------------------------------------------------------------

    def push(self, heap: Heap, task: Task) -> None:
        heappush(heap, task.rank)
        if len(heap) > heap.limit:
            heap.keep({rank for rank in heap if self.is_current(rank, heap.home)})

    def is_current(self, rank: int, home: WorkerState | None) -> bool:
        """Whether an entry of a heap still holds."""
        task = self.tasks.get(rank & MASK)
        if task is None:
            return False
        if home is None:
            return task.state is READY
        return task.state is WAITING and task.home is home and task.local == task.open > 0

    # -- forward --------------------------------------------------------------------------------------------------

    def offer(self, task: Task) -> None:
        """All inputs are there: let it be taken by a worker."""
        task.state = READY
        requirement = task.options.requirement
        if requirement is not None:
            heap = self.special.get(requirement)
            if heap is None:
                heap = self.special[requirement] = Heap()
            self.push(heap, task)
            if not self.can_be_met(requirement):
                self.orders.append(("expire", task.id))
            return
        if task.inputs:
            home = self._home_of(task)
            self.push(self.client_of(task).ready if home is None else home.own, task)
        else:
            self.push(self.client_of(task).roots, task)

    def client_of(self, task: Task) -> ClientState:
        """The client whose turn it is when the task runs: who submitted it, or the task that did, or else somebody who
        wants it."""
        origin = task.options.origin
        client = self.clients.get((task.id if origin is None else origin) >> SHIFT)
        if client is None:
            for number in (task.wanted or {}).values():
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
            candidates.append(min(others, key=load_of))
        if not candidates:
            return None
        return min(candidates, key=lambda worker: worker.load + (total - held.get(worker.number, 0.0)) / SPEED)

    # -- back -----------------------------------------------------------------------------------------------------

    def withdraw(self, task: Task) -> None:
        """It was sent to a worker, or was about to be, and is there no longer."""
        worker = task.worker
        if worker is None:
            return
        if task.state is SENT:
            worker.outstanding.pop(task.id, None)
            if worker.batch and task in worker.batch:
                worker.batch.remove(task)
            for user in (task.dependents or {}).values():
                if user.home is worker:
                    user.local -= 1
                    if user.local <= 0:
                        user.home, user.local = None, 0
        elif task.state is TRANSIT:
            worker.transit.pop(task.id, None)
            for dep in task.inputs:
                if dep.takers and task in dep.takers:
                    dep.takers.remove(task)
        given = worker.outstanding or worker.transit
        worker.load = max(0.0, worker.load - task.estimate) if given else 0.0
        for name, amount in task.options.resources:
            worker.free[name] += amount
        task.worker = None

    def put_back(self, task: Task) -> None:
        """Let it be taken anew."""
        self.withdraw(task)
        task.state = WAITING
        if not task.open:
            self.offer(task)

    def recall(self, task: Task, how: str) -> None:
        """Nobody needs it to run any more: have it back, or stopped, if it was sent to a worker."""
        worker = task.worker
        was_sent = worker is not None and task.state is SENT and task not in worker.batch
        self.withdraw(task)
        if worker is not None and was_sent:
            worker.strays.add(task.id)
            worker.asks.append((how, [task.id]))
            if how == "cancel":
                self.orders.append(("stop", worker.number, task.id))
            else:
                worker.recalls.append(False)

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
            if task.state is DONE:
                self.drop(task)
                continue
            self.recall(task, how)
            task.open = 0
            for dep in task.inputs:
                if dep.dependents:
                    dep.dependents.pop(task.id, None)
            todo += task.inputs
            self._put_away(task)

    def drop(self, task: Task) -> None:
        """Nobody needs its result any more."""
        id = task.id
        for number in task.holders:
            worker = self.workers[number]
            if worker.packed.pop(id, None) is None and worker.values.pop(id, ABSENT) is ABSENT:
                worker.dropped.append(id)
                worker.dropped_bytes += task.nbytes
            worker.has.pop(task, None)
            worker.held -= task.nbytes
        task.holders = ()
        task.value = ABSENT
        if task.parcel is not None and task.has_function:  # it could be computed again
            self.used_up.append(task.parcel)
            task.parcel = None
        self._put_away(task)

    def _put_away(self, task: Task) -> None:
        """Note that its result is not needed; forget it altogether if it never can be again."""
        task.state = RELEASED
        self.tasks.pop(task.id, None)
        if task.named and self.names.get(task.key) is task:
            del self.names[task.key]
        if task.askers:
            self.disappoint(task, self.pack_error(TaskloomError("The result was released, or cancelled.")))
        if not task.heirs:
            self._forget(task)

    def _forget(self, task: Task) -> None:
        """It never has to be computed again; nor perhaps have those that it was computed from."""
        users = self.users
        todo = [task]
        while todo:
            task = todo.pop()
            task.state = FORGOTTEN
            task.error = task.blamed = None  # it may blame itself: a circle that would hold what its traceback holds
            if task.has_function:
                users[task.code] -= 1
                if not users[task.code]:
                    self._give_up(task.code)
            elif task.parcel is not None:
                self.used_up.append(task.parcel)
                task.parcel = None
            for dep in task.inputs:
                dep.heirs -= 1
                if not dep.heirs and dep.state is RELEASED:
                    todo.append(dep)

    def use_no_more(self, code: int) -> None:
        """A client will not use this function for further tasks."""
        self.users[code] -= 1
        if not self.users[code]:
            self._give_up(code)

    def _give_up(self, code: int) -> None:
        del self.users[code]
        self.seconds.pop(code, None)
        self.used_up.append(self.functions.pop(code))
        for worker in self.workers.values():
            if code in worker.functions:
                worker.functions.remove(code)
                worker.dropped_codes.append(code)

    # -- errors ---------------------------------------------------------------------------------------------------

    def fail(
        self,
        first: Task,
        error: Any,
        worker: int = -1,
        start: float = 0.0,
        stop: float = 0.0,
        attempt: int = 1,
        blamed: Task | None = None,
    ) -> None:
        """A task has failed for good, and with it all that build on it; `blamed` is the one that it has failed for, if
        that was another one, before."""
        culprit = blamed or first
        todo = [first]
        hit: dict[int, list[int]] = {first.id >> SHIFT: []}
        failed: list[Task] = []
        while todo:
            task = todo.pop()
            if task.state in (ERRED, DONE, RELEASED, FORGOTTEN) and task is not first:
                continue
            self.recall(task, "take_back")
            task.state = ERRED
            task.error = error
            task.blamed = culprit
            for id, client in (task.wanted or {}).items():
                hit.setdefault(client, []).append(id)
            todo += (task.dependents or {}).values()
            failed.append(task)
        for client, ids in hit.items():
            known = next((id for id, number in (culprit.wanted or {}).items() if number == client), culprit.id)
            self.tell(client, "erred", known, error, worker, start, stop, attempt, ids)
        for task in failed:
            self.disappoint(task, error)

    def disappoint(self, task: Task, error: Any) -> None:
        """Tell those who wait for its result that it will not come."""
        for client, id in task.askers or ():
            self.tell(client, "no_data", id, error)
        task.askers = None
        task.takers = None


def load_of(worker: WorkerState) -> float:
    return worker.load
