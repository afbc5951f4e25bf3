"""What workers print, warn of and log: passed on to the clients whose tasks those are, and kept for a while."""

from __future__ import annotations

import logging
import sys

from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.coordinator.logs import Logs
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.tasks import SHIFT
from taskloom.engines.worker.said import hear

_log = logging.getLogger("taskloom")


class Output:
    """Passes it on, on the coordinator's thread. What is no client's appears in this process."""

    def __init__(self, scheduler: Scheduler, crew: Crew) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self.logs = Logs()

    def printed(self, worker: int, id: int, name: str, text: str) -> None:
        """A task has printed something to stdout or stderr."""
        process = self._crew.workers[worker]
        process.remember(name, text)
        self.logs.add(process.name, name, text)
        listener = self._listener(id)
        if listener is None:
            self._print(name, text)
            return
        client, own = listener
        letters = self._scheduler.letters
        if letters and letters[-1][:2] == (client, "printed") and letters[-1][2][:2] == (own, name):
            letters[-1][2][2].append(text)
        else:
            self._scheduler.tell(client, "printed", own, name, [text])

    def told(self, worker: int, id: int, what: str, payload: bytes) -> None:
        """A task has warned of something, or logged it; or another thread of the worker's, then `id` is none's."""
        self.logs.add(self._crew.workers[worker].name, what, payload)
        listener = self._listener(id)
        if listener is not None:
            client, own = listener
            self._scheduler.tell(client, "told", own, what, payload)
            return
        try:
            hear(what, payload)
        except Exception:  # such as of a class that nobody here can unpickle
            _log.exception("What %s said was lost", self._crew.workers[worker].name)

    def copy(self, worker: int) -> None:
        """Print what a worker has printed outside of its tasks."""
        process = self._crew.workers[worker]
        for name, text in process.read_output():
            self.logs.add(process.name, name, text)
            self._print(name, text)

    def joined(self, worker: int) -> None:
        process = self._crew.workers[worker]
        self.logs.add(process.name, "INFO", f"{process.name} has started (pid {process.pid})")

    def left(self, name: str, pid: int, fate: str, expected: bool) -> None:
        self.logs.add(name, "INFO" if expected else "ERROR", f"{name} (pid {pid}) {fate}")

    def _print(self, name: str, text: str) -> None:
        stream = getattr(sys, name)
        if stream is not None:
            try:
                stream.write(text)
            except Exception:  # whatever stands in the place of stdout
                _log.exception("What a worker has printed was lost")

    def _listener(self, id: int) -> tuple[int, int] | None:
        """The client whose task it is, and by which id it knows it; where that has left, another that wants it."""
        client = id >> SHIFT
        if client in self._scheduler.clients:
            return client, id
        task = self._scheduler.tasks.get(id)
        for own, other in ((task and task.wanted) or {}).items():
            return other, own
        return None
