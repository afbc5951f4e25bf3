"""How a client sends workers away."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.client.info import ClusterInfo, worker_info


class Retiring(ClusterInfo):
    """Workers that are to end before the cluster does."""

    def retire_workers(self, workers: Any = None, n: Any = None) -> Any:
        """End workers, and have fewer from now on: worker -> what it was, once they have ended.

        They finish what they run, give back what they have not begun, and leave their data to the others; where there
        are none, to the process of the cluster. A result that cannot be pickled is computed again.

        Parameters
        ----------
        workers : names or numbers of workers.
        n : how many, of those with least to do and to move. With neither, all that have nothing to do and hold nothing.

        Raises
        ------
        ValueError
            There is no such worker, or both were given.
        """
        if workers is not None and n is not None:
            raise ValueError("retire_workers takes workers=, or n= of them, not both.")
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 0):
            raise ValueError(f"n={n!r} cannot be used: it takes a whole number, 0 or more.")
        return self._do(self._retire(workers, n))

    async def _retire(self, workers: Any, n: int | None) -> dict[str, dict[str, Any]]:
        numbers = None if workers is None else [worker.number for worker in self._workers(workers)]
        gone, _ = await self._session.answer("retire", numbers, n)
        return {name: worker_info(worker) for name, worker in gone.items()}
