"""The coordinator: the thread that has the scheduler, and brings it and the workers and clients together."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from time import monotonic
from typing import Any

from taskloom import config
from taskloom.engines.cluster.coordinator.clients import Clients
from taskloom.engines.cluster.coordinator.connection import LocalConnection
from taskloom.engines.cluster.coordinator.coordinating import Coordinating
from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.coordinator.inbox import Inbox
from taskloom.engines.cluster.coordinator.memory import MemoryWatch
from taskloom.engines.cluster.coordinator.output import Output
from taskloom.engines.cluster.coordinator.plugins import Plugins
from taskloom.engines.cluster.coordinator.post import LARGE, Post, tell
from taskloom.engines.cluster.coordinator.questions import Questions
from taskloom.engines.cluster.coordinator.staffing import Staffing
from taskloom.engines.cluster.coordinator.stops import Stops
from taskloom.engines.cluster.coordinator.vacancy import Vacancy
from taskloom.engines.cluster.door.address import PrivateDirectory
from taskloom.engines.cluster.door.listener import Listener
from taskloom.engines.cluster.door.remote import RemoteClient
from taskloom.engines.cluster.forks import WHY, give_up_in_forks
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.waker import Waker
from taskloom.errors import TaskloomError

FIRST_LOOK = 0.0005  # seconds without news after which the workers' pages are looked at
LAST_LOOK = 0.05
IDLE_LOOK = 0.5  # where nothing runs that is known of: memory may be taken all the same
MOST_LINES = 100  # that are taken in at a time of what a worker prints
SHARE_AFTER = 0.005  # seconds without news after which idle workers get what waits elsewhere

_log = logging.getLogger("taskloom")

Hear = Callable[[str, tuple[Any, ...], Sequence[Any]], None]


class Coordinator(Staffing):
    """Workers, and the thread that tells them what to do.

    Its loop polls files itself: nothing stands between a message and who is to take it in.

    Parameters
    ----------
    n_workers, threads : how many workers, and how many tasks each of them runs at a time.
    processes : whether workers are processes, or threads of this one.
    memory_limit : bytes per worker.
    resources : what each worker has, by name.
    environment : variables of the workers' environment.
    preload : names of plugins, and those packed, that all workers have.
    """

    def __init__(
        self,
        n_workers: int,
        threads: int = 1,
        processes: bool = True,
        memory_limit: float = float("inf"),
        name: str = "",
        resources: dict[str, float] | None = None,
        environment: dict[str, str] | None = None,
        preload: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        self.name = name
        self.crew = Crew(threads, processes, memory_limit, resources or {}, environment or {})
        self.scheduler = Scheduler(self.crew.pack_error)
        self.scheduler.deaths_allowed = config.get("multiprocessing.retries")
        self.questions = Questions(self)
        self.plugins = Plugins(self)
        self.stops = Stops(self.scheduler, self.crew)
        self.memory = MemoryWatch(self.scheduler, self.crew)
        self.output = Output(self.scheduler, self.crew)
        self.vacancy = Vacancy(name, self.scheduler, self.crew)
        self._poll = select.poll()
        self.clients = Clients(self.scheduler, self._poll, self.call)
        self.coordinating = Coordinating(self.scheduler, self.crew, self.clients)
        self.clients.on_leave = self._client_left
        self.inbox = Inbox(self)
        self.post = Post(self.scheduler, self.crew, self.stops, self.clients)
        for plugin in preload:
            self.plugins.preload(*plugin)
        self.closed = False
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()  # what other threads want done here
        self._waker = Waker()
        self._asleep = False
        self._poll.register(self._waker, select.POLLIN)
        self._timers: list[tuple[float, int]] = []  # a heap of deadlines, with the ids of tasks
        self._quiet_since = 0.0
        self._looked = 0.0
        self._look = FIRST_LOOK
        self._why = "the cluster was closed"
        self._listener: Listener | None = None
        try:
            if processes:
                directory = PrivateDirectory()
                self._listener = Listener(directory, self._adopt)
                self.crew.address, self.crew.secret = directory.address, directory.secret
            else:
                self.crew.address = f"inproc://{name}/{os.getpid()}-{id(self):x}"
            self.crew.grow(n_workers)
        except BaseException:
            self._close_all()
            raise
        self._thread = threading.Thread(target=self._run, name="taskloom-coordinator", daemon=True)
        self._thread.start()
        give_up_in_forks(self)

    # -- for other threads ----------------------------------------------------------------------------------------

    @property
    def address(self) -> str | None:
        """Where clients connect: also in other processes, unless the workers are threads of this one."""
        return self.crew.address

    def connect(self, hear: Hear) -> LocalConnection:
        """Connect a client of this process; `hear(kind, fields, parcels)` is called on the coordinator's thread."""
        connection = LocalConnection(self.clients.new_number(), self, hear)
        self.call(self.clients.join, connection)
        if self.closed:  # perhaps nobody looks at the call any more
            raise TaskloomError(f"There is no cluster any more: {self._why}.")
        return connection

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Have the coordinator's thread call a function, after all that it was given before."""
        self._calls.append((function, args))
        if self._asleep:
            try:
                self._asleep = False  # whoever comes next need not wake it, too
                self._waker.ring()  # here or not at all: no interrupt may come in between
            except OSError:
                pass

    def close(self) -> None:
        """End all workers. Clients hear that the cluster is gone."""
        self.closed = True
        self._waker.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def let_go(self) -> None:
        """Leave the workers to the process that this one is a fork of."""
        self.closed = True
        self._why = WHY
        self._waker = Waker()
        self.crew.let_go()

    # -- the loop -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._staff()
            busy = True
            while not self.closed:
                self._do_calls()
                self._look_round(busy)
                self._send_all()  # after all that may have something to tell: the wait may be without end
                found = self._wait(busy)
                busy = bool(found or self._calls)
                self._take_in(found)
        except BaseException:
            self._why = f"The coordinator of the cluster failed:\n{traceback.format_exc()}"
        finally:
            self.closed = True
            self.crew.size = 0
            with contextlib.suppress(Exception):
                self.plugins.close(lambda: self._take_in(self._poll.poll(1000 * LAST_LOOK)))
            with contextlib.suppress(Exception):
                self._do_calls()  # of those who have connected just now
            for client in self.clients.values():
                tell(client, "gone", (self._why,), ())
            with contextlib.suppress(Exception):
                self.scheduler.close()
            self._close_all()

    def _do_calls(self) -> None:
        calls = self._calls
        while calls:
            function, args = calls.popleft()
            function(*args)

    def _wait(self, busy: bool) -> list[tuple[int, int]]:
        """Wait for something to happen, or for the time to look at what the workers are doing."""
        timeout = FIRST_LOOK if busy else self._timeout()
        self._asleep = True
        if self._calls or self.closed:
            timeout = 0.0
        found = self._poll.poll(None if timeout is None else 1000 * timeout)
        self._asleep = False
        return found

    def _timeout(self) -> float | None:
        workers = self.scheduler.workers.values()
        if any(worker.outstanding or worker.strays for worker in workers):
            return self._look
        if self.crew.any_waiting() or self.clients.any_waiting():
            return self._look
        if (
            self._timers
            or self.stops
            or self.memory
            or self.vacancy
            or self.questions
            or self.crew.is_short
            or self.plugins.parting
            or any(worker.dropped or worker.dropped_codes for worker in workers)
        ):
            return LAST_LOOK
        return IDLE_LOOK if self.memory.is_limited else None

    def _look_round(self, busy: bool) -> None:
        """See to what nobody reports: when nothing is heard, less and less often, and else from time to time."""
        now = monotonic()
        if busy:  # nothing on this path is more than it must be: whoever has submitted a task may wait for it
            self._look, self._quiet_since = FIRST_LOOK, 0.0
            if now - self._looked < LAST_LOOK:
                return
        else:
            self._look = min(2 * self._look, LAST_LOOK)
            self._quiet_since = self._quiet_since or now
        self._looked = now
        for number, process in self.crew.workers.items():
            process.send_waiting()
            if process.finished() > self.crew.reported.get(number, 0):
                process.ask("report")
        self.clients.look_round(self.crew.running)
        if now - self._quiet_since > SHARE_AFTER:  # or it is never quiet
            self.scheduler.share()
            for worker in self.scheduler.workers.values():
                if worker.dropped or worker.dropped_codes:
                    worker.dropped_bytes = LARGE
        if self.crew.is_short:
            self._staff()
        while self._timers and now >= self._timers[0][0]:
            self.scheduler.expire(heappop(self._timers)[1])
        self.stops.look(now)
        self.memory.look(now)
        self.vacancy.look(now)
        self.plugins.look(now)

    def _take_in(self, found: list[tuple[int, int]]) -> None:
        """Workers write what a task prints before they report it, and report before they end."""
        if len(found) > 1:
            found.sort(key=lambda event: self.crew.urgency(event[0]))
        for file, event in found:
            if file == self._waker.fileno():
                self._waker.clear()
                continue
            watched = self.crew.watched(file)
            if watched is None:
                self.clients.hear(file, self.inbox.from_client)
                continue
            number, what = watched
            if what == "work":  # if there are more, the next poll shows it
                lines = MOST_LINES
                while self._hear_next(number) == "printed" and lines:
                    lines -= 1
            elif what == "end":
                while self._hear_next(number):
                    pass
                self._bury(number)
            else:
                self.output.copy(number)
                if not event & select.POLLIN:  # the worker has closed it
                    self._poll.unregister(file)

    # -- workers --------------------------------------------------------------------------------------------------

    def _hear_next(self, number: int) -> str:
        """Take in the next message of a worker; returns its kind, nothing where there was none."""
        try:
            message = self.crew.workers[number].receive()
        except OSError:
            return ""
        except Exception:  # such as for want of memory
            _log.exception("What worker %d said was lost", number)
            return "lost"
        if message is None:
            return ""
        self.inbox.from_worker(number, *message)
        return message[0]

    # -- clients --------------------------------------------------------------------------------------------------

    def _adopt(self, link: Link) -> None:
        """A client of another process has connected; from the listener's thread."""
        self.call(self.clients.join_remote, RemoteClient(link))

    def _client_left(self, number: int) -> None:
        self.crew.client_left(number)
        self.coordinating.client_left(number)

    # -- what goes out --------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Send what the scheduler wants told, until it wants nothing more."""
        scheduler = self.scheduler
        self.post.tell_clients()  # first, as somebody may wait for that
        while True:
            scheduler.assign()
            self.post.send()
            if not scheduler.orders:
                return
            orders, scheduler.orders = scheduler.orders, []
            for order in orders:
                self._obey(*order)

    def _obey(self, what: str, number: int, id: int = -1) -> None:
        if what == "expire":
            heappush(self._timers, (monotonic() + config.get("distributed.no_workers_timeout"), number))
        elif what == "stop" and number in self.scheduler.workers:
            self.stops.cancelled(number, id)
        elif what == "end" and number in self.crew.workers:
            self.scheduler.worker_left(number, "was ended", expected=True)
            self.stops.forget(number)  # it may be there for a while yet, to take its plugins down
            self.plugins.part(number)

    def _close_all(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self.clients.close()
        self.coordinating.close()
        self.crew.close()
