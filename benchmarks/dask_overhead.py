"""What dask's own arrays and bags cost a task: dask's schedulers and taskloom's engines on the very same graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dask.array as da
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

from taskloom.adapters.dask.gets import get_sync, get_threads  # noqa: E402 - see above

GETS = {"dask sync": DASK_SYNC, "sync": get_sync, "dask threads": DASK_THREADS, "threads": get_threads}
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
        "dask's scheduling to taskloom's. The last two columns: `compute`, with dask's optimisation in it, which is "
        "the same for both, and with the NumPy calls."
    )
    header = ("graph", "tasks", "NumPy", *GETS, "ratio, sync", "ratio, threads", "compute: sync", "compute: threads")
    return Report("Dask's arrays: scheduling", header, rows, notes, promises)


def _measure(name: str, collection: Any, effort: Effort) -> tuple[list[str], tuple[float, float]]:
    dsk, keys = _graph(collection)
    options = {"num_workers": WORKERS}
    turns: dict[str, Callable[[], object]] = {"NumPy": partial(_call_all, _calls(dsk))}
    turns |= {who: partial(get, dsk, keys, **options) for who, get in GETS.items()}
    scheduling = interleave(turns, effort.rounds)
    n = len(dsk)
    numpy = scheduling.median("NumPy")
    net = scheduling.without("NumPy")
    whole = interleave(
        {who: partial(collection.compute, scheduler=get, **options) for who, get in GETS.items()}, effort.rounds
    )
    ratios = net.ratio("dask sync", "sync"), net.ratio("dask threads", "threads")
    row = [name, f"{n:,}", micro(numpy / n), *[micro(net.median(who) / n) for who in GETS], *map(times, ratios)]
    row += [times(whole.ratio("dask sync", "sync")), times(whole.ratio("dask threads", "threads"))]
    return row, (ratios[1], whole.ratio("dask threads", "threads"))


def _promises(name: str, scheduling: float, compute: float) -> list[Promise]:
    return [
        at_least(f"scheduling of {name} beside dask's threads", scheduling, ASKED),
        at_least(f"compute of {name}, optimisation and NumPy included, beside dask's threads", compute, ASKED),
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
