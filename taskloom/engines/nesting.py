"""Runs inside of tasks of other runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from taskloom.bus.run import Run

#: .run: the run of which a thread executes a task, if any. The context of a task says less: threads and loops that
#: begin in one keep it, and live on.
at_work = threading.local()


class Inside:
    """What tasks of a run compute themselves: it is cancelled with the run."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel it, and what is still to begin."""
        self._cancelled = True
        for run in list(self._runs):
            run.cancel()

    @contextmanager
    def holding(self, run: Run) -> Iterator[None]:
        """`run` is inside while this lasts."""
        self._runs.append(run)
        try:
            if self._cancelled:  # its task has outlived it
                raise run.cancelled()
            yield
        finally:
            self._runs.remove(run)
