"""Figures that are too dear to take of every task: CPU time and bytes, of those that take a while."""

from __future__ import annotations

from math import nan
from time import perf_counter, thread_time
from typing import Any

from taskloom.bus.run import Run

LONG = 0.001  # seconds: a task that takes longer is measured
LONG_OF_FRAMES = 0.02  # ... whose result is a frame, which takes a tenth of a millisecond to look through


class Meter:
    """Measures the tasks of one worker, on its thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._clock = perf_counter()
        self._cpu = thread_time()

    def measure(self, task: int, result: Any) -> None:
        """Note CPU time and result size of a task that has just finished.

        The CPU time since the last measurement is this task's, less the time in between, which short tasks spent
        computing.
        """
        run = self._run
        if run.status != "running":  # this task has outlived its run
            return
        start, stop = run.start[task], run.stop[task]
        cpu = thread_time()
        spent = cpu - self._cpu - max(0.0, start - self._clock)
        size = nan if stop - start < LONG_OF_FRAMES and hasattr(result, "memory_usage") else bytes_of(result)
        run.long[task] = (min(max(spent, 0.0), stop - start), size)
        self._clock, self._cpu = perf_counter(), cpu


def bytes_of(result: Any) -> float:
    """The size of an array, frame or buffer; NaN where it would take long to tell."""
    try:
        if isinstance(result, (bytes, bytearray)):
            return len(result)
        nbytes = getattr(result, "nbytes", None)
        if nbytes is None and hasattr(result, "memory_usage"):  # a pandas frame
            nbytes = _bytes_of_frame(result)
        return nan if nbytes is None else float(nbytes)
    except Exception:  # an object that only looks like one of these
        return nan


def _bytes_of_frame(frame: Any) -> float:
    """What `memory_usage` comes to. It makes an object per column, and so takes as long as some tasks: the blocks that
    pandas keeps columns in are looked at instead, which are none of its documented names."""
    try:
        return float(sum([block.values.nbytes for block in frame._mgr.blocks], frame.index.nbytes))
    except AttributeError:
        return float(frame.memory_usage().sum())
