"""How to follow a scheduler that takes no plugin: it is asked again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import count
from time import time
from typing import Any
from weakref import ref

from distributed import Client

from taskloom.adapters.distributed import connection, events
from taskloom.adapters.distributed.book import Submission
from taskloom.adapters.distributed.listener import Listener
from taskloom.graph import task_name

_log = logging.getLogger("taskloom")

INTERVAL = 0.25  # seconds
OVERLAP = 10.0  # seconds by which workers' clocks may differ

_counter = count()  # of tasks and workers, over all connections: what is left of an earlier one may still be told


class Polling:
    """Finds out what the plugin would tell, and tells the listener in its place.

    Parameters
    ----------
    comm : the connection over which the plugin was refused, and with which this ends.
    """

    def __init__(self, client: Client, comm: Any, listener: Listener) -> None:
        self._client = ref(client)
        self._comm = comm
        self._listener = listener
        self._numbers: dict[Any, int] = {}  # of tasks, by key
        self._begun: set[int] = set()
        self._open: set[int] = set()
        self._workers: dict[str, int] = {}
        self._since = time()
        self._submissions: list[tuple[Submission, dict[Any, Any]]] = []
        self._task: asyncio.Task[None] | None = None

    def submitted(self, submission: Submission) -> None:
        """Something was submitted, from any thread."""
        client = self._client()
        if client is not None:
            client.loop.add_callback(self._take, submission)

    # -- on the client's thread ---------------------------------------------------------------------------------------

    def _connected(self) -> Client | None:
        """The client, as long as it has this connection."""
        client = self._client()
        there = client is not None and connection.is_open(client) and client.scheduler_comm is self._comm
        return client if there else None

    def _take(self, submission: Submission) -> None:
        if self._connected() is None or submission not in self._listener.awaited:
            return  # what is still awaited is told of over the connection to come
        graph = submission.graph()
        needed = _needed(submission.keys, graph)
        self._submissions.append((submission, needed))
        names: dict[str, int] = {}
        rows = []
        for key in needed:
            if key not in self._numbers:
                self._numbers[key] = next(_counter)
            self._open.add(self._numbers[key])
        for key, node in needed.items():
            name = names.setdefault(events.name_of(node, task_name(key)), len(names))
            inputs = [self._numbers[dep] for dep in node.dependencies if dep in needed]
            rows.append((self._numbers[key], key, name, inputs, False))
        token = next(iter(submission.keys))
        self._listener.take_in([(events.GRAPH, token, len(submission.keys), list(names), rows)])
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._poll())

    async def _poll(self) -> None:
        """Ask until all has ended, or the connection."""
        while self._submissions:
            client = self._connected()
            if client is None:
                self._submissions.clear()
                return
            ended = [entry for entry in self._submissions if not entry[0].is_pending]  # before it is asked
            try:
                batch = await self._ask(client)
            except OSError:  # the client will notice, too
                batch = []
            except Exception:  # runs are ended all the same
                _log.exception("taskloom: the scheduler at %s could not be asked", client.scheduler.address)
                batch = []
            self._listener.take_in(batch)
            for entry in ended:
                self._submissions.remove(entry)
                self._listener.take_in(self._last_of(*entry))
            del client
            if not ended:
                await asyncio.sleep(INTERVAL)

    async def _ask(self, client: Client) -> list[Any]:
        """What has happened since the last time."""
        scheduler = client.scheduler
        now = time()
        batch = self._crew((await scheduler.identity())["workers"])
        stream = await scheduler.get_task_stream(start=self._since - OVERLAP)
        for address, keys in (await scheduler.processing()).items():
            for key in keys:
                number = self._numbers.get(key)
                if number in self._open and number not in self._begun:
                    self._begun.add(number)
                    batch.append((events.BEGUN, number, self._workers.get(address, -1), now))
        for row in stream:
            self._since = max(self._since, *[part["stop"] for part in row["startstops"]])
            number = self._numbers.get(row["key"])
            if number in self._open:
                self._open.discard(number)
                worker = self._workers.get(row["worker"], -1)
                start, stop, _ = events.times_of(row["startstops"])
                if row.get("status") == "error":
                    text = row.get("exception_text") or ""
                    batch.append((events.FAILED, number, number, worker, start, stop, 1, text))
                else:
                    batch.append((events.DONE, number, worker, start, stop, row.get("nbytes") or 0, (), 0.0, stop))
        return batch

    def _crew(self, workers: dict[str, Any]) -> list[Any]:
        """Who has joined and left, and what they use."""
        batch: list[Any] = []
        for address, worker in workers.items():
            if address not in self._workers:
                self._workers[address] = next(_counter)
                name, threads = str(worker.get("name") or address), worker["nthreads"]
                batch.append((events.JOINED, self._workers[address], address, name, 0, threads))
            metrics = worker.get("metrics") or {}
            cpu, memory = float(metrics.get("cpu") or 0.0), int(metrics.get("memory") or 0)
            held = int(metrics.get("managed_bytes") or 0)
            batch.append((events.SAMPLE, self._workers[address], worker["last_seen"], cpu, memory, held))
        left = self._workers.keys() - workers.keys()
        return batch + [(events.LEFT, self._workers.pop(address)) for address in left]

    def _last_of(self, submission: Submission, tasks: dict[Any, Any]) -> list[Any]:
        """What is known of tasks that nobody awaits any more, and were not heard of."""
        status = {state.key: state.status for state in submission.states}
        still = {key for other, needed in self._submissions for key in needed}
        finished = all(state == "finished" for state in status.values())
        batch: list[Any] = []
        for key in tasks:
            number = self._numbers[key]
            if number in self._open and (finished or status.get(key) == "finished"):
                batch.append((events.HAVE, number))
            elif number in self._open and status.get(key) == "error":
                cause = self._cause_of(key, tasks)
                batch.append((events.FAILED, number, cause, -1, 0.0, 0.0, 1, ""))
            if key not in still:
                self._open.discard(number)
        gone = [key for key in tasks if key not in still]
        self._begun.difference_update([self._numbers[key] for key in gone])
        return batch + [(events.GONE, self._numbers.pop(key)) for key in gone]

    def _cause_of(self, key: Any, tasks: dict[Any, Any]) -> int:
        """The task whose failure has kept this one from being done."""
        failed = self._listener.failed_tasks()
        for other in _needed([key], tasks):
            if self._numbers[other] in failed:
                return self._numbers[other]
        return self._numbers[key]


def _needed(keys: Iterable[Any], graph: dict[Any, Any]) -> dict[Any, Any]:
    """The nodes of some keys, and of what they need."""
    needed: dict[Any, Any] = {}
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key in graph and key not in needed:
            needed[key] = graph[key]
            todo += graph[key].dependencies
    return needed
