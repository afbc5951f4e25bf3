"""Dask's older tasks, which are tuples, made task objects: the reductions of its arrays are still written in them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _identity_cast, convert_legacy_task

from taskloom.graph import Key

_KEYS = {int, float, str, tuple}  # the types of keys in tuples


def converted_graph(dsk: Mapping[Key, Any], all_keys: Container[Key] | None = None) -> dict[Key, GraphNode]:
    """In place of `dask._task_spec.convert_legacy_graph`: tasks that do the same, by key.

    A function of a list of keys, which is what a step of a reduction is, is made a task at once; Dask makes the others.
    """
    if all_keys is None:
        all_keys = set(dsk)
    graph = {}
    for key, value in dsk.items():
        node = value
        if not isinstance(value, GraphNode):
            if value.__class__ is tuple and len(value) == 2 and _are_keys(value[1], all_keys) and callable(value[0]):
                node = Task(key, value[0], Task(None, _identity_cast, *map(TaskRef, value[1]), typ=list))
            else:
                node = convert_legacy_task(key, value, all_keys)
                if not isinstance(node, GraphNode):
                    node = DataNode(key, node)
        if node.__class__ is not Alias or node.target != key:
            graph[key] = node
    return graph


def _are_keys(value: Any, all_keys: Container[Key]) -> bool:
    """Whether a value is a list of keys, and of no others."""
    if value.__class__ is not list or not value or not _KEYS.issuperset(map(type, value)):
        return False
    try:
        return all(map(all_keys.__contains__, value))
    except TypeError:  # a tuple that cannot be hashed
        return False
