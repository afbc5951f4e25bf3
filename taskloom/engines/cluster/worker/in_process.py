"""A worker that is a set of threads of the coordinator's process: nothing is pickled, and nothing copied."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from time import thread_time
from typing import Any

from taskloom.engines.cluster.worker import page
from taskloom.engines.cluster.worker.actors import close_all
from taskloom.engines.cluster.worker.channel import Channel, Gone, Message
from taskloom.engines.cluster.worker.loose import Loose
from taskloom.engines.cluster.worker.page import MANAGED, Words
from taskloom.engines.cluster.worker.stop import NO_TASK
from taskloom.engines.cluster.worker.worker import Worker
from taskloom.engines.worker.waker import Waker


class QueueChannel:
    """Between threads."""

    def __init__(self) -> None:
        self.work: deque[Message | None] = deque()
        self.questions: SimpleQueue[Message | None] = SimpleQueue()
        self.answers: deque[Message] = deque()
        self.waker = Waker()
        self.rung = False
        self._bell: SimpleQueue[None] = SimpleQueue()

    def wait_for_work(self) -> None:
        self._bell.get()

    def take_work(self) -> Message | None:
        if not self.work:
            return None
        message = self.work.popleft()
        if message is None:
            raise Gone
        return message

    def next_question(self) -> Message:
        question = self.questions.get()
        if question is None:
            raise Gone
        return question

    def wake(self) -> None:
        self._bell.put(None)

    def give_work(self, message: Message | None) -> None:
        """Give the worker a message; None is the last one."""
        self.work.append(message)
        self._bell.put(None)

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        self.answers.append((kind, fields, parcels))
        if not self.rung:  # else the coordinator has not yet looked at what it was woken for
            self.rung = True
            self.waker.wake()

    def pack(self, value: Any) -> Loose:
        return Loose.of(value)

    def pack_error(self, error: BaseException) -> BaseException:
        return error


class ThreadsWorker(Worker):
    """A worker whose threads are some among others."""

    def __init__(self, channel: Channel, page: Words) -> None:
        self._spent: dict[int, float] = {}  # CPU seconds by thread, as of the last look
        super().__init__(channel, page)

    def end(self) -> None:
        close_all(self)
        self.plugins.close()
        self.handle.close()

    def cpu_seconds(self) -> float:
        self._spent[threading.get_ident()] = thread_time()  # the others tell theirs when they report
        return sum(self._spent.values())


class ClusterThreads:
    """One worker, seen from its coordinator. `ClusterProcess` has the same interface."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = os.getpid()
        self.waiting = ()  # messages are taken at once
        self.last_lines: list[str] = []
        self.page = page.blank()
        self._channel = QueueChannel()
        self._worker = ThreadsWorker(self._channel, self.page)
        threading.Thread(target=self._worker.serve, name="taskloom-task-0", daemon=True).start()

    @classmethod
    def begin(cls, name: str, launcher: object = None) -> ClusterThreads:
        return cls(name)

    def watched(self) -> dict[int, str]:
        """The file to wait for, with what it tells."""
        return {self._channel.waker.fileno(): "work"}

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        """Send a message of work."""
        self._channel.give_work((kind, fields, parcels))

    def ask(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        """Send a message that the worker answers even while it runs tasks."""
        self._channel.questions.put((kind, fields, parcels))

    def send_waiting(self) -> None:
        pass

    def receive(self) -> Message | None:
        """The next message that is there."""
        answers = self._channel.answers
        if not answers:
            self._channel.waker.clear()
            self._channel.rung = False  # before the last look: whoever comes later wakes
            if not answers:
                return None
            self._channel.rung = True  # there may be more than the one that is taken now
            self._channel.waker.wake()
        return answers.popleft()

    def read_output(self) -> list[tuple[str, str]]:
        """What it has printed: nothing, as tasks print here by themselves."""
        return []

    def remember(self, name: str, text: str) -> None:
        pass

    def fate(self) -> str | None:
        """How it ended: it lives as long as this process."""
        return None

    def memory(self) -> float:
        """Bytes of memory that its results take: the process is not its own."""
        return self.page[MANAGED]

    def running(self) -> list[tuple[int, int, float]]:
        """What runs right now: thread, id and start of each task."""
        return page.running(self.page)

    def finished(self) -> int:
        """How many tasks it has done; more than were reported: ask for a "report"."""
        return page.finished(self.page)

    def packing(self) -> int:
        """The id of a result that it is measuring; -1 for none."""
        return page.packing(self.page)

    def interrupt(self, id: int) -> None:
        """Strike once more at a task that has been cancelled."""
        self.ask("cancel", [id])

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        """End its threads, as far as they let themselves be ended."""
        worker = self._worker
        running = {id for id in worker.running if id != NO_TASK}
        worker.queue.withdraw([*running, *worker.queue.pending], cancel=True)
        for thread in list(worker.idents):
            if (id := worker.running[thread]) != NO_TASK:
                worker.stop(thread, id)
        self._channel.give_work(None)
        self._channel.questions.put(None)
        self._channel.waker.close()  # now: a garbage collection might see to its sockets before it sees to the waker
