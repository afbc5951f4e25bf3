"""What dask's own arrays cost a task: dask's schedulers and taskloom's engines on the very same graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dask.array as da
import dask.blockwise
import dask.local
import dask.threaded
from dask._task_spec import GraphNode, Task, _execute_subgraph
from dask.base import collections_to_expr
from dask.order import order

from benchmarks.contenders import WORKERS
from benchmarks.report import Promise, Report, at_least, micro, times
from benchmarks.rounds import Effort, interleave

# As dask is before `enable_dask`: whoever reads them later may get taskloom's.
DASK_SYNC, DASK_THREADS = dask.local.get_sync, dask.threaded.get

from taskloom.adapters.dask.array_optimization import optimize_arrays, their_optimize  # noqa: E402 - see above
from taskloom.adapters.dask.blocks import blockwise_graph, their_blockwise_graph  # noqa: E402
from taskloom.adapters.dask.gets import get_sync, get_threads  # noqa: E402

GETS = {"dask sync": DASK_SYNC, "sync": get_sync, "dask threads": DASK_THREADS, "threads": get_threads}
PAIRS = {"sync": "dask sync", "threads": "dask threads"}
MAKERS: dict[tuple[Any, str], tuple[Any, Any]] = {  # of graphs: dask's, and what `enable_dask` puts in its place
    (dask.blockwise, "_make_blockwise_graph"): (their_blockwise_graph, blockwise_graph),
    (vars(da.Array)["__dask_optimize__"], "_default"): (their_optimize, optimize_arrays),
}
ASKED = 8  # times less than dask's threads, at least, on the sum

CASES: dict[str, Callable[[], Any]] = {
    "ones(1000, chunks=2).sum()": lambda: da.ones(1000, chunks=(2,)).sum(),
    "ones(1000, chunks=2) + 1": lambda: da.ones(1000, chunks=(2,)) + 1,
    "ones((60, 60), chunks=2).T.mean(axis=0)": lambda: da.ones((60, 60), chunks=(2, 2)).T.mean(axis=0),
    "arange(1000, chunks=2).rechunk(5).std()": lambda: da.arange(1000, chunks=2).rechunk(5).std(),
}


def measure(effort: Effort) -> Report:
    rows, promises = [], []
    for name, build in effort.choose(CASES, dict([next(iter(CASES.items()))])).items():
        row, ratios = _measure(name, build(), effort)
        rows.append(row)
        if name.endswith("sum()"):
            promises += _promises(name, *ratios)
    notes = (
        f"µs a task of the optimised graph; {WORKERS} threads. Scheduling: the whole time of `get` on that graph, less "
        "that of the NumPy calls in it, which are called once more by themselves in the same round. Ratios are of "
        "dask's scheduling to taskloom's. With optimisation: of the whole time of `compute`, less that of the NumPy "
        "calls; with NumPy: of the whole time. Where taskloom computes, it makes the tasks of blocks and optimises "
        "arrays, as after `enable_dask()`."
    )
    header = ["graph", "tasks", "NumPy", *GETS]
    header += [f"{figure}, {engine}" for figure in ("ratio", "with optimisation", "with NumPy") for engine in PAIRS]
    return Report("Dask's arrays: scheduling", header, rows, notes, promises)


def _measure(name: str, collection: Any, effort: Effort) -> tuple[list[str], tuple[float, float]]:
    dsk, keys = _graph(collection)
    options = {"num_workers": WORKERS}
    n, calls = len(dsk), partial(_call_all, _calls(dsk))
    scheduling = interleave(
        {"NumPy": calls} | {who: partial(get, dsk, keys, **options) for who, get in GETS.items()}, effort.rounds
    )
    whole = interleave(
        {"NumPy": calls} | {who: partial(_compute, who, collection, options) for who in GETS}, effort.rounds
    )
    net, net_whole = scheduling.without("NumPy"), whole.without("NumPy")
    row = [name, f"{n:,}", micro(scheduling.median("NumPy") / n), *[micro(net.median(who) / n) for who in GETS]]
    for took in net, net_whole, whole:
        row += [times(took.ratio(theirs, ours)) for ours, theirs in PAIRS.items()]
    return row, (net.ratio("dask threads", "threads"), net_whole.ratio("dask threads", "threads"))


def _compute(who: str, collection: Any, options: Mapping[str, Any]) -> Any:
    """`compute` as it is for somebody who has plain Dask, or Dask on taskloom."""
    for (place, name), makers in MAKERS.items():
        setattr(place, name, makers[who in PAIRS])
    try:
        return collection.compute(scheduler=GETS[who], **options)
    finally:
        for (place, name), (theirs, _) in MAKERS.items():
            setattr(place, name, theirs)


def _promises(name: str, scheduling: float, optimised: float) -> list[Promise]:
    return [
        at_least(f"scheduling of {name} beside dask's threads", scheduling, ASKED),
        at_least(f"scheduling of {name} beside dask's threads, with optimisation", optimised, ASKED),
    ]


def _graph(collection: Any) -> tuple[dict[Any, Any], Any]:
    expression = collections_to_expr([collection]).optimize()
    (keys,) = expression.__dask_keys__()
    return dict(expression.__dask_graph__()), keys


Call = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]


def _calls(dsk: dict[Any, Any]) -> list[Call]:
    """The calls of functions that a graph comes to, with their arguments."""
    calls: list[Call] = []
    places = order(dsk)
    values: dict[Any, Any] = {}
    for key in sorted(dsk, key=places.__getitem__):
        node = _recording(dsk[key], calls)
        values[key] = node({name: values[name] for name in node.dependencies})
    return calls


def _recording(node: GraphNode, calls: list[Call]) -> GraphNode:
    """A node that notes its calls, those of the nodes fused into it rather than its own."""
    if not isinstance(node, Task):
        return node
    node = node.copy()
    if node.func is _execute_subgraph:
        inner, *others = node.args
        node.args = ({key: _recording(each, calls) for key, each in inner.items()}, *others)
    else:
        node.func = partial(_call_and_note, calls, node.func)
    return node


def _call_and_note(calls: list[Call], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    calls.append((function, args, kwargs))
    return function(*args, **kwargs)


def _call_all(calls: list[Call]) -> None:
    for function, args, kwargs in calls:
        function(*args, **kwargs)
