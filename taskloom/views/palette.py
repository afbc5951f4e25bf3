"""Colours of task names: the same name has the same colour in every view and every session."""

from collections import Counter
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary
from zlib import crc32

from taskloom.bus import RunGraph
from taskloom.graph import Key, task_name

# Okabe and Ito's colour-blind-safe set; without vermilion, because red means failure here, and with a darker yellow,
# because theirs does not show on white.
NAME_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#C9B82B")
OTHER_COLOR = "#8C8C8C"
FAILED_COLOR = "#DB4437"

EXACT_KEYS = 20_000  # of more, a sample is counted
SAMPLED_KEYS = 2_000


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


_by_graph: WeakKeyDictionary[RunGraph, tuple[int, dict[str, str]]] = WeakKeyDictionary()


def colors_of(graph: RunGraph) -> dict[str, str]:
    """The colours of the task names of a graph, the same in every view of it; where it grows, new names get others.

    >>> graph = RunGraph(["load-1"], ["load"], [()])
    >>> before = colors_of(graph)["load"]
    >>> graph.extend(["clean-1", "clean-2"], ["clean", "clean"], [(), ()])
    >>> colors_of(graph)["load"] == before, list(colors_of(graph))
    (True, ['load', 'clean'])
    """
    size = len(graph)
    seen, colors = _by_graph.get(graph, (0, {}))
    if seen < size:
        new = colors_by_name(graph.keys[seen:size])
        if not new.keys() <= colors.keys():
            colors = name_colors([*colors, *new])
        _by_graph[graph] = size, colors
    return colors


def colors_by_name(keys: Sequence[Key]) -> dict[str, str]:
    """The colours of the task names of a graph: the same in every view of it.

    The most frequent names choose first. Of a large graph a sample is looked at, which may miss rare names.

    Parameters
    ----------
    keys : sequence of keys

    Returns
    -------
    dict
        Task name to ``"#rrggbb"``.

    Examples
    --------
    >>> list(colors_by_name([("load", 0), ("clean", 0), ("clean", 1)]))
    ['clean', 'load']
    """
    step = 1 if len(keys) <= EXACT_KEYS else len(keys) // SAMPLED_KEYS
    names = Counter(map(task_name, keys[::step]))
    return name_colors([name for name, _ in names.most_common()])
