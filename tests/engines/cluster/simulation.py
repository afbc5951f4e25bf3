"""A cluster without processes, threads and sockets: what the scheduler is told, and what becomes of what it says."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import Options, Slice

from .agreement import check
from .simulated import BIG, LARGE, MOVES, RAISES, RAISES_ONCE, SMALL, STAYS, Boom, Client, Function, Packed, Worker

__all__ = [
    "BIG",
    "LARGE",
    "MOVES",
    "RAISES",
    "RAISES_ONCE",
    "SMALL",
    "STAYS",
    "Boom",
    "Client",
    "Cluster",
    "Function",
    "check",
    "finish",
    "task",
]


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
        self.moved: Counter[int] = Counter()
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
        different: dict[int, Options | None] | None = None,
        named: bool = False,
        chosen: bool = False,
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
        if _is_call(n, functions, numbers, args[0], plains[0], futures, options, different, named, chosen, bring):
            ((key, function, _),) = tasks
            self.scheduler.call(client.number, first, key, client.codes[function], plains[0])
            return ids
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
                {first + place: other for place, other in (different or {}).items()},
                named=named,
                chosen=chosen,
                bring=bring,
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

    def ask(self, client: Client, what: str, *args: Any) -> int:
        """Ask to have results elsewhere; the number of the question."""
        number = next(self.numbers)
        getattr(self.scheduler, what)(client.number, number, *args)
        return number

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
            for number, state in self.scheduler.workers.items():
                if state.paused:
                    self.scheduler.is_stuck(number, True)
            self.scheduler.share()
            timers, self.timers = self.timers, []
            for id in timers:
                self.scheduler.expire(id)
            self.flush()
            if not self.steps():
                return


def task(cluster: Cluster, id: int) -> Any:
    return cluster.scheduler.tasks[id]


def finish(cluster: Cluster) -> None:
    """Let everything happen that can."""
    cluster.run()
    check(cluster.scheduler)


def _is_call(
    n: int,
    functions: dict[int, int],
    constants: dict[int, int],
    args: tuple[int, ...],
    plain: tuple[Any, ...],
    futures: Sequence[int],
    *others: Any,
) -> bool:
    """Whether a client would submit it as a call: of one function, that is known, of nothing but plain arguments."""
    options, different, named, chosen, bring = others
    unasked = options is None and not (different or chosen or bring)
    return (
        n == 1 == len(futures)
        and named
        and unasked
        and not functions
        and not constants
        and args == tuple(range(-1, ~len(plain), -1))
    )
