"""The worker processes that this process owns. They know nothing of a run before they are told."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Container
from functools import cached_property
from math import inf
from time import monotonic

from taskloom.engines.worker.anonymous import allow_many_files
from taskloom.engines.worker.environment import worker_environment
from taskloom.engines.worker.keeper import keeper
from taskloom.engines.worker.launch import LAUNCHERS, Launcher, Spawn
from taskloom.engines.worker.memory import kills
from taskloom.engines.worker.page import CANCELLED
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.process import WorkerProcess
from taskloom.engines.worker.said import manner
from taskloom.engines.worker.turns import Turns
from taskloom.engines.worker.waker import Waker
from taskloom.errors import ConfigError

INITIALIZER = -1  # in place of the number of a run
GRACE = 0.5  # seconds that a worker which has not heard of a cancel may still take when the next run needs it


class WorkerPool:
    """Worker processes that stay between runs. One run at a time has them: they take `turns`.

    Workers are started, ended and entered here by the keeper, so that an interrupt finds each of them either owned and
    watched, or gone. Whoever goes on after one waits first for what the keeper has still to do.

    Attributes
    ----------
    idle : whether no worker can be inside a task. A run says so when it has heard of all its tasks.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.workers: list[WorkerProcess] = []
        self.idle = True
        self._started = 0
        self._runs = 0
        self._spare: WorkerPool | None = None
        self._context = ""
        self._launcher: Launcher = Spawn()
        self._initializer: Parcel | None = None
        self._oom_kills = 0  # as of the last look
        self._manner = b""
        self._waker = Waker()
        self.wake = self._waker.wake  # have `wait` return, from any thread
        self._files: dict[int, tuple[WorkerProcess | None, str]] = {self._waker.fileno(): (None, "wake")}

    @cached_property
    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        return poll

    def use(self, context: str, initializer: Parcel | None = None) -> None:
        """Have only workers that were started in this way and, if there is an initializer, for this run.

        Parameters
        ----------
        context : a name of `LAUNCHERS`.
        initializer : a function and its arguments, which each worker calls before anything else, those too that take
            the place of dead ones.
        """
        keeper.catch_up()
        if context != self._context or initializer is not self._initializer:
            self._have_done(lambda: self._begin_anew(context, initializer))

    def _begin_anew(self, context: str, initializer: Parcel | None) -> None:
        self._end_all()
        if context != self._context:
            self._launcher.close()
            self._context, self._launcher = context, LAUNCHERS[context]()
        self._initializer = initializer

    def next_run(self) -> int:
        """A number for a run that has the workers from now on: workers forget those with lower numbers."""
        keeper.catch_up()
        if not self.idle:
            for worker in list(self.workers):
                worker.page[CANCELLED] = self._runs
                worker.stop(monotonic() + GRACE)
                if worker.is_inside_a_task():
                    self.remove(worker)
        self.idle = False
        self._runs += 1
        self._manner = manner()
        return self._runs

    def ensure(self, n: int, busy: Container[WorkerProcess] = ()) -> list[WorkerProcess]:
        """Have exactly `n` workers, all alive, but for the `busy` ones: who waits for those will hear of their end."""
        for worker, what in self.wait(0):
            if worker is not None and what == "end" and worker not in busy and worker.fate() is not None:
                self.remove(worker)
        while len(self.workers) > n:
            self.remove(self.workers[-1])
        self.fill(n)
        for worker in self.workers:
            if worker.manner is not self._manner:
                self._adopt_manner(worker)
        return self.workers

    def fill(self, n: int) -> list[WorkerProcess]:
        """Have at least `n` workers."""
        if len(self.workers) < n:
            try:
                self._have_done(lambda: self._start(n))
            except Exception as error:
                raise ConfigError(f"A worker process could not be started: {error}") from error
        return self.workers

    def _have_done(self, work: Callable[[], None]) -> None:
        self.turns.away = inf
        keeper.do(work)
        self.turns.away = monotonic()

    def _start(self, n: int) -> None:
        self._oom_kills = kills()
        allow_many_files()
        while len(self.workers) < n:
            self._started += 1
            worker = WorkerProcess(f"process-{self._started}", self._launcher)
            self.workers.append(worker)
            self._watch_worker(worker)
            worker.send("setup", [*sys.path], os.getcwd(), worker_environment(n))
            self._adopt_manner(worker)
            if self._initializer is not None:
                worker.send("initialize", INITIALIZER, parcels=[self._initializer])

    def _adopt_manner(self, worker: WorkerProcess) -> None:
        worker.manner = self._manner
        if worker.manner:
            worker.send("adopt", worker.manner)

    def remove(self, worker: WorkerProcess) -> None:
        self._have_done(lambda: self._remove(worker))

    def _remove(self, worker: WorkerProcess) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        for file in [file for file, (owner, _) in self._files.items() if owner is worker]:
            self._stop_watching(file)
        worker.close()

    def ran_out_of_memory(self, worker: WorkerProcess) -> bool:
        """Whether a worker that has died was killed by the kernel, as far as the kernel's count tells."""
        before, self._oom_kills = self._oom_kills, kills()
        return worker.process.poll() == -signal.SIGKILL and self._oom_kills > before

    def wait(self, seconds: float) -> list[tuple[WorkerProcess | None, str]]:
        """Wait until something happens: pairs of a worker and "work", "stdout", "stderr" or "end"; None and "wake".

        They come in the order in which they are to be taken in: a worker writes what a task prints before it reports
        the task, and reports before it ends. Less than 0 seconds are for ever.
        """
        timeout: float = -1 if seconds < 0 else seconds * 1000
        for worker in self.workers:
            if worker.waiting:
                worker.send_waiting()
                if worker.waiting:
                    timeout = 1
        found: list[tuple[WorkerProcess | None, str]] = []
        self.turns.away = inf
        ready = self._poll.poll(timeout)
        self.turns.away = monotonic()
        for file, event in ready:
            if file not in self._files:
                continue
            owner, what = self._files[file]
            if what in ("stdout", "stderr") and not event & select.POLLIN:
                self._stop_watching(file)  # its other end is closed: it would be reported for ever
                continue
            if owner is None:
                self._waker.clear()
            elif what == "end":  # or it has closed its links, and is of no use any more
                owner.kill()
                owner.process.wait()
            found.append((owner, what))
        return sorted(found, key=_urgency) if len(found) > 1 else found

    def _watch_worker(self, worker: WorkerProcess) -> None:
        self._watch(worker.work.fileno(), worker, "work")
        for file, name in worker.output.items():
            self._watch(file, worker, name)
        self._watch(worker.end, worker, "end")

    def _watch(self, file: int, worker: WorkerProcess, what: str) -> None:
        self._files[file] = (worker, what)
        self._poll.register(file, select.POLLIN)

    def _stop_watching(self, file: int) -> None:
        del self._files[file]
        with contextlib.suppress(KeyError, OSError):
            self._poll.unregister(file)

    def settle(self, run: int, patience: float) -> None:
        """Have the workers stop what they do for a run, and forget it. Whoever does not is left to `next_run`."""
        keeper.catch_up()
        deadline = monotonic() + patience
        for worker in self.workers:
            worker.page[CANCELLED] = run
        for worker in self.workers:
            if patience:
                worker.finish(run, deadline)
            worker.send("end", run)
        self.idle = not any(worker.is_busy(run) for worker in self.workers)

    def spare(self) -> WorkerPool:
        """Further workers, for a run that cannot wait for these: whose turn it is waits for it."""
        if self._spare is None:
            self._spare = WorkerPool()
        return self._spare

    def close(self) -> None:
        """End all workers."""
        keeper.catch_up()
        if self._started:
            self._have_done(self._close)
        if self._spare is not None:
            self._spare.close()

    def _close(self) -> None:
        self._end_all()
        self._launcher.close()

    def _end_all(self) -> None:
        while self.workers:
            self._remove(self.workers[-1])

    def forget(self) -> None:
        """Begin anew in a fork, to which none of this belongs."""
        if self._spare is not None:
            self._spare.forget()
        vars(self).clear()
        self.__init__()  # type: ignore[misc]


def _urgency(event: tuple[WorkerProcess | None, str]) -> int:
    return ("wake", "stdout", "stderr", "work", "end").index(event[1])


pool = WorkerPool()
atexit.register(pool.close)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)  # the workers are the parent's
