"""The record of what other clients have run on the cluster, while somebody looks on."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import nan
from typing import Any

from taskloom.bus.growing_run import GrowingRun
from taskloom.engines.cluster.client.books import MOST_ROWS, FuturesBook
from taskloom.graph import Key, task_name


def name_of_others(engine: str) -> str:
    """The engine's name in runs of other clients.

    Examples
    --------
    >>> name_of_others("distributed")
    'distributed, other clients'
    """
    return f"{engine}, other clients"


class ForeignRun(GrowingRun):
    """Tasks that were done for other clients. Their keys here are pairs of a name that says whose they are, and the
    key.

    Attributes
    ----------
    clients : per task the number of its client.
    """

    foreign = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.clients = array("L")


class OthersBook(FuturesBook):
    """Writes it."""

    run: ForeignRun

    def takes(self, n: int) -> bool:
        return not self.run.stopped and self.run.n_tasks + n <= MOST_ROWS

    def begin(self, when: float) -> None:
        """Have the run begin at this clock reading: its tasks are done when they are heard of."""
        run = self.run
        run.started -= run.zero - when
        run.zero = when

    def see(
        self,
        worker: int,
        keys: Sequence[Key],
        clients: Sequence[int],
        times: Sequence[float],
        sizes: Sequence[float],
    ) -> None:
        """Tasks have been done."""
        run, n = self.run, len(keys)
        names = [f"{task_name(key)} (client {client})" for key, client in zip(keys, clients, strict=True)]
        if (earliest := min(times)) < run.zero:  # its worker has told of it after others had of later ones
            self.begin(earliest)
        run.clients.extend(clients)
        first = run.extend(list(zip(names, keys, strict=True)), names, [()] * n)
        rows = range(first, first + n)
        self.report(worker, rows, rows, times, {}, dict(zip(rows, sizes, strict=True)), nan)
