"""Which scheduler is in force for Dask's collections: what was set in taskloom, in Dask, and which client is open."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from uuid import UUID

import dask

from taskloom import config
from taskloom.engines import engine_named
from taskloom.engines.cluster.client.current import own_client
from taskloom.engines.cluster.worker.place import worker_here

_EPOCH = 0x01B21DD213814000  # of version 1 identifiers, in their ticks of 100 ns before that of clocks


def chosen(scheduler: Any = None) -> Any:
    """The scheduler for `taskloom.compute` of Dask's collections; None where nobody has chosen any.

    The first of these that says something: the call, what was set in taskloom since the client of Dask's was opened
    that is in force, Dask's configuration, that client, taskloom's environment and files. Who calls for "distributed"
    means that client, as with `compute` of Dask's own.
    """
    if scheduler is not None:
        engine = engine_named(scheduler)
        return (engine and engine.name == "distributed" and current_client()) or scheduler
    setting = config.setting("scheduler")
    if setting.order > _opened(current_client()):
        return setting.value
    theirs = configured()
    return newest() if theirs is None else _as_dask_means_it(theirs)


def configured() -> Any:
    """What Dask's configuration says; None where that is nothing, or what its open client has written there."""
    theirs = dask.config.get("scheduler", None)
    return None if theirs == "dask.distributed" and current_client() is not None else theirs


def newest() -> Any:
    """What taskloom's configuration says, or the client of Dask's that is in force, if it was opened later."""
    setting = config.setting("scheduler")
    client = current_client()
    return setting.value if client is None or _opened(client) < setting.order else client


def current_client() -> Any:
    """The client of Dask's that runs its collections by default; None where none is open."""
    find = getattr(sys.modules.get("distributed"), "get_client", None)  # which may be in the midst of its own import
    if find is None:
        return None
    try:
        client = find()
    except ValueError:
        return None
    return client if client.status == "running" else None  # one that could not connect stays in its books


def library_of(value: Any) -> Any:
    """`dask.distributed`, if the value is a client of its or has futures of its, or its client is in force; or None.

    It is in force in tasks of its workers, where it was opened later than taskloom's, and where none of those is open.
    """
    library = sys.modules["distributed"]
    client = current_client()
    if client is None:
        return None
    if isinstance(value, library.Client) or (value is not None and library.futures_of(value)):
        return library
    in_force = worker_here() is None and (own_client() is None or newest() is client)
    return library if in_force else None


def _opened(client: Any) -> int:
    """When a client was made, in nanoseconds since the epoch: its name ends with an identifier that tells; else 0."""
    if client is None:
        return 0
    try:
        return (UUID(client.id[-36:]).time - _EPOCH) * 100
    except ValueError:
        return 0


def _as_dask_means_it(scheduler: Any) -> Any:
    """A scheduler that Dask's configuration names, with the options that it has there."""
    if not isinstance(scheduler, str):
        return scheduler
    engine = engine_named(scheduler.strip().lower().removeprefix("dask."))
    if engine is None:
        return scheduler  # taskloom says what is wrong with it
    if engine.name == "distributed":
        return current_client() or engine
    from taskloom.adapters.dask.gets import options_for  # with a release of Dask that is too old it cannot be loaded

    return partial(engine.get, **options_for(engine, {}))
