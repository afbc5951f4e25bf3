"""A page of memory that a worker and its parent share: what the worker runs, and what it must not begin."""

from __future__ import annotations

import mmap
import os
from typing import ClassVar, Self

from taskloom.engines.worker.anonymous import empty_file

NOTHING = -1.0
NEVER = 1e300

# The words of the page: LIMIT, CANCELLED and REPORT are written by the parent, the others by the worker.
RUN = 0  # the number of the run that it was last in
POSITION = 1  # of what it began last, in its queue of that run
STARTED = 2  # when that began, NOTHING while it is idle
LIMIT = 3  # it must begin nothing from this position on
CANCELLED = 4  # it must begin nothing of the run with this number or older ones
PACKING = 5  # the task whose result it is pickling for the caller, or NOTHING
FETCHING = 6  # ... or for another worker, which another thread does meanwhile
REPORT = 7  # how many seconds it may work before it reports what it has done


class Page:
    """The shared page. A word is written and read as a whole."""

    SIZE = mmap.PAGESIZE
    START: ClassVar[dict[int, float]] = dict.fromkeys((RUN, POSITION, STARTED, CANCELLED, PACKING, FETCHING), NOTHING)
    START[LIMIT] = NEVER

    def __init__(self, file: int) -> None:
        self._map = mmap.mmap(file, self.SIZE)
        self.words = memoryview(self._map).cast("d")

    @classmethod
    def create(cls) -> tuple[Self, int]:
        """A new page, and the descriptor through which another process opens it."""
        file = empty_file()
        os.ftruncate(file, cls.SIZE)
        page = cls(file)
        for word, value in cls.START.items():
            page.words[word] = value
        return page, file

    def close(self) -> None:
        self.words.release()
        self._map.close()
