"""Results that went from worker to worker, as marks in a task stream."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from taskloom.views.labels import byte_count, key_label, name_label

if TYPE_CHECKING:
    from taskloom.bus import Run

MOST_MOVES = 500  # the largest
MOVE_COLOR = "#8F6BFF"  # nobody takes it for a task's, nor for failure
LIFT = 0.44  # rows below the middle of the row of the worker that received it


class Move(NamedTuple):
    """A mark, and what is said of it; time in seconds since the run started."""

    time: float
    place: float
    key: str
    source: str
    target: str
    size: str


def moves(run: Run) -> list[Move]:
    """The largest transfers of a run, on the row of the worker that received the result.

    >>> import taskloom
    >>> taskloom.get({"a": (abs, -1)}, "a")
    1
    >>> moves(taskloom.last_run())
    []
    """
    keys, names = run.graph.keys, [name_label(worker.name) for worker in run.workers]
    shown = nlargest(MOST_MOVES, list(run.transfers), key=lambda move: move.nbytes)
    return [
        Move(
            move.time,
            move.target + LIFT,
            key_label(keys[move.task]),
            names[move.source],
            names[move.target],
            byte_count(move.nbytes),
        )
        for move in shown
        if move.target is not None and move.task < len(keys) and max(move.source, move.target) < len(names)
    ]
