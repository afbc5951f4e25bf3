"""Which client is meant where none is given."""

from __future__ import annotations

import atexit
import os
import sys
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.worker.place import undisturbed

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_open: list[Client] = []  # the newest last
_opening = Lock()
chosen: ContextVar[Client | None] = ContextVar("chosen", default=None)


def opened(client: Client) -> None:
    """A client is connected."""
    _open.append(client)


def closed(client: Client) -> None:
    """A client has left its cluster."""
    if client in _open:
        _open.remove(client)


def default_client(client: Client | None = None) -> Client:
    """The given client, or else the newest that is open and wants to be the default.

    Raises
    ------
    ValueError
        None is open.
    """
    if client is not None:
        return client
    here = chosen.get()
    if here is not None and here.status == "running":
        return here
    for other in reversed(_open):
        if other.is_default:
            return other
    raise ValueError("No client is open. Start one: client = Client().")


def client_of(address: str | None) -> Client | None:
    """The client of the cluster at an address; inside of a task, one is opened where there is none."""
    here = chosen.get()
    if here is not None and here.status == "running" and here._address() == address:
        return here
    for client in reversed(_open):
        if client._address() == address and not client.asynchronous:
            return client
    task = _task_here()
    if task is not None and address is not None and getattr(task[0], "address", None) == address:
        return _of_worker(task[0])
    return None


def get_client(address: str | None = None, timeout: Any = None) -> Client:
    """The client of the cluster that runs the current task, the default client, or one of a cluster's address.

    Inside of a task, waiting for futures frees the task's slot for others.

    Parameters
    ----------
    address : of a cluster; by default that of the current task, else the default client's.
    timeout : seconds that connecting may take.

    Raises
    ------
    ValueError
        There is no task and no client, and no address was given.
    """
    if address is not None:
        found = client_of(address)
        if found is None:
            from taskloom.engines.cluster.client.client import Client

            found = Client(address, timeout=timeout, set_as_default=False)
        return found
    task = _task_here()
    if task is not None:
        return _of_worker(task[0])
    return default_client()


def _task_here() -> Any:
    """The worker and id of the task that the calling thread is inside of, or None."""
    worker = sys.modules.get("taskloom.engines.cluster.worker.place")
    return None if worker is None else worker.current_task()


def _of_worker(worker: Any) -> Client:
    """The client for code inside of a worker's tasks: one per process."""
    with undisturbed(), _opening:  # several tasks may want one, and modules must not be loaded by halves
        from taskloom.engines.cluster.client.client import Client

        for client in reversed(_open):
            if client._address() == worker.address and not client.asynchronous:
                return client
        return Client(worker.address, set_as_default=False)


def close_all() -> None:
    """Close the clients that are open, at the end of the process."""
    for client in _open:
        client._close_now()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _open.clear())  # a fork has clients of its own
