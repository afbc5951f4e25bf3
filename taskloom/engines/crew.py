"""The warm threads that all runs on the threads engine share: helpers, and a *lookout* that sends them.

The lookout looks three times a millisecond whether a run has more ready tasks than its workers take, and sends it a
helper when that pays: when it got the interpreter lock promptly three times in a row, so that the lock is free often
enough for two, or when the run has not finished a task in several looks. A run of tiny tasks that hold the lock is thus
left to one thread, which is fastest, while tasks that block find company at once.

The helper that worked last is the first to be sent again: malloc keeps memory per thread, and what one of them has
freed is there for its next tasks.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
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
QUIET_LOOKS = 33  # looks in vain after which the lookout sleeps until it is called


class Shared(Protocol):
    """A run that helpers may join."""

    num_workers: int
    first: int  # the thread of its first worker, 0 until there is one
    last_progress: int  # what the lookout saw when it last looked ...
    stalled: int  # ... how often it saw the same ...
    since: float  # ... and since when

    @property
    def outermost(self) -> Shared:
        """The run that it is inside of, or itself."""

    def surplus(self) -> bool:
        """Whether tasks are ready that nobody has taken."""

    def is_new(self) -> bool:
        """Whether it has yet to begin: it calls nobody when it does."""

    def progress(self) -> int:
        """A number that grows as tasks finish."""

    def help(self) -> None:
        """Work on the run until nothing is ready."""


class Helper:
    """A thread of the crew and what it has to do."""

    def __init__(self, job: Callable[[], None]) -> None:
        self.job: Callable[[], None] | None = job
        self.thread = 0
        self.signal = threading.Lock()  # held while there is nothing to do
        self.signal.acquire()


class Seen(Enum):
    """What the lookout found in a look at all runs."""

    NOTHING = auto()
    SURPLUS = auto()  # and room for a helper: perhaps worth it at the next look
    FULL = auto()  # more tasks than workers, but no room
    SENT = auto()  # a helper is on its way


class Crew:
    """The threads and what they do. All runs share them: no run is helped by more than its `num_workers` allows
    for the helpers of all runs and the caller that it goes back to. Other callers, who brought their threads, do not
    count. A run that stands still, as its tasks may wait for each other, gets a thread although no place is free.
    """

    def __init__(self) -> None:
        self._active: dict[int, Shared | None] = {}  # threads at work -> the run they help, None for callers
        self.asleep = False  # nobody looks although there is room: whoever has tasks to spare should `call`
        self._lock = threading.RLock()  # the collector may come under it, and a finalizer may compute
        self._runs: list[Shared] = []
        self._idle: list[Helper] = []  # the one that worked last at the end
        self._numbers = itertools.count(1)
        self._lookout = False  # whether there is one
        self._bell = threading.Lock()  # held while the lookout has no reason to look before its time
        self._bell.acquire()
        self._rung = 0.0  # when
        self._full = False  # the lookout waits for room

    # -- for runs and their callers -------------------------------------------------------------------------------

    def open(self, run: Shared) -> None:
        """Let helpers join `run`."""
        with self._lock:
            self._runs.append(run)
            if not self._lookout:
                self.asleep = True
            elif self._full:
                self._ring()

    def close(self, run: Shared) -> None:
        """Let no further helper join `run`. Those that hang in a task of it take nobody's place from now on."""
        with self._lock:
            if run in self._runs:  # not where an interrupt came before `open`
                self._runs.remove(run)
            for thread in [thread for thread, helped in self._active.items() if helped is run]:
                del self._active[thread]
            if self._full:
                self._ring()

    def enter(self, run: Shared | None = None) -> None:
        """The calling thread begins to execute tasks, in the place of a caller or as a helper of `run`."""
        with self._lock:
            self._active[get_ident()] = run

    def leave(self) -> Shared | None:
        """The calling thread executes nothing for now: there is room for another. Returns what it was at."""
        with self._lock:
            run = self._active.pop(get_ident(), None)
            if self._full:
                self._ring()
            return run

    def call(self, run: Shared) -> None:
        """Have the lookout see to `run` now: there are tasks to spare."""
        with self._lock:
            if not self._lookout:
                self._post_lookout()
            elif self.asleep or self._has_room(run):
                self._ring()

    def dispatch(self, job: Callable[[], None], run: Shared | None = None) -> bool:
        """Have a thread do `job` at once, if the system has one to give.

        If that is work on `run`, the thread has a place there until it calls `leave`.
        """
        if sys.is_finalizing():  # a finalizer computes: the helpers are no more, and no thread begins
            return False
        with self._lock:
            try:
                helper = self._send(job)
            except BaseException as error:
                if not no_thread_to_give(error):
                    raise
                return False
            if run is not None:
                self._active[helper.thread] = run
            return True

    # -- helpers --------------------------------------------------------------------------------------------------

    def _send(self, job: Callable[[], None]) -> Helper:
        if self._idle:
            helper = self._idle.pop()
            helper.job = job
            helper.signal.release()
        else:
            helper = Helper(job)
            name = f"taskloom-{next(self._numbers)}"
            thread = threading.Thread(target=self._live, args=(helper,), name=name, daemon=True)
            thread.start()
            helper.thread = thread.ident or 0
        return helper

    def _live(self, helper: Helper) -> None:
        while True:
            if helper.job is not None:
                helper.job()
                helper.job = None
            with self._lock:
                self._idle.append(helper)
            helper.signal.acquire()

    def _help(self, run: Shared) -> None:
        with self._lock:  # so after the lookout has noted where this thread is
            self._ring()  # there may be work for one more
        try:
            run.help()
        finally:
            self.leave()

    # -- the lookout ----------------------------------------------------------------------------------------------

    def _post_lookout(self) -> None:
        self._rung = perf_counter()
        try:
            threading.Thread(target=self._look_out, name="taskloom-lookout", daemon=True).start()
        except BaseException as error:
            if not no_thread_to_give(error):
                raise
        else:
            self._lookout, self.asleep = True, False

    def _ring(self) -> None:
        if self._bell.locked():
            self.asleep = False
            self._rung = perf_counter()
            self._bell.release()

    def _look_out(self) -> None:
        quiet = 0
        prompt = PROMPT_LOOKS if perf_counter() - self._rung < PROMPT else 0  # looks in a row that came in time
        while True:
            seen = self._look(prompt >= PROMPT_LOOKS)
            quiet = quiet + 1 if seen is Seen.NOTHING else 0
            if quiet > QUIET_LOOKS:
                quiet = 0
                self.asleep = True
                if any(run.surplus() or run.is_new() for run in list(self._runs)):
                    self.asleep = False
                    continue
                pause = -1.0
            else:
                pause = CHECK_EVERY if seen is Seen.FULL else LOOK_EVERY
            due = perf_counter() + pause
            rung = self._bell.acquire(timeout=pause)
            if perf_counter() - (self._rung if rung else due) > PROMPT:
                prompt = 0
            elif rung:
                prompt = PROMPT_LOOKS  # whoever rings knows that it pays
            else:
                prompt += 1

    def _look(self, prompt: bool) -> Seen:
        """Look at all runs, the newest first, and send a helper to the first that should have one.

        A run that makes progress gets one only if the look was `prompt`.
        """
        seen = Seen.NOTHING
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
                    seen = Seen.SURPLUS
                    due = prompt or run.stalled >= STALLED_LOOKS
                else:
                    if seen is Seen.NOTHING:
                        seen = Seen.FULL
                    due = now - run.since > STARVED and self._own(run) < run.num_workers
                if due and self.dispatch(partial(self._help, run), run):
                    run.since = now
                    seen = Seen.SENT
                    break
            self._full = seen is Seen.FULL
        return seen

    def _has_room(self, run: Shared) -> bool:
        helpers = sum([helped is not None for helped in self._active.values()])
        return helpers + self._caller_of(run) < run.num_workers

    def _own(self, run: Shared) -> int:
        """How many threads work on `run`, that which called it from inside of another among them."""
        helpers = sum([helped is run for helped in self._active.values()])
        return helpers + (run.outermost is not run or self._caller_of(run))

    def _caller_of(self, run: Shared) -> bool:
        """Whether the first worker of `run`, or of that which it is inside of, is a caller at work."""
        return self._active.get(run.outermost.first, run) is None


crew = Crew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: crew.__init__())  # type: ignore[misc]  # threads stay in the parent
