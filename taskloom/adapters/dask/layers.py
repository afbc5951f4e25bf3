"""Which layers a graph of Dask's has: found by the names that its keys begin with, when the graph is drawn.

Expressions that run are noted by weak references, so a run that nobody watches costs one of these and keeps nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

from dask.highlevelgraph import HighLevelGraph

from taskloom.adapters.dask.arrays import array_layer
from taskloom.adapters.dask.expressions import expression_layer, is_expression, walk
from taskloom.bus import Layer, Layers, RunGraph
from taskloom.bus.graph_layers import first_part
from taskloom.graph import Key, task_name

MOST_NOTED = 64  # expressions that may run at one time
FINALIZE = "finalize-hlgfinalizecompute"  # in the key of the last task that `compute` adds
MOST_NAMES = 6  # of fused layers that a tip names

_noted: deque[ReferenceType[Any]] = deque(maxlen=MOST_NOTED)


def note(graph: Any) -> None:
    """Remember, as long as it lives, an expression or a high-level graph that is about to run."""
    with suppress(TypeError):  # a plain dictionary has no layers to remember
        _noted.append(ref(graph))


def noted() -> list[Any]:
    """What has been noted and still lives, oldest first."""
    return [graph for reference in list(_noted) if (graph := reference()) is not None]


def read_noted(keys: Sequence[Key]) -> Mapping[str, Layer]:
    """The layers of a run's tasks, as far as what was noted knows of them."""
    with suppress(Exception):  # views must go on with graphs of any kind
        if graphs := noted():
            return read(keys, graphs)
    return {}


class _Known(NamedTuple):
    """A layer, and the names of those that it takes results from."""

    layer: Layer
    inputs: Iterable[str]


def read(keys: Collection[Key], graphs: Iterable[Any]) -> dict[str, Layer]:
    """The layers that tasks are in: of those that graphs know, or after one that fusing has renamed.

    Parameters
    ----------
    keys : of the tasks.
    graphs : expressions and high-level graphs, in which the layers are as they were before tasks were fused.
    """
    known: dict[str, _Known] = {}
    for graph in graphs:
        known |= _known_of(graph)
    names = dict.fromkeys(first_part(key) for key in keys if isinstance(key, tuple))
    origin = _origins(names, known)
    if not any(origin.values()):
        return {}  # these are tasks of something else
    survivors = {name for name in origin.values() if name}
    layers = {key: Layer(_end_label(key)) for key in keys if isinstance(key, str) and FINALIZE in key}
    for name in names:
        known_as = origin[name]
        if known_as is None:
            layers[name] = Layer(task_name(name))
        else:
            layer = known[known_as].layer
            fused = _fused_into(known_as, known, survivors)
            lines = [*layer.lines, f"includes {fused}"] if fused else layer.lines
            layers[name] = layer._replace(label=task_name(name), lines=lines)
    return layers


def _end_label(key: str) -> str:
    """What the task is called that puts the parts of a collection together, or what it was fused with."""
    return task_name(key).replace(f"-{FINALIZE}", "").replace(FINALIZE, "finalize")


def _known_of(graph: Any) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    for part in high_level_graphs(graph):
        for name, layer in part.layers.items():
            known[name] = _Known(_layer_of(name, layer), part.dependencies.get(name, ()))
    if is_expression(graph):
        for expression in walk([graph]):
            inputs = [other._name for other in expression.dependencies()]
            known.setdefault(expression._name, _Known(expression_layer(expression), inputs))
    return known


def high_level_graphs(graph: Any) -> Iterator[HighLevelGraph]:
    """The high-level graphs that an expression holds, as they were before optimisation; a graph itself."""
    if isinstance(graph, HighLevelGraph):
        yield graph
    elif is_expression(graph):
        for expression in walk([graph]):
            if isinstance(held := getattr(expression, "dsk", None), HighLevelGraph):
                yield held


def _layer_of(name: str, layer: Any) -> Layer:
    """What is known of a layer of a high-level graph."""
    about = layer.collection_annotations or {}
    notes = [f"annotated: {key}={value}" for key, value in (layer.annotations or {}).items() if not callable(value)]
    if "chunks" in about:
        with suppress(Exception):  # a tip must not break what is drawn
            return array_layer(name, _chunks_of(layer, about["chunks"]), about.get("dtype"), notes)
    return Layer(task_name(name), notes)


def _chunks_of(layer: Any, chunks: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """The chunks that a layer makes: Dask notes for the first step of a reduction those that it reduces."""
    options = getattr(getattr(layer, "task", None), "kwargs", None) or {}
    axes = options.get("axis")
    if options.get("keepdims") is not True or not isinstance(axes, tuple):
        return chunks
    return [[1] * len(lengths) if axis in axes else lengths for axis, lengths in enumerate(chunks)]


def size_of(graphs: Iterable[Any]) -> int:
    """How many tasks graphs have; those of high-level graphs are not made for that."""
    return sum([len(layer) for graph in graphs for layer in getattr(graph, "layers", {"": graph}).values()])


def graph_of_layers(graphs: Iterable[Any]) -> RunGraph:
    """A node for each layer of high-level graphs, of which no task is made."""
    known: dict[str, _Known] = {}
    for graph in graphs:
        for part in high_level_graphs(graph):
            for name, (layer, inputs) in _known_of(part).items():
                lines = [f"{len(part.layers[name]):,} tasks", *layer.lines]
                known[name] = _Known(layer._replace(lines=lines), inputs)
    number = {name: place for place, name in enumerate(known)}
    return RunGraph(
        list(known),
        [""] * len(known),
        [tuple([number[other] for other in inputs if other in number]) for _, inputs in known.values()],
        layers=Layers({name: layer for name, (layer, _) in known.items()}, "layers"),
    )


def _origins(names: Iterable[str], known: Mapping[str, _Known]) -> dict[str, str | None]:
    """For each name the known one that it stands for: itself, or the one that it ends with, if any.

    Dask calls what it fuses ``first-second-third-<token>`` after the last one's ``third-<token>``.
    """
    by_token: dict[str, list[str]] = {}
    for name in known:
        by_token.setdefault(_token(name), []).append(name)
    found: dict[str, str | None] = {}
    for name in names:
        ends = [other for other in by_token.get(_token(name), ()) if str(name).endswith(f"-{other}")]
        found[name] = name if name in known else max(ends, key=len, default=None)
    return found


def _token(name: object) -> str:
    return str(name).rpartition("-")[2]  # a layer may be named by a tuple


def _fused_into(name: str, known: Mapping[str, _Known], survivors: set[str]) -> str:
    """The names of the layers that have no tasks of their own any more, and only ran into this one."""
    found: dict[str, None] = {}
    todo = [name]
    while todo:
        for other in known[todo.pop()].inputs:
            if other in known and other not in survivors and other not in found:
                found[other] = None
                todo.append(other)
    texts = list(dict.fromkeys(map(task_name, found)))[::-1]  # as results flow
    more = f" and {len(texts) - MOST_NAMES:,} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more
