"""What Dask calls `rerun_exceptions_locally`: a task that failed in a worker process runs again in this one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from taskloom.bus import Failure, Run, current_run
from taskloom.engines import Engine
from taskloom.engines.base import add_note, drop_own_frames, where_failed
from taskloom.engines.processes import ProcessesEngine


def fail_here(compute: Callable[[Engine], Any]) -> Any:
    """Compute with the processes engine. What a task raises is raised again here, where a debugger finds its frames.

    If the task succeeds here, its first exception stands: Dask would go on with that as the task's result.
    """
    __tracebackhide__ = True
    engine = _Remembering()
    first: BaseException | None = None
    try:
        try:
            return compute(engine)
        except BaseException as error:
            if not engine.can_run_again(error):
                raise
            first = error
        engine.run_again()
        add_note(first, "Run again in this process, as rerun_exceptions_locally wants it, the task succeeds.")
        raise first
    finally:
        engine.failure = first = None  # tracebacks keep this frame, and inputs may be large


class _Remembering(ProcessesEngine):
    """The engine for one run, which keeps what that says of the task that failed, and of the inputs it had."""

    record: Run
    failure: Failure | None = None

    def run(self, plan: Any, run: Run, *args: Any, **options: Any) -> list[Any]:
        __tracebackhide__ = True
        try:
            return super().run(plan, run, *args, **options)
        finally:
            self.record, self.failure = run, run.failure  # a run inside a task lets go of it when it ends

    def can_run_again(self, error: BaseException) -> bool:
        """Whether a task has raised this in another process, and would not end this one."""
        failure = self.failure
        if failure is None or failure.exception is not error or failure.function is None or failure.ended_worker:
            return False
        return self.record.workers[failure.worker].pid != os.getpid()

    def run_again(self) -> None:
        """Run the task that failed. What it computes itself counts as part of its run, which stays the last one."""
        __tracebackhide__ = True
        failure = self.failure
        assert failure is not None
        token = current_run.set(self.record)
        try:
            failure.replay()
        except Exception as error:
            drop_own_frames(error)
            add_note(error, f"{where_failed(self.record, failure)}\nThis is what it raises in this process.")
            raise
        finally:
            current_run.reset(token)
