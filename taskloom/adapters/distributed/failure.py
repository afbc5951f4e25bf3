"""The exceptions of tasks that failed on a dask scheduler, as records have them."""

from __future__ import annotations

from contextlib import suppress

from distributed.scheduler import KilledWorker

from taskloom.bus import Run
from taskloom.engines.base import add_note, advice, where_failed
from taskloom.errors import WorkerDied

_NOTE = "taskloom: task "  # as `where_failed` begins


def failure_of(error: BaseException) -> BaseException:
    """The exception itself; but of a task that ended its workers one that says so, lest it is run in this process."""
    if isinstance(error, KilledWorker):
        died = WorkerDied(str(error))
        died.__cause__ = error
        return died
    return error


def note(run: Run, row: int, error: BaseException) -> None:
    """Tell with an exception where it was raised, and how to run that again."""
    failure = run.failures.get(row)
    if failure is not None:
        with suppress(Exception):  # an exception of the user's own making may refuse notes
            text = where_failed(run, failure)
            failed_here = failure.worker < len(run.workers)  # else before this run began, of which a note may tell
            told = text if failed_here else _NOTE
            if not any(other.startswith(told) for other in getattr(error, "__notes__", ())):
                later = None if row == run.failed_task else row
                add_note(error, text + advice(failure_of(error), later))
