"""A page of memory that a worker and its parent share: what the worker runs, and what it must not begin."""

from __future__ import annotations

import mmap
import os

NOTHING = -1.0
NEVER = 1e300

# The words of the page: LIMIT, CANCELLED and REPORT are written by the parent, the others by the worker.
RUN = 0  # the number of the run, NOTHING while the worker is idle
POSITION = 1  # of what it began last, in its queue
STARTED = 2  # when that began
NEXT = 3  # the position that it is about to begin if the limit permits, otherwise the same as POSITION
LIMIT = 4  # it must begin nothing from this position on
CANCELLED = 5  # it must begin nothing of the run with this number or older ones
PACKING = 6  # the task whose result it is pickling for the caller, or NOTHING
FETCHING = 7  # ... or for another worker, which another thread does meanwhile
REPORT = 8  # how many seconds it may work before it reports what it has done


class Page:
    """The shared page. A word is written and read as a whole."""

    def __init__(self, file: int) -> None:
        self._map = mmap.mmap(file, mmap.PAGESIZE)
        self.words = memoryview(self._map).cast("d")

    @classmethod
    def create(cls) -> tuple[Page, int]:
        """A new page, and the descriptor through which another process opens it."""
        file = os.memfd_create("taskloom-page", os.MFD_CLOEXEC)
        os.ftruncate(file, mmap.PAGESIZE)
        page = cls(file)
        for word in (RUN, POSITION, NEXT, CANCELLED, PACKING, FETCHING):
            page.words[word] = NOTHING
        page.words[LIMIT] = NEVER
        return page, file

    def close(self) -> None:
        self.words.release()
        self._map.close()
