"""What a worker tells of the tasks that it has run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any

from taskloom.engines.cluster.worker.channel import Channel
from taskloom.engines.cluster.worker.page import PACKING, Words, word
from taskloom.engines.cluster.worker.store import Store
from taskloom.engines.cluster.worker.task_queue import TaskQueue
from taskloom.engines.measure import bytes_of
from taskloom.engines.worker.page import NOTHING

REPORT_EVERY = 0.0002  # seconds
LARGE = 65_536  # bytes: a result of more is reported at once


class Reports:
    """Collects what is done and reports it in batches; tells at once of what has come to another end."""

    def __init__(self, channel: Channel, page: Words) -> None:
        self.channel = channel
        self.page = page
        self.store = Store(page, channel)
        self.queue = TaskQueue(self.store)
        self._done: list[Any] = []  # id, start, stop and result of tasks that have not been reported
        self._sizes: dict[int, float] = {}  # of their results that are not plain, and have been left out there
        self._reporting = threading.Lock()
        self._reported = 0.0  # when
        self._cpu = self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """What has been spent for the tasks."""
        return process_time()

    def resident(self) -> float:
        """Bytes of memory that are all the worker's; 0 where they are not known."""
        return 0.0

    def flush_output(self) -> None:
        """Have what tasks have printed on its way before their results."""

    def _measured(self, thread: int, id: int, result: Any) -> float:
        """The size of a result, 0.0 where it is not known."""
        packing = word(thread, PACKING)
        self.page[packing] = id
        try:
            size = bytes_of(result)
        except BaseException:
            size = 0.0
        self.page[packing] = NOTHING
        return size if size > 0 else 0.0  # not NaN

    def forget(self, ids: Sequence[int]) -> None:
        """Tasks have come to another end than a result: those that are parked for them cannot run."""
        self.queue.cancelled.difference_update(ids)
        self.miss(self.queue.lose(ids))

    def miss(self, found: Sequence[tuple[int, list[int]]]) -> None:
        for id, inputs in found:
            self.channel.send("missing", id, inputs)

    def report(self) -> None:
        """Tell what has been done since the last time."""
        with self._reporting:
            done = self._done
            n = len(done)
            if not n:
                return
            batch = done[:n]
            del done[:n]
            ids = batch[::4]
            times = [0.0] * (n // 2)
            times[::2], times[1::2] = batch[1::4], batch[2::4]
            values = dict(zip(ids, batch[3::4], strict=True))
            sizes = {}
            if self._sizes:
                for id in ids:
                    if id in self._sizes:
                        sizes[id] = self._sizes.pop(id)
                        del values[id]
                self.store.count(sizes)
            self.queue.pending.difference_update(ids)
            cpu, before = self.cpu_seconds(), self._cpu
            self._cpu = cpu
            self.flush_output()
            self.channel.send("done", ids, times, values, sizes, max(0.0, cpu - before))
            self._reported = perf_counter()
