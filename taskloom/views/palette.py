"""Colours of task names: the same name has the same colour in every view and every session."""

from collections.abc import Iterable
from zlib import crc32

# Okabe and Ito's colour-blind-safe set; without vermilion, because red means failure here, and with a darker yellow,
# because theirs does not show on white.
NAME_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#C9B82B")
OTHER_COLOR = "#8C8C8C"
FAILED_COLOR = "#DB4437"


def name_colors(names: Iterable[str]) -> dict[str, str]:
    """Give each task name its colour; names that would share one get the next free colour.

    Parameters
    ----------
    names : iterable of str
        Task names, the most important first: these keep their own colour where two names claim the same.

    Returns
    -------
    dict
        Name to ``"#rrggbb"``. With more names than colours, colours repeat.

    Examples
    --------
    >>> name_colors(["load"]) == name_colors(["load"])
    True
    >>> len(set(name_colors(["load", "clean", "join"]).values()))
    3
    """
    colors: dict[str, str] = {}
    taken: set[int] = set()
    for name in dict.fromkeys(names):
        if len(taken) == len(NAME_COLORS):
            taken.clear()
        index = crc32(name.encode("utf-8", "surrogatepass")) % len(NAME_COLORS)
        while index in taken:
            index = (index + 1) % len(NAME_COLORS)
        taken.add(index)
        colors[name] = NAME_COLORS[index]
    return colors
