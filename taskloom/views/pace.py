"""How fast a run goes of late, and what that says about its end."""

from __future__ import annotations

from collections import deque
from math import ceil, sqrt
from typing import NamedTuple

from taskloom.views.labels import duration_range, rate

WINDOW = 3.0  # seconds: the estimate follows the last third of the run's time, but at least this much
VAGUE = 4  # times: an interval whose ends are further apart helps nobody


class Estimate(NamedTuple):
    """Seconds to the end, at best and at worst, and how fast tasks finish of late, as text."""

    expected: float
    low: float
    high: float
    rate_text: str

    @property
    def left_text(self) -> str:
        """The time that is left, once it is known well enough to be of use.

        >>> [Estimate(0, low, high, "").left_text for low, high in ((10, 14), (2, 2400), (0.3, 1.7))]
        ['about 10–14 s left', '', 'less than 2 s left']
        """
        if self.low < 1 and self.high <= VAGUE:
            return f"less than {ceil(self.high)} s left"
        return f"about {duration_range(self.low, self.high)} left" if self.high <= VAGUE * self.low else ""


class Pace:
    """The speed of one run, from looks at how many of its tasks are done."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])

    def estimate(self, elapsed: float, done: int, total: int) -> Estimate | None:
        """Estimate the seconds to the end; None while there is nothing to go by.

        The interval spans what both halves of the time looked at would lead to, and the chance in so few tasks.

        >>> Pace().estimate(10.0, 100, 150).left_text
        'about 4–6 s left'
        """
        marks = self._marks
        marks.append((elapsed, done))
        window = max(WINDOW, elapsed / 3)
        while len(marks) > 2 and marks[1][0] <= elapsed - window:
            marks.popleft()
        if not done:
            return None
        (begun, before), (half, amid) = marks[0], marks[len(marks) // 2]
        seconds, tasks = elapsed - begun, done - before
        if not tasks:
            seconds, tasks = elapsed, done
        paces = [seconds / tasks]
        if before < amid < done:
            paces += [(half - begun) / (amid - before), (elapsed - half) / (done - amid)]
        chance = 0.5 / sqrt(tasks)
        left = total - done
        return Estimate(
            expected=left * paces[0],
            low=left * min(paces) * (1 - chance),
            high=left * max(paces) * (1 + chance),
            rate_text=rate(tasks, seconds),
        )
