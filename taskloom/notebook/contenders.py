"""What `%compare` compares: taskloom's engines, and the cluster of Dask's that a client is open for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from taskloom import config
from taskloom.engines import find_engine
from taskloom.notebook.selector import known_engines
from taskloom.scheduling import get_scheduler

CLUSTER_OF_DASK = "dask.distributed"  # as its runs call their engine


class Contender(NamedTuple):
    """Something that can run a cell.

    Attributes
    ----------
    name : what its runs call their engine.
    unavailable : why it cannot; empty where it can.
    scheduler : gives what the setting ``scheduler`` is to be.
    """

    name: str
    unavailable: str
    scheduler: Callable[[], Any]

    @contextmanager
    def in_force(self) -> Iterator[Any]:
        """A block in which it runs whatever does not choose for itself; gives its ``get(dsk, keys)``."""
        scheduler = self.scheduler()
        with _no_choice_of_dask(), config.Assignment({"scheduler": scheduler}, source="%compare"):
            yield get_scheduler(scheduler)


def contender_names() -> list[str]:
    """Those that there are, each once."""
    names = [engine.name for engine in known_engines()]
    return names if _client_of_dask() is None else [*names, CLUSTER_OF_DASK]


def contenders(names: Sequence[str]) -> list[Contender]:
    """Those of these names."""
    return [_of_dask() if name == CLUSTER_OF_DASK else _engine(name) for name in names]


def _engine(name: str) -> Contender:
    engine = find_engine(name)
    is_ours = name != "distributed" or _client_of_dask() is None
    return Contender(name, engine.unavailable(), (lambda: name) if is_ours else _own_client)


def _own_client() -> Any:
    """A client of taskloom's: the name would mean that of Dask's."""
    from taskloom.engines.cluster.shared import open_client

    return open_client()


def _of_dask() -> Contender:
    client = _client_of_dask()
    reason = ""
    if client is None:
        reason = "No client of it is open."
    elif client.asynchronous:
        reason = "Its client is asynchronous."
    return Contender(CLUSTER_OF_DASK, reason, lambda: client)


def _client_of_dask() -> Any:
    if "distributed" not in sys.modules:
        return None
    from taskloom.adapters.dask.choice import current_client

    return current_client()


@contextmanager
def _no_choice_of_dask() -> Iterator[None]:
    """A block in which Dask's configuration does not choose what runs its collections, unless it is set inside."""
    dask = sys.modules.get("dask")
    if dask is None:
        yield
        return
    with dask.config.set(scheduler=None):
        yield
