"""What differs between releases of dask.distributed, or is none of its documented names: all in this place.

Tested with 2026.3 to 2026.8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from dask._task_spec import convert_legacy_graph
from dask.utils import ensure_dict
from distributed import Client, Future
from distributed.comm.inproc import global_manager
from distributed.protocol import deserialize
from distributed.protocol.pickle import dumps
from distributed.shuffle._core import id_from_key

from taskloom.adapters.dask.optimized import as_dask_does
from taskloom.adapters.distributed.clock import Clock

PATIENCE = 10.0  # seconds for a question that somebody waits for
STEP = 0.02  # seconds between questions whether something is still there
QUESTIONS = 3  # about the scheduler's clock, of which the quickest counts

is_aside: ContextVar[bool] = ContextVar("is_aside", default=False)  # whether what is submitted is to have no record

Future.__taskloom_input__ = True  # as our own: collections take futures for inputs, and engines put results in


def is_open(client: Any) -> bool:
    """Whether a client is connected."""
    return client is not None and client.status == "running" and client.scheduler is not None


def is_on_loop(client: Client) -> bool:
    """Whether the calling thread is that in which the client works."""
    try:
        return bool(asyncio.get_running_loop() is client.loop.asyncio_loop)
    except RuntimeError:
        return False


def is_barrier(key: Any) -> bool:
    """Whether it is of the task that waits until all of a shuffle between workers was sent."""
    return id_from_key(key) is not None


def is_in_task(client: Client) -> bool:
    """Whether a worker has made it, for the tasks that it runs."""
    return str(client.id).startswith("Client-worker-")


def is_in_process(address: str) -> bool:
    """Whether something of dask's in this process listens at an address that no other process can reach."""
    try:
        return global_manager.get_listener_for(address.removeprefix("inproc://")) is not None
    except ValueError:  # of another process, or none of dask's
        return False


def all_clients() -> list[Client]:
    """Those of this process."""
    return list(Client._instances)


def future_of(key: Any) -> Future | None:
    """A future of this key, if any client of this process has one."""
    client = next((client for client in all_clients() if key in client.futures), None)
    return None if client is None else Future(key, client)


def on_close(client: Client, action: Callable[[], None]) -> None:
    """Do something once a client is closed."""
    plain = client._close

    async def close(*args: Any, **options: Any) -> Any:
        try:
            return await plain(*args, **options)
        finally:
            if client.status == "closed":
                action()

    client.__dict__["_close"] = close


def on_connect(client: Client, action: Callable[[], None] | None) -> None:
    """Do something each time the client has connected; None: nothing more."""
    if action is None:
        client.__dict__.pop("_ensure_connected", None)
        return

    async def connect(*args: Any, **options: Any) -> None:
        await type(client)._ensure_connected(client, *args, **options)
        if is_open(client):
            action()

    client.__dict__["_ensure_connected"] = connect


def graph_of(expression: Any) -> dict[Any, Any]:
    """The nodes of what was submitted, as the scheduler makes them of it."""
    before = as_dask_does.set(True)
    try:
        graph = expression if isinstance(expression, Mapping) else expression.__dask_graph__()
        return dict(convert_legacy_graph(ensure_dict(graph)))
    finally:
        as_dask_does.reset(before)


