"""What clients ask the coordinator, and its answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from taskloom.engines.cluster.scheduler.sizing import first_to_go, idle
from taskloom.engines.cluster.scheduler.tasks import DONE, ERRED, RELEASED, Task
from taskloom.engines.cluster.versions import versions
from taskloom.engines.processes_errors import describe
from taskloom.errors import TaskloomError, WorkerDied
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator


class Questions:
    """Answers at once, or when the workers that it has asked in turn have answered. On the coordinator's thread."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._pending: dict[int, Round] = {}
        self._count = 0
        self._started = time()
        self._waiting: list[tuple[int, int, int]] = []  # client, number and how many workers it waits for
        self._retiring: list[_Retirement] = []

    def __bool__(self) -> bool:
        """Whether workers do something that was asked of them, such as a call of an actor."""
        return bool(self._pending)

    def ask(self, client: int, number: int, what: str, args: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        try:
            getattr(self, f"_{what}")(client, number, *args, *parcels)
        except Exception as error:
            self._reply(client, number, False, self._coordinator.crew.pack_error(error))

    def _reply(self, client: int, number: int, ok: bool, value: Any, parcels: tuple[Any, ...] = ()) -> None:
        self._coordinator.scheduler.tell(client, "answer", number, ok, value, parcels=parcels)

    # -- what the scheduler knows ---------------------------------------------------------------------------------

    def _who_has(self, client: int, number: int, ids: Sequence[int]) -> None:
        tasks = self._coordinator.scheduler.tasks
        self._reply(client, number, True, {id: list(tasks[id].holders) for id in ids if id in tasks})

    def _has_what(self, client: int, number: int) -> None:
        workers = self._coordinator.scheduler.workers.values()
        self._reply(client, number, True, {worker.number: [task.key for task in worker.has] for worker in workers})

    def _nbytes(self, client: int, number: int) -> None:
        workers = self._coordinator.scheduler.workers.values()
        self._reply(client, number, True, {task.key: int(task.nbytes) for worker in workers for task in worker.has})

    def _processing(self, client: int, number: int) -> None:
        workers = self._coordinator.scheduler.workers.values()
        given = {worker.number: [task.key for task in worker.outstanding.values()] for worker in workers}
        self._reply(client, number, True, given)

    def _workers(self, client: int, number: int) -> None:
        self._reply(client, number, True, self.describe_workers())

    def describe_workers(self) -> list[dict[str, Any]]:
        """Each worker as a dictionary. Any thread may ask."""
        running = self._coordinator.crew.running()
        return [
            {
                "number": worker.number,
                "name": worker.name,
                "pid": worker.pid,
                "threads": worker.threads,
                "memory_limit": worker.memory_limit,
                "held": worker.held,
                "peak": worker.peak,
                "resources": worker.resources,
                "outstanding": len(worker.outstanding),
                "executing": sum([number == worker.number for number, _, _ in running]),
                "keys": len(worker.has),
                "leaving": worker.leaving,
                "incoming": worker.incoming(),
                "outgoing": worker.outgoing(),
                **self._coordinator.memory.describe(worker),
            }
            for worker in list(self._coordinator.scheduler.workers.values())
        ]

    def _info(self, client: int, number: int) -> None:
        coordinator = self._coordinator
        info = {
            "name": coordinator.name,
            "address": coordinator.address,
            "started": self._started,
            "workers": self.describe_workers(),
        }
        self._reply(client, number, True, info)

    def _coordinate(self, client: int, number: int, *args: Any) -> None:
        self._coordinator.coordinating.ask(client, number, *args)

    def _logs(self, client: int, number: int) -> None:
        self._reply(client, number, True, self._coordinator.output.logs.entries())

    def _versions(self, client: int, number: int, packages: Sequence[str]) -> None:
        self._reply(client, number, True, versions(packages))

    def _named(self, client: int, number: int, keys: Sequence[Any]) -> None:
        names = self._coordinator.scheduler.names
        self._reply(client, number, True, {key: names[key].id if key in names else None for key in keys})

    def _calls(self, client: int, number: int, id: int, fresh: bool) -> None:
        """What a task is called with, and what has to run first: what has no result now, or, for fresh inputs, all.

        The answer has the task's own id, by id the number of the function's parcel and the arguments, and by id the
        number of the parcel of constants that there are no other ways to.
        """
        scheduler = self._coordinator.scheduler
        first = scheduler.tasks[id]
        parcels: list[Any] = []
        functions: dict[int, int] = {}
        calls: dict[int, tuple[int, tuple[int, ...], tuple[Any, ...]]] = {}
        data: dict[int, int] = {}
        todo = [first]
        while todo:
            task = todo.pop()
            if task.code not in functions:
                functions[task.code] = len(parcels)
                parcels.append(scheduler.functions[task.code])
            calls[task.id] = functions[task.code], task.args, task.plain
            for dep in task.inputs:
                if dep.id in calls or dep.id in data:
                    continue
                if dep.has_function and (fresh or dep.state in (RELEASED, ERRED)):
                    todo.append(dep)
                elif dep.parcel is not None and dep.state is RELEASED:
                    data[dep.id] = len(parcels)
                    parcels.append(dep.parcel)
        self._reply(client, number, True, (first.id, calls, data), tuple(parcels))

    def _key_of(self, client: int, number: int, id: int) -> None:
        self._reply(client, number, True, self._coordinator.scheduler.tasks[id].key)

    def _held_at(self, client: int, number: int, worker: int) -> None:
        has = self._coordinator.scheduler.workers[worker].has
        self._reply(client, number, True, {task.key: task.id for task in has})

    def _replicate(
        self, client: int, number: int, ids: Sequence[int], n: int | None, workers: Sequence[int] | None
    ) -> None:
        self._coordinator.scheduler.replicate(client, number, ids, n, workers)

    def _rebalance(self, client: int, number: int, ids: Sequence[int] | None, workers: Sequence[int] | None) -> None:
        self._coordinator.scheduler.rebalance(client, number, ids, workers)

    # -- what workers know ----------------------------------------------------------------------------------------

    def _call_stack(self, client: int, number: int, ids: Sequence[int] | None) -> None:
        self.ask_workers(_Stacks(client, number, None if ids is None else set(ids)), None, "stacks", ())

    def _run(self, client: int, number: int, workers: Sequence[int] | None, wait: bool, parcel: Any) -> None:
        self.ask_workers(Round(client, number), workers, "call", (wait,), (parcel,))
        if not wait:
            for key, round in list(self._pending.items()):
                if round.number == number and round.client == client:
                    del self._pending[key]
            self._reply(client, number, True, {})
        parcel.close()

    def _actor(self, client: int, number: int, id: int, name: str, *call: Any) -> None:
        """Call a method of an actor, or read an attribute of it."""
        scheduler = self._coordinator.scheduler
        task = scheduler.tasks.get(id)
        if task is None or task.state is not DONE:
            released = TaskloomError("The actor was released: keep its proxy, or its future.")
            error = None if task is None else task.error
            self._reply(client, number, False, error or self._coordinator.crew.pack_error(released))
        else:
            round = _ActorCall(client, number, task.key)
            self.ask_workers(round, task.holders[:1], "actor", (id, name), call)
        for parcel in call:
            parcel.close()

    def ask_workers(
        self,
        round: Round,
        workers: Sequence[int] | None,
        kind: str,
        fields: tuple[Any, ...],
        parcels: Sequence[Any] = (),
    ) -> None:
        """Ask some of the workers, or all."""
        crew = self._coordinator.crew.workers
        self._count += 1
        for number in crew if workers is None else workers:
            if number in crew:
                round.asked.add(number)
                crew[number].ask(kind, self._count, *fields, parcels=parcels)
        self._pending[self._count] = round
        self._finish(self._count)

    def answered(self, worker: int, number: int, ok: bool, value: Any, parcels: Sequence[Any]) -> None:
        """A worker has answered."""
        round = self._pending.get(number)
        if round is None:
            for parcel in parcels:
                parcel.close()
            return
        round.asked.discard(worker)
        round.answers[worker] = (ok, value, list(parcels))
        self._finish(number)

    def lost(self, worker: int) -> None:
        """A worker has ended, and answers nothing any more."""
        self._see_who_is_gone()
        for number, round in list(self._pending.items()):
            if worker in round.asked:
                error = round.lost_with(worker)
                self.answered(worker, number, False, self._coordinator.crew.pack_error(error), ())

    def _finish(self, number: int) -> None:
        round = self._pending[number]
        if not round.asked:
            del self._pending[number]
            (round.over or self._pass_on)(round)

    def _pass_on(self, round: Round) -> None:
        """Tell the client what the workers have answered."""
        value, parcels = round.put_together(self._coordinator.scheduler.tasks)
        self._reply(round.client, round.number, True, value, tuple(parcels))
        self._coordinator.scheduler.used_up += parcels

    # -- plugins --------------------------------------------------------------------------------------------------

    def _register_plugin(
        self, client: int, number: int, name: str, packed: bytes, watches: bool, idempotent: bool
    ) -> None:
        self._coordinator.plugins.register(client, number, name, packed, watches, idempotent)

    def _unregister_plugin(self, client: int, number: int, name: str) -> None:
        self._coordinator.plugins.unregister(client, number, name)

    # -- what changes the cluster ---------------------------------------------------------------------------------

    def _restart(self, client: int, number: int) -> None:
        self._coordinator.restart()
        self._reply(client, number, True, None)

    def _retire(self, client: int, number: int, workers: Sequence[int] | None, n: int | None) -> None:
        coordinator = self._coordinator
        if workers is None:
            staying = coordinator.scheduler.staying()
            workers = idle(staying) if n is None else first_to_go(staying, n)
        going = {worker["name"]: worker for worker in self.describe_workers() if worker["number"] in workers}
        coordinator.retire(workers)
        self._retiring.append(_Retirement(client, number, going))
        self._see_who_is_gone()

    def _see_who_is_gone(self) -> None:
        """Answer those who wait for workers to end that have."""
        there = self._coordinator.crew.workers
        for retirement in list(self._retiring):
            client, number, going = retirement
            if not any(worker["number"] in there for worker in going.values()):
                self._retiring.remove(retirement)
                self._reply(client, number, True, going)

    def _wait_for_workers(self, client: int, number: int, n: int) -> None:
        self._waiting.append((client, number, n))
        self.look()

    def look(self) -> None:
        """There may be as many workers now as somebody waits for."""
        there = len(self._coordinator.scheduler.workers)
        for waiting in list(self._waiting):
            client, number, n = waiting
            if there >= n:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiting)
                self._reply(client, number, True, None)


