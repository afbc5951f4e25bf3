"""The coordinator: the thread that has the scheduler, and brings it and the workers and clients together."""

from __future__ import annotations

import contextlib
import itertools
import select
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from taskloom import config
from taskloom.engines.cluster.address import PrivateDirectory
from taskloom.engines.cluster.connection import LocalConnection, copy_of
from taskloom.engines.cluster.crew import Crew
from taskloom.engines.cluster.listener import Listener
from taskloom.engines.cluster.questions import Questions
from taskloom.engines.cluster.remote import RemoteClient
from taskloom.engines.cluster.scheduler import Scheduler
from taskloom.engines.cluster.stops import Stops
from taskloom.engines.cluster.tasks import WorkerState
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.waker import Waker

LARGE = 65_536  # bytes: of such results the worker is told at once that they are not wanted any more
FIRST_LOOK = 0.0005  # seconds without news after which the workers' pages are looked at
LAST_LOOK = 0.05
SHARE_AFTER = 0.005  # seconds without news after which idle workers get what waits elsewhere

Hear = Callable[[str, tuple[Any, ...], Sequence[Any]], None]


class Coordinator:
    """Workers, and the thread that tells them what to do.

    Its loop polls files: an event loop of asyncio would take three times as long to hand a message over.

    Parameters
    ----------
    n_workers, threads : how many workers, and how many tasks each of them runs at a time.
    processes : whether workers are processes, or threads of this one.
    memory_limit : bytes per worker.
    resources : what each worker has, by name.
    """

    def __init__(
        self,
        n_workers: int,
        threads: int = 1,
        processes: bool = True,
        memory_limit: float = float("inf"),
        name: str = "",
        resources: dict[str, float] | None = None,
    ) -> None:
        self.name = name
        self.crew = Crew(threads, processes, memory_limit, resources or {})
        self.scheduler = Scheduler(self.crew.pack_error)
        self.scheduler.deaths_allowed = config.get("multiprocessing.retries")
        self.questions = Questions(self)
        self.stops = Stops(self.scheduler, self.crew)
        self.clients: dict[int, LocalConnection | RemoteClient] = {}
        self._remote: dict[int, int] = {}  # the numbers of clients in other processes, by the files of their links
        self.closed = False
        self._numbers = itertools.count(1)
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()  # what other threads want done here
        self._waker = Waker()
        self._asleep = False
        self._poll = select.poll()
        self._poll.register(self._waker, select.POLLIN)
        self._timers: list[tuple[float, int]] = []
        self._quiet_since = 0.0
        self._look = FIRST_LOOK
        self._listener: Listener | None = None
        try:
            if processes:
                directory = PrivateDirectory()
                self._listener = Listener(directory, self._adopt)
                self.crew.address, self.crew.secret = directory.address, directory.secret
            self.crew.grow(n_workers)
        except BaseException:
            self._close_all()
            raise
        self._thread = threading.Thread(target=self._run, name="taskloom-coordinator", daemon=True)
        self._thread.start()

    # -- for other threads ----------------------------------------------------------------------------------------

    @property
    def address(self) -> str | None:
        """Where clients in other processes connect."""
        return self.crew.address

    def connect(self, hear: Hear) -> LocalConnection:
        """Connect a client of this process; `hear(kind, fields, parcels)` is called on the coordinator's thread."""
        connection = LocalConnection(next(self._numbers), self, hear)
        self.call(self._join, connection)
        return connection

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Have the coordinator's thread call a function, after all that it was given before."""
        self._calls.append((function, args))
        if self._asleep:
            self._waker.wake()

    def close(self) -> None:
        """End all workers. Clients hear that the cluster is gone."""
        self.closed = True
        self._waker.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the loop -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        why = "The cluster was closed."
        try:
            self._watch_crew()
            while not self.closed:
                self._do_calls()
                self._send_all()
                self._take_in(self._wait())
        except BaseException:
            why = f"The coordinator of the cluster failed:\n{traceback.format_exc()}"
        finally:
            self.closed = True
            for client in [*self.clients.values()]:
                with contextlib.suppress(Exception):
                    client.send("gone", why) if isinstance(client, RemoteClient) else client.hear("gone", (why,), ())
            self._do_calls()
            self._close_all()

    def _do_calls(self) -> None:
        calls = self._calls
        while calls:
            function, args = calls.popleft()
            function(*args)

    def _wait(self) -> list[tuple[int, int]]:
        """Wait for something to happen, or for the time to look at what the workers are doing."""
        timeout = self._timeout()
        self._asleep = True
        if self._calls or self.closed:
            timeout = 0.0
        found = self._poll.poll(None if timeout is None else 1000 * timeout)
        self._asleep = False
        if found:
            self._look = FIRST_LOOK
            self._quiet_since = 0.0
        elif not self._calls:
            self._on_silence()
        return found

    def _timeout(self) -> float | None:
        workers = self.scheduler.workers.values()
        if any(worker.outstanding or worker.strays for worker in workers) or self._anything_waits():
            return self._look
        if self._timers or self.stops or any(worker.dropped for worker in workers):
            return LAST_LOOK
        return None

    def _anything_waits(self) -> bool:
        """Whether messages wait for room in somebody's socket."""
        clients = [self.clients[number] for number in self._remote.values()]
        return self.crew.any_waiting() or any(isinstance(c, RemoteClient) and c.waiting for c in clients)

    def _on_silence(self) -> None:
        now = monotonic()
        self._quiet_since = self._quiet_since or now
        self._look = min(2 * self._look, LAST_LOOK)
        for number, process in self.crew.workers.items():
            process.send_waiting()
            if process.finished() > self.crew.reported.get(number, 0):
                process.ask("report")
        for number in self._remote.values():
            client = self.clients[number]
            assert isinstance(client, RemoteClient)
            client.send_waiting()
            client.tell_running(self.crew.running())
        if now - self._quiet_since > SHARE_AFTER:
            self.scheduler.share()
            for worker in self.scheduler.workers.values():
                if worker.dropped and not worker.outstanding:
                    worker.dropped_bytes = LARGE
        for deadline, id in list(self._timers):
            if now >= deadline:
                self._timers.remove((deadline, id))
                self.scheduler.expire(id)
        self.stops.look(now)

    def _take_in(self, found: list[tuple[int, int]]) -> None:
        """Workers write what a task prints before they report it, and report before they end."""
        if len(found) > 1:
            found.sort(key=lambda event: self.crew.urgency(event[0]))
        for file, _ in found:
            if file == self._waker.fileno():
                self._waker.clear()
                continue
            if file in self._remote:
                self._hear_client(self._remote[file])
                continue
            watched = self.crew.watched(file)
            if watched is None:
                continue
            number, what = watched
            process = self.crew.workers[number]
            if what == "work":
                while (message := process.receive()) is not None:
                    self._hear_worker(number, *message)
            elif what == "end":
                while (message := process.receive()) is not None:
                    self._hear_worker(number, *message)
                self._bury(number)
            elif not process.copy_output() and process.fate() is None:
                self._poll.unregister(file)

    # -- workers --------------------------------------------------------------------------------------------------

    def _hear_worker(self, number: int, kind: str, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        scheduler = self.scheduler
        if number not in scheduler.workers:
            for parcel in parcels:
                parcel.close()
        elif kind == "done":
            self.crew.reported[number] = self.crew.reported.get(number, 0) + len(fields[0])
            self.crew.idle_deaths = 0
            scheduler.done(number, *fields)
        elif kind == "data":
            scheduler.data(number, fields[0], parcels[0])
        elif kind == "blocked":
            scheduler.blocked(number, 1)
        elif kind == "unblocked":
            scheduler.blocked(number, -1)
        elif kind == "answer":
            answer_number, ok, value = fields
            self.questions.answered(number, answer_number, ok, value, parcels)
        else:
            getattr(scheduler, kind)(number, *fields)

    def _bury(self, number: int, expected: bool = False) -> None:
        """A worker has ended, or is to: another one takes its place."""
        process = self.crew.workers[number]
        if not expected and process.fate() is None:
            return
        process.copy_output()
        running = [id for _, id, _ in process.running()]
        packing = process.packing()
        if packing >= 0:
            running = [packing]
        end = self.crew.bury(number, self._poll)
        self.questions.lost(number)
        self.scheduler.worker_left(number, end.fate, running, end.last_lines, end.out_of_memory, expected)
        if not running and not expected and self.crew.dies_at_once():
            self.scheduler.no_worker_lives(end.fate, end.last_lines)
        else:
            self.crew.replace()
            self._watch_crew()

    def _watch_crew(self) -> None:
        """Let the scheduler know of workers that were started, and watch their files."""
        crew = self.crew
        for number in crew.newcomers():
            for file in crew.files(number):
                self._poll.register(file, select.POLLIN)
            worker = crew.workers[number]
            who = (number, worker.name, worker.pid)
            self.scheduler.worker_joined(*who, crew.threads, crew.memory_limit, crew.resources)
        self.questions.look()

    def scale(self, n: int) -> None:
        """Have so many workers from now on; on the coordinator's thread."""
        self.crew.size = n
        for number in list(self.crew.workers)[: max(0, len(self.crew.workers) - n)]:
            self.scheduler.retire(number)
        self.crew.replace()
        self._watch_crew()

    def restart(self) -> None:
        """End all tasks, and have new workers; on the coordinator's thread."""
        for number in list(self.clients):
            self.scheduler.cancel(number, list(self.scheduler.clients[number].futures), force=True)
        for number in list(self.crew.workers):
            self._bury(number, expected=True)

    # -- clients --------------------------------------------------------------------------------------------------

    def _join(self, client: LocalConnection) -> None:
        self.clients[client.number] = client
        self.scheduler.client_joined(client.number)

    def _adopt(self, link: Link) -> None:
        """A client of another process has connected; from the listener's thread."""
        self.call(self._join_remote, RemoteClient(link))

    def _join_remote(self, client: RemoteClient) -> None:
        number = next(self._numbers)
        client.send("welcome", number)
        self._remote[client.fileno()] = number
        self._poll.register(client.fileno(), select.POLLIN)
        self.clients[number] = client
        self.scheduler.client_joined(number)

    def _hear_client(self, number: int) -> None:
        client = self.clients[number]
        assert isinstance(client, RemoteClient)
        while (message := client.receive()) is not None:
            self.on_message(number, *message)
        if client.gone:
            self.leave(number)

    def on_message(self, number: int, kind: str, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        """A client has something done."""
        if number not in self.scheduler.clients:
            return
        if kind == "submit":
            self.scheduler.submit(number, fields[0], parcels)
        elif kind == "scatter":
            self.scheduler.scatter(number, fields[0], parcels, *fields[1:])
        elif kind == "ask":
            question, what, args = fields
            self.questions.ask(number, question, what, args, parcels)
        elif kind == "close":
            self.leave(number)
        else:
            getattr(self.scheduler, kind)(number, *fields)

    def leave(self, number: int) -> None:
        """A client has gone."""
        client = self.clients.pop(number, None)
        if client is None:
            return
        self.scheduler.client_left(number)
        self._part_with(client)

    def _part_with(self, client: LocalConnection | RemoteClient) -> None:
        if isinstance(client, RemoteClient):
            del self._remote[client.fileno()]
            self._poll.unregister(client.fileno())
            client.close()

    # -- what goes out --------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Send what the scheduler wants told, until it wants nothing more."""
        scheduler = self.scheduler
        scheduler.assign()
        for worker in list(scheduler.workers.values()):
            if worker.batch or worker.packed or worker.values:
                self._send_tasks(worker)
            elif worker.dropped_bytes >= LARGE:
                self.crew.workers[worker.number].ask("drop", worker.dropped)
                worker.dropped, worker.dropped_bytes = [], 0.0
            if worker.asks:
                asks, worker.asks = worker.asks, []
                for ask in asks:
                    self.crew.workers[worker.number].ask(*ask)
        letters, scheduler.letters = scheduler.letters, []
        for number, kind, fields, parcels in letters:
            client = self.clients.get(number)
            if client is not None:
                own = tuple([copy_of(parcel) for parcel in parcels])
                client.send(kind, *fields, parcels=own) if isinstance(client, RemoteClient) else client.hear(
                    kind, fields, own
                )
        if scheduler.used_up:
            used_up, scheduler.used_up = scheduler.used_up, []
            for parcel in used_up:
                parcel.close()
        if scheduler.orders:
            orders, scheduler.orders = scheduler.orders, []
            for order in orders:
                self._obey(*order)
            self._send_all()

    def _obey(self, what: str, number: int, id: int = -1) -> None:
        if what == "expire":
            self._timers.append((monotonic() + config.get("distributed.no_workers_timeout"), number))
        elif what == "stop":
            self.stops.add(number, id)
        elif what == "end" and number in self.crew.workers:
            self._bury(number, expected=True)

    def _send_tasks(self, worker: WorkerState) -> None:
        batch = worker.batch
        codes = [task.code for task in batch]
        parcels: list[Any] = []
        functions = {}
        for code in set(codes) - worker.functions:
            worker.functions.add(code)
            functions[code] = len(parcels)
            parcels.append(self.scheduler.functions[code])
        packed = {}
        for id, parcel in worker.packed.items():
            packed[id] = len(parcels)
            parcels.append(parcel)
        self.crew.workers[worker.number].send(
            "tasks",
            [task.id for task in batch],
            codes,
            [task.args for task in batch],
            [task.plain for task in batch],
            functions,
            worker.values,
            packed,
            worker.dropped,
            [],
            parcels=parcels,
        )
        worker.batch, worker.values, worker.packed, worker.dropped = [], {}, {}, []
        worker.dropped_bytes = 0.0

    def _close_all(self) -> None:
        for client in list(self.clients.values()):
            self._part_with(client)
        self.clients.clear()
        self.crew.close()
        if self._listener is not None:
            self._listener.close()
