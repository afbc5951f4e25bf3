"""The scheduler's clock, as seen from this process."""

from __future__ import annotations

from math import inf
from time import perf_counter


class Clock:
    """Turns times of the scheduler into readings of `perf_counter`.

    Examples
    --------
    >>> clock = Clock()
    >>> clock.asked(10.0, 1000.0, 10.2)  # between our 10.0 and 10.2 the scheduler's clock showed 1000
    >>> clock.here(1001.0)
    11.1
    """

    def __init__(self) -> None:
        self._shift = inf
        self._doubt = inf  # half the time of the shortest question

    def asked(self, before: float, there: float, after: float) -> None:
        """The scheduler's clock was read between two readings of ours."""
        if after - before < 2 * self._doubt:
            self._doubt = (after - before) / 2
            self._shift = (before + after) / 2 - there

    def heard(self, there: float) -> None:
        """A message has arrived that was sent at this time: it cannot have come before."""
        self._shift = min(self._shift, perf_counter() - there)

    def here(self, there: float) -> float:
        """The reading of `perf_counter` at a time of the scheduler's."""
        return there + self._shift
