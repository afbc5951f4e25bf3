"""Graph to smaller graph: leave out what nobody asked for, and make one task of a chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskloom.errors import UnknownKeyError
from taskloom.graph.annotations import annotations_of
from taskloom.graph.recipe import leaves_of, refers_to, substitute
from taskloom.graph.task import Graph, Key, is_task
from taskloom.graph.task_graph import reachable

DEEPEST = 1000  # tasks in one: hashing a tuple nested much deeper would overflow the C stack


def cull(dsk: Graph, keys: Iterable[Key]) -> dict[Key, Any]:
    """The part of a graph that `keys` need, in the graph's own order.

    Raises
    ------
    UnknownKeyError
        One of `keys` is not in the graph.

    Examples
    --------
    >>> cull({"a": 1, "b": (abs, "a"), "c": (abs, "b")}, ["b"])
    {'a': 1, 'b': (<built-in function abs>, 'a')}
    """
    keys = list(keys)
    for key in keys:
        if key not in dsk:
            raise UnknownKeyError(f"The requested key {key!r} is not in the graph.")
    needed = reachable(dsk, keys)
    return {key: dsk[key] for key in dsk if key in needed}


def fuse(dsk: Graph, keys: Iterable[Key]) -> dict[Key, Any]:
    """Make one task of each linear chain: tasks that feed only one other, which takes nothing else.

    A fused task keeps the key of the chain's end; a very long chain becomes several. The tasks of `keys` stay tasks
    of their own.

    Examples
    --------
    >>> fuse({"a": (int, "1"), "b": (abs, "a"), "c": (str, "b")}, ["c"])
    {'c': (<class 'str'>, (<built-in function abs>, (<class 'int'>, '1')))}
    """
    kept = set(keys)
    needs = reachable(dsk, dsk)
    users = dict.fromkeys(dsk, 0)
    for inputs in needs.values():
        for key in inputs:
            users[key] += 1

    def fusible(key: Key) -> bool:
        """Whether the only input of `key` is a task that exists for `key` alone."""
        if len(needs[key]) != 1:
            return False
        child = needs[key][0]
        if users[child] > 1 or child in kept or not is_task(dsk[child]):
            return False
        if is_task(dsk[key]) and annotations_of(dsk[key][0]) != annotations_of(dsk[child][0]):
            return False
        return sum(refers_to(leaf, child) for leaf in leaves_of(dsk[key])) == 1

    inner = {needs[key][0] for key in dsk if fusible(key)}
    fused: dict[Key, Any] = {}
    for key in dsk:
        if key in inner:
            continue
        chain = [key]
        while len(needs[chain[-1]]) == 1 and needs[chain[-1]][0] in inner:
            chain.append(needs[chain[-1]][0])
        end = chain.pop()
        value, depth = dsk[end], 1
        while chain:
            child, end = end, chain.pop()
            if depth < DEEPEST:
                value, depth = substitute(dsk[end], child, value), depth + 1
            else:
                fused[child] = value
                value, depth = dsk[end], 1
        fused[key] = value
    return fused
