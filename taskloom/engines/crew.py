"""The warm helper threads that all runs on the threads engine share.

At most one idle helper, the *sentinel*, looks three times a millisecond whether a run has more ready tasks than its
workers take; the others sleep. The sentinel joins a run when that pays: when it got the interpreter lock promptly three
times in a row, so that the lock is free often enough for two, or when the run has not finished a task in several looks.
A run of tiny tasks that hold the lock is thus left to one thread, which is fastest, while tasks that block find company
at once.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import Protocol

from taskloom.bus.ticker import no_thread_to_give

LOOK_EVERY = 0.0003  # seconds
PROMPT_LOOKS = 3  # looks in a row that must come in time: fewer happen by chance while tiny tasks keep the lock
PROMPT = 0.0005  # seconds by which a wake-up may be late when nobody keeps the interpreter lock for long
STALLED_LOOKS = 4  # looks without progress after which a run gets help although the lock is never free
STARVED = 0.5  # seconds without progress after which a run gets a thread of its own though all places are taken
CHECK_EVERY = 0.2  # seconds between looks for that
QUIET_LOOKS = 33  # looks in vain after which the sentinel sleeps until it is called


class Shared(Protocol):
    """A run that helpers may join."""

    num_workers: int
    first: int  # the thread of its first worker, 0 until there is one
    last_progress: int  # what the sentinel saw when it last looked ...
    stalled: int  # ... how often it saw the same ...
    since: float  # ... and since when

    @property
    def outermost(self) -> Shared:
        """The run that it is inside of, or itself."""

    def surplus(self) -> bool:
        """Whether tasks are ready that nobody has taken."""

    def progress(self) -> int:
        """A number that grows as tasks finish."""

    def help(self) -> None:
        """Work on the run until nothing is ready."""


class Helper:
    """What the crew knows of one of its threads."""

    def __init__(self) -> None:
        self.signal = threading.Lock()  # held while there is nothing to do
        self.signal.acquire()
        self.called = 0.0  # when it was last called
        self.job: Callable[[], None] | None = None


class Crew:
    """Helper threads and what they do. All runs share them: no run is helped by more than its `num_workers` allows
    for the helpers of all runs and the caller that it goes back to. Other callers, who brought their threads, do not
    count. A run that stands still, as its tasks may wait for each other, gets a thread although no place is free.
    """

    def __init__(self) -> None:
        self._active: dict[int, Shared | None] = {}  # threads at work -> the run they help, None for callers
        self.asleep = False  # nobody looks although there is room: whoever has tasks to spare should `call`
        self._lock = threading.RLock()  # the collector may come under it, and a finalizer may compute
        self._runs: list[Shared] = []
        self._idle: list[Helper] = []  # those asleep, without the sentinel
        self._sentinel: Helper | None = None
        self._numbers = itertools.count(1)

    # -- for runs and their callers -------------------------------------------------------------------------------

    def open(self, run: Shared) -> None:
        """Let helpers join `run`."""
        with self._lock:
            self._runs.append(run)
            if self._sentinel is None:
                self.asleep = True

    def close(self, run: Shared) -> None:
        """Let no further helper join `run`. Those that hang in a task of it take nobody's place from now on."""
        with self._lock:
            if run in self._runs:  # not where an interrupt came before `open`
                self._runs.remove(run)
            for thread in [thread for thread, helped in self._active.items() if helped is run]:
                del self._active[thread]

    def enter(self, run: Shared | None = None) -> None:
        """The calling thread begins to execute tasks, in the place of a caller or as a helper of `run`."""
        with self._lock:
            self._active[get_ident()] = run

    def leave(self) -> Shared | None:
        """The calling thread executes nothing for now: there is room for another. Returns what it was at."""
        with self._lock:
            run = self._active.pop(get_ident(), None)
            if self._sentinel is None and any(run.surplus() for run in self._runs):
                self._appoint()
            elif self._sentinel is None:
                self.asleep = True
            elif self._sentinel.signal.locked():
                self._sentinel.signal.release()  # it may wait for room
            return run

    def call(self) -> None:
        """Have somebody look at the runs: there are tasks to spare."""
        with self._lock:
            helper = self._sentinel
            if helper is None:
                self._appoint()
            elif helper.signal.locked():
                self.asleep = False
                helper.called = perf_counter()
                helper.signal.release()

    def dispatch(self, job: Callable[[], None]) -> None:
        """Have a thread do `job` at once."""
        with self._lock:
            if self._idle:
                helper = self._idle.pop()
                helper.job = job
                helper.signal.release()
            else:
                helper = Helper()
                helper.job = job
                self._start(helper)

    # -- the helpers' threads -------------------------------------------------------------------------------------

    def _appoint(self) -> None:
        """Have a sleeping or new helper watch, if some run has room for it."""
        self.asleep = False
        if not self._runs:
            return
        if self._idle:
            self._sentinel = self._idle.pop()
            self._sentinel.called = perf_counter()
            self._sentinel.signal.release()
        else:
            self._sentinel = Helper()
            try:
                self._start(self._sentinel)
            except BaseException as error:
                self._sentinel, self.asleep = None, True  # whoever has tasks to spare appoints another
                if not no_thread_to_give(error):
                    raise

    def _has_room(self, run: Shared) -> bool:
        helpers = sum([helped is not None for helped in self._active.values()])
        return helpers + (self._active.get(run.outermost.first, run) is None) < run.num_workers

    def _start(self, helper: Helper) -> None:
        name = f"taskloom-{next(self._numbers)}"
        threading.Thread(target=self._live, args=(helper,), name=name, daemon=True).start()

    def _live(self, helper: Helper) -> None:
        while True:
            if helper.job is not None:
                helper.job()
                helper.job = None
            elif self._sentinel is helper:
                self._watch(helper).help()
                with self._lock:
                    self._active.pop(get_ident(), None)
            with self._lock:
                if self._sentinel is None and self._runs:
                    self._sentinel = helper
                    helper.called = perf_counter()
                    continue
                if self._sentinel is None:
                    self.asleep = True
                helper.signal.acquire(blocking=False)  # of a call that came when it had just found a run
                self._idle.append(helper)
            helper.signal.acquire()

    def _watch(self, helper: Helper) -> Shared:
        """Wait for a run that is worth joining."""
        quiet = 0
        prompt = PROMPT_LOOKS if perf_counter() - helper.called < PROMPT else 0  # looks in a row that came in time
        while True:
            run, needed = self._pick(prompt >= PROMPT_LOOKS)
            if run is not None:
                return run
            quiet = 0 if needed else quiet + 1
            if quiet > QUIET_LOOKS:
                quiet = 0
                self.asleep = True
                if any(run.surplus() for run in list(self._runs)):  # which have no room
                    self.asleep = False
                    called = helper.signal.acquire(timeout=CHECK_EVERY)
                    due = perf_counter()
                else:
                    helper.signal.acquire()
                    self.asleep = False
                    called = True
            else:
                due = perf_counter() + LOOK_EVERY
                called = helper.signal.acquire(timeout=LOOK_EVERY)
            if perf_counter() - (helper.called if called else due) > PROMPT:
                prompt = 0
            elif called:
                prompt = PROMPT_LOOKS  # whoever calls knows that it pays
            else:
                prompt += 1

    def _pick(self, prompt: bool) -> tuple[Shared | None, bool]:
        """A run to join, the newest first, and whether any has work for one more thread.

        A run that makes progress is joined only if the look was `prompt`.
        """
        needed = False
        now = perf_counter()
        with self._lock:
            for run in reversed(self._runs):
                if not run.surplus():
                    continue
                progress = run.progress()
                if progress == run.last_progress:
                    run.stalled += 1
                else:
                    run.last_progress, run.stalled, run.since = progress, 0, now
                if self._has_room(run):
                    needed = True
                    joins = prompt or run.stalled >= STALLED_LOOKS
                else:
                    own = 1 + sum([helped is run for helped in self._active.values()])
                    joins = now - run.since > STARVED and own < run.num_workers
                if joins:
                    run.since = now
                    self._active[get_ident()] = run
                    self._sentinel = None
                    self._appoint()
                    return run, True
        return None, needed


crew = Crew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: crew.__init__())  # type: ignore[misc]  # threads stay in the parent
