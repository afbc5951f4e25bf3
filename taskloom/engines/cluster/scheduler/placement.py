"""Which worker gets which task, and when."""

from __future__ import annotations

from heapq import heappop

from taskloom.engines.cluster.scheduler.tasks import (
    ABSENT,
    DONE,
    MASK,
    READY,
    SENT,
    TRANSIT,
    WAITING,
    ClientState,
    Heap,
    Requirement,
    Task,
    WorkerState,
)
from taskloom.engines.cluster.scheduler.transitions import Transitions

HORIZON = 0.003  # seconds of work that a worker should have in its queue
UNKNOWN = 0.001  # seconds that a task is expected to take of whose function nothing is known
MOST = 4096  # tasks in the queue of a worker
WORTH_A_STEAL = 0.0005  # seconds of work in a queue


class Placement(Transitions):
    """Keeps workers busy: a task goes where its data are, if those weigh something, else to who has least to do.

    A task may be sent ahead of its inputs when all of those that are not done are in the queue of the same worker: so
    chains and subtrees take no message per task. What produces data without using any waits while a worker holds as
    much as it may.
    """

    def assign(self) -> None:
        """Give work to those who can take it."""
        if self._anything_waits():
            self._hand_out()
        for worker in self.workers.values():
            if worker.load > WORTH_A_STEAL:
                self._take_from_the_busiest(WORTH_A_STEAL)
                return

    def place(self, task: Task) -> bool:
        """Send a task that takes nothing and asks for nothing to an idle worker, if nothing else waits; returns whether
        it was: else it is one of many, and `assign` sees to it."""
        if self._anything_waits():
            return False
        for worker in self.workers.values():
            if not worker.given() and worker.is_open() and worker.held - worker.spilled < worker.memory_limit:
                self.dispatch(task, worker)
                return True
        return False

    def _hand_out(self) -> None:
        workers = [worker for worker in self.workers.values() if worker.is_open()]
        for few in (True, False):
            for worker in sorted(workers, key=WorkerState.given):
                while self._has_room(worker, few) and (task := self._take(worker)) is not None:
                    self.dispatch(task, worker)
                if not self._anything_waits():
                    return

    def _anything_waits(self) -> bool:
        """Whether there is anything that could be sent."""
        for client in self.clients.values():
            if client.roots or client.ready:
                return True
        for worker in self.workers.values():
            if worker.own or worker.ahead:
                return True
        return bool(self.special)

    def is_any_ready(self) -> bool:
        """Whether a task waits for a worker, and for nothing else."""
        heaps = [heap for client in self.clients.values() for heap in (client.roots, client.ready)]
        heaps += [worker.own for worker in self.workers.values()]
        return any(map(self._has_current, [*heaps, *self.special.values()]))

    def share(self) -> None:
        """Nothing has been heard for a while: whoever is idle gets what waits behind long tasks, however short it is
        believed to be."""
        for worker in self.workers.values():
            if worker.is_open():
                self._occupy(worker)
        self._take_from_the_busiest(0.0)

    def _occupy(self, worker: WorkerState) -> None:
        """Give a worker what is ready for each of its threads for which all that it has must wait for inputs."""
        begun = sum([not task.open for task in worker.outstanding.values()])
        idle = worker.threads + worker.blocked - begun - len(worker.transit) - len(worker.strays)
        for _ in range(min(idle, 1) if worker.paused else idle):
            ready = worker.own if self._has_current(worker.own) else self._next_ready(worker)
            if ready is None:
                return
            self.dispatch(self.tasks[heappop(ready) & MASK], worker)

    def _has_room(self, worker: WorkerState, few: bool) -> bool:
        """Whether it should be given one more: one for each thread first, or as much as it will do in a while."""
        given, threads = worker.given(), worker.threads + worker.blocked
        if len(worker.strays) >= threads:  # who knows when these end
            return False
        if worker.paused:
            return given <= worker.blocked
        if few or given < threads:
            return given < threads
        return given < 2 * threads or (worker.load < HORIZON * threads and given < MOST)

    # -- taking ---------------------------------------------------------------------------------------------------

    def _take(self, worker: WorkerState) -> Task | None:
        """A task for a worker, or None: of all that it could do, the one that comes first."""
        best: Heap | None = None
        for heap in (worker.own, worker.ahead):
            if heap and self._has_current(heap) and (best is None or heap[0] < best[0]):
                best = heap
        if self.special:
            best = self._better_special(worker, best)
        if best is None or len(self.clients) == 1:
            ready = self._next_ready(worker)
            if ready is not None and (best is None or ready.comes_before(best)):
                best = ready
        else:  # ranks of different clients do not compare: they take turns with what is to run just here
            self.turn += 1
            if self.turn & 1:
                best = self._next_ready(worker) or best
        if best is None:
            return self._from_others(worker)
        return self.tasks[heappop(best) & MASK]

    def _has_current(self, heap: Heap) -> bool:
        """Take off the top what has changed since it was put there; whether anything is left."""
        tasks, home = self.tasks, heap.home
        while heap:
            task = tasks.get(heap[0] & MASK)
            if task is not None:
                if home is None:
                    if task.state is READY:
                        return True
                elif task.home is home and task.state is WAITING and task.local == task.open:
                    return True
            heappop(heap)
        return False

    def _next_ready(self, worker: WorkerState) -> Heap | None:
        """The heap with the next ready task, of the client whose turn it is."""
        may_begin = worker.held - worker.spilled < worker.memory_limit or not self._anything_runs()
        for client in self.clients.values():
            ready, roots = client.ready, client.roots
            best = ready if ready and self._has_current(ready) else None
            if may_begin and roots and self._has_current(roots) and (best is None or roots.comes_before(best)):
                best = roots
            if best is not None:
                if len(self.clients) > 1:
                    self._goes_last(client)
                return best
        return None

    def _goes_last(self, client: ClientState) -> None:
        """The turn of a client is over."""
        del self.clients[client.number]
        self.clients[client.number] = client

    def _anything_runs(self) -> bool:
        return any(worker.given() > worker.blocked for worker in self.workers.values())

    def _better_special(self, worker: WorkerState, best: Heap | None) -> Heap | None:
        for requirement, heap in list(self.special.items()):
            if not self._has_current(heap):
                del self.special[requirement]
            elif self._may_take(worker, requirement) and (best is None or heap[0] < best[0]):
                best = heap
        return best

    def _may_take(self, worker: WorkerState, requirement: Requirement) -> bool:
        if not worker.satisfies(requirement):
            named = requirement.workers
            if named is None or not requirement.allow_other_workers:
                return False
            if any(other.name in named for other in self.workers.values() if not other.leaving):
                return False
        return worker.can_now(requirement)

    def _from_others(self, worker: WorkerState) -> Task | None:
        """What should run on another worker, for its data are there, but would wait longer than it takes to move."""
        if worker.given():
            return None
        best: WorkerState | None = None
        for other in self.workers.values():
            waits = other.own and other is not worker and (other.paused or other.given() >= other.threads)
            if waits and self._has_current(other.own) and (best is None or other.load > best.load):
                best = other
        return None if best is None else self.tasks[heappop(best.own) & MASK]

    def _take_from_the_busiest(self, worth: float) -> None:
        """Have the worker with most to do give back what it has not begun, all but its share, if others are idle."""
        best: WorkerState | None = None
        most = 0
        for worker in self.workers.values():
            if worker.giving_back or worker.leaving or not worker.eager or worker.load <= worth:
                continue
            queued = len(worker.outstanding) + len(worker.strays) - worker.threads - worker.blocked
            if queued > 0 and worker.outstanding and (best is None or worker.load > best.load):
                best, most = worker, queued
        if best is None:
            return
        idle = sum([not worker.given() and worker.is_open() for worker in self.workers.values()])
        if not idle:
            return
        count = max(1, most * idle // (idle + 1))
        tail = [task for task in list(best.outstanding.values())[-count:] if task.options.workers is None]
        if tail:
            best.giving_back = True
            best.recalls.append(True)
            best.asks.append(("take_back", [task.id for task in tail]))

    # -- sending --------------------------------------------------------------------------------------------------

    def dispatch(self, task: Task, worker: WorkerState) -> None:
        """Send a task to a worker, or first for those of its inputs that are elsewhere."""
        number = worker.number
        lacking: list[Task] | None = None
        for dep in task.inputs:
            if dep.state is not DONE or number in dep.holders:
                continue  # in its queue, or there
            if dep.value is not ABSENT:
                worker.values[dep.id] = dep.value
                self.hold(dep, worker)
            elif dep.parcel is not None:
                worker.packed[dep.id] = dep.parcel
                self.hold(dep, worker)
            elif lacking is None:
                lacking = [dep]
            else:
                lacking.append(dep)
        task.worker = worker
        task.estimate = self.seconds.get(task.code, UNKNOWN)
        worker.load += task.estimate
        for name, amount in task.options.resources:
            worker.free[name] = worker.free.get(name, 0.0) - amount
        if lacking is None:
            self.send(task, worker)
            return
        task.state = TRANSIT
        task.missing = len(lacking)
        worker.transit[task.id] = task
        for dep in lacking:
            if dep.takers is None:
                dep.takers = []
            dep.takers.append(task)
            self.fetch(dep)

    def hold(self, task: Task, worker: WorkerState) -> None:
        """Note that a worker has, or is about to have, a result."""
        task.holders += (worker.number,)
        worker.has[task] = None
        if task.nbytes:
            worker.held += task.nbytes
            worker.peak = max(worker.peak, worker.held)

    def fetch(self, task: Task) -> None:
        """Have a result brought from one of those that hold it."""
        if task.fetching < 0 and task.holders:
            number = task.holders[0]
            task.fetching = number
            self.workers[number].asks.append(("fetch", task.id))

    def send(self, task: Task, worker: WorkerState) -> None:
        """Put a task into the queue of a worker that has all its inputs, or will have made them by then."""
        task.state = SENT
        worker.outstanding[task.id] = task
        worker.batch.append(task)
        worker.eager = True
        if worker.strays:
            worker.strays.discard(task.id)
        if task.dependents:
            for user in task.dependents.values():
                home = user.home
                if home is None:
                    user.home = home = worker
                    user.local = 0
                if home is worker:
                    user.local += 1
                    if user.local == user.open:
                        self.consider_ahead(user)

    def consider_ahead(self, task: Task) -> None:
        """All its open inputs are in the queue of one worker: it may be sent there before they are done."""
        home = task.home
        if home is not None and task.state is WAITING and task.options.requirement is None:
            self.push(home.ahead, task)
