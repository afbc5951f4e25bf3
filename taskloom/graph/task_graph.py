"""Questions about a whole graph, asked by key: who needs whom, and is there a cycle?"""

from __future__ import annotations

from collections.abc import Iterable

from taskloom.errors import CycleError
from taskloom.graph.recipe import leaves_of
from taskloom.graph.task import Graph, Key


def dependencies(dsk: Graph, key: Key) -> list[Key]:
    """The keys that the value of `key` refers to, each once, in order.

    >>> dependencies({"a": 1, "b": (max, "a", ["a", 2])}, "b")
    ['a']
    """
    found: dict[Key, None] = {}
    for leaf in leaves_of(dsk[key]):
        try:
            if leaf in dsk:
                found[leaf] = None
        except TypeError:  # cannot be hashed, so it is no key
            continue
    return list(found)


def reachable(dsk: Graph, keys: Iterable[Key]) -> dict[Key, list[Key]]:
    """The dependencies of every key that `keys` need, themselves included."""
    found: dict[Key, list[Key]] = {}
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key not in found:
            found[key] = dependencies(dsk, key)
            todo += found[key]
    return found


def cycle_error(dsk: Graph, key: Key) -> CycleError:
    """The error for a cycle among the tasks that `key` needs: its message walks along the cycle."""
    path: dict[Key, None] = {}  # from `key` down, in order
    finished: set[Key] = set()
    todo = [(key, iter(dependencies(dsk, key)))]
    path[key] = None
    while todo:
        parent, children = todo[-1]
        for child in children:
            if child in path:
                above = list(path)
                walk = [*above[above.index(child) :], child]
                shown = [repr(item) for item in walk]
                if len(shown) > 12:
                    shown[8:-2] = ["..."]
                return CycleError(f"Cycle detected: {len(walk) - 1} task(s) wait for each other: {' -> '.join(shown)}")
            if child not in finished:
                path[child] = None
                todo.append((child, iter(dependencies(dsk, child))))
                break
        else:
            todo.pop()
            finished.add(parent)
            del path[parent]
    raise AssertionError(f"no cycle below {key!r}")