class _Retirement(NamedTuple):
    """Workers that are to end, by name, and the question that is answered then."""

    client: int
    number: int
    going: dict[str, dict[str, Any]]


class Round:
    """A question that workers are to answer.

    Attributes
    ----------
    over : called when they have; None where the answers go to the client.
    """

    def __init__(self, client: int, number: int, over: Callable[[Round], None] | None = None) -> None:
        self.client = client
        self.number = number
        self.over = over
        self.asked: set[int] = set()
        self.answers: dict[int, tuple[bool, Any, list[Any]]] = {}

    def lost_with(self, worker: int) -> TaskloomError:
        """What is to be said of a worker that has ended before it answered."""
        return TaskloomError(f"Worker {worker} ended before it had answered.")

    def put_together(self, tasks: dict[int, Task]) -> tuple[Any, list[Any]]:
        """The answer, and its parcels."""
        value = {}
        parcels: list[Any] = []
        for worker, (ok, error, brought) in self.answers.items():
            value[worker] = (ok, len(parcels) if brought else error)
            parcels += brought
        return value, parcels


class _Stacks(Round):
    """Where the tasks are that run."""

    def __init__(self, client: int, number: int, ids: set[int] | None) -> None:
        super().__init__(client, number)
        self.ids = ids

    def put_together(self, tasks: dict[int, Task]) -> tuple[Any, list[Any]]:
        value: dict[int, dict[Any, list[str]]] = {}
        for worker, (ok, stacks, _) in self.answers.items():
            if ok:
                value[worker] = {
                    tasks[id].key: lines
                    for id, lines in stacks.items()
                    if id in tasks and (self.ids is None or id in self.ids)
                }
        return value, []


class _ActorCall(Round):
    """A call of an actor's method."""

    def __init__(self, client: int, number: int, key: Key) -> None:
        super().__init__(client, number)
        self.key = key

    def lost_with(self, worker: int) -> TaskloomError:
        return WorkerDied(f"The actor {describe(self.key)} is gone: its worker ended in the midst of a call.")
