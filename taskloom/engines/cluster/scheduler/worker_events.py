"""What workers tell the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from taskloom.engines.cluster.scheduler.client_events import ClientEvents
from taskloom.engines.cluster.scheduler.tasks import ABSENT, DONE, SHIFT, TRANSIT, WAITING, Task, WorkerState
from taskloom.engines.processes_errors import describe, input_stays
from taskloom.engines.worker.failure import told


class WorkerEvents(ClientEvents):
    """The events that come from workers. What they say of tasks may be out of date: it is then passed over."""

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
        if self.watchers:
            self._show_others(worker, ids, times, sizes)
        outstanding, has, holders = worker.outstanding, worker.has, (number,)
        value_of, seconds = values.get, self.seconds
        stale: list[int] = []
        place = 0
        for id in ids:
            task = outstanding.pop(id, None)
            place += 2
            if task is None:
                stale.append(id)
                continue
            worker.load -= task.estimate
            code = task.code
            took = times[place - 1] - times[place - 2]
            before = seconds.get(code)
            seconds[code] = took if before is None else 0.7 * before + 0.3 * took
            task.state = DONE
            task.holders = holders
            task.worker = None
            has[task] = None
            task.value = value_of(id, ABSENT)
            if sizes and id in sizes:
                size = task.nbytes = sizes[id]
                worker.held += size
                if worker.held > worker.peak:
                    worker.peak = worker.held
            if task.options.resources:
                for name, amount in task.options.resources:
                    worker.free[name] += amount
            for dep in task.inputs:
                users = dep.dependents
                if users and users.pop(id, None) is not None and not users and not dep.wanted:
                    if dep.state is DONE:
                        self.drop(dep)
                    else:  # it was lost meanwhile
                        self.let_go((dep,))
            if task.askers or (task.named and task.wanted):
                self._announce(task)
            users = task.dependents
            if users:
                self._has_come(users, worker)
            elif not task.wanted:
                self.drop(task)
        if not outstanding and not worker.transit:
            worker.load = 0.0
        if worker.strays:
            self._forget_strays(worker, ids)
        if stale:
            self._came_too_late(worker, stale)
            kept = [place for place, id in enumerate(ids) if id not in stale]
            times = [time for place in kept for time in times[2 * place : 2 * place + 2]]
            ids = [ids[place] for place in kept]
        if worker.leaving:
            worker.moving += [task for id in ids if (task := self.tasks.get(id)) in has]
        if ids:
            self._pass_on(number, ids, times, values, sizes, cpu)
        if sizes:
            for client in self.clients:
                self.tell(client, "held", number, worker.held, worker.peak)

    def _show_others(
        self, worker: WorkerState, ids: Sequence[int], times: Sequence[float], sizes: dict[int, float]
    ) -> None:
        """Let clients that watch see what tasks of others have been done."""
        for watcher in self.watchers:
            shown = [
                (place, task)
                for place, id in enumerate(ids)
                if id >> SHIFT != watcher and (task := worker.outstanding.get(id)) is not None
            ]
            if shown:
                self.tell(
                    watcher,
                    "others",
                    worker.number,
                    [task.key for _, task in shown],
                    [self.client_of(task).number for _, task in shown],
                    [time for place, _ in shown for time in times[2 * place : 2 * place + 2]],
                    [sizes.get(task.id, 0.0) for _, task in shown],
                )

    def _has_come(self, users: dict[int, Task], worker: WorkerState) -> None:
        """A result is there that these take."""
        for user in users.values():
            user.open -= 1
            if user.home is worker:
                user.local -= 1
                if user.local <= 0:
                    user.home, user.local = None, 0
            if not user.open:
                if user.state is WAITING:
                    self.offer(user)
            elif user.open == user.local:
                self.consider_ahead(user)

    def _forget_strays(self, worker: WorkerState, ids: Iterable[int]) -> None:
        """A worker does not run these any more."""
        worker.strays.difference_update(ids)
        if self.forced:
            self.forced.difference_update(ids)

    def _came_too_late(self, worker: WorkerState, ids: Iterable[int]) -> None:
        """A worker has run what nobody waits for any more."""
        for id in ids:
            task = self.tasks.get(id)
            if task is None or worker.number not in task.holders:
                worker.dropped.append(id)

    def _announce(self, task: Task) -> None:
        """Tell other clients than the one that submitted a task, and those that want its value sent."""
        futures = task.wanted or {}
        if task.askers and task.value is ABSENT:
            self.fetch(task)
        else:
            for client, id in task.askers or ():
                if id not in futures:
                    self._tell_done(client, task, id)
            task.askers = None
        for id, client in futures.items():
            if id != task.id:
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
        client = ids[0] >> SHIFT
        if min(ids) >> SHIFT == max(ids) >> SHIFT:  # all are of one
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
                cpu * len(own) / len(ids),
            )

    def failed(self, number: int, id: int, start: float, stop: float, error: Any) -> None:
        """A task has raised."""
        worker = self.workers[number]
        self._forget_strays(worker, (id,))
        task = worker.outstanding.get(id)
        if task is None:
            return
        task.raised += 1
        if task.raised <= task.options.retries:
            self.put_back(task)
        else:
            self.withdraw(task)
            task.state = WAITING
            self.fail(task, error, number, start, stop, task.raised)

    def rescheduled(self, number: int, id: int) -> None:
        """A task wants to run again, elsewhere if it can."""
        worker = self.workers[number]
        self._forget_strays(worker, (id,))
        task = worker.outstanding.get(id)
        if task is None:
            return
        options = task.options.given or task.options
        allowed = [other.name for other in self.workers.values() if other is not worker and not other.leaving]
        if options.workers is not None:
            allowed = [name for name in allowed if name in options.workers]
        self.withdraw(task)
        if allowed:
            others = options.allow_other_workers or options.workers is None
            task.options = replace(options, workers=frozenset(allowed), allow_other_workers=others, given=options)
        task.state = WAITING
        if not task.open:
            self.offer(task)

    def returned(self, number: int, ids: Iterable[int]) -> None:
        """A worker gives back what it has not begun."""
        worker = self.workers[number]
        self._forget_strays(worker, ids)
        tasks = [worker.outstanding[id] for id in ids if id in worker.outstanding]
        if worker.recalls and worker.recalls.popleft():
            worker.giving_back = False
            worker.eager = bool(tasks)
        for task in tasks:
            self.withdraw(task)
            task.state = WAITING
        for task in tasks:
            if not task.open:
                self.offer(task)

    def cancelled(self, number: int, ids: Iterable[int]) -> None:
        """A worker has stopped tasks, or taken them out of its queue, as it was asked to."""
        worker = self.workers[number]
        self._forget_strays(worker, ids)
        for id in ids:
            task = worker.outstanding.get(id)
            if task is not None:  # it was wanted again meanwhile
                self.put_back(task)

    def missing(self, number: int, id: int, inputs: Iterable[int]) -> None:
        """A worker could not run a task, as inputs are not there."""
        worker = self.workers[number]
        self._forget_strays(worker, (id,))
        task = worker.outstanding.get(id)
        if task is None:
            return
        self.withdraw(task)
        task.state = WAITING
        wrong = [dep for dep in task.inputs if dep.id in inputs]
        for dep in wrong:
            self.is_not_at(dep, worker)
        self.lose(wrong)
        if task.state is WAITING and not task.open:
            self.offer(task)

    def data(self, number: int, id: int, parcel: Any) -> None:
        """A result has come from a worker, for others and for clients."""
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            self.used_up.append(parcel)
            return
        task.fetching = -1
        if not task.nbytes:
            task.nbytes = parcel.nbytes
            for holder in task.holders:
                self.workers[holder].held += task.nbytes
        takers, task.takers = task.takers or (), None
        for taker in takers:
            self._arrives(task, taker, number, parcel)
        for client, name in task.askers or ():
            self.tell(client, "data", name, parcels=(parcel,))
        task.askers = None
        if self.is_only_at_leaving(task):
            staying = self.staying()
            if not staying:  # all are leaving: it stays here until there are others
                task.parcel = parcel
                return
            self._move(task, min(staying, key=lambda worker: worker.held), number, parcel)
        self.used_up.append(parcel)

    def _arrives(self, dep: Task, taker: Task, source: int, parcel: Any) -> None:
        """An input of a task in transit has come."""
        target = taker.worker
        if taker.state is not TRANSIT or target is None:
            return
        if target.number not in dep.holders:
            self._move(dep, target, source, parcel)
        taker.missing -= 1
        if taker.missing:
            return
        if taker.open and not (taker.home is target and taker.local >= taker.open):
            self.put_back(taker)  # what it was to find there has gone meanwhile
            return
        del target.transit[taker.id]
        self.send(taker, target)

    def _move(self, task: Task, target: WorkerState, source: int, parcel: Any) -> None:
        target.packed[task.id] = parcel
        self.hold(task, target)
        self.tell(task.id >> SHIFT, "moved", task.id, source, target.number, task.nbytes)

    def no_data(self, number: int, id: int, error: Any) -> None:
        """A result cannot be brought: it cannot be pickled. What takes it has to run where it is."""
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            return
        task.fetching = -1
        task.stays = True
        for client, name in task.askers or ():
            self.tell(client, "no_data", name, error)
        task.askers = None
        holder = self.workers.get(number)
        takers, task.takers = task.takers or (), None
        for taker in list(takers):
            if holder is not None and self._could_run_at(taker, holder):
                self.withdraw(taker)
                self.dispatch(taker, holder)
            else:
                self.fail(taker, self.pack_error(input_stays(taker.key, task.key, told(error))))
        if holder is not None and holder.leaving:
            if self.is_only_at_leaving(task):
                self._say_it_stays(task, holder, error)
            self.is_not_at(task, holder)
            self.lose((task,))

    def _say_it_stays(self, task: Task, holder: WorkerState, error: Any) -> None:
        """Tell those who want a result that it ends with its worker."""
        text = (
            f"The result of {describe(task.key)} cannot leave {holder.name!r}, which is to end: {told(error)}. It is "
            "computed again where it is needed."
        )
        for client in set((task.wanted or {}).values()):
            self.tell(client, "said", text, task.key)

    def _could_run_at(self, task: Task, worker: WorkerState) -> bool:
        """Whether all that a task takes could be there, as far as is known."""
        requirement = task.options.requirement
        if worker.leaving or (requirement is not None and not worker.satisfies(requirement)):
            return False
        return not any(dep.stays and worker.number not in dep.holders for dep in task.inputs)

    def gone(self, number: int, id: int) -> None:
        """A result that was sent for is not where it was believed to be."""
        task = self.tasks.get(id)
        if task is None or task.state is not DONE:
            return
        task.fetching = -1
        worker = self.workers.get(number)
        if worker is not None:
            self.is_not_at(task, worker)
        if task.holders:
            self.fetch(task)
        else:
            self.lose((task,))

    def blocked(self, number: int, by: int) -> None:
        """A task waits for others and has freed its slot (1), or goes on (-1)."""
        self.workers[number].blocked += by

    def staying(self) -> list[WorkerState]:
        """The workers that are not leaving."""
        return [worker for worker in self.workers.values() if not worker.leaving]

    def is_only_at_leaving(self, task: Task) -> bool:
        """Whether a result is at workers that are leaving, and nowhere else."""
        if task.state is not DONE or task.value is not ABSENT or task.parcel is not None or not task.holders:
            return False
        return all(self.workers[holder].leaving for holder in task.holders)
