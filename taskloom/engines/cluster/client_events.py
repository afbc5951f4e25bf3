"""What clients have the scheduler do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskloom.engines.cluster.placement import Placement
from taskloom.engines.cluster.tasks import (
    ABSENT,
    DONE,
    ERRED,
    MASK,
    SENT,
    SHIFT,
    WAITING,
    ClientState,
    Slice,
    Task,
)
from taskloom.engines.processes_errors import describe
from taskloom.errors import TaskloomError

NOT_A_FUNCTION = -1  # the code of data


class ClientEvents(Placement):
    """The events that come from clients."""

    def client_joined(self, number: int) -> None:
        self.clients[number] = ClientState(number)
        for worker in self.workers.values():
            self.tell(number, "joined", worker.number, worker.name, worker.pid, worker.threads, worker.memory_limit)

    def client_left(self, number: int) -> None:
        """Its futures are released; code that runs for nobody else is stopped."""
        client = self.clients.get(number)
        if client is None:
            return
        tasks = list(client.futures.values())
        for id, task in list(client.futures.items()):
            self._want_no_more(task, number, id)
        self.let_go(tasks, "cancel")
        orphans = [rank for heap in (client.ready, client.roots) for rank in heap if self._is_ready(rank)]
        del self.clients[number]
        for rank in orphans:
            self.offer(self.tasks[rank & MASK])

    def submit(self, number: int, tasks: Slice, parcels: Sequence[Any]) -> None:
        """A client submits tasks. Those of its names that are known already are not run a second time."""
        client = self.clients[number]
        known = self.tasks
        for code, parcel in tasks.functions.items():
            self.functions[code] = parcels[parcel]
        for id, parcel in tasks.data.items():
            data = known[id] = Task(id, f"data-{id & ((1 << SHIFT) - 1)}", NOT_A_FUNCTION, (), (), None)
            data.state, data.parcel, data.nbytes = DONE, parcels[parcel], parcels[parcel].nbytes
        options, named = tasks.options, tasks.named
        ready: list[Task] = []
        wanted = set(tasks.wanted) if named else None
        broken: list[Task] = []
        for id, key, code, args, plain in zip(
            range(tasks.first, tasks.first + len(tasks.keys)),
            tasks.keys,
            tasks.codes,
            tasks.args,
            tasks.plains,
            strict=True,
        ):
            if named:
                other = self.names.get(key)
                if other is not None:
                    self._meet(client, other, id, code, id in wanted)  # type: ignore[operator]
                    continue
                if code == NOT_A_FUNCTION:  # it was to be known
                    self.tell(number, "cancelled", [id], "the cluster knows no such key")
                    continue
            task = known[id] = Task(id, key, code, args, plain, options)
            if named:
                task.named = True
                self.names[key] = task
            if args:
                sources = [arg for arg in args if arg >= 0]
                if sources:
                    self._link(task, sources, broken)
            if not task.open and task.state is WAITING:
                ready.append(task)
        for id in tasks.wanted:
            task = known.get(id)  # type: ignore[assignment]
            if task is not None and id not in client.futures:
                self._want(task, client, id)
                if tasks.bring and task.askers is None:
                    task.askers = [number]
        for task in broken:
            self.fail(task, task.error)
        for task in ready:
            if task.state is WAITING:
                self.offer(task)
        if tasks.data:  # some may have belonged to tasks that were known
            self.let_go([known[id] for id in tasks.data if id in known])

    def _link(self, task: Task, sources: list[int], broken: list[Task]) -> None:
        """Connect a task with its inputs."""
        known = self.tasks
        try:
            if len(sources) == 1:
                inputs: tuple[Task, ...] = (known[sources[0]],)
            else:
                inputs = tuple(dict.fromkeys([known[source] for source in sources]))
        except KeyError:
            inputs = tuple(dict.fromkeys([known[source] for source in sources if source in known]))
            task.error = self.pack_error(_unknown_input(task))
            broken.append(task)
        task.inputs = inputs
        id = task.id
        for dep in inputs:
            users = dep.dependents
            if users is None:
                dep.dependents = {id: task}
            else:
                users[id] = task
            state = dep.state
            if state is not DONE:
                task.open += 1
                if state is SENT:  # it may be sent ahead
                    if task.home is None:
                        task.home, task.local = dep.worker, 0
                    if task.home is dep.worker:
                        task.local += 1
                elif state is ERRED:
                    task.error = dep.error
                    broken.append(task)
        if not {dep.id for dep in inputs}.issubset(sources):  # known by another client's id
            real = {source: known[source].id for source in sources if source in known}
            task.args = tuple([real.get(arg, arg) for arg in task.args])

    def _meet(self, client: ClientState, task: Task, id: int, code: int, wanted: bool) -> None:
        """A client submits under a name that is known, or only asks for the result."""
        self.tasks[id] = task
        if code not in (task.code, NOT_A_FUNCTION) and not self._same_function(code, task.code):
            text = (
                f"Key {describe(task.key)} is in use for a task with another function. You get the result of that one; "
                "give another key, or release the futures of that one first."
            )
            self.tell(client.number, "said", text, task.key)
        if wanted:
            self._want(task, client, id)
            if task.state is DONE:
                self._tell_done(client.number, task, id)
            elif task.state is ERRED:
                self.tell(client.number, "erred", id, task.error, -1, 0.0, 0.0, 1, [id])

    def _same_function(self, code: int, other: int) -> bool:
        one, two = self.functions.get(code), self.functions.get(other)
        return one is not None and two is not None and one.payload == two.payload

    def _tell_done(self, client: int, task: Task, id: int) -> None:
        values = {} if task.value is ABSENT else {id: task.value}
        self.tell(client, "done", [id], values, {} if values else {id: task.nbytes})

    def _want(self, task: Task, client: ClientState, id: int) -> None:
        if task.wanted is None:
            task.wanted = {}
        task.wanted[client.number] = id
        client.futures[id] = task

    def _want_no_more(self, task: Task, number: int, id: int) -> None:
        """A client has no future of a task any more by this id."""
        self.clients[number].futures.pop(id, None)
        if id != task.id:
            self.tasks.pop(id, None)
        if task.wanted and task.wanted.get(number) == id:
            del task.wanted[number]
            if not task.wanted:
                task.wanted = None

    def release(self, number: int, ids: Iterable[int]) -> None:
        """A client has no future of these any more."""
        futures = self.clients[number].futures
        tasks = []
        for id in ids:
            task = futures.get(id)
            if task is not None:
                self._want_no_more(task, number, id)
                if not (task.wanted or task.dependents):
                    tasks.append(task)
        if tasks:
            self.let_go(tasks)

    def cancel(self, number: int, ids: Iterable[int], force: bool = False) -> None:
        """Forget tasks and all that build on them, and stop code that runs for them; what other clients want stays,
        unless it is forced."""
        todo = [task for id in ids if (task := self.tasks.get(id)) is not None]
        hit = dict.fromkeys(todo)
        while todo:
            for user in (todo.pop().dependents or {}).values():
                if user not in hit:
                    hit[user] = None
                    todo.append(user)
        told: dict[int, list[int]] = {}
        for task in hit:
            for client, id in list((task.wanted or {}).items()):
                if force or client == number:
                    told.setdefault(client, []).append(id)
                    self._want_no_more(task, client, id)
        for client, cancelled in told.items():
            self.tell(client, "cancelled", cancelled, "" if client == number else "Another client has cancelled it.")
        if force:
            self.forced.update([task.id for task in hit if task.state is SENT])
        self.let_go(hit, "cancel")

    def retry(self, number: int, ids: Iterable[int]) -> None:
        """Run tasks again that have failed, and those that failed because of them."""
        todo = [task for id in ids if (task := self.tasks.get(id)) is not None and task.state is ERRED]
        again = dict.fromkeys(todo)
        while todo:
            task = todo.pop()
            for other in (*task.inputs, *(task.dependents or {}).values()):
                if other.state is ERRED and other not in again:
                    again[other] = None
                    todo.append(other)
        told: dict[int, list[int]] = {}
        for task in again:
            task.state, task.error, task.blamed = WAITING, None, None
            task.raised = task.attempts = task.open = task.local = 0
            task.home = None
            for client, id in (task.wanted or {}).items():
                told.setdefault(client, []).append(id)
        for client, pending in told.items():
            self.tell(client, "again", pending)
        for task in again:
            task.open = sum([dep.state is not DONE for dep in task.inputs])
        for task in again:
            if not task.has_function:
                self.fail(task, self.pack_error(self._gone(task)))
            elif not task.open:
                self.offer(task)

    def gather(self, number: int, ids: Iterable[int]) -> None:
        """A client asks for results, now or as soon as they are there."""
        for id in ids:
            task = self.tasks.get(id)
            if task is None:
                self.tell(number, "no_data", id, self.pack_error(TaskloomError(f"There is no task with the id {id}.")))
            elif task.state is ERRED:
                self.tell(number, "no_data", id, task.error)
            else:
                task.askers = [*(task.askers or ()), number]
                if task.state is DONE:
                    self._bring(task)

    def _bring(self, task: Task) -> None:
        """Have a result brought to the clients that asked for it. What is small they have, or get in a message."""
        if task.value is not ABSENT:
            for client in task.askers or ():
                self._tell_done(client, task, (task.wanted or {}).get(client, task.id))
            task.askers = None
        elif task.parcel is not None:
            for client in task.askers or ():
                self.tell(client, "data", (task.wanted or {}).get(client, task.id), parcels=(task.parcel,))
            task.askers = None
        else:
            self.fetch(task)

    def scatter(
        self,
        number: int,
        items: dict[int, tuple[Any, int]],
        parcels: Sequence[Any],
        workers: Iterable[int] | None = None,
        broadcast: bool = False,
    ) -> None:
        """A client brings data, which are spread over workers."""
        client = self.clients[number]
        places = [self.workers[w] for w in workers or self.workers if w in self.workers and not self.workers[w].leaving]
        sizes = {}
        for id, (key, index) in items.items():
            parcel = parcels[index]
            task = self.tasks[id] = Task(id, key, NOT_A_FUNCTION, (), (), None)
            task.state, task.nbytes, task.named = DONE, parcel.nbytes, True
            self.names.setdefault(key, task)
            self._want(task, client, id)
            sizes[id] = parcel.nbytes
            if not places:  # it stays here until there is a worker
                task.parcel = parcel
                continue
            for place in places if broadcast else [min(places, key=lambda place: place.held)]:
                place.packed[id] = parcel
                self.hold(task, place)
            self.used_up.append(parcel)
        self.tell(number, "done", list(items), {}, sizes)


def _unknown_input(task: Task) -> TaskloomError:
    return TaskloomError(
        f"Task {describe(task.key)} takes a result that the cluster does not hold: its future was released or "
        "cancelled, or it belongs to another cluster."
    )
