"""The door to the processes engine, as `dask.multiprocessing` is to Dask's."""

from __future__ import annotations

from typing import Any

from taskloom.engines import ENGINES
from taskloom.graph import Graph

__all__ = ["get"]


def get(
    dsk: Graph, keys: Any, num_workers: int | None = None, pool: Any = None, context: str | None = None, **options: Any
) -> Any:
    """Compute keys of a graph in worker processes, which stay warm for the next call.

    Functions, arguments and results travel by cloudpickle, so that lambdas, closures and what a notebook defines work.

    Parameters
    ----------
    dsk : mapping
        The graph: keys to values, other keys, tasks ``(callable, *args)``, or lists of those, nested.
    keys : key or list
        One key gives its value, a list a list, nested alike.
    num_workers : int, optional
        How many tasks may run at a time; by default as many as the machine has cores.
    pool : ProcessPoolExecutor, loky executor or multiprocessing.Pool, optional
        Run tasks there instead of in taskloom's own workers.
    context : str, optional
        How worker processes are started: ``"spawn"``, new interpreters, by default; ``"forkserver"``, copies of a
        process that has loaded nothing yet; ``"fork"``, copies of this process, which start at once and share what is
        in memory, but may hang where other threads hold locks. None of them runs your script again.
    **options
        ``retries``: how often a task is tried again after its worker died (3), a number or a mapping from keys to
        numbers; what a task raises is never tried again. ``initializer``, ``initargs``: a function that each worker
        calls before this run, in new workers. ``memory_limit``: how large results may grow before no further data is
        produced until some is used up: bytes, ``"4 GiB"``, ``"50%"`` of the memory or a fraction of it (0.7).
        ``callbacks``: a `Callback`, or several, in place of those registered.

    Raises
    ------
    GraphError
        The graph has a cycle, or a key is missing. Nothing has run.
    WorkerDied
        A task ended its worker process each time it was tried.
    SerializationError
        A function, an argument or a result cannot be pickled.
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
    return ENGINES["processes"].get(dsk, keys, num_workers=num_workers, pool=pool, context=context, **options)
