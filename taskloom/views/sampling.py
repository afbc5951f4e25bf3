"""Which tasks of many to look at: views must not slow the run they show."""

from __future__ import annotations

from collections.abc import Sequence

GOLDEN_RATIO = 1.618033988749895


def sample(count: int, most: int) -> Sequence[int]:
    """Choose from ``range(count)``, evenly but in no rhythm, which the names of tasks may have too.

    >>> list(sample(3, 10)), list(sample(1000, 4))
    ([0, 1, 2], [0, 236, 618, 854])
    """
    if count <= most:
        return range(count)
    return sorted([int(count * (index * GOLDEN_RATIO % 1)) for index in range(most)])
