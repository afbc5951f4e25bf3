"""Queues between clients and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.question import Outcome
from taskloom.engines.cluster.client.shared import Shared
from taskloom.engines.cluster.compared import QUEUE, compared

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client


@compared(QUEUE)
class Queue(Shared):
    """A queue that clients and tasks put values to, and get them from.

    Futures are put as such, and their results stay on the cluster as long as they are in the queue. A value that was
    got by a worker that is killed before it had it is the next one again.

    Parameters
    ----------
    name, client : as for `Lock`.
    maxsize : how many values there may be; by default any number. Whoever opens the queue first says so for all.

    Examples
    --------
    >>> from taskloom.distributed import Client, Queue
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     queue = Queue("results")
    ...     queue.put(client.submit(pow, 2, 5))
    ...     queue.get().result()
    32
    """

    _kind = "queues"

    def __init__(self, name: Any = None, client: Client | None = None, maxsize: int = 0) -> None:
        super().__init__(name, client)
        self.maxsize = maxsize
        self._is_open = maxsize <= 0  # one without a limit needs no opening
        try:
            self._open()
        except ValueError:  # there is no client here: it is opened when it is used
            pass

    def _open(self) -> None:
        if not self._is_open:
            self.client._session.ask("coordinate", self._kind, "open", (self.name, self.maxsize), ())
            self._is_open = True

    def put(self, value: Any, timeout: Any = None) -> Any:
        """Put a value, as soon as there is room.

        Parameters
        ----------
        timeout : seconds, or a text such as ``"2s"``.

        Raises
        ------
        TimeoutError
            There was no room in time.
        SerializationError
            The value cannot be pickled.
        """

        def finish(outcome: Outcome, number: int) -> None:
            if outcome.late:
                raise TimeoutError(f"Queue {self._shown()} is full, and nobody has got anything from it in time.")

        self._open()
        return self._ask("put", self.name, values=(value,), timeout=timeout, finish=finish)

    def get(self, timeout: Any = None, batch: bool | int = False) -> Any:
        """Take the value that was put first, as soon as there is one.

        Parameters
        ----------
        timeout : seconds, or a text such as ``"2s"``.
        batch : True: a list of all that there are, and do not wait; a number: a list of so many.

        Raises
        ------
        TimeoutError
            There was none in time.
        """

        def finish(outcome: Outcome, number: int) -> Any:
            if outcome.late:
                raise TimeoutError(f"Queue {self._shown()} has not had so much in time.")
            return outcome.items[0] if batch is False else list(outcome.items)

        self._open()
        if batch is True:
            return self._ask("get_all", self.name, timeout=timeout, finish=finish)
        count = 1 if batch is False else batch
        if count < 1:
            raise ValueError(f"batch={batch!r} cannot be used: it takes True, or a number of values, 1 or more.")
        return self._ask("get", self.name, count, timeout=timeout, finish=finish)

    def qsize(self) -> Any:
        """How many values there are."""
        return self._ask("size", self.name)

    def close(self) -> Any:
        """Have the cluster forget the queue and what is in it. Those who wait for it get an error."""
        return self._ask("close", self.name)

    def __reduce__(self) -> Any:
        return type(self), (self.name, None, self.maxsize)
