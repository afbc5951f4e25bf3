"""What each worker may take, of memory and of the disk."""

from __future__ import annotations

import math
import os
import shutil
from typing import Any

from taskloom import config
from taskloom.config.sizes import parse_size
from taskloom.engines.cluster.door.spill_directory import SpillDirectory
from taskloom.engines.cluster.worker.room import Limits


class Allowance:
    """Limits of memory, as configured, and a directory for what is beyond them.

    Attributes
    ----------
    limits : of each worker.
    most : bytes that each may have on disk.
    """

    def __init__(self, memory_limit: float) -> None:
        self.limits = Limits(memory_limit, *[_share(name) * memory_limit for name in Limits._fields[1:]])
        most = config.get("distributed.spill.max_bytes")
        self.most = math.inf if most is None else parse_size(most)
        spills = min(self.limits.target, self.limits.spill) < math.inf
        self._directory = SpillDirectory() if spills else None

    def tell(self, worker: Any, number: int) -> None:
        """Have a worker keep within it."""
        if self._directory is not None:
            worker.send("limits", tuple(self.limits), self._place(number), self.most)

    def forget(self, number: int) -> None:
        """A worker has ended: remove what it had on disk."""
        if self._directory is not None:
            shutil.rmtree(self._place(number), ignore_errors=True)

    def close(self) -> None:
        """Remove the directory."""
        if self._directory is not None:
            self._directory.close()

    def let_go(self) -> None:
        """Leave the directory alone: it is another process's."""
        if self._directory is not None:
            self._directory.let_go()

    def _place(self, number: int) -> str:
        assert self._directory is not None
        return os.path.join(self._directory.path, f"worker-{number}")


def _share(name: str) -> float:
    share = config.get(f"distributed.memory.{name}")
    return math.inf if share is False else float(share)
