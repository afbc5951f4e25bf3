"""A worker process of a cluster: how it begins, and what it does otherwise than a worker made of threads."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from taskloom.engines import worker
from taskloom.engines.cluster.worker.channel import LinkChannel
from taskloom.engines.cluster.worker.page import Page, Words
from taskloom.engines.cluster.worker.printing import Printing, flush_streams
from taskloom.engines.cluster.worker.room import resident
from taskloom.engines.cluster.worker.stop import Signal
from taskloom.engines.cluster.worker.worker import Worker
from taskloom.engines.worker.ends import die_with
from taskloom.engines.worker.link import link_on
from taskloom.engines.worker.said import adopt


def start(work: int, data: int, page: int, parent: int) -> None:
    """Be a worker, on these descriptors, until the parent is gone."""
    worker.inside = True
    die_with(parent)
    shared = Page(page)
    with contextlib.suppress(OSError, ValueError):
        channel = LinkChannel(link_on(work), link_on(data))
        it = ProcessWorker(channel, shared.words)
        os.register_at_fork(after_in_child=it.let_go)
        it.serve()
    flush_streams()
    os._exit(0)  # whatever threads the tasks left


class ProcessWorker(Worker):
    """A worker that has its process for itself. Its thread 0 is the main thread."""

    channel: LinkChannel

    def __init__(self, channel: LinkChannel, page: Words) -> None:
        super().__init__(channel, page)
        self._signal = Signal(self.running, self.queue.cancelled)
        self._printing = Printing(channel.send)

    def stop(self, thread: int, id: int) -> None:
        if thread:
            super().stop(thread, id)
        elif self.running[0] == id:
            self._signal.send()  # it is heard only inside of a task that is cancelled

    def resident(self) -> float:
        return resident(os.getpid())

    def flush_output(self) -> None:
        self._printing.flush()

    def start_thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        super().start_thread(name, _or_end, target, *args)

    def end(self) -> None:
        """In the midst of a task, where the kernel has not seen to that."""
        os._exit(1)

    def let_go(self) -> None:
        """Be a worker no longer: this process is a copy that a task made. Links that it kept would not show the parent
        that the worker has ended, and what both sent over them would come mixed."""
        self.channel.close()
        self._printing.let_go()

    def _setup(self, path: list[str], directory: str, environment: dict[str, str], parcels: object) -> None:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        with contextlib.suppress(OSError):
            os.chdir(directory)

    def _adopt(self, manner: bytes, parcels: object) -> None:
        adopt(manner)


def _or_end(target: Callable[..., None], *args: Any) -> None:
    """Without one of its threads a worker would keep others waiting; its end is noticed."""
    try:
        target(*args)
    except BaseException:
        traceback.print_exc()
        flush_streams()
        os._exit(1)
