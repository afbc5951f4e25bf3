"""Where a bar stands in its worker's row: a worker of several threads has a lane for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskloom.bus import Run
    from taskloom.views.bars import Bar

HEIGHT = 0.8  # of the bar of a worker's only thread; rows are 1 apart
MOST_LANES = 16  # thinner ones nobody could see


class Lanes:
    """Stacks the bars of one run, whose order is that in which tasks ended.

    A record does not tell which of a worker's threads ran a task. Each bar goes where the lane has been free for the
    shortest time when it begins, which needs no more lanes than there are threads.

    Examples
    --------
    >>> import taskloom
    >>> from taskloom.views.bars import Bars
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> run = taskloom.last_run()
    >>> (bar,) = Lanes(run).place(Bars(run).finished(0, 1, most=1))
    >>> bar.row, bar.height
    (0.0, 0.8)
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ends: dict[int, list[float]] = {}  # per worker and lane, when its last bar ends

    def place(self, bars: Iterable[Bar]) -> list[Bar]:
        """Place bars of tasks that are over, which follow those of earlier calls."""
        return self._place(bars, self._ends)

    def place_for_now(self, bars: Iterable[Bar]) -> list[Bar]:
        """Place bars that will be drawn anew."""
        return self._place(bars, {worker: ends[:] for worker, ends in self._ends.items()})

    def _place(self, bars: Iterable[Bar], known: dict[int, list[float]]) -> list[Bar]:
        placed = []
        workers = self._run.workers
        for bar in sorted(bars, key=lambda bar: (bar.stop, bar.start)):
            ends = known.get(bar.worker)
            if ends is None:
                threads = workers[bar.worker].threads if bar.worker < len(workers) else 1
                ends = known[bar.worker] = [0.0] * min(MOST_LANES, max(1, threads))
            if len(ends) == 1:
                placed.append(bar)
            elif bar.tasks > 1:  # of all threads
                ends[:] = [max(end, bar.stop) for end in ends]
                placed.append(bar)
            else:
                lane = _lane(ends, bar.start)
                ends[lane] = bar.stop
                middle = bar.worker + HEIGHT * ((lane + 0.5) / len(ends) - 0.5)
                placed.append(bar._replace(row=middle, height=HEIGHT / len(ends)))
        return placed


def _lane(ends: list[float], start: float) -> int:
    """The lane whose last bar ends last before `start`; where there is none, which clocks may bring about, the first
    to be free."""
    free = [lane for lane, end in enumerate(ends) if end <= start]
    if free:
        return max(free, key=lambda lane: (ends[lane], -lane))
    return min(range(len(ends)), key=ends.__getitem__)
