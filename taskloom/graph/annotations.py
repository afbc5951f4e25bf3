"""How tasks should be run, said where their graph is built: an engine that knows what is meant heeds it.

In a graph, an annotated task is one whose function is an `Annotated`. So annotations go wherever the task goes, and an
engine that knows nothing of them runs the task as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import Any

from taskloom.graph.recipe import Recipe
from taskloom.graph.task import Graph, Key, did_you_mean, is_task

Annotations = Mapping[str, Any]

NONE: Mapping[Any, Any] = {}

#: What the blocks ask for that this thread or coroutine is inside of.
here: ContextVar[Annotations] = ContextVar("annotations", default=NONE)


@contextmanager
def annotate(**annotations: Any) -> Iterator[None]:
    """A block in which tasks are made, or submitted, that should be run in some way.

    It applies to delayed calls that are made in it, and to all that is submitted, computed or persisted in it on a
    cluster. Inner blocks say more, or something else; what a call says itself, as in ``submit(..., priority=1)``, comes
    before the blocks that it is in, and what a delayed call was made with comes before both. Clusters heed all of it.
    The other engines run such tasks as any others.

    Parameters
    ----------
    priority : larger ones go first.
    retries : how often a task that raises is tried again.
    workers : names or numbers of workers that may run it.
    allow_other_workers : whether others may, where none of those is there.
    resources : what it needs of what workers have, such as ``{"GPU": 1}``.

    Each of them may be a function that says it for a key.

    Raises
    ------
    TypeError
        There is no such annotation.
    ValueError
        A value that cannot be used.

    Examples
    --------
    >>> from taskloom import delayed
    >>> with annotate(priority=10, retries=2):
    ...     value = delayed(abs)(-1)
    >>> value.compute()
    1
    """
    for name, value in annotations.items():
        check_annotation(name, value)
    token = here.set({**here.get(), **annotations})
    try:
        yield
    finally:
        here.reset(token)


class Annotated:
    """A function, and how the task that calls it should be run."""

    __slots__ = ("annotations", "func")

    def __init__(self, func: Callable[..., Any], annotations: Annotations) -> None:
        self.func = func
        self.annotations = annotations

    def __call__(self, *args: Any) -> Any:
        __tracebackhide__ = True
        return self.func(*args)

    def __repr__(self) -> str:
        return f"<{self.func!r}, annotated>"


def annotated(key: Key, task: Any, annotations: Annotations) -> Any:
    """The task with annotations, those that are functions called with its key. What is no task has none.

    >>> annotated("x", (abs, -1), {"priority": len})
    (<<built-in function abs>, annotated>, -1)
    """
    if not is_task(task):
        return task
    if any(map(callable, annotations.values())):
        annotations = {name: value(key) if callable(value) else value for name, value in annotations.items()}
    return (Annotated(task[0], annotations), *task[1:])


def annotations_of(function: Any) -> Annotations:
    """How a task with this function should be run."""
    if function.__class__ is Recipe:
        function = function.func
    return function.annotations if function.__class__ is Annotated else NONE


def annotated_graph(dsk: Graph) -> dict[Any, Any]:
    """The graph as a dictionary, in which tasks of annotated layers are annotated: a graph of Dask's has layers."""
    if isinstance(dsk, dict) and (dsk.__class__ is dict or hasattr(dsk, "__taskloom_reader__")):
        return dsk
    graph = dict(dsk)
    layers = getattr(dsk, "layers", None)
    for layer in layers.values() if isinstance(layers, Mapping) else ():
        found = getattr(layer, "annotations", None) or {}
        known = {name: value for name, value in found.items() if is_annotation(name)}
        if known:
            graph.update({key: annotated(key, graph[key], known) for key in layer if key in graph})
    return graph


# -- what annotations can be -------------------------------------------------------------------------------------------


def is_annotation(name: str) -> bool:
    """Whether there is an annotation of this name."""
    return name in _CHECKS


def check_annotation(name: str, value: Any) -> None:
    """Refuse what is no annotation, or cannot be the value of one.

    >>> check_annotation("retries", 3)
    """
    if name not in _CHECKS:
        hint = did_you_mean(name, _CHECKS)
        raise TypeError(f"There is no annotation {name!r}.{hint} There are: {', '.join(_CHECKS)}.")
    if not callable(value) and (wrong := _CHECKS[name](value)):
        raise ValueError(f"{name}={value!r} cannot be used: it takes {wrong}.")


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool | float) and hasattr(value, "__index__")


def _check_priority(value: Any) -> str:
    return "" if _is_whole(value) else "a whole number, larger ones run first"


def _check_count(value: Any) -> str:
    return "" if value is None or (_is_whole(value) and value >= 0) else "a whole number, 0 or more"


def _check_workers(value: Any) -> str:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    names = list(value) if several else [value]
    if value is None or (names and all(isinstance(name, str) or _is_whole(name) for name in names)):
        return ""
    return "names of workers, such as 'worker-0'"


def _check_flag(value: Any) -> str:
    return "" if isinstance(value, bool) or value is None else "True or False"


def _check_resources(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, Mapping):
        return "a mapping, such as {'GPU': 1}"
    fine = all(
        amount.__class__ is not bool and isinstance(amount, Real) and float(amount) >= 0 for amount in value.values()
    )
    return "" if fine else "a mapping of amounts, each a number, 0 or more"


_CHECKS: dict[str, Callable[[Any], str]] = {
    "priority": _check_priority,
    "retries": _check_count,
    "workers": _check_workers,
    "allow_other_workers": _check_flag,
    "resources": _check_resources,
}
