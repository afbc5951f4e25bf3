"""What a worker waited for between two of its tasks: for other tasks to end, and for their results to arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from taskloom.bus.summary import seconds
from taskloom.views.labels import key_label

if TYPE_CHECKING:
    from taskloom.bus import Run
    from taskloom.views.bars import Bar

SHORTEST = 1e-3  # seconds: shorter ones are those of any scheduler
NARROWEST = 1 / 1000  # of the run's time, and of its picture
WAIT_COLOR, TRANSFER_COLOR = "#BBBBBB", "#777777"  # nobody takes them for a task's


class Wait(NamedTuple):
    """Time in which a worker had nothing to compute, in seconds since the run started."""

    worker: int
    start: float
    stop: float
    color: str
    what: str


class Waits:
    """Finds the waits of a run, bar by bar.

    A worker waits for the last input of its next task to be computed, and then, if that happened elsewhere, for the
    result to arrive.

    Examples
    --------
    >>> import taskloom
    >>> from taskloom.views.bars import Bars
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> run = taskloom.last_run()
    >>> Waits(run).before(Bars(run).finished(0, 1, most=1))
    []
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._free: dict[int, float] = {}  # since when each worker has been, as far as bars were seen

    def before(self, bars: Iterable[Bar]) -> list[Wait]:
        """The waits before these bars, which follow those of earlier calls."""
        run = self._run
        found: list[Wait] = []
        for bar in sorted(bars, key=lambda bar: bar.start):
            begun = self._free.get(bar.worker, run.workers[bar.worker].joined)
            self._free[bar.worker] = max(begun, bar.stop)
            if bar.tasks == 1 and run.workers[bar.worker].threads == 1:  # else others of its threads had work
                found += self._between(begun, bar)
        return found

    def _between(self, begun: float, bar: Bar) -> Iterator[Wait]:
        run = self._run
        shortest = max(SHORTEST, run.duration * NARROWEST)
        inputs = run.graph.inputs(bar.task) if bar.start - begun >= shortest else ()
        if not inputs:
            return
        last = max(inputs, key=run.stop.__getitem__)
        ready = min(bar.start, max(begun, run.stop[last] - run.zero))
        label = key_label(run.graph.keys[last])
        if ready - begun >= shortest:
            what = f"{seconds(ready - begun)} for {label} to be computed"
            yield Wait(bar.worker, begun, ready, WAIT_COLOR, what)
        if bar.start - ready >= shortest and run.worker[last] != bar.worker:
            what = f"{seconds(bar.start - ready)} for the result of {label} to arrive"
            yield Wait(bar.worker, ready, bar.start, TRANSFER_COLOR, what)