def submitted(args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """What `Client._graph_to_futures` was called with: the graph and the keys."""
    graph, keys = [*args, *[options[name] for name in ("expr", "dsk", "keys") if name in options]][:2]
    return graph, list(keys)


def on_send(client: Client, told: Callable[[Packed], None] | None) -> None:
    """Have a function given each graph as it goes to the scheduler, in the thread that submits it; None: none."""
    if told is None:
        client.__dict__.pop("_send_to_scheduler", None)
        return

    def send(message: Any) -> None:
        if message.get("op") == "update-graph" and "expr_ser" in message:
            told(Packed(message["expr_ser"]))
        type(client)._send_to_scheduler(client, message)

    client.__dict__["_send_to_scheduler"] = send


class Packed:
    """A graph as it went to a scheduler: its futures are nothing but keys there, which hold no results."""

    def __init__(self, sent: Any) -> None:
        self._sent = sent

    @property
    def has_futures(self) -> bool:
        """Whether there are any, as far as can be told at a glance: rather too often than not."""
        module = Future.__module__.encode()
        return any(module in frame for frame in self._sent.frames if isinstance(frame, bytes))

    def graph(self) -> dict[Any, Any]:
        """Its nodes."""
        return graph_of(deserialize(self._sent.header, self._sent.frames))


def waits(args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Whether `Client.get` was called for values rather than futures."""
    return bool(args[5] if len(args) > 5 else options.get("sync", True))


def on_error(client: Client, told: Callable[[Any], None] | None) -> None:
    """Have a function told the key of each future that fails, before those who wait for it hear of that; None: none."""

    def erred(key: Any = None, **fields: Any) -> None:
        client._handle_task_erred(key=key, **fields)
        if told is not None:
            told(key)

    client._stream_handlers["task-erred"] = client._handle_task_erred if told is None else erred


async def read_clock(client: Client, clock: Clock, topic: str) -> None:
    """Ask the scheduler for its time. It stamps what it is told to log."""
    asked = []
    for _ in range(QUESTIONS):
        before = perf_counter()
        await client.scheduler.log_event(topic=topic, msg="clock")
        asked.append((before, perf_counter()))
    stamps = [stamp for stamp, message in await client.scheduler.events(topic=topic) if message == "clock"]
    for (before, after), stamp in zip(asked, stamps[-QUESTIONS:], strict=False):
        clock.asked(before, stamp, after)


async def register(client: Client, plugin: Any) -> None:
    """Have the scheduler take a plugin."""
    await client.scheduler.register_scheduler_plugin(plugin=dumps(plugin), name=plugin.name, idempotent=False)


async def unregister(client: Client, topic: str) -> None:
    """Have the scheduler let go of the plugin that tells a client of this topic."""
    client._event_handlers[topic] = _pass_over  # what is on its way, or waits for the next batch
    with suppress(Exception):  # it is gone
        await client.scheduler.unregister_scheduler_plugin(name=topic)


def _pass_over(_: Any) -> None:
    pass


def held_by(client: Any, keys: Iterable[Any]) -> set[Any]:
    """Those of these results that the cluster has in memory."""
    keys = list(keys)
    if not keys or not can_wait(client):
        return set()

    async def ask() -> Any:
        return await client.scheduler.who_has(keys=keys)

    return {key for key, workers in _wait_for(client, ask(), PATIENCE).items() if workers}


def values_of(client: Any, keys: Iterable[Any]) -> dict[Any, Any]:
    """Results that the cluster has in memory, but for those that it has lost meanwhile."""
    keys = list(keys)

    async def bring() -> Any:
        futures = {key: Future(key, client) for key in keys}  # which have the cluster keep what it still has
        while pending := [key for key, future in futures.items() if future.status == "pending"]:
            await asyncio.sleep(STEP)
            for key, workers in (await client.scheduler.who_has(keys=pending)).items():
                if not workers:
                    del futures[key]
        return await client._gather(futures, errors="skip") if futures else {}

    return dict(_wait_for(client, bring())) if keys else {}


def task_there(client: Any, key: Any) -> Any:
    """A task as the scheduler has it: as long as there is a future of it, or of what needs it; else None."""

    async def ask() -> Any:
        return await client.scheduler.get_runspec(key=key)

    try:
        return _wait_for(client, ask(), PATIENCE)
    except KeyError:
        return None


def compute_aside(client: Any, graph: Mapping[Any, Any], keys: Collection[Any]) -> tuple[dict[Any, Any], list[Future]]:
    """Have the cluster compute something without a record: the values, and futures of them."""
    token = is_aside.set(True)
    try:
        futures = client.get(dict(graph), list(keys), sync=False)
    finally:
        is_aside.reset(token)
    try:
        values = _wait_for(client, client._gather(futures))
    except BaseException:
        for future in futures:
            future.release()
        raise
    return dict(zip(keys, values, strict=True)), futures


def can_wait(client: Any) -> bool:
    """Whether the calling thread can wait for what a client does: it is connected, and works in another thread."""
    return is_open(client) and not is_on_loop(client)


def _wait_for(client: Client, answer: Coroutine[Any, Any, Any], patience: float | None = None) -> Any:
    asked = asyncio.run_coroutine_threadsafe(answer, client.loop.asyncio_loop)
    try:
        return asked.result(patience)
    except BaseException:
        asked.cancel()
        raise
