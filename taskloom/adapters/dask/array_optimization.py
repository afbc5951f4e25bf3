"""Dask's optimisation of array graphs, in two fifths to two thirds of the time, with what `blocks` saves in it.

Dask goes over a graph five times: which tasks are needed, what they are, as objects, in chains, which slices are of
slices. The first three are one here, from the last layer to the first: which tasks a layer needs of those below it is
known once its own are made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from math import prod
from typing import Any

import dask.config
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _identity_cast, convert_legacy_task
from dask.array.optimization import _optimize_slices
from dask.array.optimization import optimize as their_optimize
from dask.blockwise import Blockwise, fuse_roots, optimize_blockwise
from dask.core import flatten, keys_in_tasks
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.optimization import default_fused_keys_renamer

from taskloom.adapters.dask.optimized import as_dask_does
from taskloom.graph import Key

Tasks = dict[Key, GraphNode]

_KEYS = {int, float, str, tuple}  # the types of keys in tuples


class ArrayOptimization:
    """In place of `dask.array.optimization.optimize`: the same results, from fewer tasks where chains are longer.

    What is sent to a scheduler of Dask's, where there may be no taskloom, is that function.
    """

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Mapping[Key, Any]:
        fuses = dask.config.get("optimization.fuse.active", None) is not False
        if as_dask_does.get() or not fuses or not isinstance(dsk, HighLevelGraph):
            theirs: Mapping[Key, Any] = their_optimize(dsk, keys, **options)
            return theirs
        wanted = list(flatten(keys if isinstance(keys, list | set) else [keys]))
        dsk = fuse_roots(optimize_blockwise(dsk, keys=wanted), keys=wanted)
        optimised: Tasks = _optimize_slices(_in_chains(_needed_tasks(dsk, wanted), set(wanted)))
        return optimised

    def __reduce__(self) -> Any:
        return partial, (their_optimize,)


optimize_arrays = ArrayOptimization()


def _needed_tasks(dsk: HighLevelGraph, wanted: Collection[Key]) -> Tasks:
    """The tasks that `wanted` need, as objects."""
    all_keys = dsk.get_all_external_keys()
    needed = set(wanted)
    graph: dict[Key, Any] = {}
    for name in reversed(dsk._toposort_layers()):
        tasks = _tasks_of(dsk.layers[name], needed, all_keys)
        graph.update(tasks)
        for value in tasks.values():
            needed.update(_dependencies(value, all_keys))
        needed.difference_update(tasks)
    for key, value in graph.items():
        if not isinstance(value, GraphNode):
            node = convert_legacy_task(key, value, graph)  # which takes as keys no others than these
            graph[key] = node if isinstance(node, GraphNode) else DataNode(key, node)
    for key in [key for key, node in graph.items() if node.__class__ is Alias and node.target == key]:
        del graph[key]  # a future of one of Dask's clients, which is found by its key
    return graph


def _tasks_of(layer: Layer, needed: Collection[Key], all_keys: Collection[Key]) -> Mapping[Key, Any]:
    """The tasks of a layer that `needed` holds, and those of the same layer that they need."""
    if layer.__class__ is Blockwise:
        blocks = {key[1:] for key in needed if key.__class__ is tuple and key[0] == layer.output}
        if len(blocks) < prod([layer.dims[index] for index in layer.output_indices]):
            layer = layer._cull(blocks)
        blocks_of: Tasks = layer._dict if blocks else {}
        return blocks_of
    if layer.__class__ is not MaterializedLayer:
        culled: Mapping[Key, Any] = layer.cull(set(needed), all_keys)[0]
        return culled
    tasks = {}
    keys = [key for key in layer.mapping if key in needed]
    while keys:
        also = []
        for key in keys:
            tasks[key] = value = _with_list(key, layer.mapping[key], all_keys)
            also += [other for other in _dependencies(value, all_keys) if other in layer.mapping]
        keys = [key for key in dict.fromkeys(also) if key not in tasks]
    return tasks


def _dependencies(value: Any, all_keys: Collection[Key]) -> Collection[Key]:
    keys: Collection[Key] = value.dependencies if isinstance(value, GraphNode) else keys_in_tasks(all_keys, [value])
    return keys


def _with_list(key: Key, value: Any, all_keys: Collection[Key]) -> Any:
    """A task that is a tuple of a function and a list of keys, as steps of reductions are, as an object."""
    if value.__class__ is tuple and len(value) == 2 and _are_keys(value[1], all_keys) and callable(value[0]):
        return Task(key, value[0], Task(None, _identity_cast, *map(TaskRef, value[1]), typ=list))
    return value


def _are_keys(value: Any, all_keys: Collection[Key]) -> bool:
    """Whether a value is a list of keys, and of no others."""
    if value.__class__ is not list or not value or not _KEYS.issuperset(map(type, value)):
        return False
    try:
        return all(map(all_keys.__contains__, value))
    except TypeError:  # a tuple that cannot be hashed
        return False


def _in_chains(graph: Tasks, wanted: Collection[Key]) -> Tasks:
    """The graph with tasks made one where one takes nothing but the other, and nothing else takes that."""
    users: dict[Key, Key | None] = {}
    for key, node in graph.items():
        for needed in node.dependencies:
            users[needed] = None if needed in users else key
    below = {
        user: key
        for key, user in users.items()
        if user is not None and len(graph[user].dependencies) == 1 and key not in wanted and key in graph
        if not (graph[user].block_fusion or graph[key].block_fusion)
    }
    inner = set(below.values())
    fused: Tasks = {}
    for key, node in graph.items():
        if key not in inner:
            fused.update(_chain(key, graph, below) if key in below else {key: node})
    return fused


def _chain(top: Key, graph: Tasks, below: Mapping[Key, Key]) -> Tasks:
    """The task of a chain, and its key as that of another where it is called by all its tasks."""
    keys = [top]
    while keys[-1] in below:
        keys.append(below[keys[-1]])
    keys.reverse()
    if not graph[keys[0]].dependencies.isdisjoint(keys):
        return {key: graph[key] for key in keys}  # they wait for each other, as the engine will say
    name = default_fused_keys_renamer(keys) or top
    task = Task.fuse(*[graph[key] for key in keys], key=name)
    return {name: task} if name == top else {name: task, top: Alias(top, target=name)}
