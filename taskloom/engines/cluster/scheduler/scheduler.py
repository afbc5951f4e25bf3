"""The scheduler of a cluster: a pure state machine. Events are method calls; what they lead to is told by messages.

There is no clock, socket or thread in here. Whoever has it (the coordinator) calls an event's method, then `assign`,
and then sends what the workers' batches, `letters` and `orders` hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskloom.engines.cluster.scheduler.copies import Copies
from taskloom.engines.cluster.scheduler.losses import gone_with
from taskloom.engines.cluster.scheduler.tasks import ABSENT, DONE, MASK, READY, RELEASED, WAITING, Task, WorkerState
from taskloom.engines.processes_errors import describe, died, died_idle
from taskloom.errors import TaskloomError

MOST_MOVES = 16  # results of a worker that is leaving that are on their way at a time


class Scheduler(Copies):
    """The events; here those of workers that come and go.

    Examples
    --------
    >>> from taskloom.engines.cluster.scheduler.tasks import Slice
    >>> scheduler = Scheduler(pack_error=lambda error: error)
    >>> scheduler.client_joined(1)
    >>> scheduler.worker_joined(0, "worker-0", pid=77, threads=1)
    >>> first = 1 << 40
    >>> plan = Slice(first, ["x", "y"], [5, 5], [(-1,), (first,)], [(3,), ()], functions={5: 0}, wanted=[first + 1])
    >>> scheduler.submit(1, plan, ["the packed function"])
    >>> scheduler.assign()
    >>> scheduler.workers[0].batch
    [<Task 1099511627776 'x': sent>, <Task 1099511627777 'y': sent>]
    >>> scheduler.done(0, [first, first + 1], [0.0, 0.1, 0.1, 0.2], {first: 4, first + 1: 5}, {}, 0.2)
    >>> [kind for _, kind, _, _ in scheduler.letters]
    ['joined', 'report']
    """

    deaths_allowed = 3  # how often a task is tried again after its worker died

    def worker_joined(
        self,
        number: int,
        name: str,
        pid: int,
        threads: int,
        memory_limit: float = float("inf"),
        resources: dict[str, float] | None = None,
    ) -> None:
        self.workers[number] = WorkerState(number, name, pid, threads, memory_limit, resources or {})
        for client in self.clients:
            self.tell(client, "joined", number, name, pid, threads, memory_limit)

    def worker_left(
        self,
        number: int,
        fate: str,
        running: Iterable[int] = (),
        last_lines: Sequence[str] = (),
        out_of_memory: bool = False,
        expected: bool = False,
    ) -> None:
        """A worker has ended: what it was to run others do, and what only it held is computed again.

        `running` are the ids of the tasks that it was inside of, or whose results it was pickling, which may have been
        its end, unless it was `expected`.
        """
        worker = self.workers.pop(number, None)
        if worker is None:
            return
        for client in self.clients:
            self.tell(client, "left", number, fate)
        self.lose_actors(worker)
        self.how_lost = gone_with(worker.name)
        self.forced.difference_update(worker.strays)
        lost, sent_for = [], []
        for task in worker.has:
            task.holders = tuple([holder for holder in task.holders if holder != number])
            if not task.holders:
                lost.append(task)
            if task.fetching == number:
                task.fetching = -1
                sent_for.append(task)
        left = [*worker.outstanding.values(), *worker.transit.values()]
        for task in left:
            self.withdraw(task)
            task.state = WAITING
        if not expected:
            concerned = {task.id: task for task in (*left, *lost)}
            for suspect in [concerned[id] for id in running if id in concerned]:
                self._survives(suspect, number, fate, last_lines, out_of_memory)
        self.lose(lost)
        for task in left:
            if task.state is WAITING and not task.open:
                self.offer(task)
        self._offer_elsewhere(worker)
        for task in sent_for:
            if task.state is DONE:
                self.fetch(task)

    def _survives(self, task: Task, number: int, fate: str, last_lines: Sequence[str], out_of_memory: bool) -> None:
        """A worker died while it was inside of a task: count that, and do not try it for ever."""
        task.attempts += 1
        allowed = self.deaths_allowed if task.options.deaths is None else task.options.deaths
        if task.attempts > allowed or out_of_memory:
            error = died(task.key, fate, task.attempts, last_lines, out_of_memory)
            self.fail(task, self.pack_error(error), number, attempt=task.attempts)

    def _offer_elsewhere(self, worker: WorkerState) -> None:
        """A worker takes nothing any more: others get what was to run there, if there are any that may."""
        for rank in set(worker.own):
            if self.is_current(rank, None):
                self.offer(self.tasks[rank & MASK])
        worker.own.keep(())
        for requirement, heap in self.special.items():
            if not self.can_be_met(requirement):
                self.orders += [("expire", rank & MASK) for rank in set(heap) if self.is_current(rank, None)]

    def retire(self, number: int) -> None:
        """A worker is to end: it gets nothing more, gives back what it has not begun, and its data go elsewhere."""
        worker = self.workers[number]
        worker.leaving = True
        for task in list(worker.transit.values()):
            self.put_back(task)
        if worker.outstanding:
            worker.asks.append(("take_back", list(worker.outstanding)))
            worker.recalls.append(False)
        self._offer_elsewhere(worker)
        worker.moving = [task for task in worker.has if not task.options.actor]

    def assign(self) -> None:
        """Give work to those who can take it, and let those go who are to leave."""
        super().assign()
        for worker in self.workers.values():
            if worker.leaving:
                self._see_off(worker)

    def _see_off(self, worker: WorkerState) -> None:
        """End a worker that is leaving, once nothing is lost with it."""
        moving = worker.moving
        while moving and not (worker.number in moving[-1].holders and self.is_only_at_leaving(moving[-1])):
            moving.pop()
        if moving and not self.staying():
            moving = worker.moving = self._what_fits_here(worker)
        if moving:
            for task in moving[-MOST_MOVES:]:
                self.fetch(task)
        elif not worker.given():
            self.orders.append(("end", worker.number))

    def _what_fits_here(self, worker: WorkerState) -> list[Task]:
        """Where no worker stays results are kept here, as much as a worker may have: what is more is computed again."""
        room = worker.memory_limit - sum([task.nbytes for task in self.tasks.values() if task.parcel is not None])
        fitting = []
        for task in reversed(worker.moving):
            if task.nbytes <= room or not task.can_be_lost:
                room -= task.nbytes
                fitting.append(task)
        return fitting[::-1]

    def expire(self, id: int) -> None:
        """A task has waited for long for a worker that can run it."""
        task = self.tasks.get(id)
        if task is None or task.state is not READY:
            return
        requirement = task.options.requirement
        if requirement is None or self.can_be_met(requirement):
            return
        there = "; ".join(
            f"{worker.name} has {worker.resources}" if worker.resources else worker.name
            for worker in self.workers.values()
        )
        error = TaskloomError(
            f"Task {describe(task.key)} needs {requirement}, and there is none. There are: {there or 'no workers'}. "
            "Add such a worker, or submit it with other restrictions."
        )
        self.fail(task, self.pack_error(error))

    def no_worker_lives(self, fate: str, last_lines: Sequence[str]) -> None:
        """Workers end before they run anything: what was to run fails."""
        error = self.pack_error(died_idle(fate, last_lines))
        for task in self.ready_tasks():
            self.fail(task, error)

    def ready_tasks(self) -> list[Task]:
        """The tasks that wait for a worker, and for nothing else."""
        return [task for task in self.tasks.values() if task.state is READY]

    def close(self) -> None:
        """Have nothing more, and no open files."""
        for number in list(self.clients):
            self.client_left(number)
        for parcel in self.used_up:
            parcel.close()

    def may_end(self, number: int, running: Iterable[int] = (), force: bool = False) -> bool:
        """Whether a worker could be replaced without harm to anything but what was cancelled: it runs nothing else, and
        all that it holds is elsewhere too, or can be computed again."""
        worker = self.workers[number]
        if force:
            return True
        if any(id in worker.outstanding for id in running):
            return False
        here = (number,)
        seen = {task for task in worker.has if task.holders == here and task.value is ABSENT}
        todo = list(seen)
        while todo:
            task = todo.pop()
            if task.parcel is not None:
                continue
            if not task.can_be_lost:
                return False
            for dep in task.inputs:
                if dep.state is RELEASED and dep not in seen:
                    seen.add(dep)
                    todo.append(dep)
        return True
