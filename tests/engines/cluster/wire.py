"""A worker on its own, spoken to by messages as the coordinator speaks to it."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taskloom.engines.cluster.worker.in_process import ClusterThreads
from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.cluster.worker.process import ClusterProcess
from taskloom.engines.worker.failure import unpack_error
from taskloom.engines.worker.launch import Launcher
from taskloom.engines.worker.parcel import Parcel

PATIENCE = 20.0  # seconds
FIRST = 3 << 40  # ids are as large as a client's


class Wire:
    """A worker and what it has said so far."""

    def __init__(self, worker: ClusterProcess | ClusterThreads, threads: int) -> None:
        self.worker = worker
        self.pack = Parcel.of if isinstance(worker, ClusterProcess) else Loose.of
        self.messages: list[tuple[str, tuple[Any, ...], Sequence[Any]]] = []
        self.values: dict[int, Any] = {}
        self.order: list[int] = []  # in which tasks were done
        self.printed: list[tuple[str, str]] = []  # outside of tasks
        self._next = FIRST
        self._codes: dict[Any, int] = {}
        self._poll = select.poll()
        for file in worker.watched():
            self._poll.register(file, select.POLLIN)
        worker.send("setup", sys.path, os.getcwd(), dict(os.environ))
        worker.send("join", 4, "worker-4", threads, None, None)

    @classmethod
    def to(cls, kind: type, threads: int, launcher: Launcher) -> Wire:
        return cls(kind.begin("worker-4", launcher), threads)

    @property
    def in_process(self) -> bool:
        return isinstance(self.worker, ClusterThreads)

    def new_id(self) -> int:
        self._next += 1
        return self._next

    def run(self, *calls: tuple[Any, ...], **more: Any) -> list[int]:
        """Send one batch; a call is a function and its arguments, of which a `Ref` stands for a result."""
        return self.send([(self.new_id(), *call) for call in calls], **more)

    def send(self, tasks: Sequence[tuple[Any, ...]], **more: Any) -> list[int]:
        """Send tasks that have their ids already."""
        ids, codes, args, plains, functions, parcels = [], [], [], [], {}, []
        for id, function, *given in tasks:
            if function not in self._codes:
                self._codes[function] = code = self.new_id()
                functions[code] = len(parcels)
                parcels.append(self.pack(function))
            own = [value for value in given if not isinstance(value, Ref)]
            numbers = iter(range(len(own)))
            ids.append(id)
            codes.append(self._codes[function])
            args.append(tuple([value.id if isinstance(value, Ref) else -1 - next(numbers) for value in given]))
            plains.append(tuple(own))
        packed = {}
        for id, value in more.pop("packed", {}).items():
            packed[id] = len(parcels)
            parcels.append(self.pack(value))
        values, dropped = more.pop("values", {}), more.pop("dropped", [])
        assert not more
        self.worker.send("tasks", ids, codes, args, plains, functions, values, packed, dropped, [], parcels=parcels)
        return ids

    def hear(self, until: Callable[[], Any]) -> Any:
        """Listen until something is true, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := until()):
            assert time.monotonic() < deadline, self.messages
            self.listen()
        return found

    def listen(self) -> None:
        """Take in what is there, or comes within 50 ms."""
        self._poll.poll(50)
        self.printed += self.worker.read_output()
        self.worker.send_waiting()
        while (message := self.worker.receive()) is not None:
            self.messages.append(message)
            if message[0] == "done":
                self.values |= message[1][2]
                self.values |= dict.fromkeys(message[1][3])
                self.order += message[1][0]

    def results(self, ids: Sequence[int]) -> list[Any]:
        """Wait for tasks; None for what is not plain."""
        self.hear(lambda: self.values.keys() >= set(ids))
        return [self.values[id] for id in ids]

    def said(self, kind: str, about: int | None = None) -> Any:
        """Wait for a message of a kind, about an id, and return its fields; it is forgotten."""
        return self.heard(kind, about)[1]

    def heard(self, kind: str, about: int | None = None) -> tuple[str, tuple[Any, ...], Sequence[Any]]:
        def find() -> Any:
            for message in self.messages:
                first = message[1][0] if message[1] else None
                if message[0] == kind and (about is None or first == about or (type(first) is list and about in first)):
                    return message
            return None

        found = self.hear(find)
        self.messages.remove(found)
        return found  # type: ignore[no-any-return]

    def error(self, id: int) -> BaseException:
        """Wait for a task to fail."""
        packed = self.said("failed", id)[3]
        return packed if self.in_process else unpack_error(packed)

    def fetch(self, id: int) -> Any:
        self.worker.ask("fetch", id)
        return self.heard("data", id)[2][0]

    def begun(self, id: int) -> None:
        """Wait until a task runs, by the page."""
        self.hear(lambda: id in [task for _, task, _ in self.worker.running()])

    def close(self) -> None:
        for _, _, parcels in self.messages:
            for parcel in parcels:
                parcel.close()
        self.worker.close()


class Ref:
    """The result of a task, as an argument."""

    def __init__(self, id: int) -> None:
        self.id = id


def wait_for(path: str | Path) -> str:
    """Be a task that waits for a file to be there."""
    deadline = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.002)
    return "there"
