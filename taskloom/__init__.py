"""taskloom runs task graphs, and lets a notebook watch them.

>>> import taskloom
>>> from operator import add
>>> taskloom.get({"a": 1, "b": (add, "a", 2)}, "b")
3
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskloom import config, multiprocessing, threaded, views
from taskloom.bus import Callback, Run, Subscription, last_run, presenters, runs, subscribe
from taskloom.engines import ENGINES
from taskloom.engines.cluster.client.higher import higher
from taskloom.errors import ConfigError, GraphError, SerializationError, SpillError, TaskloomError, WorkerDied
from taskloom.graph import Graph, annotate, foreign, foreign_choices, foreign_graphs, foreign_schedulers

if TYPE_CHECKING:
    from taskloom import diagnostics, distributed
    from taskloom.adapters.dask import disable_dask, enable_dask
    from taskloom.collections.delayed import delayed
    from taskloom.scheduling import compute, optimize, persist, visualize

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "ConfigError",
    "GraphError",
    "Run",
    "SerializationError",
    "SpillError",
    "Subscription",
    "TaskloomError",
    "WorkerDied",
    "annotate",
    "compute",
    "config",
    "delayed",
    "diagnostics",
    "disable_dask",
    "distributed",
    "enable_dask",
    "get",
    "last_run",
    "multiprocessing",
    "optimize",
    "persist",
    "runs",
    "subscribe",
    "threaded",
    "visualize",
]

presenters |= {
    "report": views.report,
    "run_card": views.run_card,
    "runs_card": views.runs_card,
    "graph_card": views.graph_card,
}


def _client_elsewhere(*args: Any, **options: Any) -> Any:
    """A client of dask's own, whose runs are shown."""
    from taskloom.adapters import distributed  # needs dask, and takes long to import

    return distributed.connect(*args, **options)


def _library_elsewhere(value: Any) -> Any:
    """`dask.distributed`, where its clients or futures are meant; nobody means them who has not imported it."""
    if "distributed" not in sys.modules:
        return None
    from taskloom.adapters.dask import choice

    return choice.library_of(value)


def _address_elsewhere() -> Any:
    """The scheduler's address in Dask's configuration, which is read where Dask is loaded or its variable is set."""
    if "dask" not in sys.modules and not os.environ.get("DASK_SCHEDULER_ADDRESS"):
        return None
    from taskloom.adapters.dask import address

    return address.configured()


def _inproc_elsewhere(address: str) -> bool:
    """Whether a scheduler of dask's in this process has the address; nobody has made one who has not imported it."""
    if "distributed" not in sys.modules:
        return False
    from taskloom.adapters.distributed import connection

    return connection.is_in_process(address)


higher |= {
    "client_elsewhere": _client_elsewhere,
    "library_elsewhere": _library_elsewhere,
    "address_elsewhere": _address_elsewhere,
    "inproc_elsewhere": _inproc_elsewhere,
}


def _adopt(collections: Sequence[Any], optimize_graph: bool) -> list[Any]:
    from taskloom.adapters.dask.collections import adopt  # loads Dask, which whoever has such collections has done

    return list(adopt(collections, optimize_graph))


def _graph_of_dask(dsk: Graph) -> Graph:
    from taskloom.adapters.dask.graphs import DaskGraph

    return DaskGraph(dsk)


def _choose_for_dask(scheduler: Any) -> Any:
    from taskloom.adapters.dask.choice import chosen

    return chosen(scheduler)


def _get_of_client(client: Any) -> Any:
    from taskloom.adapters.dask.clients import get_of

    return get_of(client)


foreign |= {"dask": _adopt, "xarray": _adopt}
foreign_choices |= {"dask": _choose_for_dask, "xarray": _choose_for_dask}
foreign_schedulers["distributed"] = _get_of_client
foreign_graphs["dask._task_spec"] = _graph_of_dask

# Names that take longer to import, and where they are.
_LATER = {
    "compute": "taskloom.scheduling",
    "delayed": "taskloom.collections.delayed",
    "diagnostics": "",
    "disable_dask": "taskloom.adapters.dask",
    "distributed": "",
    "enable_dask": "taskloom.adapters.dask",
    "optimize": "taskloom.scheduling",
    "persist": "taskloom.scheduling",
    "visualize": "taskloom.scheduling",
}


def get(dsk: Graph, keys: Any, **options: Any) -> Any:
    """Compute keys of a graph, one task at a time, in this thread.

    Parameters
    ----------
    dsk : mapping
        The graph: keys to values, other keys, tasks ``(callable, *args)``, or lists of those, nested.
    keys : key or list
        One key gives its value, a list a list, nested alike.
    **options
        ``callbacks``: a `Callback`, or several, in place of those registered.

    Raises
    ------
    GraphError
        The graph has a cycle, or a key is missing. Nothing has run.
    TypeError
        An option that no engine knows.

    Examples
    --------
    >>> from operator import add
    >>> get({"a": 1, "b": 2, "c": (add, "a", "b"), "d": (sum, ["a", "b", "c"])}, ["a", "b", ["c", "d"]])
    [1, 2, [3, 6]]
    """
    __tracebackhide__ = True
    return ENGINES["sync"].get(dsk, keys, **options)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LATER:
        raise AttributeError(f"module 'taskloom' has no attribute {name!r}")
    module = import_module(_LATER[name] or f"taskloom.{name}")
    value = getattr(module, name) if _LATER[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext taskloom` calls."""
    from taskloom import notebook

    notebook.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext taskloom` calls."""
    from taskloom import notebook

    notebook.unload(shell)
