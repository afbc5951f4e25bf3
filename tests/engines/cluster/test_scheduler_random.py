"""The scheduler under random events: its indexes agree after each, and all futures come to what they should."""

from collections import defaultdict
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from taskloom.engines.cluster.scheduler.tasks import SHIFT, Options
from taskloom.errors import SerializationError, TaskloomError, WorkerDied

from .simulation import Boom, Client, Cluster, Function, check

FUNCTIONS = [
    Function("small"),
    Function("small-too"),
    Function("large"),
    Function("large-too"),
    Function("raises", raises=float("inf")),
    Function("raises-once", raises=1),
    Function("large-stays", stays=True),
    Function("moves", moves=2),
]
OPTIONS = [
    None,
    None,
    None,
    Options(priority=1),
    Options(priority=1, origin=(1 << SHIFT) + 1),
    Options(origin=(2 << SHIFT) + 3),
    Options(retries=1),
    Options(deaths=0),
    Options(workers=frozenset({"worker-0"})),
    Options(workers=frozenset({"worker-1", "worker-2"}), allow_other_workers=True),
    Options(resources=(("GPU", 1.0),)),
    Options(actor=True),
]
NAMES = ["a", "b", "c", "d", "e", "f"]

numbers = st.integers(0, 1 << 30)


class Events(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.truth: dict[int, Any] = {}  # what tasks return, by id, if nothing raises
        self.may_raise: set[int] = set()  # ids of tasks that raise, or need what does
        self.deaths = 0
        self.asked: defaultdict[int, list[int]] = defaultdict(list)  # questions, by client

    @initialize(workers=st.integers(0, 3), threads=st.integers(1, 2), limited=st.booleans())
    def start(self, workers: int, threads: int, limited: bool) -> None:
        for number in range(workers):
            limit = 150_000 if limited else float("inf")
            self.cluster.add_worker(threads, limit, **({"GPU": 1.0} if number == 1 else {}))
        self.cluster.add_client()

    # -- what is chosen -------------------------------------------------------------------------------------------

    def client(self, which: int) -> Client:
        clients = list(self.cluster.clients.values())
        return clients[which % len(clients)]

    def futures(self, client: Client, which: int, most: int = 3) -> list[int]:
        """Some of a client's futures."""
        ids = [id for id, status in client.status.items() if status != "cancelled"]
        if not ids:
            return []
        return sorted({ids[(which >> (8 * place)) % len(ids)] for place in range(1 + which % most)})

    def _is_same(self, id: int, other: int) -> None:
        """Two ids of one task."""
        self.truth[id] = self.truth.get(other)
        if other in self.may_raise:
            self.may_raise.add(id)

    # -- clients --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.cluster.clients) < 3)
    @rule()
    def client_joins(self) -> None:
        self.cluster.add_client()
        self.check()

    @precondition(lambda self: len(self.cluster.clients) > 1)
    @rule(which=numbers)
    def client_leaves(self, which: int) -> None:
        self.cluster.remove_client(self.client(which))
        self.check()

    @rule(
        which=numbers,
        shape=st.lists(
            st.tuples(st.integers(0, len(FUNCTIONS) - 1), st.lists(numbers, max_size=3)), min_size=1, max_size=8
        ),
        wanted=numbers,
        options=st.sampled_from(OPTIONS),
        others=st.dictionaries(st.integers(0, 7), st.sampled_from(OPTIONS), max_size=2),
        named=st.booleans(),
        bring=st.booleans(),
        constant=st.booleans(),
    )
    def submit(
        self,
        which: int,
        shape: list[tuple[int, list[int]]],
        wanted: int,
        options: Options | None,
        others: dict[int, Options | None],
        named: bool,
        bring: bool,
        constant: bool,
    ) -> None:
        client = self.client(which)
        known = self.futures(client, which >> 3)
        tasks = []
        for place, (function, choices) in enumerate(shape):
            sources = [*known, *range(place), "text", *([-1] if constant else [])]
            args = [sources[choice % len(sources)] for choice in choices]
            key = NAMES[(wanted >> place) % len(NAMES)] if named else f"task-{place}"
            if named and any(key == other for other, _, _ in tasks):
                key = f"name-{client.number}-{client.count}-{place}"
            tasks.append((key, FUNCTIONS[function % len(FUNCTIONS)], args))
        futures = [place for place in range(len(tasks)) if wanted >> place & 1] or [len(tasks) - 1]
        met = {
            place: self.cluster.scheduler.names.get(key) if named else None for place, (key, _, _) in enumerate(tasks)
        }
        ids = self.cluster.submit(
            client,
            tasks,
            futures,
            options,
            {place: other for place, other in others.items() if place < len(tasks)},
            named,
            bring=bring and not named,
            constants=["constant"] if constant else (),
        )
        for place, (id, (_, function, args)) in enumerate(zip(ids, tasks, strict=True)):
            other = met[place]
            if other is not None:
                self._is_same(id, other.id)
                continue
            sources = [ids[arg] if arg < 1000 else arg for arg in args if not isinstance(arg, str) and arg >= 0]
            values = iter([self.truth.get(source) for source in sources])
            self.truth[id] = function(
                *[arg if isinstance(arg, str) else "constant" if arg < 0 else next(values) for arg in args]
            )
            own = others.get(place, options)
            if function.raises > (own.retries if own else 0) or self.may_raise.intersection(sources):
                self.may_raise.add(id)
        self.check()

    @rule(which=numbers, key=st.sampled_from(NAMES))
    def adopt(self, which: int, key: str) -> None:
        """A future of another client's task."""
        other = self.cluster.scheduler.names.get(key)
        client = self.client(which)
        (id,) = self.cluster.adopt(client, key)
        if other is not None:
            self._is_same(id, other.id)
        self.check()

    @rule(which=numbers, large=st.booleans(), broadcast=st.booleans(), count=st.integers(1, 3))
    def scatter(self, which: int, large: bool, broadcast: bool, count: int) -> None:
        client = self.client(which)
        values = {
            f"data-{client.number}-{client.count + place}": ("large-data" if large else "data", place)
            for place in range(count)
        }
        ids = self.cluster.scatter(client, values, broadcast=broadcast)
        for id, value in zip(ids, values.values(), strict=True):
            self.truth[id] = value
        self.check()

    @rule(which=numbers)
    def release(self, which: int) -> None:
        client = self.client(which)
        self.cluster.release(client, self.futures(client, which))
        self.check()

    @rule(which=numbers)
    def release_codes(self, which: int) -> None:
        client = self.client(which)
        codes, client.codes = client.codes, {}
        self.cluster.scheduler.release(client.number, list(codes.values()))
        self.check()

    @rule(which=numbers, force=st.booleans())
    def cancel(self, which: int, force: bool) -> None:
        client = self.client(which)
        self.cluster.scheduler.cancel(client.number, self.futures(client, which), force)
        self.check()

    @rule(which=numbers)
    def retry(self, which: int) -> None:
        client = self.client(which)
        self.cluster.scheduler.retry(client.number, self.futures(client, which, 8))
        self.check()

    @rule(which=numbers)
    def gather(self, which: int) -> None:
        client = self.client(which)
        self.cluster.gather(client, self.futures(client, which))
        self.check()

    # -- workers --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.cluster.workers) < 4)
    @rule(threads=st.integers(1, 2), gpu=st.booleans())
    def worker_joins(self, threads: int, gpu: bool) -> None:
        self.cluster.add_worker(threads, **({"GPU": 1.0} if gpu else {}))
        self.check()

    @precondition(lambda self: self.cluster.workers)
    @rule(which=numbers, out_of_memory=st.booleans())
    def worker_dies(self, which: int, out_of_memory: bool) -> None:
        workers = list(self.cluster.workers)
        self.deaths += 1
        self.cluster.kill(workers[which % len(workers)], out_of_memory=out_of_memory and which % 3 == 0)
        self.check()

    @precondition(lambda self: self.cluster.workers)
    @rule(which=numbers)
    def retire(self, which: int) -> None:
        workers = list(self.cluster.workers)
        number = workers[which % len(workers)]
        if not self.cluster.scheduler.workers[number].leaving:
            self.deaths += 1
            self.cluster.scheduler.retire(number)
            self.check()

    @precondition(lambda self: any(worker.running for worker in self.cluster.workers.values()))
    @rule(which=numbers)
    def block(self, which: int) -> None:
        workers = [worker for worker in self.cluster.workers.values() if worker.running]
        workers[which % len(workers)].block(which)

    @precondition(lambda self: self.cluster.workers)
    @rule(which=numbers)
    def pause_or_resume(self, which: int) -> None:
        state = list(self.cluster.scheduler.workers.values())[which % len(self.cluster.workers)]
        if state.paused:
            self.cluster.scheduler.resume(state.number)
        else:
            self.cluster.scheduler.pause(state.number)
        self.check()

    @precondition(lambda self: self.cluster.workers)
    @rule(which=numbers)
    def a_file_is_damaged(self, which: int) -> None:
        workers = list(self.cluster.workers.values())
        workers[which % len(workers)].lose(which >> 3)

    @rule(which=numbers, n=st.one_of(st.none(), st.integers(1, 3)))
    def replicate(self, which: int, n: int | None) -> None:
        client = self.client(which)
        self.asked[client.number].append(self.cluster.ask(client, "replicate", self.futures(client, which, 8), n))
        self.check()

    @rule(which=numbers, all=st.booleans())
    def rebalance(self, which: int, all: bool) -> None:
        client = self.client(which)
        ids = None if all else self.futures(client, which, 8)
        self.asked[client.number].append(self.cluster.ask(client, "rebalance", ids))
        self.check()

    @rule(choices=st.lists(numbers, min_size=1, max_size=12), flush=st.booleans())
    def steps(self, choices: list[int], flush: bool) -> None:
        """Workers go on, and are heard."""
        for choice in choices:
            steps = self.cluster.steps()
            if not steps:
                break
            steps[choice % len(steps)]()
            self.check()
            if flush or choice & 1:
                self.flush()

    @rule()
    def flush(self) -> None:
        self.cluster.flush()
        self.check()

    @rule()
    def share(self) -> None:
        self.cluster.scheduler.share()
        self.flush()

    @rule()
    def expire(self) -> None:
        timers, self.cluster.timers = self.cluster.timers, []
        for id in timers:
            self.cluster.scheduler.expire(id)
            self.check()

    def check(self) -> None:
        check(self.cluster.scheduler)

    # -- the end --------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        cluster = self.cluster
        if not cluster.clients:
            return
        if not any(not worker.leaving for worker in cluster.scheduler.workers.values()):
            cluster.add_worker()
        cluster.run()
        self.check()
        for client in cluster.clients.values():
            for id, status in client.status.items():
                if status != "cancelled":
                    assert status != "pending", f"{id} {cluster.scheduler.tasks.get(id)} has come to nothing"
                    if status == "error":
                        self._check_error(id, client.errors[id])
                    else:
                        cluster.gather(client, [id])
        cluster.run()
        self.check()
        for client in cluster.clients.values():
            assert not client.asked, "questions have no answers"
            assert sorted(client.answered) == sorted(self.asked[client.number])
            for id, status in client.status.items():
                if status == "finished" and id in client.brought:
                    assert client.brought[id] == self.truth[id]
                elif status == "finished":
                    assert self.truth[id][0] == "large-stays"
        for client in list(cluster.clients.values()):
            cluster.remove_client(client)
            self.check()
        cluster.run()
        self._check_empty()

    def _check_error(self, id: int, error: Exception) -> None:
        if isinstance(error, Boom):
            assert id in self.may_raise
        elif isinstance(error, WorkerDied):
            assert self.deaths
        elif isinstance(error, SerializationError):
            assert "large-stays" in str(self.truth[id])
        else:
            assert isinstance(error, TaskloomError)
            text = str(error)
            if "needs" in text:
                return
            if "gone with" in text or "damaged" in text:
                assert self.deaths or self.cluster.lossy
                return
            assert "takes a result that the cluster does not hold" in text

    def _check_empty(self) -> None:
        cluster, scheduler = self.cluster, self.cluster.scheduler
        cluster.flush_dropped()
        cluster.run()
        assert not scheduler.tasks
        assert not scheduler.names
        assert not scheduler.functions
        assert not scheduler.users
        assert not scheduler.seconds
        assert not scheduler.forced
        assert not scheduler.errands
        assert not scheduler.copying
        assert not scheduler.letters
        for number, state in scheduler.workers.items():
            left = [*state.outstanding, *state.transit, *state.has, *state.strays, *state.functions]
            assert not left
            assert state.load == 0.0
            assert abs(state.held) < 1e-3
            assert not state.blocked
            assert state.free == state.resources
            worker = cluster.workers[number]
            assert not worker.functions
            assert not worker.store
        assert all(parcel.closed for parcel in cluster.parcels if not isinstance(parcel.content, Exception))


TestEvents = Events.TestCase
TestEvents.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
