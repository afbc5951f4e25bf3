"""What is drawn of dask's collections before they run: their graphs, and the expressions that these come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dask
from dask._task_spec import DataNode, convert_legacy_graph
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict

from taskloom.adapters.dask.expressions import Refused, is_expression, refusing, tree, walk
from taskloom.adapters.dask.graphs import DaskGraph, ends_of_aliases
from taskloom.adapters.dask.layers import graph_of_layers, high_level_graphs, read, read_noted, size_of
from taskloom.adapters.dask.optimized import mapping_of, optimized_expression
from taskloom.bus import Layers, RunGraph, layer_readers
from taskloom.graph import compile_plan
from taskloom.scheduling import merged_graph
from taskloom.views.graph_sources import graph_sources

MOST_TASKS = 200_000  # of a graph whose tasks are drawn; of a larger one its layers are


class DaskSource:
    """Draws dask's collections, and other objects over them, such as xarray's."""

    def owns(self, collection: Any) -> bool:
        """Whether it is made of expressions or of a high-level graph."""
        return _expression_of(collection) is not None or isinstance(collection.__dask_graph__(), HighLevelGraph)

    def graphs(self, collections: Sequence[Any], optimized: bool, may_compute: bool) -> dict[str, RunGraph]:
        """Tasks before and after optimisation; where there are expressions, these instead of the tasks before."""
        expressions = [found for one in collections if (found := _expression_of(one)) is not None]
        graphs = [one.__dask_graph__() for one in collections if _expression_of(one) is None]
        mine = [one for one in collections if self.owns(one)]
        others = merged_graph([one for one in collections if not self.owns(one)], optimize_graph=True)
        if size_of(graphs) > MOST_TASKS:
            return {"Layers before optimisation": graph_of_layers(graphs)}
        before = {} if optimized else _before(expressions, graphs)
        try:
            with nullcontext() if may_compute else refusing():
                return {**before, **_after(mine, expressions, graphs, others)}
        except Refused:
            return before

    def scheduled_by(self, get: Callable[..., Any]) -> AbstractContextManager[Any]:
        """Has `get(graph, keys, **options)` called for whatever dask computes, whatever else was chosen before."""
        setting: AbstractContextManager[Any] = dask.config.set(scheduler=get)
        return setting

    def graph_of(self, dsk: Any) -> RunGraph | None:
        """What is drawn of an expression, or of a graph that dask has made of one."""
        if is_expression(dsk) or isinstance(dsk, HighLevelGraph):
            return task_graph(_as_run(dsk.__dask_graph__() if is_expression(dsk) else dsk), [dsk])
        return None


_source = DaskSource()


def start_drawing() -> None:
    """From now on dask's collections are drawn with their layers; does nothing if they are already."""
    if _source not in graph_sources:
        graph_sources.append(_source)
        layer_readers.append(read_noted)


def stop_drawing() -> None:
    """Undo `start_drawing`."""
    if _source in graph_sources:
        graph_sources.remove(_source)
        layer_readers.remove(read_noted)


def _before(expressions: Sequence[Any], graphs: Sequence[Mapping[Any, Any]]) -> dict[str, RunGraph]:
    drawn = {"Expression before optimisation": tree(expressions)} if expressions else {}
    if graphs:
        drawn["Before optimisation"] = task_graph(_merged(graphs), graphs)
    return drawn


def _after(
    collections: Sequence[Any],
    expressions: Sequence[Any],
    graphs: Sequence[Mapping[Any, Any]],
    others: Mapping[Any, Any],
) -> dict[str, RunGraph]:
    roots = [expression.optimize() for expression in expressions]
    drawn = {"Expression after optimisation": tree(roots)} if roots else {}
    if _size(roots) <= MOST_TASKS:
        known, _ = optimized_expression(collections, optimize_graph=True)
        dsk = {**_as_run(mapping_of(known)), **others}
        drawn["After optimisation"] = task_graph(dsk, [known, *roots, *graphs])
    return drawn


def task_graph(dsk: Mapping[Any, Any], graphs: Iterable[Any]) -> RunGraph:
    """What is drawn of a graph of dask's: its tasks and its data, also data that a cluster holds, of which it has keys.

    Parameters
    ----------
    dsk : the graph.
    graphs : the expressions and high-level graphs that it was made of, which know of its layers.
    """
    nodes = convert_legacy_graph(ensure_dict(dsk))
    held = {key for node in nodes.values() for key in node.dependencies if key not in nodes}
    nodes = {**{key: DataNode(key, None) for key in held}, **nodes}
    tasks = RunGraph.of(compile_plan(DaskGraph(nodes), list(nodes)))  # says what is wrong with a graph that cannot run
    functions = dict(zip(tasks.keys, tasks.functions, strict=True))
    number = {key: place for place, key in enumerate(nodes)}
    return RunGraph(
        list(nodes),
        [functions.get(key, "") for key in nodes],
        [tuple([number[other] for other in node.dependencies]) for node in nodes.values()],
        layers=Layers(read(nodes, graphs)),
    )


def _as_run(dsk: Mapping[Any, Any]) -> dict[Any, Any]:
    """A graph without the keys that stand for others, of which engines make no tasks."""
    nodes = convert_legacy_graph(ensure_dict(dsk))
    meant = ends_of_aliases(nodes)
    return {key: node.substitute(meant) for key, node in nodes.items() if key not in meant}


def _expression_of(collection: Any) -> Any:
    """The expression that a collection is made of; None where it is made of a high-level graph."""
    expression = getattr(collection, "expr", None)
    return expression if is_expression(expression) and not any(high_level_graphs(expression)) else None


def _merged(graphs: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    return {key: value for graph in graphs for key, value in ensure_dict(graph).items()}


def _size(expressions: Sequence[Any]) -> int:
    """How many tasks expressions stand for, about."""
    return sum([getattr(expression, "npartitions", 1) for expression in walk(expressions)])
