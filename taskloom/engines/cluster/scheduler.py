"""The scheduler of a cluster: a pure state machine. Events are method calls; what they lead to is told by messages.

There is no clock, socket or thread in here. Whoever has it (the coordinator) calls an event's method, then `assign`,
and then sends what the workers' batches, `letters` and `orders` hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskloom.engines.cluster.client_events import ClientEvents
from taskloom.engines.cluster.tasks import ABSENT, DONE, MASK, READY, SHIFT, TRANSIT, WAITING, Task, WorkerState
from taskloom.engines.processes_errors import describe, died, died_idle
from taskloom.errors import TaskloomError


class Scheduler(ClientEvents):
    """The events.

    Examples
    --------
    >>> from taskloom.engines.cluster.tasks import Slice
    >>> scheduler = Scheduler(pack_error=lambda error: error)
    >>> scheduler.client_joined(1)
    >>> scheduler.worker_joined(0, "worker-0", pid=77, threads=1)
    >>> first = 1 << 40
    >>> scheduler.submit(1, Slice(first, ["x", "y"], [5, 5], [(-1,), (first,)], [(3,), ()], wanted=[first + 1]), [])
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

        `running` are the ids of the tasks that it was inside of, which may have been its end, unless it was `expected`.
        """
        worker = self.workers.pop(number, None)
        if worker is None:
            return
        for client in self.clients:
            self.tell(client, "left", number, fate)
        lost = []
        for task in worker.has:
            task.holders = tuple([holder for holder in task.holders if holder != number])
            if not task.holders:
                lost.append(task)
        suspects = [] if expected else [worker.outstanding[id] for id in running if id in worker.outstanding]
        left = [*worker.outstanding.values(), *worker.transit.values()]
        for task in left:
            self.withdraw(task)
            task.state = WAITING
        waiting_for_it = [task for task in self.tasks.values() if task.fetching == number]
        for task in waiting_for_it:
            task.fetching = -1
        for task in suspects:
            task.attempts += 1
            allowed = self.deaths_allowed if task.options.deaths is None else task.options.deaths
            if task.attempts > allowed or out_of_memory:
                error = died(task.key, fate, task.attempts, last_lines, out_of_memory)
                self.fail(task, self.pack_error(error), number, attempt=task.attempts)
        self._departed = worker.name
        self.lose(lost)
        for task in left:
            if task.state is WAITING and not task.open:
                self.offer(task)
        for rank in worker.own:
            if self._is_ready(rank):
                self.offer(self.tasks[rank & MASK])
        for task in waiting_for_it:
            if task.state is DONE:
                self.fetch(task)

    _departed = ""

    def _gone(self, task: Task) -> BaseException:
        return TaskloomError(
            f"The data {describe(task.key)} are gone with worker {self._departed!r}, which held the only copy. They "
            "were brought by scatter and cannot be computed again: scatter them again, or with broadcast=True, so that "
            "several workers hold them."
        )

    def done(
        self,
        number: int,
        ids: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        """A worker has run tasks."""
        worker = self.workers[number]
        outstanding, has, holders = worker.outstanding, worker.has, (number,)
        value_of, seconds = values.get, self.seconds
        stale: list[int] = []
        spent = 0.0
        for place, id in enumerate(ids):
            task = outstanding.pop(id, None)
            if task is None:
                stale.append(id)
                continue
            worker.load -= task.estimate
            took = times[2 * place + 1] - times[2 * place]
            spent += took
            code = task.code
            before = seconds.get(code)
            seconds[code] = took if before is None else 0.7 * before + 0.3 * took
            task.state = DONE
            task.holders = holders
            task.worker = None
            has.add(task)
            task.value = value_of(id, ABSENT)
            if sizes and id in sizes:
                size = task.nbytes = sizes[id]
                worker.held += size
                worker.peak = max(worker.peak, worker.held)
            for dep in task.inputs:
                users = dep.dependents
                if users and users.pop(id, None) is not None and not users and not dep.wanted:
                    self.drop(dep)
            users = task.dependents
            if users:
                for user in list(users.values()):
                    user.open -= 1
                    if user.home is worker:
                        user.local -= 1
                        if user.local <= 0:
                            user.home, user.local = None, 0
                    if not user.open and user.state is WAITING:
                        self.offer(user)
            elif not task.wanted:
                self.drop(task)
            if task.options.resources:
                for name, amount in task.options.resources:
                    worker.free[name] += amount
            if task.wanted and (task.askers or task.named):
                self._announce(task)
        if not outstanding:
            worker.load = 0.0
        if stale:
            self._came_to_late(worker, stale)
            kept = [place for place, id in enumerate(ids) if id not in stale]
            times = [time for place in kept for time in times[2 * place : 2 * place + 2]]
            ids = [ids[place] for place in kept]
        self._pass_on(number, ids, times, values, sizes, cpu)
        if sizes:
            for client in self.clients:
                self.tell(client, "held", number, worker.held, worker.peak)
        if worker.leaving:
            self._after_its_last(worker)

    def _after_its_last(self, worker: WorkerState) -> None:
        """A worker that is leaving has run, or given back, a task."""
        for task in worker.has:
            if self._is_only_there(task):
                self.fetch(task)
        self._see_off(worker)

    def _came_to_late(self, worker: WorkerState, ids: Iterable[int]) -> None:
        """A worker has run, or was about to run, what nobody waits for any more."""
        for id in ids:
            worker.strays.discard(id)
            task = self.tasks.get(id)
            if task is None or worker.number not in task.holders:
                worker.dropped.append(id)

    def _announce(self, task: Task) -> None:
        """Tell other clients than the one that submitted a task, and those that want its value sent."""
        owner = task.id >> SHIFT
        if task.askers and task.value is ABSENT:
            self._bring(task)
        else:
            task.askers = None
        for client, id in (task.wanted or {}).items():
            if client != owner or id != task.id:
                self._tell_done(client, task, id)

    def _pass_on(
        self,
        number: int,
        ids: Sequence[int],
        times: Sequence[float],
        values: dict[int, Any],
        sizes: dict[int, float],
        cpu: float,
    ) -> None:
        """Let each client see the report of its tasks."""
        if not ids:
            return
        if len(self.clients) == 1:
            (client,) = self.clients
            self.tell(client, "report", number, ids, times, values, sizes, cpu)
            return
        parts: dict[int, list[int]] = {}
        for place, id in enumerate(ids):
            parts.setdefault(id >> SHIFT, []).append(place)
        for client, places in parts.items():
            own = [ids[place] for place in places]
            self.tell(
                client,
                "report",
                number,
                own,
                [time for place in places for time in times[2 * place : 2 * place + 2]],
                {id: values[id] for id in own if id in values},
                {id: sizes[id] for id in own if id in sizes},
                cpu,
            )

    def failed(self, number: int, id: int, start: float, stop: float, error: Any) -> None:
        """A task has raised."""
        worker = self.workers[number]
        task = worker.outstanding.get(id)
        if task is None:
            self._came_to_late(worker, [id])
            return
        self.withdraw(task)
        task.raised += 1
        if task.raised <= task.options.retries:
            task.state = WAITING
            if not task.open:
                self.offer(task)
        else:
            self.fail(task, error, number, start, stop, task.raised)

    def returned(self, number: int, ids: Iterable[int]) -> None:
        """A worker gives back what it has not begun."""
        worker = self.workers[number]
        worker.giving_back = False
        tasks = []
        for id in ids:
            task = worker.outstanding.get(id)
            if task is None:
                worker.strays.discard(id)
            else:
                tasks.append(task)
        for task in tasks:
            self.withdraw(task)
            task.state = WAITING
        for task in tasks:
            if not task.open:
                self.offer(task)
        if worker.leaving:
            self._after_its_last(worker)

    def cancelled(self, number: int, ids: Iterable[int]) -> None:
        """A worker has stopped tasks, or taken them out of its queue, as it was asked to."""
        worker = self.workers[number]
        for id in ids:
            worker.strays.discard(id)
            task = worker.outstanding.get(id)
            if task is not None:  # it was wanted again meanwhile
                self.put_back(task)

    def missing(self, number: int, id: int, inputs: Iterable[int]) -> None:
        """A worker could not run a task, as inputs are not there."""
        worker = self.workers[number]
        task = worker.outstanding.get(id)
        if task is None:
            worker.strays.discard(id)
            return
        self.withdraw(task)
        task.state = WAITING
        wrong = []
        for dep in task.inputs:
            if dep.id in inputs:
                self._is_not_at(dep, worker)
                wrong.append(dep)
        self.lose(wrong)
        if task.state is WAITING and not task.open:
            self.offer(task)

    def _is_not_at(self, task: Task, worker: WorkerState) -> None:
        if worker.number in task.holders:
            task.holders = tuple([holder for holder in task.holders if holder != worker.number])
            worker.has.discard(task)
            worker.held -= task.nbytes

    def data(self, number: int, id: int, parcel: Any) -> None:
        """A result has come from a worker, for others and for clients."""
        task = self.tasks.get(id)
        self.used_up.append(parcel)
        if task is None or task.state is not DONE:
            return
        task.fetching = -1
        size = task.nbytes = task.nbytes or parcel.nbytes
        takers, task.takers = task.takers or [], None
        for taker in takers:
            target = taker.worker
            if taker.state is not TRANSIT or target is None:
                continue
            if target.number not in task.holders:
                target.packed[id] = parcel
                self.hold(task, target)
                self.tell(taker.id >> SHIFT, "moved", id, number, target.number, size)
            taker.missing -= 1
            if not taker.missing:
                del target.transit[taker.id]
                self.send(taker, target)
        for client in task.askers or ():
            self.tell(client, "data", (task.wanted or {}).get(client, task.id), parcels=(parcel,))
        task.askers = None
        source = self.workers.get(number)
        if source is not None and source.leaving:
            staying = [worker for worker in self.workers.values() if not worker.leaving]
            if staying and self._is_only_there(task):
                target = min(staying, key=lambda worker: worker.held)
                target.packed[id] = parcel
                self.hold(task, target)
            self._see_off(source)

    def no_data(self, number: int, id: int, error: Any) -> None:
        """A result cannot be brought: it cannot be pickled."""
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            return
        task.fetching = -1
        takers, task.takers = task.takers or [], None
        for client in task.askers or ():
            self.tell(client, "no_data", (task.wanted or {}).get(client, task.id), error)
        task.askers = None
        holder = self.workers.get(number)
        for taker in takers:
            if holder is not None and len(taker.inputs) == 1 and not holder.leaving:  # let it go where its input is
                self.withdraw(taker)
                self._dispatch(taker, holder)
            else:
                self.fail(taker, error)

    def gone(self, number: int, id: int) -> None:
        """A result that was sent for is not where it was believed to be."""
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            return
        task.fetching = -1
        worker = self.workers.get(number)
        if worker is not None:
            self._is_not_at(task, worker)
        if task.holders:
            self.fetch(task)
        else:
            self.lose([task])

    def blocked(self, number: int, by: int) -> None:
        """A task waits for others and has freed its slot (1), or goes on (-1)."""
        self.workers[number].blocked += by

    def expire(self, id: int) -> None:
        """A task has waited for long for a worker that can run it."""
        task = self.tasks.get(id)
        if task is None or task.state is not READY or task.options.requirement is None:
            return
        if self.can_be_met(task.options.requirement):
            return
        there = "; ".join(
            f"{worker.name} has {worker.resources}" if worker.resources else worker.name
            for worker in self.workers.values()
        )
        self.fail(
            task,
            self.pack_error(
                TaskloomError(
                    f"Task {describe(task.key)} needs {task.options.requirement}, and there is none. There are: "
                    f"{there or 'no workers'}. Add such a worker, or submit it with other restrictions."
                )
            ),
        )

    def no_worker_lives(self, fate: str, last_lines: Sequence[str]) -> None:
        """Workers end before they run anything: what was to run fails."""
        error = self.pack_error(died_idle(fate, last_lines))
        for task in list(self.tasks.values()):
            if task.state is READY:
                self.fail(task, error)

    def retire(self, number: int) -> None:
        """A worker is to end: it gets nothing more, gives back what it has not begun, and its data go elsewhere."""
        worker = self.workers[number]
        worker.leaving = True
        if worker.outstanding:
            worker.asks.append(("take_back", list(worker.outstanding)))
        for rank in worker.own:
            if self._is_ready(rank):
                self.offer(self.tasks[rank & MASK])
        for task in worker.has:
            if self._is_only_there(task):
                self.fetch(task)
        self._see_off(worker)

    def _is_only_there(self, task: Task) -> bool:
        """Whether a result that is needed is at workers that are leaving, and nowhere else."""
        if task.value is not ABSENT or task.parcel is not None:
            return False
        return all(self.workers[holder].leaving for holder in task.holders)

    def _see_off(self, worker: WorkerState) -> None:
        """End a worker that is leaving, once nothing is lost with it."""
        others = [other for other in self.workers.values() if not other.leaving]
        stays = others and any(self._is_only_there(task) for task in worker.has)
        if not stays and not worker.given():
            self.orders.append(("end", worker.number))

    def may_end(self, number: int, force: bool = False) -> bool:
        """Whether a worker could be replaced without harm to anything but what was cancelled: it runs nothing else, and
        all that it holds is elsewhere too, or can be computed again."""
        worker = self.workers[number]
        if force:
            return True
        if worker.outstanding:
            return False
        return all(task.has_function or len(task.holders) > 1 or task.parcel is not None for task in worker.has)
