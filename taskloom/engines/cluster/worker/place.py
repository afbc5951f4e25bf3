"""Where a thread is: what code inside of a task can learn of its worker and tell it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


class Wait:
    """A task that waits for others, at one point or, in an event loop, at several."""

    __slots__ = ("points", "task")

    def __init__(self, task: int) -> None:
        self.task = task
        self.points = 0


class _Place(threading.local):
    worker: Worker | None = None  # of threads that run tasks, and their number
    thread: int = 0
    wait: Wait | None = None
    host: Worker | None = None  # of other threads that run a user's code in a worker: of actors, plugins and calls


_NOWHERE = nullcontext()

place = _Place()  # set by each thread of a worker


def worker_here() -> Worker | None:
    """The worker whose thread the calling one is, or None."""
    return place.worker or place.host


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


def waiting() -> AbstractContextManager[None]:
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
        return _NOWHERE
    return _waiting(worker, thread)


@contextmanager
def _waiting(worker: Worker, thread: int) -> Iterator[None]:
    wait = _wait_of(worker, thread)
    try:
        _free(worker, thread, wait)
        yield
    finally:
        _take(worker, thread, wait)


def _wait_of(worker: Worker, thread: int) -> Wait:
    """The wait of a task, which has come to one more point."""
    id = worker.running[thread]
    wait = place.wait
    if wait is not None and wait.task == id:
        wait.points += 1
        return wait
    if worker.has_thread():
        return Wait(id)
    raise RecursionError(
        f"{MOST_THREADS} tasks of worker {worker.info.name!r} wait for tasks that they have submitted."
    )


def _free(worker: Worker, thread: int, wait: Wait) -> None:
    """Let another task run, if none does for this wait."""
    if not wait.points:
        worker.running[thread] = NO_TASK  # who cancels the task does not strike before it is noted again
        wait.points = 1
        place.wait = wait
        worker.block()
        worker.running[thread] = wait.task
        worker.heed(wait.task)


def _take(worker: Worker, thread: int, wait: Wait) -> None:
    """A point of a wait is over. With the last one the task has its place again."""
    running, id = worker.running, wait.task
    wait.points -= 1
    if not wait.points and running[thread] not in (id, NO_TASK):
        worker.unblock()  # a coroutine that its task has left behind
    elif not wait.points:
        running[thread] = NO_TASK
        place.wait = None
        worker.unblock()
        running[thread] = id
        worker.heed(id)


def secede() -> None:
    """Leave the place of the current task to others, until `rejoin` or the end of the task: another one runs meanwhile.

    Waiting for futures does so by itself: this is for tasks that wait for something else. Twice is as good as once.

    Raises
    ------
    ValueError
        There is no task here.

    Examples
    --------
    >>> from taskloom.distributed import Client, rejoin, secede
    >>> def outer():
    ...     secede()
    ...     rejoin()
    ...     return "done"
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     client.submit(outer).result()
    'done'
    """
    worker, thread = place.worker, place.thread
    if worker is None or worker.running[thread] == NO_TASK:
        raise ValueError("There is no task here that could secede: call it inside of one.")
    if has_seceded():
        return
    give_back(worker)  # of the task before, if that has not been reported yet
    wait = _wait_of(worker, thread)
    try:
        _free(worker, thread, wait)
    except BaseException:
        _take(worker, thread, wait)
        raise
    worker.seceded[thread] = wait


def has_seceded() -> bool:
    """Whether the current task has."""
    worker, thread = place.worker, place.thread
    wait = None if worker is None else worker.seceded.get(thread)
    return worker is not None and wait is not None and wait.task == worker.running[thread]


def rejoin() -> None:
    """Have the current task take a place again, after `secede`."""
    worker, thread = place.worker, place.thread
    if worker is not None and has_seceded():
        _take(worker, thread, worker.seceded.pop(thread))


def give_back(worker: Worker) -> None:
    """The task that the calling thread was in, which had seceded, has ended: the thread is one for tasks again."""
    if place.worker is worker and worker.seceded.pop(place.thread, None) is not None:
        place.wait = None
        worker.unblock()
