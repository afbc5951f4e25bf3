"""One thread that ticks ten times a second while there is something to watch, and runs jobs in between."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

resource: Any
try:
    import resource
except ImportError:  # on Windows
    resource = None
else:
    if not hasattr(resource, "RUSAGE_THREAD"):  # on macOS
        resource = None

INTERVAL = 0.1  # seconds
QUIET_TICKS = 20  # ticks with nothing to watch, after which the thread sleeps until it is needed


def no_thread_to_give(error: BaseException) -> bool:
    """Whether a thread could not be started because the system has none to give, rather than for an interrupt, which
    `Thread.start` may turn into an error of its own."""
    return isinstance(error, RuntimeError) and not isinstance(error.__context__, KeyboardInterrupt)


class Clock:
    """Time as a ticker sees it. Tests give it another."""

    def now(self) -> float:
        return monotonic()

    def starved(self) -> float:
        """About how many seconds the calling thread has ever waited for the interpreter's lock, or for anything else
        that it waited for at many points: who waits for the lock asks for it anew after each switch interval."""
        if resource is None:
            return 0.0
        switches: int = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return switches * sys.getswitchinterval()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait, with `condition` held, until it is notified or `timeout` seconds are over."""
        condition.wait(timeout)


class Ticker:
    """Calls `tick` every `INTERVAL` on a daemon thread of its own, started when it is first needed.

    `tick` returns whether there is anything to watch; if not for a while, the thread sleeps until `wake` or `post`.
    """

    def __init__(self, tick: Callable[[], bool], clock: Clock | None = None) -> None:
        self._tick = tick
        self._clock = clock or Clock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._condition = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._asleep = True

    def wake(self) -> None:
        """See to it that ticks come: all but free when they do already."""
        if self._asleep:
            with self._condition:
                self._start_or_notify()

    def post(self, *jobs: Callable[[], None]) -> None:
        """Run `jobs` on the ticker's thread, soon, behind those posted before."""
        with self._condition:
            self._jobs.extend(jobs)
            self._start_or_notify()

    def is_current(self) -> bool:
        """Whether the calling thread is the ticker's."""
        return threading.current_thread() is self._thread

    def replace(self) -> None:
        """Leave a thread that hangs in a job to itself and go on with a new one."""
        with self._condition:
            self._thread = None
            self._start_or_notify()

    def _start_or_notify(self) -> None:
        self._asleep = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="taskloom-ticker", daemon=True)
            try:
                self._thread.start()
            except BaseException as error:
                self._thread, self._asleep = None, True  # the next one who needs it tries again
                if not no_thread_to_give(error):
                    raise
        else:
            self._condition.notify()

    def _run(self) -> None:
        quiet = 0
        next_tick = self._clock.now() + INTERVAL
        while self.is_current():
            with self._condition:
                if not self._jobs:
                    if self._asleep:
                        self._clock.wait(self._condition, None)
                        quiet = 0
                        next_tick = self._clock.now() + INTERVAL
                    elif (left := next_tick - self._clock.now()) > 0:
                        self._clock.wait(self._condition, left)
                job = self._jobs.popleft() if self._jobs else None
            if job is not None:
                job()
            elif self._clock.now() >= next_tick:
                next_tick = self._clock.now() + INTERVAL
                quiet = 0 if self._tick() else quiet + 1
                if quiet > QUIET_TICKS:
                    self._asleep = True
                    if self._tick():  # something began just before `wake` could see that we sleep
                        self._asleep = False
