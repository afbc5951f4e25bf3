"""The worker processes that this process owns. They know nothing of a run before they are told."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import monotonic
from typing import Any

from taskloom.engines.worker.launch import LAUNCHERS, Files, Launcher, Spawn
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.memory import kills
from taskloom.engines.worker.page import CANCELLED, FETCHING, NOTHING, PACKING, RUN, STARTED, Page
from taskloom.engines.worker.parcel import Parcel, decode, encode
from taskloom.engines.worker.said import Manner, hear, manner, pack_manner
from taskloom.engines.worker.turns import Turns
from taskloom.errors import ConfigError

LAST_LINES = 30  # of what a worker wrote to stderr, kept for the message when it dies
INITIALIZER = -1  # in place of the number of a run
GRACE = 0.5  # seconds that a worker which has not heard of a cancel may still take when the next run needs it
BUFFER = 4 << 20  # bytes that a socket holds
ORDER = ("wake", "stdout", "stderr", "work", "end")  # a worker prints before it reports, and reports before it ends


class WorkerProcess:
    """One worker, seen from its parent."""

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.name = name
        self.pidfd = -1
        self.manner = b""  # how it has been told to warn and log
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        our_data, their_data = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.work, self.data = Link(ours), Link(our_data)
        for sock in (ours, our_data, theirs, their_data):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        ours.setblocking(False)
        our_data.setblocking(False)
        page, page_file = Page.create()
        self._page = page
        self.page = page.words
        self.waiting: deque[tuple[Link, bytes, list[int]]] = deque()  # messages that its sockets do not take yet
        self.stuck = False  # in a task of a run that was cancelled
        self._last_words = ""
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        self.output = {out: "stdout", err: "stderr"}
        for file in self.output:
            os.set_blocking(file, False)
        files = Files(theirs.fileno(), their_data.fileno(), page_file, their_out, their_err)
        _living.add(self)
        try:
            self.process = launcher.start(files)
        except BaseException:
            self.abandon()
            raise
        finally:
            theirs.close()
            their_data.close()
            for file in (page_file, their_out, their_err):
                os.close(file)
        self.pid = self.process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def is_busy(self, run: int) -> bool:
        """Whether it is inside a task of the run, or between two."""
        return self.page[RUN] == run and self.page[STARTED] != NOTHING

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Send a message of work; it waits here while the worker's socket is full."""
        self._send(self.work, *encode(kind, *fields, parcels=parcels))

    def ask(self, kind: str, *fields: Any) -> None:
        """Send a message that the worker answers even while it runs a task."""
        self._send(self.data, *encode(kind, *fields))

    def _send(self, link: Link, message: bytes, files: list[int]) -> None:
        if not self.waiting:
            try:
                link.send(message, files)
                return
            except BlockingIOError:
                pass
            except OSError:  # it is dying: its end will be noticed
                return
        self.waiting.append((link, message, [os.dup(file) for file in files]))

    def send_waiting(self) -> None:
        while self.waiting:
            link, message, files = self.waiting[0]
            try:
                link.send(message, files)
            except BlockingIOError:
                return
            except OSError:
                pass
            self.waiting.popleft()
            for file in files:
                os.close(file)

    def receive(self) -> tuple[str, tuple[Any, ...], list[Parcel]] | None:
        """The next message that is there. What it has to say is heard on the way: its warnings and log records."""
        while True:
            try:
                received = self.work.receive()
            except (BlockingIOError, ConnectionError):
                return None
            if received is None:
                return None
            message = decode(*received)
            if message[0] != "said":
                return message
            hear(*message[1])

    def read_output(self, file: int) -> str:
        """What it has written since the last time."""
        chunks = []
        with contextlib.suppress(BlockingIOError, OSError):
            while len(chunk := os.read(file, 65536)):
                chunks.append(chunk)
        text = b"".join(chunks).decode(errors="replace")
        if self.output[file] == "stderr":
            self._last_words = (self._last_words + text)[-200 * LAST_LINES :]
        return text

    @property
    def last_lines(self) -> list[str]:
        """The end of what it wrote to stderr."""
        return self._last_words.splitlines()[-LAST_LINES:]

    def fate(self) -> str | None:
        """How it ended, or None while it lives."""
        code = self.process.poll()
        if code is None:
            return None
        if code < 0:
            try:
                return f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"was killed by signal {-code}"
        return f"exited with code {code}"

    def packing(self) -> int:
        """The task whose result it was pickling, by the page, when somebody looked; -1 for none."""
        return int(max(self.page[PACKING], self.page[FETCHING]))

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()

    def close(self) -> None:
        """End it and give up everything that belongs to it."""
        self.kill()
        self.process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Give up everything that belongs to it, and let it be."""
        _living.discard(self)
        self.work.close()
        self.data.close()
        for _, _, files in self.waiting:
            for file in files:
                os.close(file)
        self.waiting.clear()
        for file in self.output:
            os.close(file)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self._page.close()


class WorkerPool:
    """Worker processes that stay between runs. One run at a time has them: they take `turns`."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.workers: list[WorkerProcess] = []
        self._started = 0
        self._runs = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._spawner: threading.Thread | None = None
        self._context = ""
        self._launcher: Launcher = Spawn()
        self._initializer: Parcel | None = None
        self._oom_kills = 0  # as of the last look
        self._manner: Manner | None = None
        self._packed_manner = b""
        self._poll = select.poll()
        self._files: dict[int, tuple[WorkerProcess | None, str]] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watch(self._wake, None, "wake")

    def use(self, context: str, initializer: Parcel | None = None) -> None:
        """Have only workers that were started in this way and, if there is an initializer, for this run.

        Parameters
        ----------
        context : a name of `LAUNCHERS`.
        initializer : a function and its arguments, which each worker calls before anything else, those too that take
            the place of dead ones.
        """
        if context != self._context or initializer is not self._initializer:
            self.ensure(0)
        if context != self._context:
            self._launcher.close()
            self._context, self._launcher = context, LAUNCHERS[context]()
        self._initializer = initializer

    def next_run(self) -> int:
        """A number for a run that has the workers from now on: workers forget those with lower numbers."""
        self._runs += 1
        if (now := manner()) != self._manner:
            self._manner, self._packed_manner = now, pack_manner(now)
        return self._runs

    def ensure(self, n: int) -> list[WorkerProcess]:
        """Have exactly `n` workers, all alive."""
        for worker, what in self.wait(0):
            if worker is not None and what == "end" and worker.fate() is not None:
                self.remove(worker)
        for worker in [worker for worker in self.workers if worker.stuck]:
            self._interrupt(worker, monotonic() + GRACE)
            if worker.page[STARTED] != NOTHING:
                self.remove(worker)
            worker.stuck = False
        while len(self.workers) > n:
            self.remove(self.workers[-1])
        self.fill(n)
        for worker in self.workers:
            if worker.manner is not self._packed_manner:
                self._adopt_manner(worker)
        return self.workers

    def fill(self, n: int) -> list[WorkerProcess]:
        """Have at least `n` workers. They are started on a thread that lives as long as this process, as they die with
        the thread that started them."""
        if len(self.workers) < n:
            if self._spawner is None or not self._spawner.is_alive():
                self._spawner = threading.Thread(target=self._spawn, name="taskloom-spawner", daemon=True)
                self._spawner.start()
            done = threading.Semaphore(0)
            failed: list[BaseException] = []

            def start() -> None:
                try:
                    self._oom_kills = kills()
                    while len(self.workers) < n:
                        self._started += 1
                        worker = WorkerProcess(f"process-{self._started}", self._launcher)
                        self.workers.append(worker)
                        worker.send("setup", [*sys.path], os.getcwd(), dict(os.environ))
                        self._adopt_manner(worker)
                        if self._initializer is not None:
                            worker.send("initialize", INITIALIZER, parcels=[self._initializer])
                except BaseException as error:
                    failed.append(error)
                finally:
                    done.release()

            self._jobs.put(start)
            done.acquire()
            if failed:
                raise ConfigError(f"A worker process could not be started: {failed[0]}") from failed[0]
            for worker in self.workers:
                if worker.pidfd not in self._files:
                    self._watch_worker(worker)
        return self.workers

    def _adopt_manner(self, worker: WorkerProcess) -> None:
        worker.manner = self._packed_manner
        if worker.manner:
            worker.send("adopt", worker.manner)

    def _spawn(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def remove(self, worker: WorkerProcess) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        for file in [file for file, (owner, _) in self._files.items() if owner is worker]:
            del self._files[file]
            with contextlib.suppress(KeyError, OSError):
                self._poll.unregister(file)
        worker.close()

    def ran_out_of_memory(self, worker: WorkerProcess) -> bool:
        """Whether a worker that has died was killed by the kernel, as far as the kernel's count tells."""
        before, self._oom_kills = self._oom_kills, kills()
        return worker.process.poll() == -signal.SIGKILL and self._oom_kills > before

    def wake(self) -> None:
        """Have `wait` return, from any thread."""
        os.eventfd_write(self._wake, 1)

    def wait(self, seconds: float) -> list[tuple[WorkerProcess | None, str]]:
        """Wait until something happens: pairs of a worker and "work", "stdout", "stderr" or "end"; None and "wake"."""
        timeout: float = -1 if seconds < 0 else seconds * 1000
        for worker in self.workers:
            if worker.waiting:
                worker.send_waiting()
                if worker.waiting:
                    timeout = 1
        found = []
        for file, _ in self._poll.poll(timeout):
            if file == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            if file in self._files:
                found.append(self._files[file])
        return sorted(found, key=lambda event: ORDER.index(event[1])) if len(found) > 1 else found

    def stop_watching_output(self, worker: WorkerProcess, name: str) -> None:
        """Its other end is closed: it would be reported for ever."""
        for file, what in list(self._files.items()):
            if what == (worker, name):
                del self._files[file]
                self._poll.unregister(file)

    def _watch_worker(self, worker: WorkerProcess) -> None:
        self._watch(worker.work.fileno(), worker, "work")
        for file, name in worker.output.items():
            self._watch(file, worker, name)
        self._watch(worker.pidfd, worker, "end")

    def _watch(self, file: int, worker: WorkerProcess | None, what: str) -> None:
        self._files[file] = (worker, what)
        self._poll.register(file, select.POLLIN)

    def settle(self, run: int, patience: float) -> None:
        """Have the workers stop what they do for a run, and forget it. Whoever does not is left to `ensure`."""
        deadline = monotonic() + patience
        for worker in self.workers:
            worker.page[CANCELLED] = run
            worker.stuck = worker.is_busy(run)  # until it is seen to be idle: a second Ctrl-C may come before
        for worker in self.workers:
            if patience and worker.is_busy(run):
                self._until_idle(worker, min(deadline, monotonic() + 0.15))
            if patience and worker.is_busy(run):
                self._interrupt(worker, deadline)
            worker.stuck = worker.is_busy(run)
            if patience and worker.packing() >= 0:  # in a thread that no signal reaches, and so for ever
                worker.kill()
            worker.send("end", run)

    def _interrupt(self, worker: WorkerProcess, deadline: float) -> None:
        """Have it leave the task of a run that was cancelled, if the task lets it."""
        if worker.page[STARTED] != NOTHING and worker.fate() is None:
            with contextlib.suppress(OSError):
                os.kill(worker.pid, signal.SIGINT)
            self._until_idle(worker, deadline)

    def _until_idle(self, worker: WorkerProcess, deadline: float) -> None:
        while worker.page[STARTED] != NOTHING and worker.fate() is None:
            left = deadline - monotonic()
            if left <= 0:
                return
            select.select([worker.work.fileno()], [], [], min(left, 0.002))
            while (message := worker.receive()) is not None:
                for parcel in message[2]:
                    parcel.close()

    def close(self) -> None:
        """End all workers."""
        while self.workers:
            self.remove(self.workers[-1])
        self._launcher.close()
        if self._spawner is not None:
            self._jobs.put(None)
            self._spawner = None


_living: set[WorkerProcess] = set()
pool = WorkerPool()
atexit.register(pool.close)


def _forget_in_child() -> None:
    """The workers are the parent's. Whoever keeps an end of their links keeps others from seeing that they are gone."""
    for worker in list(_living):
        worker.abandon()
    os.close(pool._wake)
    pool.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
