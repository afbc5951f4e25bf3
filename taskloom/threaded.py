"""The door to the threads engine, as `dask.threaded` is to Dask's."""

from __future__ import annotations

from typing import Any

from taskloom.engines import ENGINES
from taskloom.graph import Graph

__all__ = ["get"]


def get(dsk: Graph, keys: Any, num_workers: int | None = None, pool: Any = None, **options: Any) -> Any:
    """Compute keys of a graph with threads.

    Parameters
    ----------
    dsk : mapping
        The graph: keys to values, other keys, tasks ``(callable, *args)``, or lists of those, nested.
    keys : key or list
        One key gives its value, a list a list, nested alike.
    num_workers : int, optional
        How many tasks may run at a time; by default as many as the machine has cores.
    pool : ThreadPoolExecutor, multiprocessing.pool.ThreadPool or Executor, optional
        Run tasks there instead of on taskloom's own threads.
    **options
        ``callbacks``: a `Callback`, or several, in place of those registered.

    Raises
    ------
    GraphError
        The graph has a cycle, or a key is missing. Nothing has run.
    TypeError
        An option that no engine knows.
    ConfigError
        A value that cannot be used, such as a pool that was shut down.

    Examples
    --------
    >>> from operator import add
    >>> get({"a": 1, "b": 2, "c": (add, "a", "b")}, ["c", "a"])
    [3, 1]
    """
    __tracebackhide__ = True
    return ENGINES["threads"].get(dsk, keys, num_workers=num_workers, pool=pool, **options)
