"""Variables that clients and tasks share."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.client.question import Outcome
from taskloom.engines.cluster.client.shared import Shared
from taskloom.engines.cluster.compared import VARIABLE, compared


@compared(VARIABLE)
class Variable(Shared):
    """A variable that all set and get.

    A future is a value like others, and its result stays on the cluster as long as the variable has it.

    Parameters
    ----------
    name, client : as for `Lock`.

    Examples
    --------
    >>> from taskloom.distributed import Client, Variable
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     best = Variable("best")
    ...     best.set(0.25)
    ...     client.submit(best.get).result()
    0.25
    """

    _kind = "variables"

    def set(self, value: Any, timeout: Any = "30 s") -> Any:
        """Have another value.

        Parameters
        ----------
        timeout : taken for the sake of programs for dask.distributed, and ignored: there is nothing to wait for.

        Raises
        ------
        SerializationError
            The value cannot be pickled.
        """
        return self._ask("set", self.name, values=(value,))

    def get(self, timeout: Any = None) -> Any:
        """The value, as soon as there is one.

        Parameters
        ----------
        timeout : seconds, or a text such as ``"2s"``.

        Raises
        ------
        TimeoutError
            It was not set in time.
        """

        def finish(outcome: Outcome, number: int) -> Any:
            if outcome.late:
                raise TimeoutError(f"Variable {self._shown()} was not set in time.")
            return outcome.items[0]

        return self._ask("get", self.name, timeout=timeout, finish=finish)

    def delete(self) -> Any:
        """Have no value, for all."""
        return self._ask("delete", self.name)
