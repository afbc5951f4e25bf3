"""What a dask scheduler tells a client of its tasks: a plugin that runs inside of the scheduler.

This file is sent as text, to schedulers that have no taskloom: it imports nothing of it.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Collection, Iterable
from time import time
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

INTERVAL = 0.1  # seconds between batches
AT_ONCE = 0.002  # seconds since the last batch, after which one leaves at once where somebody waits for its end

# Kinds of events. Tasks and workers are numbered by the plugin.
GRAPH = 0  # a key that is wanted, how many are (None, 0: all that the client wants), names of functions, tasks: their
# numbers, keys, numbers of names, inputs, and whether the result was there before
HAVE = 1  # task: its result was there before
# Task, worker, start, stop, bytes, sources of inputs that the worker fetched, and when; and by the scheduler's own
# clock when the worker was given the task, and when its end was known.
DONE = 2
FAILED = 3  # task, the task that raised, worker, start, stop, attempts, text
GONE = 4  # task: forgotten
JOINED = 5  # worker, address, name, process id, threads
LEFT = 6  # worker
BEGUN = 7  # task, worker, time
WAITS = 8  # task: it is not on a worker any more, without having ended there
SAMPLE = 9  # worker, time, percent of CPU, bytes of memory, bytes of results
OTHERS = 10  # worker, key, number of another client, whose task it is, start, stop, bytes

_BUILD = "(exec(source, scope), scope['TaskEvents'](*arguments))[1]"  # `eval` gives what it ends with


class TaskEvents(SchedulerPlugin):  # type: ignore[misc]
    """Tells one client what becomes of the tasks that it submits, in batches.

    The scheduler pays for it by a look into a dictionary per transition, and some entries of lists for a task of this
    client. Times are those of the scheduler's clock, to which workers align theirs.

    Parameters
    ----------
    client : the client's id.
    topic : as which the client awaits batches, each a list of events ``[kind, *fields]`` in their order. Whether it
        wants to be told of other clients' tasks, too, it logs as an event, see `switch_of`.
    process : names the process of the client: what others of its clients do is told to those.
    """

    def __init__(self, client: str, topic: str, process: str = "") -> None:
        self.client = client
        self.topic = self.name = topic
        self.taskloom_process = process
        self._switch = switch_of(topic)
        self.looks_on = False
        self._numbers: dict[Any, int] = {}  # of this client's tasks, by key
        self._next = 0
        self._open: set[int] = set()  # tasks that have not ended
        self._waiting: dict[int, list[list[int]]] = {}  # tasks that are wanted: how many are, in each graph
        self._attempts: dict[int, int] = {}  # how often tasks were begun in vain
        self._workers: dict[str, int] = {}
        self._seen: dict[str, Any] = {}  # the metrics of workers that were told last
        self._begun: dict[int, tuple[str, float]] = {}  # since the last batch
        self._sent: dict[int, float] = {}
        self._events: list[Any] = []
        self._clients: dict[str, int] = {}  # others, numbered
        self._owners: dict[Any, str] = {}  # which of them has submitted a task, by key
        self._done_by_others: list[tuple[str, Any, Any]] = []  # since the last batch
        self._timer: Any = None
        self._last = 0.0

    def __reduce__(self) -> Any:
        scope = {"__name__": "taskloom_events"}
        source = inspect.getsource(sys.modules[__name__])
        arguments = (self.client, self.topic, self.taskloom_process)
        return eval, (_BUILD, {"source": source, "scope": scope, "arguments": arguments})

    # -- called by the scheduler --------------------------------------------------------------------------------------

    def start(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        for address in list(scheduler.workers):
            self._join(address)
        known = scheduler.clients.get(self.client)
        wanted = [ts.key for ts in known.wants_what] if known is not None else []
        if wanted:
            self._add_graph(None, wanted, self._with_inputs(wanted))
        self._flush()

    async def close(self) -> None:
        self._stop()

    def update_graph(
        self, scheduler: Any, *, client: str, keys: Collection[Any], tasks: Iterable[Any], **others: Any
    ) -> None:
        if client != self.client:
            if self.looks_on:
                self._note_owner(client, tasks)
        elif keys:
            self._add_graph(next(iter(keys)), keys, tasks)

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **fields: Any) -> None:
        number = self._numbers.get(key)
        if number is None:
            if self.looks_on:
                self._look(key, finish, fields)
            return
        if finish == "processing":
            self._open.add(number)
            self._sent[number] = now = time()
            self._begun[number] = (self._scheduler.tasks[key].processing_on.address, now)
        elif finish == "memory":
            if "startstops" in fields:
                self._events.append((DONE, number, fields, self._sent.get(number, 0.0), time()))
            else:
                self._events.append((HAVE, number))
            self._ended(number)
        elif finish == "erred":
            self._events.append((FAILED, number, fields.get("cause"), self._scheduler.tasks[key], fields))
            self._ended(number, failed=True)
        elif finish == "forgotten":
            del self._numbers[key]
            self._events.append((GONE, number))
            self._ended(number)
            self._attempts.pop(number, None)
        elif start == "processing":
            self._attempts[number] = self._attempts.get(number, 0) + 1
            self._begun.pop(number, None)
            self._events.append((WAITS, number))
        if self._timer is None:
            self._arm()

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self._join(worker)
        self._arm()

    def remove_worker(self, scheduler: Any, worker: str, **others: Any) -> None:
        number = self._workers.pop(worker, None)
        self._seen.pop(worker, None)
        if number is not None:
            self._events.append((LEFT, number))
            self._arm()

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == self._switch:
            self._look_on(bool(msg))

    def remove_client(self, scheduler: Any, client: str) -> None:
        if client == self.client:
            self._stop()
            if scheduler.plugins.get(self.name) is self:
                scheduler.remove_plugin(name=self.name)

    # -- what others do -----------------------------------------------------------------------------------------------

    def _look_on(self, wanted: bool) -> None:
        """Tell of other clients' tasks from now on, or no more."""
        self.looks_on = wanted
        self._owners.clear()
        self._done_by_others.clear()
        if wanted:
            for client, state in self._scheduler.clients.items():
                if client != self.client:
                    self._note_owner(client, self._with_inputs([ts.key for ts in state.wants_what]))

    def _note_owner(self, client: str, keys: Iterable[Any]) -> None:
        for key in keys:
            self._owners.setdefault(key, client)

    def _look(self, key: Any, finish: str, fields: Any) -> None:
        """See what becomes of a task that is none of this client's."""
        if finish == "memory" and "startstops" in fields:
            owner = self._owners.get(key)
            if owner is not None:
                self._done_by_others.append((owner, key, fields))
                self._arm()
        elif finish == "forgotten":
            self._owners.pop(key, None)

    def _others(self) -> list[Any]:
        """Tasks of others that were done since the last time.

        Not those of clients in the same process, which hear of them anyway; and only one client there is told.
        """
        if not self._done_by_others:
            return []
        done, self._done_by_others = self._done_by_others, []
        kin = [
            plugin
            for plugin in self._scheduler.plugins.values()
            if getattr(plugin, "taskloom_process", None) == self.taskloom_process
        ]
        if next((plugin for plugin in kin if plugin.looks_on), self) is not self:
            return []
        known = {plugin.client for plugin in kin}
        told = []
        for client, key, fields in done:
            if client not in known:
                number = self._clients.setdefault(client, len(self._clients) + 1)
                start, stop, _ = times_of(fields["startstops"])
                worker = self._workers.get(fields["worker"], -1)
                told.append((OTHERS, worker, key, number, start, stop, fields["nbytes"]))
        return told

    # -- what happens -------------------------------------------------------------------------------------------------

    def _add_graph(self, token: Any, keys: Collection[Any], tasks: Iterable[Any]) -> None:
        """Note tasks that were submitted: their keys, functions and inputs."""
        known, numbers = self._scheduler.tasks, self._numbers
        states = [known[key] for key in tasks if key in known]
        for ts in states:
            if ts.key not in numbers:
                numbers[ts.key] = self._next
                self._next += 1
        names: dict[str, int] = {}
        rows: list[Any] = []
        later: list[Any] = []
        for ts in states:
            number = numbers[ts.key]
            name = names.setdefault(name_of(ts.run_spec, ts.prefix.name), len(names))
            inputs = [numbers[dep.key] for dep in ts.dependencies if dep.key in numbers]
            rows.append((number, ts.key, name, inputs, ts.state == "memory"))
            if ts.state == "memory":
                later.append((HAVE, number))
            elif ts.state == "erred":
                later.append((FAILED, number, None, ts, {}))
            else:
                self._open.add(number)
                if ts.state == "processing":
                    self._begun[number] = (ts.processing_on.address, time())
        waiting = self._open.intersection([numbers[key] for key in keys if key in numbers])
        counter = [len(waiting)]
        for number in waiting:
            self._waiting.setdefault(number, []).append(counter)
        self._events.append((GRAPH, token, len(keys) if token is not None else 0, list(names), rows))
        self._events += later
        if not waiting:
            self._flush()
        else:
            self._arm()

    def _with_inputs(self, keys: Iterable[Any]) -> list[Any]:
        """Keys, and those of all that they need."""
        found = {key: self._scheduler.tasks[key] for key in keys}
        todo = list(found.values())
        while todo:
            for dep in todo.pop().dependencies:
                if dep.key not in found:
                    found[dep.key] = dep
                    todo.append(dep)
        return list(found)

    def _ended(self, number: int, failed: bool = False) -> None:
        self._open.discard(number)
        self._begun.pop(number, None)
        self._sent.pop(number, None)
        awaited = self._waiting.pop(number, None)
        if awaited is not None:
            for counter in awaited:
                counter[0] -= 1
                if not counter[0] or failed:
                    self._hurry(failed)

    def _join(self, address: str) -> None:
        ws = self._scheduler.workers[address]
        number = self._workers[address] = self._next
        self._next += 1
        name = str(ws.name) if isinstance(ws.name, int | str) else address
        self._events.append((JOINED, number, address, name, ws.pid, ws.nthreads))

    # -- batches ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._tick)

    def _hurry(self, failed: bool) -> None:
        """Send before the client hears that what it waits for has come: always of failures, else not too often."""
        if failed or time() - self._last > AT_ONCE:
            self._flush()
        else:
            self._stop()
            self._timer = self._loop.call_later(AT_ONCE, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._flush()
        if self._open:
            self._arm()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._last = now = time()
        workers = self._workers
        batch = [self._told(event) for event in self._events]
        batch += [(BEGUN, task, workers.get(at, -1), since) for task, (at, since) in self._begun.items()]
        self._events, self._begun = [], {}
        others = self._others()
        batch += others
        if self._open or others:
            batch += self._samples()
        if batch:
            message = {"op": "event", "topic": self.topic, "event": (now, batch)}
            self._scheduler.client_send(self.client, message)

    def _told(self, event: Any) -> Any:
        """An event as it is sent."""
        if event[0] == DONE:
            _, number, fields, sent, known = event
            start, stop, moves = times_of(fields["startstops"])
            sources = [(self._workers.get(source, -1), when) for source, when in moves]
            return (
                DONE,
                number,
                self._workers.get(fields["worker"], -1),
                start,
                stop,
                fields["nbytes"],
                sources,
                sent,
                known,
            )
        if event[0] == FAILED:
            _, number, cause, ts, fields = event
            if cause is None:
                cause = ts.exception_blame.key if ts.exception_blame is not None else ts.key
            start, stop, _ = times_of(fields.get("startstops") or ())
            worker = self._workers.get(fields.get("worker") or next(iter(ts.erred_on or ()), ""), -1)
            text = str(fields.get("exception_text") or ts.exception_text or "")[:2000]
            attempts = self._attempts.get(number, 0) + 1
            return FAILED, number, self._numbers.get(cause, number), worker, start, stop, attempts, text
        return event

    def _samples(self) -> list[Any]:
        """What workers have told of themselves since the last time."""
        samples = []
        for address, number in self._workers.items():
            ws = self._scheduler.workers.get(address)
            if ws is not None and ws.metrics is not self._seen.get(address):
                metrics = self._seen[address] = ws.metrics
                cpu, memory = float(metrics.get("cpu") or 0.0), int(metrics.get("memory") or 0)
                samples.append((SAMPLE, number, ws.last_seen, cpu, memory, ws.nbytes))
        return samples


def switch_of(topic: str) -> str:
    """As which event the client that has this topic says whether it wants to be told of others."""
    return f"{topic}-others"


def times_of(startstops: Iterable[Any]) -> tuple[float, float, list[tuple[str, float]]]:
    """When the function ran, and from which workers inputs came when."""
    start = stop = 0.0
    moves = []
    for part in startstops:
        if part["action"] == "compute":
            start, stop = part["start"], part["stop"]
        elif part["action"] == "transfer":
            moves.append((part["source"], part["stop"]))
    return start, stop, moves


def name_of(node: Any, otherwise: str) -> str:
    """The name of a task's function: of fused tasks that of the last, of composed functions likewise."""
    function = getattr(node, "func", None)
    while getattr(function, "__name__", "") == "_execute_subgraph":
        tasks, end = node.args[:2]
        node = tasks[end]
        function = getattr(node, "func", None)
    composed = getattr(function, "funcs", None)
    if isinstance(composed, tuple) and composed:
        function = composed[-1]
    name = getattr(function, "__name__", None) or getattr(getattr(function, "func", None), "__name__", None)
    return str(name or otherwise)[:200]
