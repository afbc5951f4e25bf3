"""Bringing data to a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.gathering import settled
from taskloom.engines.cluster.client.options import check_key
from taskloom.engines.processes_errors import argument_stays
from taskloom.graph import Key
from taskloom.tokenize import tokenize

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.submitting import Submitting


async def scatter(client: Submitting, data: Any, workers: Any, broadcast: bool, hash: bool) -> Any:
    """Futures of data that are on the workers, see `Client.scatter`."""
    numbers = None if workers is None else [worker.number for worker in client._workers(workers)]
    names: list[Key] | None = None
    if isinstance(data, Mapping):
        names, values = list(data), list(data.values())
        for name in names:
            check_key(name)
    elif isinstance(data, (list | tuple | set | frozenset, Iterator | range)):
        values = list(data)
    else:
        values = [data]
    futures = await _scatter(client, values, names, numbers, broadcast, hash)
    if names is not None:
        return dict(zip(names, futures, strict=True))
    if isinstance(data, list | tuple | set | frozenset):
        return type(data)(futures)
    return futures if isinstance(data, Iterator | range) else futures[0]


async def _scatter(
    client: Submitting,
    values: list[Any],
    names: list[Key] | None,
    workers: list[int] | None,
    broadcast: bool,
    hash: bool,
) -> list[Future]:
    session = client._session
    keys = names or [f"{type(value).__name__}-{tokenize(value) if hash else client._new_token()}" for value in values]
    known: dict[Key, Future] = {}
    items: dict[Key, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if key in known or key in items:
            continue
        shares = hash and names is None and not broadcast and workers is None
        if shares and (shared := session.share(key, client._own)) is not None:
            known[key] = shared
            continue
        try:
            items[key] = session.pack(value)
        except Exception as error:
            raise argument_stays(key, value, error) from error
    made: list[Future] = session.scatter(list(items.items()), workers, broadcast, client._own) if items else []
    known.update([(future.key, future) for future in made])
    await settled([future._state for future in made])
    return [known[key] for key in keys]
