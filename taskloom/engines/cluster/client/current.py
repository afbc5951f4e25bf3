"""Which client is meant where none is given."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.elsewhere import library_of
from taskloom.engines.cluster.worker.place import WorkerInfo, undisturbed, worker_here

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_open: list[Client] = []  # the newest last
_opening = Lock()
chosen: ContextVar[Client | None] = ContextVar("chosen", default=None)
_brings: ContextVar[Client | None] = ContextVar("brings", default=None)


def opened(client: Client) -> None:
    """A client is connected."""
    _open.append(client)


def closed(client: Client) -> None:
    """A client has left its cluster."""
    if client in _open:
        _open.remove(client)


def replaced() -> list[list[Client]]:
    """The open clients that have made their clusters, but for the one that is used where none is given, each in a list
    of its own."""
    newest = _newest()
    return [[client] for client in _open if client is not newest and client._owns_cluster and client.cluster]


def default_client(client: Client | None = None) -> Client:
    """The given client, or else the newest that is open and wants to be the default; one of dask's where only they are.

    Raises
    ------
    ValueError
        None is open.
    """
    found = client or own_client()
    if found is not None:
        return found
    theirs = library_of()
    if theirs is not None:
        return theirs.get_client()  # type: ignore[no-any-return]
    raise ValueError("No client is open. Start one: client = Client().")


def own_client() -> Client | None:
    """The client of taskloom's that is chosen here, or else the newest that is open and wants to be the default."""
    here = chosen.get()
    return here if here is not None and here.status == "running" else _newest()


def _newest() -> Client | None:
    return next((client for client in reversed(_open) if client.is_default), None)


@contextmanager
def bringing(client: Client) -> Iterator[None]:
    """A block in which results are unpacked that a client has brought."""
    token = _brings.set(client)
    try:
        yield
    finally:
        _brings.reset(token)


def any_client_of(address: str | None) -> Client | None:
    """The client of a cluster that brings what is being unpacked, or else the newest that is open."""
    brings = _brings.get()
    there = [client for client in reversed(_open) if client._address() == address]
    return brings if brings in there else next(iter(there), None)


def clients_at(address: str) -> list[Client]:
    """The open clients of this process that are connected to an address."""
    return [client for client in list(_open) if client._address() == address]


def client_of(address: str | None) -> Client | None:
    """The client of the cluster at an address; inside of a task, one is opened where there is none."""
    here = chosen.get()
    if here is not None and here.status == "running" and here._address() == address:
        return here
    for client in reversed(_open):
        if client._address() == address and not client.asynchronous:
            return client
    worker = worker_here()
    if worker is not None and address is not None and worker.info.address == address:
        return _of_worker(worker.info)
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
    worker = worker_here()
    return default_client() if worker is None else _of_worker(worker.info)


def _of_worker(worker: WorkerInfo) -> Client:
    """The client for code inside of a worker: one per process."""
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
