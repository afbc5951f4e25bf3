"""Where a thread is: what code inside of a task can learn of its worker and tell it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from taskloom.engines.cluster.worker.page import MOST_THREADS
from taskloom.engines.cluster.worker.stop import NO_TASK

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker


class WorkerInfo(NamedTuple):
    """Who a worker is. `address` and `secret` are for clients inside of its tasks."""

    number: int = -1
    name: str = ""
    threads: int = 0
    address: str | None = None
    secret: bytes | None = None


class _Place(threading.local):
    worker: Worker | None = None
    thread: int = 0
    waits: bool = False  # a task of this thread, for others


place = _Place()  # set by each thread that runs tasks


def current_task() -> tuple[WorkerInfo, int] | None:
    """The worker and the id of the task that the calling thread is in, or None."""
    worker = place.worker
    if worker is None or worker.running[place.thread] == NO_TASK:
        return None
    return worker.info, worker.running[place.thread]


@contextmanager
def waiting() -> Iterator[None]:
    """While a task waits for others its place is free: its worker runs another task. Outside of tasks it does nothing.

    Raises
    ------
    RecursionError
        Hundreds of tasks of this worker do so already: there is no thread left for what they wait for.

    >>> with waiting():
    ...     pass
    """
    worker, thread = place.worker, place.thread
    if worker is None or place.waits or worker.running[thread] == NO_TASK:
        yield
        return
    running = worker.running
    id = running[thread]
    if not worker.has_thread():
        raise RecursionError(
            f"{MOST_THREADS} tasks of worker {worker.info.name!r} wait for tasks that they have submitted."
        )
    try:
        running[thread] = NO_TASK  # who cancels the task does not strike before it is noted again
        place.waits = True
        worker.block()
        running[thread] = id
        worker.heed(id)
        yield
    finally:
        running[thread] = NO_TASK
        place.waits = False
        worker.unblock()
        running[thread] = id
        worker.heed(id)
