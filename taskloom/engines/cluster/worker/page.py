"""The page of memory that a worker of a cluster shares with its coordinator: what each of its threads is doing.

The worker writes, the coordinator reads, and neither waits for the other.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from taskloom.engines.worker.page import NOTHING
from taskloom.engines.worker.page import Page as PageOfOneThread

MOST_THREADS = 500

# Words of the whole worker.
FETCHING = 0  # the id of the result that the data thread is pickling, or NOTHING
THREADS = 1  # threads with a number from this one on have never been there
SPILLING = 2  # the id of the result that is being pickled for the disk, or NOTHING
MANAGED = 3  # bytes of results in memory ...
UNMAPPED = 4  # ... of which so many are in files of memory that nobody has looked at
SPILLED = 5  # bytes of results on disk
EXHAUSTED = 6  # 1.0 if it has more in memory than it should, and nothing more that could be put on disk
THREAD = 8  # the first word of thread 0

# Words of each thread, from THREAD + EACH * number on.
TASK = 0  # the id of the task that it is in, or NOTHING
STARTED = 1  # when that began
FINISHED = 2  # how many tasks it has done
PACKING = 3  # the id of a result or error that it is looking at, which may run code of the user's; or NOTHING
EACH = 4

WORDS = THREAD + EACH * MOST_THREADS

Words: TypeAlias = "list[float] | memoryview[float]"


def word(thread: int, which: int) -> int:
    """The place of a thread's word.

    >>> word(2, FINISHED)
    18
    """
    return THREAD + EACH * thread + which


def blank() -> list[float]:
    """The words of a worker that has done nothing, in the memory of this process only."""
    words = [0.0] * WORDS
    for place, value in Page.START.items():
        words[place] = value
    return words


def running(words: Words) -> list[tuple[int, int, float]]:
    """What runs right now: thread, id and start of each task."""
    found = []
    for thread in range(int(words[THREADS])):
        first = word(thread, TASK)
        task, started = words[first], words[first + STARTED]
        if task != NOTHING and task == words[first]:  # else it has just gone on to the next
            found.append((thread, int(task), started))
    return found


def finished(words: Words) -> int:
    """How many tasks have been done in all, reported or not."""
    return int(sum([words[word(thread, FINISHED)] for thread in range(int(words[THREADS]))]))


def packing(words: Words) -> int:
    """The id of a result that is being pickled or measured, -1 for none."""
    return int(
        max(
            [words[FETCHING], words[SPILLING], *[words[word(thread, PACKING)] for thread in range(int(words[THREADS]))]]
        )
    )


class Page(PageOfOneThread):
    """The shared page of a worker process."""

    SIZE = 8 * WORDS
    START: ClassVar[dict[int, float]] = {FETCHING: NOTHING, SPILLING: NOTHING} | {
        word(thread, which): NOTHING for thread in range(MOST_THREADS) for which in (TASK, PACKING)
    }
