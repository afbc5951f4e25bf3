"""A worker process of a cluster, seen from its coordinator."""

from __future__ import annotations

import contextlib
import os
import signal

from taskloom.engines.cluster.worker import page
from taskloom.engines.cluster.worker.page import UNMAPPED, Page
from taskloom.engines.cluster.worker.room import resident
from taskloom.engines.worker.keeper import keeper
from taskloom.engines.worker.launch import Launcher
from taskloom.engines.worker.process import LinkedProcess


class ClusterProcess(LinkedProcess):
    """One worker. `ClusterThreads` has the same interface."""

    module = "taskloom.engines.cluster.worker.start"
    page_type = Page

    @classmethod
    def begin(cls, name: str, launcher: Launcher) -> ClusterProcess:
        """Start one, from the thread that lives as long as this process: workers die with whoever started them."""
        started: list[ClusterProcess] = []
        keeper.do(lambda: started.append(cls(name, launcher)))
        return started[0]

    def watched(self) -> dict[int, str]:
        """The files to wait for, each with what it tells: "work", "stdout", "stderr" or "end"."""
        return {self.work.fileno(): "work", **self.output, self.end: "end"}

    def memory(self) -> float:
        """Bytes of memory that it takes."""
        return resident(self.pid) + self.page[UNMAPPED]

    def running(self) -> list[tuple[int, int, float]]:
        """What runs right now: thread, id and start of each task."""
        return page.running(self.page)

    def finished(self) -> int:
        """How many tasks it has done; more than were reported: ask for a "report"."""
        return page.finished(self.page)

    def packing(self) -> int:
        """The id of a result that it is pickling or measuring, or was when it died; -1 for none."""
        return page.packing(self.page)

    def interrupt(self, id: int) -> None:
        """Strike once more at a task that has been cancelled: a signal just before a blocking call is lost."""
        for thread, running, _ in self.running():
            if running == id:
                if thread:
                    self.ask("cancel", [id])
                else:
                    with contextlib.suppress(OSError):
                        os.kill(self.pid, signal.SIGINT)
