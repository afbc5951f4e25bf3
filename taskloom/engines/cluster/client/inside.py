"""Clients for code inside of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.current import get_client
from taskloom.engines.cluster.worker.handle import get_worker
from taskloom.engines.cluster.worker.place import current_task, has_seceded, rejoin, secede

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client


@contextmanager
def worker_client(timeout: Any = None, separate_thread: bool = True) -> Iterator[Client]:
    """A block inside of a task with a client of its cluster, while the task's place is left to others.

    Waiting for futures leaves it by itself: a task that does nothing else can as well use `get_client`.

    Parameters
    ----------
    timeout : seconds that connecting may take.
    separate_thread : False: the task keeps its place while it does not wait.

    Raises
    ------
    ValueError
        There is no task here.

    Examples
    --------
    >>> from taskloom.distributed import Client
    >>> def total(n):
    ...     with worker_client() as client:
    ...         return sum(client.gather(client.map(abs, range(n))))
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     client.submit(total, 3).result()
    3
    """
    get_worker()
    client = get_client(timeout=timeout)
    if not separate_thread or current_task() is None or has_seceded():
        yield client
        return
    secede()
    try:
        yield client
    finally:
        rejoin()


def local_client(*args: Any, **kwargs: Any) -> Any:
    """The former name of `worker_client`."""
    return worker_client(*args, **kwargs)
