"""How fast a run goes of late, and what that says about its end."""

from __future__ import annotations

from collections import deque
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

from taskloom.views.labels import duration_range, rate

if TYPE_CHECKING:
    from taskloom.bus import Run

WINDOW = 3.0  # seconds: the estimate follows the last third of the run's time, but at least this much
VAGUE = 4  # times: an interval whose ends are further apart helps nobody
EARLY = 1.0  # seconds since the first task began, before which nothing is said of the end
FEW = 2  # tasks done, before which nothing is said of it
FIRST = 64  # tasks that finished first, among which is the one that began first


class Estimate(NamedTuple):
    """Seconds to the end, at best and at worst, and how fast tasks finish of late, as text."""

    expected: float
    low: float
    high: float
    rate_text: str
    vague: float = VAGUE  # times: the ends of the interval are further apart than is of use; 0 before enough was seen

    @property
    def left_text(self) -> str:
        """The time that is left, once it is known well enough to be of use.

        >>> [Estimate(0, low, high, "").left_text for low, high in ((10, 14), (2, 2400), (0.3, 1.7))]
        ['about 10–14 s left', '', 'less than 2 s left']
        """
        if self.low < 1 and self.high <= self.vague:
            return f"less than {ceil(self.high)} s left"
        return f"about {duration_range(self.low, self.high)} left" if self.high <= self.vague * self.low else ""


class Pace:
    """The speed of one run, from looks at how many of its tasks are done."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._begun: float | None = None
        self._told = False  # whether the time left was said: it does not come and go at the edge of what is of use

    def of(self, run: Run) -> Estimate | None:
        """Estimate the seconds to a run's end, from its speed since its first task began: workers start before."""
        if self._begun is None:
            self._begun = _begun(run)
        begun = self._begun or 0.0
        return self.estimate(max(0.0, run.duration - begun), run.n_done, run.n_tasks)

    def estimate(self, elapsed: float, done: int, total: int) -> Estimate | None:
        """Estimate the seconds to the end; None while there is nothing to go by, and where all is done.

        The interval spans what both halves of the time looked at would lead to, and the chance in so few tasks.

        >>> Pace().estimate(10.0, 100, 150).left_text
        'about 4–6 s left'
        """
        marks = self._marks
        marks.append((elapsed, done))
        window = max(WINDOW, elapsed / 3)
        while len(marks) > 2 and marks[1][0] <= elapsed - window:
            marks.popleft()
        if not done or done >= total:
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
        estimate = Estimate(
            expected=left * paces[0],
            low=left * min(paces) * (1 - chance),
            high=left * max(paces) * (1 + chance),
            rate_text=rate(tasks, seconds),
            vague=(2 * VAGUE if self._told else VAGUE) if elapsed >= EARLY and done >= FEW else 0,
        )
        self._told = bool(estimate.left_text)
        return estimate


def _begun(run: Run) -> float | None:
    """When the first task began, in seconds since the run started; None while none is known to have."""
    starts = [run.start[task] - run.zero for task in run.done[:FIRST] if task < len(run.start) and run.start[task]]
    return min(starts + [start for _, _, start in run.running], default=None)
