"""A cluster without processes, threads and sockets: what the scheduler is told, and what becomes of what it says."""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskloom.engines.cluster.scheduler import Scheduler
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
    Options,
    Slice,
    Task,
)

LARGE = 100_000  # bytes of the results of functions that make large ones


class Boom(Exception):
    """What tasks raise."""


class Stays(Exception):
    """What is raised when a result that cannot travel is sent for."""


@dataclass(eq=False)
class Packed:
    """A parcel that knows whether it was closed."""

    content: Any
    nbytes: int = 10
    closed: bool = False

    @property
    def payload(self) -> Any:
        return self.content

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


@dataclass(frozen=True)
class Function:
    """What a task does.

    Attributes
    ----------
    large : whether its results are too large for messages.
    raises : how often it raises in each task before it returns something.
    stays : whether its result cannot be pickled.
    """

    name: str
    large: bool = False
    raises: float = 0
    stays: bool = False

    def __call__(self, *args: Any) -> Any:
        return (self.name, *args)


@dataclass
class Queued:
    id: int
    code: int
    args: tuple[int, ...]
    plain: tuple[Any, ...]
    function: Function | None = None  # of those that run
    values: Sequence[Any] = ()


class Worker:
    """What a worker does with its messages, one step at a time. It has two inboxes: that for tasks is read by idle
    threads only."""

    def __init__(self, cluster: "Cluster", number: int, threads: int) -> None:
        self.cluster = cluster
        self.number = number
        self.threads = threads
        self.work: deque[tuple[Any, ...]] = deque()
        self.questions: deque[tuple[Any, ...]] = deque()
        self.out: deque[tuple[Any, ...]] = deque()
        self.store: dict[int, Any] = {}
        self.staying: set[int] = set()  # results that cannot travel
        self.functions: dict[int, Function] = {}
        self.ready: deque[Queued] = deque()
        self.parked: list[Queued] = []
        self.running: list[Queued] = []
        self.blocked: list[Queued] = []
        self.cancelled: set[int] = set()
        self.unreported: list[tuple[int, Any, float]] = []
        self.clock = 0.0

    # -- what may happen next -------------------------------------------------------------------------------------

    def steps(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        if self.questions:
            found.append(self.answer)
        idle = len(self.running) < self.threads
        if self.ready and idle:
            found.append(self.begin)
        elif self.work and idle:
            found.append(self.read)
        if self.running:
            found.append(self.finish)
        if self.unreported:
            found.append(self.report)
        if self.blocked:
            found.append(self.unblock)
        return found

    def read(self) -> None:
        ids, codes, args, plains, functions, values, packed, dropped, dropped_codes = self.work.popleft()
        self.drop(dropped, dropped_codes)
        self.functions.update(functions)
        self.store.update(values)
        self.store.update(packed)
        tasks = [Queued(*fields) for fields in zip(ids, codes, args, plains, strict=True)]
        self.cancelled.difference_update(ids)
        self.ready.extend(tasks)
        self._unpark()

    def drop(self, ids: Iterable[int], codes: Iterable[int] = ()) -> None:
        for id in ids:
            self.store.pop(id, None)
            self.staying.discard(id)
        for code in codes:
            del self.functions[code]

    def begin(self) -> None:
        task = self.ready.popleft()
        if task.id in self.cancelled:
            self._end([task.id], ("cancelled", [task.id]))
            return
        absent = [arg for arg in task.args if arg >= 0 and arg not in self.store]
        task.function = self.functions.get(task.code)
        if task.function is None:  # given up, for nobody needs the task any more
            self._end([task.id], ("failed", task.id, 0.0, 0.0, KeyError(task.code)))
        elif not absent:
            task.values = [self.store[arg] if arg >= 0 else task.plain[~arg] for arg in task.args]
            self.running.append(task)
        elif set(absent) <= self._pending():
            self.parked.append(task)
        else:
            self.out.append(("missing", task.id, [arg for arg in absent if arg not in self._pending()]))
            self._miss()

    def finish(self, place: int = 0) -> None:
        task = self.running.pop(place % len(self.running))
        start, self.clock = self.clock, self.clock + 0.001
        function, cluster = task.function, self.cluster
        assert function is not None
        if task.id in self.cancelled and task.id % 3:  # every third one does not let itself be stopped
            self.report()
            self._end([task.id], ("cancelled", [task.id]))
        elif cluster.raised[task.id] < function.raises:
            cluster.raised[task.id] += 1
            self.report()
            self._end([task.id], ("failed", task.id, start, self.clock, Boom(task.id)))
        else:
            cluster.ran[task.id] += 1
            self.cancelled.discard(task.id)
            self.store[task.id] = function(*task.values)
            if function.stays:
                self.staying.add(task.id)
            self.unreported.append((task.id, start, self.clock))
            self._unpark()

    def report(self) -> None:
        if not self.unreported:
            return
        done, self.unreported = self.unreported, []
        values, sizes = {}, {}
        for id, _, _ in done:
            value = self.store.get(id)
            if value is not None and (self.cluster.is_large(value) or id in self.staying):
                sizes[id] = LARGE
            else:
                values[id] = value
        self.out.append(
            ("done", [id for id, _, _ in done], [time for _, a, b in done for time in (a, b)], values, sizes, 0.001)
        )

    def block(self, place: int = 0) -> None:
        self.report()
        self.blocked.append(self.running.pop(place % len(self.running)))
        self.out.append(("blocked",))

    def unblock(self) -> None:
        self.running.append(self.blocked.pop())
        self.out.append(("unblocked",))

    def answer(self) -> None:
        kind, *fields = self.questions.popleft()
        getattr(self, f"_{kind}")(*fields)

    def _fetch(self, id: int) -> None:
        if id not in self.store:
            self.cluster.lossy = True  # it may be in the other inbox
            self.out.append(("gone", id))
        elif id in self.staying:
            self.out.append(("no_data", id, Stays(id)))
        else:
            self.out.append(("data", id, self.cluster.pack(self.store[id])))

    def _drop(self, ids: list[int]) -> None:
        self.drop(ids)

    def _take_back(self, ids: list[int]) -> None:
        found = self._take_out(ids)
        self._end(found, ("returned", found))

    def _cancel(self, ids: list[int]) -> None:
        self.cancelled |= {task.id for task in (*self.running, *self.blocked) if task.id in ids}
        found = self._take_out(ids)
        if found:
            self._end(found, ("cancelled", found))

    def _take_out(self, ids: Sequence[int]) -> list[int]:
        found = [task.id for task in (*self.ready, *self.parked) if task.id in ids]
        self.ready = deque([task for task in self.ready if task.id not in ids])
        self.parked = [task for task in self.parked if task.id not in ids]
        return found

    def _pending(self) -> set[int]:
        return {task.id for task in (*self.ready, *self.parked, *self.running, *self.blocked)}

    def _end(self, ids: Sequence[int], message: tuple[Any, ...]) -> None:
        """Tasks have come to another end than a result: those that are parked for them miss them."""
        self.out.append(message)
        self.cancelled.difference_update(ids)
        self._miss()

    def _miss(self) -> None:
        while True:
            pending = self._pending() | set(self.store)
            for task in self.parked:
                lost = [arg for arg in task.args if arg >= 0 and arg not in pending]
                if lost:
                    self.parked.remove(task)
                    self.out.append(("missing", task.id, lost))
                    break
            else:
                return

    def _unpark(self) -> None:
        for task in list(self.parked):
            if all(arg < 0 or arg in self.store for arg in task.args):
                self.parked.remove(task)
                self.ready.appendleft(task)


@dataclass
class Client:
    """A client, and what it knows of its futures: "pending", "finished", "error" or "cancelled".

    Attributes
    ----------
    asked : how many answers it waits for, by id.
    brought : values by id.
    """

    number: int
    count: int = 0
    status: dict[int, str] = field(default_factory=dict)
    errors: dict[int, Any] = field(default_factory=dict)
    brought: dict[int, Any] = field(default_factory=dict)
    asked: Counter[int] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    heard: list[tuple[Any, ...]] = field(default_factory=list)
    codes: dict[Function, int] = field(default_factory=dict)

    def allocate(self, n: int = 1) -> int:
        first = (self.number << SHIFT) + self.count + 1
        self.count += n
        return first

    def hear(self, kind: str, fields: tuple[Any, ...], parcels: tuple[Any, ...]) -> None:
        self.heard.append((kind, *fields))
        assert not any(parcel.closed for parcel in parcels)
        if kind == "report":
            _, ids, times, values, _, _ = fields
            assert len(times) == 2 * len(ids)
            self._finish(ids, values)
        elif kind == "done":
            self._finish(fields[0], fields[1])
        elif kind == "data":
            self.asked.pop(fields[0], None)
            self.brought[fields[0]] = parcels[0].content
        elif kind == "no_data":
            self.asked.pop(fields[0], None)
        elif kind == "erred":
            for id in fields[6]:
                self._set(id, "error")
                self.errors[id] = fields[1]
                self.asked.pop(id, None)
        elif kind == "again":
            for id in fields[0]:
                self._set(id, "pending")
        elif kind == "cancelled":
            for id in fields[0]:
                self._set(id, "cancelled")
                self.asked.pop(id, None)
        elif kind == "said":
            self.said.append(fields[0])

    def _finish(self, ids: Iterable[int], values: dict[int, Any]) -> None:
        for id in ids:
            self._set(id, "finished")
            if id in values:
                self.brought[id] = values[id]
                self.asked.pop(id, None)

    def _set(self, id: int, status: str) -> None:
        if self.status.get(id, "cancelled") != "cancelled":
            self.status[id] = status


class Cluster:
    """A scheduler with simulated workers and clients, and what the coordinator does between them."""

    def __init__(self, **options: Any) -> None:
        self.scheduler = Scheduler(lambda error: error)
        self.workers: dict[int, Worker] = {}
        self.clients: dict[int, Client] = {}
        self.numbers = itertools.count()
        self.client_numbers = itertools.count(1)
        self.timers: list[int] = []
        self.stops: list[tuple[int, int]] = []
        self.parcels: list[Packed] = []
        self.large: set[Any] = set()
        self.raised: Counter[int] = Counter()
        self.ran: Counter[int] = Counter()
        self.lossy = False

    def pack(self, content: Any, nbytes: int = 10) -> Packed:
        parcel = Packed(content, LARGE if self.is_large(content) else nbytes)
        self.parcels.append(parcel)
        return parcel

    def is_large(self, value: Any) -> bool:
        return isinstance(value, tuple) and str(value[0]).startswith("large")

    # -- who comes and goes ---------------------------------------------------------------------------------------

    def add_worker(self, threads: int = 1, memory_limit: float = float("inf"), **resources: float) -> int:
        number = next(self.numbers)
        self.workers[number] = Worker(self, number, threads)
        self.scheduler.worker_joined(number, f"worker-{number}", 1000 + number, threads, memory_limit, resources)
        return number

    def kill(self, number: int, running: Iterable[int] | None = None, **how: Any) -> None:
        worker = self.workers[number]
        while worker.out:
            self.hear(number)
        if number not in self.workers:
            return
        del self.workers[number]
        if running is None:
            running = [task.id for task in (*worker.running, *worker.blocked)]
        self.scheduler.worker_left(number, "was killed by SIGKILL", running, **how)

    def add_client(self) -> Client:
        client = Client(next(self.client_numbers))
        self.clients[client.number] = client
        self.scheduler.client_joined(client.number)
        return client

    def remove_client(self, client: Client) -> None:
        del self.clients[client.number]
        self.scheduler.client_left(client.number)

    # -- what clients do ------------------------------------------------------------------------------------------

    def submit(
        self,
        client: Client,
        tasks: Sequence[tuple[Any, Function, Sequence[Any]]],
        wanted: Iterable[int] | None = None,
        options: Options | None = None,
        named: bool = False,
        bring: bool = False,
        constants: Sequence[Any] = (),
        **more: Any,
    ) -> list[int]:
        """Submit tasks: key, function and arguments. These are ids, where those below 1000 are places in this slice, or
        constants, as -1 - i, or text, which is plain. Returns the ids of all."""
        if more:
            options = Options(**more)
        n = len(tasks)
        data = [client.allocate() for _ in constants]
        parcels: list[Packed] = []
        functions: dict[int, int] = {}
        for _, function, _ in tasks:
            if function not in client.codes:
                code = client.codes[function] = client.allocate()
                functions[code] = len(parcels)
                parcels.append(self.pack(function))
        numbers = {}
        for id, constant in zip(data, constants, strict=True):
            numbers[id] = len(parcels)
            parcels.append(self.pack(constant))
        first = client.allocate(n)
        args, plains = [], []
        for _, _, given in tasks:
            plain = [arg for arg in given if isinstance(arg, str)]
            plains.append(tuple(plain))
            own = []
            for arg in given:
                if isinstance(arg, str):
                    own.append(~plain.index(arg))
                elif arg < 0:
                    own.append(data[~arg])
                else:
                    own.append(first + arg if arg < 1000 else arg)
            args.append(tuple(own))
        ids = list(range(first, first + n))
        futures = ids if wanted is None else [ids[place] for place in wanted]
        for id in futures:
            client.status[id] = "pending"
            if bring:
                client.asked[id] += 1
        self.scheduler.submit(
            client.number,
            Slice(
                first,
                [key for key, _, _ in tasks],
                [client.codes[function] for _, function, _ in tasks],
                args,
                plains,
                functions,
                numbers,
                list(futures),
                options,
                named,
                bring,
            ),
            parcels,
        )
        return ids

    def adopt(self, client: Client, key: Any) -> list[int]:
        """Submit what is to be known already."""
        id = client.allocate()
        client.status[id] = "pending"
        self.scheduler.submit(client.number, Slice(id, [key], [-1], [()], [()], wanted=[id], named=True), [])
        return [id]

    def scatter(
        self, client: Client, values: dict[Any, Any], workers: list[int] | None = None, broadcast: bool = False
    ) -> list[int]:
        items, parcels = {}, []
        for key, value in values.items():
            id = client.allocate()
            client.status[id] = "pending"
            items[id] = (key, len(parcels))
            parcels.append(self.pack(value))
        self.scheduler.scatter(client.number, items, parcels, workers, broadcast)
        return list(items)

    def gather(self, client: Client, ids: Iterable[int]) -> None:
        ids = list(ids)
        for id in ids:
            client.asked[id] += 1
        self.scheduler.gather(client.number, ids)

    def release(self, client: Client, ids: Iterable[int]) -> None:
        ids = list(ids)
        for id in ids:
            client.status.pop(id, None)
            client.asked.pop(id, None)
        self.scheduler.release(client.number, ids)

    # -- what the coordinator does --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the scheduler has to say."""
        scheduler = self.scheduler
        while True:
            scheduler.assign()
            for number, state in scheduler.workers.items():
                worker = self.workers[number]
                if state.batch or state.packed or state.values or state.dropped_codes:
                    self._send_tasks(worker, state)
                for kind, *fields in state.asks:
                    worker.questions.append((kind, *fields))
                state.asks = []
            letters, scheduler.letters = scheduler.letters, []
            for number, kind, fields, parcels in letters:
                if number in self.clients:
                    self.clients[number].hear(kind, fields, parcels)
            used_up, scheduler.used_up = scheduler.used_up, []
            for parcel in used_up:
                parcel.close()
            orders, scheduler.orders = scheduler.orders, []
            for what, *order in orders:
                if what == "expire":
                    self.timers.append(*order)
                elif what == "stop":
                    if order[0] in self.workers:
                        self.workers[order[0]].questions.append(("cancel", [order[1]]))
                elif order[0] in self.workers:
                    self.kill(order[0], expected=True)
            if not orders:
                return

    def _send_tasks(self, worker: Worker, state: Any) -> None:
        functions = {}
        for task in state.batch:
            if task.code not in state.functions:
                state.functions.add(task.code)
                parcel = self.scheduler.functions[task.code]
                assert not parcel.closed
                functions[task.code] = parcel.content
        assert not any(parcel.closed for parcel in state.packed.values())
        worker.work.append(
            (
                [task.id for task in state.batch],
                [task.code for task in state.batch],
                [task.args for task in state.batch],
                [task.plain for task in state.batch],
                functions,
                state.values,
                {id: parcel.content for id, parcel in state.packed.items()},
                state.dropped,
                state.dropped_codes,
            )
        )
        state.batch, state.values, state.packed, state.dropped, state.dropped_codes = [], {}, {}, [], []
        state.dropped_bytes = 0.0

    def flush_dropped(self) -> None:
        for number, state in self.scheduler.workers.items():
            if state.dropped or state.dropped_codes:
                self._send_tasks(self.workers[number], state)

    def hear(self, number: int) -> None:
        """Take in one message of a worker."""
        kind, *fields = self.workers[number].out.popleft()
        scheduler = self.scheduler
        if kind in ("blocked", "unblocked"):
            scheduler.blocked(number, 1 if kind == "blocked" else -1)
        else:
            getattr(scheduler, kind)(number, *fields)

    def steps(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for number, worker in self.workers.items():
            found += worker.steps()
            if worker.out:
                found.append(lambda number=number: self.hear(number))
        return found

    def run(self, most: int = 100_000) -> None:
        """Let everything happen that can."""
        for turn in itertools.count():
            assert turn < most, "it goes on for ever"
            self.flush()
            steps = self.steps()
            if steps:
                steps[turn % len(steps)]()
                continue
            self.scheduler.share()
            timers, self.timers = self.timers, []
            for id in timers:
                self.scheduler.expire(id)
            self.flush()
            if not self.steps():
                return


# -- what must hold at any time -----------------------------------------------------------------------------------


def check(scheduler: Scheduler) -> None:
    """The indexes of the scheduler agree with each other."""
    real = {id: task for id, task in scheduler.tasks.items() if id == task.id}
    clients, workers = scheduler.clients, scheduler.workers
    for id, task in scheduler.tasks.items():
        assert id == task.id or id in (task.wanted or ()), f"{task} has a name that is of no use"
        assert scheduler.tasks.get(task.id) is task
    for task in real.values():
        _check_task(scheduler, task)
    for key, task in scheduler.names.items():
        assert task.key == key
        assert task.named
        assert real.get(task.id) is task
    for client in clients.values():
        for id, task in client.futures.items():
            assert (task.wanted or {}).get(id) == client.number
            assert scheduler.tasks.get(id) is task
        assert client.codes <= set(scheduler.functions)
    for worker in workers.values():
        _check_worker(scheduler, worker)
    everything = _reachable(scheduler)
    users = Counter([task.code for task in everything if task.has_function])
    for client in clients.values():
        users.update(client.codes)
    assert +users == Counter(scheduler.users)
    assert set(users) == set(scheduler.functions)
    assert set(scheduler.seconds) <= set(users)
    heirs = Counter([dep.id for task in everything for dep in task.inputs])
    for task in everything:
        assert task.heirs == heirs[task.id], task
    in_heaps = {rank for client in clients.values() for rank in (*client.ready, *client.roots)}
    in_heaps |= {rank for worker in workers.values() if not worker.leaving for rank in worker.own}
    special = {rank for heap in scheduler.special.values() for rank in heap}
    for task in real.values():
        if task.state is READY:
            assert task.rank in (in_heaps if task.options.requirement is None else special), f"{task} was forgotten"


def _reachable(scheduler: Scheduler) -> list[Task]:
    found = dict.fromkeys(scheduler.tasks.values())
    todo = list(found)
    while todo:
        for dep in todo.pop().inputs:
            if dep not in found:
                assert dep.state is RELEASED, dep
                found[dep] = None
                todo.append(dep)
    return list(found)


def _check_task(scheduler: Scheduler, task: Task) -> None:
    state, workers = task.state, scheduler.workers
    assert state not in (RELEASED, FORGOTTEN), f"{task} is still listed"
    assert task.wanted or task.dependents, f"nobody needs {task}"
    for number in (task.wanted or {}).values():
        assert number in scheduler.clients
    for user in (task.dependents or {}).values():
        assert task in user.inputs
        assert user.state in (WAITING, READY, TRANSIT, SENT, ERRED), f"{user} takes {task} no more"
        assert scheduler.tasks.get(user.id) is user
    if state in (WAITING, READY, TRANSIT, SENT):
        for dep in task.inputs:
            assert dep.dependents, f"{dep} is not known to be needed"
            assert dep.dependents.get(task.id) is task
            assert dep.state in (WAITING, READY, TRANSIT, SENT, DONE), f"{task} waits for {dep}"
        assert task.has_function
        assert task.open == sum(dep.state is not DONE for dep in task.inputs), f"{task}: {task.open} open"
        local = [dep for dep in task.inputs if dep.state is SENT and dep.worker is task.home]
        assert task.local <= len(local)
        assert (task.home is None) == (task.local == 0)
        assert task.home is None or task.home.number in workers
    if state is WAITING:
        assert task.open, f"{task} waits for nothing"
    elif state is READY:
        assert not task.open
    elif state is ERRED:
        assert task.error is not None
    assert (task.worker is not None) == (state in (SENT, TRANSIT))
    if state is SENT:
        assert task.worker.outstanding.get(task.id) is task
    elif state is TRANSIT:
        assert task.worker.transit.get(task.id) is task
        waiting_for = [dep for dep in task.inputs if task in (dep.takers or ())]
        assert task.missing == len(waiting_for) > 0
        assert all(dep.fetching >= 0 for dep in waiting_for), f"nothing is coming for {task}"
    if state is DONE:
        assert task.holders or task.value is not ABSENT or task.parcel is not None, f"{task} is not there"
        assert not task.askers or task.fetching >= 0
    else:
        assert not task.holders
        assert not task.takers
    if task.fetching >= 0 and state is DONE:
        assert task.fetching in workers
    assert len(set(task.holders)) == len(task.holders)
    for number in task.holders:
        assert task in workers[number].has


def _check_worker(scheduler: Scheduler, worker: Any) -> None:
    for task in worker.has:
        assert worker.number in task.holders
        assert scheduler.tasks.get(task.id) is task
    assert abs(worker.held - sum(task.nbytes for task in worker.has)) < 1e-3
    assert all(task.state is SENT and task.worker is worker for task in worker.outstanding.values())
    assert all(task.state is TRANSIT and task.worker is worker for task in worker.transit.values())
    assert not worker.strays & set(worker.outstanding)
    assert worker.load >= 0.0
    given = [*worker.outstanding.values(), *worker.transit.values()]
    for name, amount in worker.resources.items():
        used = sum(dict(task.options.resources).get(name, 0.0) for task in given)
        assert abs(worker.free[name] - (amount - used)) < 1e-9
    assert worker.functions <= set(scheduler.functions)
