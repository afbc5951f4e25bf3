"""What clients have the scheduler do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from taskloom.engines.cluster.scheduler.losses import Losses
from taskloom.engines.cluster.scheduler.tasks import (
    ABSENT,
    DONE,
    ERRED,
    MASK,
    NOT_A_FUNCTION,
    SENT,
    SHIFT,
    WAITING,
    ClientState,
    Options,
    Slice,
    Task,
)
from taskloom.engines.processes_errors import describe
from taskloom.errors import TaskloomError
from taskloom.graph import Key


class ClientEvents(Losses):
    """The events that come from clients."""

    def client_joined(self, number: int) -> None:
        for other in self.clients:
            self.tell(other, "client_joined", number)
        self.clients[number] = ClientState(number)
        for worker in self.workers.values():
            self.tell(number, "joined", worker.number, worker.name, worker.pid, worker.threads, worker.memory_limit)

    def unfinished(self, number: int, ids: Iterable[int]) -> set[int]:
        """Those of a client's futures whose tasks are neither done nor have failed."""
        futures = self.clients[number].futures
        return {id for id in ids if id in futures and futures[id].state not in (DONE, ERRED)}

    def client_left(self, number: int, but: Collection[int] = ()) -> None:
        """Its futures are released; code that runs for nobody else is stopped. If some are not, it leaves once more
        when those are over."""
        client = self.clients.get(number)
        if client is None:
            return
        released = [(id, task) for id, task in client.futures.items() if id not in but]
        for id, task in released:
            self._want_no_more(task, client, id)
        self.let_go([task for _, task in released], "cancel")
        for code in client.codes:
            self.use_no_more(code)
        client.codes.clear()
        if but:
            return
        del self.clients[number]
        self.watchers.discard(number)
        for other in self.clients:
            self.tell(other, "client_left", number)
        for rank in {*client.ready, *client.roots}:
            if self.is_current(rank, None):
                self.offer(self.tasks[rank & MASK])

    def watch(self, number: int, wanted: bool) -> None:
        """A client wants to see what others have run from now on, or does not any more."""
        if wanted:
            self.watchers.add(number)
        else:
            self.watchers.discard(number)

    def submit(self, number: int, tasks: Slice, parcels: Sequence[Any]) -> None:
        """A client submits tasks. Those of its names that are known already are not run a second time."""
        client = self.clients[number]
        known, users = self.tasks, self.users
        for code, parcel in tasks.functions.items():
            if code not in users:  # it may come twice, if the client was interrupted
                self.functions[code] = parcels[parcel]
                users[code] = 1
                client.codes.add(code)
        for id, parcel in tasks.data.items():
            data = known[id] = Task(id, f"data-{id & ((1 << SHIFT) - 1)}", NOT_A_FUNCTION, (), (), None)
            data.state, data.parcel, data.nbytes = DONE, parcels[parcel], parcels[parcel].nbytes
        options, named = self._with_first_origin(tasks.options), tasks.named
        own = {id: self._with_first_origin(options) for id, options in tasks.own.items()}
        new: list[Task] = []
        met: list[tuple[int, int, Task]] = []
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
                    known[id] = other
                    met.append((id, code, other))
                    continue
            if code == NOT_A_FUNCTION:  # a future of what should be known
                self.tell(number, "cancelled", [id], f"The cluster knows no task with the key {describe(key)}.")
                continue
            task = known[id] = Task(id, key, code, args, plain, own.get(id, options) if own else options)
            new.append(task)
            users[code] += 1
            if named:
                task.named = True
                self.names[key] = task
            if args:
                self._link(task, args, broken)
        for id in tasks.wanted:
            if id not in known:
                continue
            self._want(known[id], client, id)
            if tasks.bring:
                self.gather(number, (id,))
        for id, code, task in met:
            self._meet(client, task, id, code if tasks.chosen else NOT_A_FUNCTION)
        for task in broken:
            if task.state is WAITING:
                self.fail(task, task.error, blamed=task.blamed)
        useless = [task for task in new if not (task.wanted or task.dependents)]
        if useless or tasks.data:  # data may have belonged to tasks that were known
            self.let_go([*useless, *(known[id] for id in tasks.data)])
        for task in new:
            if not task.open and task.state is WAITING:
                self.offer(task)

    def call(self, number: int, id: int, key: Key, code: int, plain: tuple[Any, ...]) -> None:
        """A client submits a call of a function that it has sent, with arguments that travel as they are. Most of what
        `submit` sees to cannot be."""
        args = tuple(range(-1, ~len(plain), -1))
        if key in self.names:
            self.submit(number, Slice(id, [key], [code], [args], [plain], wanted=[id], named=True), ())
            return
        client = self.clients[number]
        self.users[code] += 1
        task = self.tasks[id] = self.names[key] = client.futures[id] = Task(id, key, code, args, plain, None)
        task.named = True
        task.wanted = {id: number}
        if not self.place(task):
            self.offer(task)

    def _with_first_origin(self, options: Options | None) -> Options | None:
        """Of tasks that a task submits, and so on, the origin is that of the first one."""
        if options is None or options.origin is None:
            return options
        task = self.tasks.get(options.origin)
        return options if task is None or task.options.origin is None else replace(options, origin=task.options.origin)

    def _link(self, task: Task, args: tuple[int, ...], broken: list[Task]) -> None:
        """Connect a task with its inputs."""
        known, id = self.tasks, task.id
        inputs: list[Task] = []
        real: dict[int, int] | None = None  # ids of inputs that are known by another client's
        for arg in args:
            if arg < 0:
                continue
            dep = known.get(arg)
            if dep is None:
                task.error, task.blamed = self.pack_error(_unknown_input(task)), None
                broken.append(task)
                continue
            if dep.id != arg:
                real = real or {}
                real[arg] = dep.id
            users = dep.dependents
            if users is None:
                dep.dependents = {id: task}
            elif id in users:  # it is taken twice
                continue
            else:
                users[id] = task
            inputs.append(dep)
            dep.heirs += 1
            state = dep.state
            if state is not DONE:
                task.open += 1
                if state is SENT:
                    if task.home is None:
                        task.home = dep.worker
                    if task.home is dep.worker:
                        task.local += 1
                elif state is ERRED:
                    task.error, task.blamed = dep.error, dep.blamed
                    broken.append(task)
        task.inputs = tuple(inputs)
        if real is not None:
            task.args = tuple([real.get(arg, arg) for arg in args])
        if task.local == task.open > 0:
            self.consider_ahead(task)

    def _meet(self, client: ClientState, task: Task, id: int, code: int) -> None:
        """A client has submitted under a name that was known; with a code, it is to be for that function."""
        if code >= 0 and self._is_another_function(code, task.code):
            text = (
                f"Key {describe(task.key)} is in use for a task with another function. You get the result of that one; "
                "give another key, or release the futures of that one first."
            )
            self.tell(client.number, "said", text, task.key)
        if id not in client.futures:
            del self.tasks[id]
        elif task.state is DONE:
            self._tell_done(client.number, task, id)
        elif task.state is ERRED:
            self.tell(client.number, "erred", id, task.error, -1, 0.0, 0.0, 1, [id])

    def _is_another_function(self, code: int, other: int) -> bool:
        """Whether functions are known to differ: those of a notebook are pickled otherwise than in another one."""
        if code == other:
            return False
        one, two = self.functions.get(code), self.functions.get(other)
        if one is None or two is None:
            return True
        payload = getattr(one, "payload", None)
        if payload is None:
            return bool(one.value() is not two.value())
        by_value = isinstance(payload, bytes) and b"cloudpickle" in payload and b"cloudpickle" in two.payload
        return bool(payload != two.payload and not (by_value and code >> SHIFT != other >> SHIFT))

    def _tell_done(self, client: int, task: Task, id: int) -> None:
        values = {} if task.value is ABSENT else {id: task.value}
        self.tell(client, "done", [id], values, {} if values else {id: task.nbytes})

    def _want(self, task: Task, client: ClientState, id: int) -> None:
        if task.wanted is None:
            task.wanted = {}
        task.wanted[id] = client.number
        client.futures[id] = task

    def _want_no_more(self, task: Task, client: ClientState, id: int) -> None:
        """A client has no future of a task any more by this id."""
        client.futures.pop(id, None)
        if id != task.id:
            self.tasks.pop(id, None)
        if task.wanted:
            task.wanted.pop(id, None)

    def release(self, number: int, ids: Iterable[int]) -> None:
        """A client has no future of these any more, or, of functions, will not use them for further tasks."""
        client = self.clients[number]
        futures, codes = client.futures, client.codes
        tasks = []
        for id in ids:
            task = futures.get(id)
            if task is not None:
                self._want_no_more(task, client, id)
                if not (task.wanted or task.dependents):
                    tasks.append(task)
            elif id in codes:
                codes.remove(id)
                self.use_no_more(id)
        if tasks:
            self.let_go(tasks)

    def hide(self, number: int, ids: Sequence[int]) -> None:
        """A client keeps what has failed only to look at it: who submits under such a name again has it run again."""
        todo = [task for id in ids if (task := self.clients[number].futures.get(id)) is not None]
        seen, kept = set(todo), set(ids)
        for task in todo:  # which grows
            if task.state is not ERRED or any(id not in kept for id in task.wanted or ()):
                continue
            if task.named and self.names.get(task.key) is task:
                del self.names[task.key]
            task.named = False
            new = [dep for dep in task.inputs if dep not in seen]
            seen.update(new)
            todo += new

    def cancel(self, number: int, ids: Sequence[int], force: bool = False, why: str = "") -> None:
        """Forget tasks and all that build on them, and stop code that runs for them; what other clients want stays,
        unless it is forced. All are told why, by default that another client has."""
        todo = [task for id in ids if (task := self.tasks.get(id)) is not None]
        hit = dict.fromkeys(todo)
        while todo:
            for user in (todo.pop().dependents or {}).values():
                if user not in hit:
                    hit[user] = None
                    todo.append(user)
        told: dict[int, list[int]] = {}
        for task in hit:
            for id, client in list((task.wanted or {}).items()):
                if force or client == number:
                    told.setdefault(client, []).append(id)
                    self._want_no_more(task, self.clients[client], id)
        for client, cancelled in told.items():
            told_why = why or ("" if client == number else "Another client has cancelled it.")
            self.tell(client, "cancelled", cancelled, told_why)
        if force:
            self.forced.update([task.id for task in hit if task.state is SENT])
            for id in ids:  # those that were cancelled before, and go on
                for worker in self.workers.values():
                    if id in worker.strays:
                        self.forced.add(id)
                        self.orders.append(("stop", worker.number, id))
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
            task.state, task.blamed = WAITING, None
            task.raised = task.attempts = task.open = task.local = 0
            task.home = None
            for id, client in (task.wanted or {}).items():
                told.setdefault(client, []).append(id)
        self.tell_futures(told, "again")
        for task in again:
            task.open = sum([dep.state is not DONE for dep in task.inputs])
        for task in again:
            if task.state is not WAITING:
                continue
            error, task.error = task.error, None
            if not task.has_function or {arg for arg in task.args if arg >= 0} != {dep.id for dep in task.inputs}:
                self.fail(task, error)  # there is nothing that could be run
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
                if task.askers is None:
                    task.askers = []
                task.askers.append((number, id))
                if task.state is DONE:
                    self._bring(task)

    def _bring(self, task: Task) -> None:
        """Have a result brought to the clients that asked for it. What is small they have, or get in a message."""
        if task.value is not ABSENT:
            for client, id in task.askers or ():
                self._tell_done(client, task, id)
            task.askers = None
        elif task.parcel is not None:
            for client, id in task.askers or ():
                self.tell(client, "data", id, parcels=(task.parcel,))
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
