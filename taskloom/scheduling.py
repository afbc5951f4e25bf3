"""From collections to results: which engine runs, what it runs, and how the results come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from taskloom import config
from taskloom.containers import Slot, extract, fill, flat
from taskloom.engines import ENGINES, find_engine
from taskloom.errors import ConfigError, GraphError
from taskloom.graph import (
    Graph,
    adopted,
    adopter_of,
    annotated_graph,
    cull,
    foreign_choices,
    foreign_schedulers,
    identity,
    of_library,
)

__all__ = ["compute", "get_scheduler", "is_collection", "optimize", "persist", "visualize"]

Get = Callable[..., Any]  # get(dsk, keys, **options)


# -- which engine ----------------------------------------------------------------------------------------------------


def get_scheduler(scheduler: Any = None, default: Any = None) -> Get:
    """The `get(dsk, keys, **options)` that runs a graph.

    The first of these that is not None decides: `scheduler`, the setting ``scheduler``, `default`, ``"threads"``.

    Parameters
    ----------
    scheduler : the name of an engine, an engine, a ``get`` callable, an object with a ``get`` method (a client), or a
        `concurrent.futures.Executor`, which becomes the pool of the threads engine.
    default : what a collection prefers; the same kinds.

    Raises
    ------
    ConfigError
        No engine has that name, or the object is of none of these kinds.

    Examples
    --------
    >>> get_scheduler("sync")({"a": 1, "b": (abs, "a")}, "b")
    1
    """
    if scheduler is None:
        scheduler = config.get("scheduler")
        if scheduler is None:
            scheduler = "threads" if default is None else default
    if isinstance(scheduler, str):
        return find_engine(scheduler).get
    if isinstance(scheduler, Executor):
        return partial(find_engine("threads").get, pool=scheduler)
    engine = getattr(scheduler, "engine_name", None)  # a collection's `__dask_scheduler__`, see collections/base.py
    if isinstance(engine, str):
        return find_engine(engine).get
    if not isinstance(scheduler, type | Mapping):
        get_of = of_library(foreign_schedulers, scheduler)
        get = getattr(scheduler, "get", scheduler) if get_of is None else get_of(scheduler)
        if callable(get):
            return get
    raise ConfigError(
        f"scheduler={scheduler!r} cannot run a graph. Give the name of an engine ({', '.join(map(repr, ENGINES))}), "
        "a get(dsk, keys) callable, a concurrent.futures.Executor or a Client."
    )


def _chosen(collections: Sequence[Any], scheduler: Any) -> Get | None:
    """What the call says is to run collections, or their libraries and the settings do; None: nobody says anything."""
    others = (collection for collection in collections if not _is_ours(collection))
    choose = next(filter(None, (of_library(foreign_choices, other) for other in others)), None)
    if choose is not None:
        scheduler = choose(scheduler)
    elif scheduler is None:
        scheduler = config.get("scheduler")
    return None if scheduler is None else get_scheduler(scheduler)


def _preferred(collections: Sequence[Any]) -> Get:
    """What the collections prefer, which must be the same for all."""
    preferred = [getattr(collection, "__dask_scheduler__", None) for collection in collections]
    first = preferred[0]
    if any(other is not first and other != first for other in preferred):
        names = dict.fromkeys(str(getattr(get, "engine_name", get)) for get in preferred)
        raise ConfigError(
            f"The collections prefer different schedulers: {', '.join(names)}. Say which one is to run them all: "
            'compute(..., scheduler="threads"), or config.set(scheduler="threads").'
        )
    return get_scheduler(default=first)


# -- the public functions --------------------------------------------------------------------------------------------


def compute(
    *args: Any, scheduler: Any = None, traverse: bool = True, optimize_graph: bool = True, **options: Any
) -> tuple[Any, ...]:
    """Compute collections, all in one run: work that they share is done once.

    Where the call does not say what runs them, and a collection of Dask's or xarray's is among them, Dask's own choice
    counts too: first what was set in taskloom, unless a client of ``dask.distributed`` has been opened since; then
    Dask's configuration; then that client. All of the call runs there, taskloom's own values included, as one run:
    on a cluster of Dask's these need taskloom installed there, while Dask's collections alone do not. Calls of
    taskloom's own values only never go to such a client by themselves.

    Parameters
    ----------
    args : collections (`delayed` values and everything else that follows Dask's collection protocol), or lists,
        tuples, sets, dictionaries, named tuples and dataclasses that hold some, nested. Anything else comes back as
        it is; iterators are not consumed.
    scheduler : which engine runs, see `get_scheduler`.
    traverse : False looks for collections among the arguments only, not inside of them.
    optimize_graph : False leaves out the optimisations of the collections.
    options : options of the engine, such as ``num_workers`` or ``pool``.

    Raises
    ------
    ConfigError
        The scheduler is unknown, or the collections prefer different ones and none was chosen.
    TypeError
        No engine knows an option.

    Examples
    --------
    >>> from taskloom import delayed
    >>> total = delayed(sum)([1, 2])
    >>> compute(total, {"twice": total * 2}, "text")
    (3, {'twice': 6}, 'text')
    """
    __tracebackhide__ = True  # frames that neither IPython nor pytest show
    found = _Found(args, traverse)
    collections = found.collections
    if not collections:
        if scheduler is not None:
            get_scheduler(scheduler)
        return args
    return found.replaced(values_of(collections, scheduler, optimize_graph, **options))


def values_of(
    collections: Sequence[Any], scheduler: Any = None, optimize_graph: bool = True, **options: Any
) -> list[Any]:
    """The values of collections, computed in one run; the options are those of `compute`."""
    __tracebackhide__ = True
    get, dsk, collections = _prepared(collections, scheduler, optimize_graph)
    keys = [collection.__dask_keys__() for collection in collections]
    # One collection is the common case, and a list less to nest saves a short run some microseconds.
    results = get(dsk, keys, **options) if len(keys) > 1 else [get(dsk, keys[0], **options)]
    values = []
    for collection, result in zip(collections, results, strict=True):
        finish, extra = collection.__dask_postcompute__()
        values.append(finish(result, *extra))
    return values


def _prepared(collections: Sequence[Any], scheduler: Any, optimize_graph: bool) -> tuple[Get, Graph, Sequence[Any]]:
    """What runs collections, one graph for all, and the collections, which know their keys in it."""
    get = _chosen(collections, scheduler)
    graph_of = getattr(get, "graph_of", None)  # of a client of another library, for whose collections that knows best
    if get is not None and graph_of is not None:
        return get, *graph_of(collections, optimize_graph)
    collections = adopted(collections, optimize_graph)
    return get or _preferred(collections), merged_graph(collections, optimize_graph), collections


def persist(
    *args: Any, scheduler: Any = None, traverse: bool = True, optimize_graph: bool = True, **options: Any
) -> tuple[Any, ...]:
    """The same collections with their results computed and held in memory.

    Takes the arguments of `compute` and raises what it raises.

    Examples
    --------
    >>> from taskloom import delayed
    >>> (total,) = persist(delayed(sum)([1, 2]))
    >>> (total + 1).compute()
    4
    """
    found = _Found(args, traverse)
    if not found.collections:
        return args
    get, dsk, collections = _prepared(found.collections, scheduler, optimize_graph)
    keys = [list(flat(collection.__dask_keys__())) for collection in collections]
    # A client's: futures of results that stay where they are.
    hold = getattr(getattr(get, "__self__", get), "hold", None)
    results = get(dsk, keys, **options) if hold is None else hold(dsk, keys, **options)
    return found.replaced(
        [
            rebuilt(
                collection,
                {key: as_data(value) if hold is None else value for key, value in zip(names, values, strict=True)},
            )
            for collection, names, values in zip(collections, keys, results, strict=True)
        ]
    )


def optimize(*args: Any, traverse: bool = True) -> tuple[Any, ...]:
    """The same collections over one shared, optimised graph that holds only what they need.

    Takes the arguments of `compute`.

    Examples
    --------
    >>> from taskloom import delayed
    >>> (total,) = optimize(delayed(sum)([1, 2]))
    >>> total.compute()
    3
    """
    found = _Found(args, traverse)
    if not found.collections:
        return args
    own = [collection for collection in found.collections if adopter_of(collection) is None]
    keys = [key for collection in own for key in flat(collection.__dask_keys__())]
    dsk = cull(merged_graph(own, True), keys) if own else {}
    collections = adopted(found.collections, True)
    return found.replaced(
        [
            rebuilt(collection, dsk if collection is given else collection.__dask_graph__())
            for given, collection in zip(found.collections, collections, strict=True)
        ]
    )


def visualize(*args: Any, filename: str | None = None, traverse: bool = True, optimize_graph: bool = False) -> Any:
    """Draw the graph of collections, without running it.

    Parameters
    ----------
    args : as for `compute`; a graph (a mapping) is drawn too.
    filename : where to write the drawing; ``.svg`` is appended where it is missing.
    optimize_graph : draw the graph as it would run.

    Returns
    -------
    GraphDrawing
        Shows itself in a notebook; ``str()`` of it is the SVG text.

    Examples
    --------
    >>> drawing = visualize({"a": 1, "b": (abs, "a")})
    >>> "<svg" in str(drawing)
    True
    """
    from taskloom.views.graph import GraphDrawing  # views stand beside this layer: wanted only here

    graphs = [arg for arg in args if isinstance(arg, Mapping) and not _Found((arg,), traverse).collections]
    collections = _Found([arg for arg in args if not any(arg is graph for graph in graphs)], traverse).collections
    dsk = {key: value for graph in graphs for key, value in graph.items()}
    if collections:
        dsk.update(in_tuples(merged_graph(adopted(collections, optimize_graph), optimize_graph)))
    drawing = GraphDrawing(dsk)
    if filename is not None:
        drawing.save(filename)
    return drawing


# -- collections -----------------------------------------------------------------------------------------------------


def is_collection(value: object) -> bool:
    """Whether a value follows Dask's collection protocol, and has a graph.

    >>> is_collection([1, 2])
    False
    """
    cls = type(value)
    if not hasattr(cls, "__dask_graph__") or cls is type:
        return False
    if _is_ours(value):
        return True
    if adopter_of(value) is not None and hasattr(cls, "expr"):  # whose graph takes long to make
        return True
    return value.__dask_graph__() is not None  # type: ignore[attr-defined]


def _is_ours(collection: Any) -> bool:
    """Whether it is of a class of taskloom's: this is asked of each, and quick."""
    return hasattr(collection.__class__, "__taskloom_graph__")


def merged_graph(collections: Sequence[Any], optimize_graph: bool) -> Graph:
    """One graph for all collections. Those with the same `__dask_optimize__` are optimised together."""
    graphs = []
    for optimizer, members in _grouped(collections, "__dask_optimize__"):
        dsk = _merge(
            [graph for walk, alike in _grouped(members, "__taskloom_graph__") for graph in _graphs(walk, alike)]
        )
        if optimize_graph and optimizer is not None:
            dsk = optimizer(dsk, [key for member in members for key in flat(member.__dask_keys__())])
        graphs.append(dsk)
    return _merge(graphs)


def _grouped(collections: Sequence[Any], attribute: str) -> Iterable[tuple[Any, Sequence[Any]]]:
    """The collections by what an attribute of theirs is; None where they have none."""
    if len(collections) == 1:
        return ((getattr(collections[0], attribute, None), collections),)
    groups: dict[Any, list[Any]] = {}
    for collection in collections:
        groups.setdefault(getattr(collection, attribute, None), []).append(collection)
    return groups.items()


def _graphs(walk: Callable[[Sequence[Any]], Graph] | None, collections: Sequence[Any]) -> list[Graph]:
    """The graphs of collections of one kind: a single one where one walk can visit them all."""
    return [plain_graph(collection) for collection in collections] if walk is None else [walk(collections)]


def _merge(graphs: Sequence[Graph]) -> Graph:
    if len(graphs) == 1:
        return graphs[0]
    merged: dict[Any, Any] = {}
    for graph in graphs:
        merged.update(in_tuples(graph))
    return merged


def in_tuples(dsk: Graph) -> Graph:
    """A graph made of plain tuples, whatever it is made of."""
    as_tuples = getattr(dsk, "__taskloom_tuples__", None)
    return dsk if as_tuples is None else as_tuples()


def plain_graph(collection: Any) -> Graph:
    """The graph of a collection that is not ours.

    Raises
    ------
    GraphError
        It is no mapping.
    """
    dsk = collection.__dask_graph__()
    name = f"{type(collection).__module__}.{type(collection).__qualname__}"
    if not isinstance(dsk, Mapping):
        raise GraphError(f"__dask_graph__() of a {name} must return a mapping, not {type(dsk).__name__}.")
    return annotated_graph(dsk)


def as_data(value: Any) -> Any:
    """What to put into a graph so that it stands for `value` itself, whatever that is.

    A value that could be taken for a key or a task (text, a number, a tuple ...) becomes a task that returns it.
    """
    cls = type(value)
    cannot_be_key = cls.__hash__ is None  # an array, a frame, a dict ...
    if value is None or (cannot_be_key and not issubclass(cls, list | set)):
        return value
    return (partial(identity, value),)


def rebuilt(collection: Any, dsk: Graph) -> Any:
    """The same collection over another graph."""
    rebuild, state = collection.__dask_postpersist__()
    return rebuild(dsk, *state)


class _Found:
    """The collections in some arguments, each once, and the arguments again with results in their places."""

    def __init__(self, args: Sequence[Any], traverse: bool):
        self.collections: list[Any] = []
        self._slots: dict[int, int] = {}
        if traverse:
            self._templates = [extract(arg, self._slot_of) for arg in args]
        else:
            slots = [self._slot_of(arg) for arg in args]
            self._templates = [arg if i is None else Slot(i) for arg, i in zip(args, slots, strict=True)]

    def replaced(self, values: list[Any]) -> tuple[Any, ...]:
        return tuple([fill(template, values) for template in self._templates])

    def _slot_of(self, value: Any) -> int | None:
        if not is_collection(value):
            return None
        slot = self._slots.setdefault(id(value), len(self.collections))
        if slot == len(self.collections):
            self.collections.append(value)
        return slot
