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


class _Wait:
    """A task that waits for others, at one point or, in an event loop, at several."""

    __slots__ = ("points", "task")

    def __init__(self, task: int) -> None:
        self.task = task
        self.points = 0


class _Place(threading.local):
    worker: Worker | None = None
    thread: int = 0
    wait: _Wait | None = None


place = _Place()  # set by each thread that runs tasks


def current_task() -> tuple[WorkerInfo, int] | None:
    """The worker and the id of the task that the calling thread is in, or None."""
    worker = place.worker
    if worker is None or worker.running[place.thread] == NO_TASK:
        return None
    id = worker.running[place.thread]
    return worker.info, id if id >= 0 else ~id


@contextmanager
def undisturbed() -> Iterator[None]:
    """Do something whole, inside of a task: who cancels the task stops it afterwards.

    >>> with undisturbed():
    ...     pass
    """
    worker, thread = place.worker, place.thread
    if worker is None or worker.running[thread] < 0:
        yield
        return
    id = worker.running[thread]
    worker.running[thread] = ~id
    try:
        yield
    finally:
        worker.running[thread] = id
        worker.heed(id)


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
    if worker is None or worker.running[thread] == NO_TASK:
        yield
        return
    running = worker.running
    id = running[thread]
    wait = place.wait
    if wait is not None and wait.task == id:
        wait.points += 1
    elif worker.has_thread():
        wait = _Wait(id)
    else:
        raise RecursionError(
            f"{MOST_THREADS} tasks of worker {worker.info.name!r} wait for tasks that they have submitted."
        )
    try:
        if not wait.points:
            running[thread] = NO_TASK  # who cancels the task does not strike before it is noted again
            wait.points = 1
            place.wait = wait
            worker.block()
            running[thread] = id
            worker.heed(id)
        yield
    finally:
        wait.points -= 1
        if not wait.points and running[thread] not in (id, NO_TASK):
            worker.unblock()  # a coroutine that its task has left behind
        elif not wait.points:
            running[thread] = NO_TASK
            place.wait = None
            worker.unblock()
            running[thread] = id
            worker.heed(id)
