"""The tasks of the blocks of a layer of Dask's, made in a fraction of the time.

Dask substitutes the inputs of each block's task one after the other, with new task objects for each. What a block's
task takes differs from what its neighbours take in keys and values alone, so here it is put together at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product, repeat
from typing import Any

import dask.blockwise
from dask._task_spec import DataNode, GraphNode, Task, TaskRef, parse_input

from taskloom.graph import Key

_PLAIN = {int, float, str, bool, slice, type(None)}  # types of values that hold no others

Block = tuple[int, ...]  # the coordinates of one

their_blockwise_graph = dask.blockwise._make_blockwise_graph  # Dask's own


def blockwise_graph(task: Task, output: str, out_indices: Sequence[Any], *pairs: Any, **options: Any) -> dict[Key, Any]:
    """In place of `dask.blockwise._make_blockwise_graph`: the same tasks, by key.

    Those that take several blocks of one input, or whose inputs are tasks themselves, are still made by Dask.
    """
    try:
        return dict(_tasks(task, output, out_indices, pairs, **options))
    except _Unusual:
        theirs: dict[Key, Any] = their_blockwise_graph(task, output, out_indices, *pairs, **options)
        return theirs


class _Unusual(Exception):
    """A layer that is left to Dask."""


def _tasks(
    task: Task,
    output: str,
    out_indices: Sequence[Any],
    pairs: Sequence[Any],
    *,
    keys: Sequence[str] | None = None,
    dims: Mapping[Any, int] | None = None,
    numblocks: Mapping[Any, Sequence[int]] | None = None,
    output_blocks: Collection[Block] | None = None,
    io_deps: Mapping[Any, Any] | None = None,
    **others: Any,
) -> Iterator[tuple[Key, Task]]:
    if task.__class__ is not Task or keys is None or dims is None or numblocks is None:
        raise _Unusual
    blocks = output_blocks or list(product(*[range(dims[index]) for index in out_indices]))
    inputs = {}
    for name, arg, indices in zip(keys, pairs[::2], pairs[1::2], strict=True):
        if name in task.dependencies:
            if indices is None:
                inputs[name] = _same_for_all(name, arg)
            else:
                taken = _taken(blocks, out_indices, indices, numblocks[arg])
                dependency = (io_deps or {}).get(arg)
                inputs[name] = _keys(arg, taken) if dependency is None else _values(name, dependency, taken)
    for value in task.kwargs.values():
        if isinstance(value, GraphNode | TaskRef) and value.__class__ is not DataNode:
            raise _Unusual
    columns = [_column(arg, inputs) for arg in task.args]
    function, keywords = task.func, {**task.kwargs, "_data_producer": task.data_producer}
    for block, *args in zip(blocks, *columns, strict=False):
        key = (output, *block)
        yield key, Task(key, function, *args, **keywords)


def _column(arg: Any, inputs: Mapping[str, Iterable[Any]]) -> Iterable[Any]:
    """What the blocks' tasks take in place of one argument."""
    if isinstance(arg, TaskRef):
        return inputs[arg.key] if arg.key in inputs else repeat(arg)
    if isinstance(arg, GraphNode) and not arg.dependencies.isdisjoint(inputs):
        raise _Unusual
    return repeat(arg)


def _same_for_all(name: str, arg: Any) -> Iterable[Any]:
    if isinstance(arg, GraphNode):
        raise _Unusual
    return repeat(arg if isinstance(arg, TaskRef) else DataNode(name, arg))


def _keys(arg: str, taken: Iterable[Block]) -> list[TaskRef]:
    return [TaskRef((arg, *block)) for block in taken]


def _values(name: str, dependency: Any, taken: Iterable[Block]) -> list[DataNode]:
    """Of an input that is made of values, such as the shapes of chunks."""
    nodes = []
    for block in taken:
        value = dependency.get(block, block)
        if value.__class__ is not tuple or not _PLAIN.issuperset(map(type, value)):
            value = parse_input(value)
        if isinstance(value, GraphNode):
            if value.__class__ is not DataNode:
                raise _Unusual
            value = value.value
        nodes.append(DataNode(name, value))
    return nodes


def _taken(
    blocks: Collection[Block], out_indices: Sequence[Any], indices: Sequence[Any], numblocks: Sequence[int]
) -> Collection[Block]:
    """Which block of an input each block of the output takes."""
    places = {index: place for place, index in enumerate(out_indices)}
    if not places.keys() >= set(indices):
        raise _Unusual  # there are several that it takes
    at = [-1 if number == 1 else places[index] for index, number in zip(indices, numblocks, strict=True)]
    if at == list(range(len(out_indices))):
        return blocks
    with_zero = [(*block, 0) for block in blocks]  # which is what all take of a single one
    return [tuple([block[place] for place in at]) for block in with_zero]
