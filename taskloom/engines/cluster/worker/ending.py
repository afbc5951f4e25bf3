"""Ends of tasks other than a result."""

from __future__ import annotations

from time import perf_counter
from traceback import clear_frames
from typing import TYPE_CHECKING

from taskloom.engines.cluster.worker.channel import packed_error
from taskloom.engines.cluster.worker.page import PACKING, TASK, word
from taskloom.engines.cluster.worker.place import leave_waits
from taskloom.engines.worker.page import NOTHING

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker


class Reschedule(Exception):
    """Raised by a task that wants to be run again, on another worker if there is one that may run it.

    It does not count as a failure, however often it is raised.

    Examples
    --------
    >>> from taskloom.distributed import Client, get_worker
    >>> def choosy():
    ...     if get_worker().name == "worker-0":
    ...         raise Reschedule
    ...     return get_worker().name
    >>> with Client(n_workers=2, threads_per_worker=1, processes=False) as client:
    ...     client.submit(choosy).result()
    'worker-1'
    """


def ended_badly(worker: Worker, thread: int, id: int, start: float, error: BaseException) -> None:
    """A task has raised something, or has been stopped; in the thread that it was in."""
    stop = perf_counter()
    page, packing = worker.page, word(thread, PACKING)
    page[word(thread, TASK)] = NOTHING
    leave_waits(worker)
    worker.report()
    worker.flush_output()
    if isinstance(error, KeyboardInterrupt) and id in worker.queue.cancelled:
        clear_frames(error.__traceback__)  # in a cycle of references they would hold futures and data for long
        worker.forget([id])
        worker.channel.send("cancelled", [id])
    elif isinstance(error, Reschedule):
        clear_frames(error.__traceback__)
        worker.forget([id])
        worker.channel.send("rescheduled", id)
    else:
        page[packing] = id
        packed = packed_error(worker.channel, error)
        page[packing] = NOTHING
        if packed is not error:
            clear_frames(error.__traceback__)
        worker.forget([id])
        worker.channel.send("failed", id, start, stop, packed)
