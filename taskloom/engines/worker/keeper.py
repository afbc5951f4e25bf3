"""A thread for what must be done whole, one thing after the other, whatever becomes of those who have it done.

A KeyboardInterrupt comes in the main thread only. Whoever starts or ends a process there may be interrupted between
the effect and the note of it; here nobody is. Worker processes die with the thread that started them, and this one
lives as long as its process.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue


class Keeper:
    """Does jobs in the order in which they come.

    Examples
    --------
    >>> done = []
    >>> Keeper().do(lambda: done.append(threading.current_thread().name))
    >>> done
    ['taskloom-keeper']
    """

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()  # the first one is being done
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._one_at_a_time = threading.Lock()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Wait until it has been done, and all that was given before. What it raises is raised here.

        An interrupt ends the waiting only.
        """
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._work, name="taskloom-keeper", daemon=True)
            thread.start()  # should an interrupt come just now there will be two, which do no harm
            self._thread = thread
        job = _Job(work)
        self._jobs.append(job)
        self._bell.put(None)
        job.over.acquire()
        if job.error is not None:
            raise job.error

    def catch_up(self) -> None:
        """Wait until all is done whose giver was interrupted."""
        if self._jobs:
            self.do(lambda: None)

    def _work(self) -> None:
        while True:
            self._bell.get()
            with self._one_at_a_time:
                while self._jobs:
                    self._jobs[0].do()
                    self._jobs.popleft().over.release()


class _Job:
    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.error: BaseException | None = None
        self.over = threading.Lock()
        self.over.acquire()

    def do(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error


keeper = Keeper()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: keeper.__init__())  # type: ignore[misc]  # the thread stays in the parent
