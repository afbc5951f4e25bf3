"""Events that clients and tasks wait for."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.client.shared import Shared, in_time
from taskloom.engines.cluster.compared import EVENT, compared


@compared(EVENT)
class Event(Shared):
    """A flag, not set at first, to wait for.

    Parameters
    ----------
    name, client : as for `Lock`.

    Examples
    --------
    >>> from taskloom.distributed import Client, Event
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     event = Event("begin")
    ...     waits = client.submit(event.wait)
    ...     event.set()
    ...     waits.result()
    True
    """

    _kind = "events"

    def wait(self, timeout: Any = None) -> Any:
        """Wait until it is set; False if it is not within `timeout` seconds (a number, or a text such as ``"2s"``)."""
        return self._ask("wait", self.name, timeout=timeout, finish=in_time)

    def set(self) -> Any:
        """Let all go on who wait, or will."""
        return self._ask("set", self.name)

    def clear(self) -> Any:
        """Have those wait who come from now on."""
        return self._ask("clear", self.name)

    def is_set(self) -> Any:
        """Whether it is set."""
        return self._ask("is_set", self.name)
