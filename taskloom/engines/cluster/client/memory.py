"""Where results are, as a client may have it."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.client.gathering import settled
from taskloom.engines.cluster.client.info import ClusterInfo


class Memory(ClusterInfo):
    """Has results on other workers, or on more of them."""

    def replicate(self, futures: Any, n: int | None = None, workers: Any = None, branching_factor: Any = None) -> Any:
        """Have results on several workers, so that none is lost with one of them; waits until it is done.

        Parameters
        ----------
        futures : of these, in containers of any depth.
        n : on how many workers; by default on all. Copies beyond that are dropped.
        workers : names of the workers that count; by default all.
        branching_factor : of no consequence: a result is sent once, and mapped by all workers.
        """
        if n is not None and n < 1:
            raise ValueError(f"n={n} cannot be used: it takes 1 or more. To have a result dropped, release it.")
        return self._do(self._moved("replicate", futures, workers, n))

    def rebalance(self, futures: Any = None, workers: Any = None) -> Any:
        """Have about as many bytes of results on each worker, by moving some; waits until it is done.

        Parameters
        ----------
        futures : only results of these are moved; by default of any.
        workers : names of the workers among which they are; by default all.
        """
        return self._do(self._moved("rebalance", futures, workers))

    async def _moved(self, what: str, futures: Any, workers: Any, *more: Any) -> None:
        from taskloom.engines.cluster.client.waiting import futures_in

        session = self._session
        states = None if futures is None else [future._state for future in futures_in(futures)]
        await settled(states or ())
        ids = None if states is None else [state.id for state in states]
        numbers = None if workers is None else [worker.number for worker in self._workers(workers)]
        await session.answer(what, ids, *more, numbers)
