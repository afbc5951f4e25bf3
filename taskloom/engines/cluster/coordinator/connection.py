"""How a client and the coordinator of the same process talk: by calls and queues, nothing is pickled on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator


class LocalConnection:
    """A client's connection to the coordinator in its own process.

    Attributes
    ----------
    number : the number of the client.
    threads : whether the workers are threads of this process.
    """

    def __init__(
        self, number: int, coordinator: Coordinator, hear: Callable[[str, tuple[Any, ...], Sequence[Any]], None]
    ) -> None:
        self.number = number
        self._coordinator: Coordinator | None = coordinator  # None: it has gone, or the client has
        self._hear = hear
        self.threads = not coordinator.crew.processes
        self.pack = coordinator.crew.pack
        self.pack_error = coordinator.crew.pack_error
        self.unpack_error = coordinator.crew.unpack_error

    def send(self, kind: str, *fields: Any, parcels: Sequence[Any] = ()) -> None:
        """Have the coordinator do something, soon; in the order of the calls."""
        coordinator = self._coordinator
        if coordinator is not None:
            coordinator.call(coordinator.inbox.from_client, self.number, kind, fields, parcels)
        else:
            for parcel in parcels:
                parcel.close()

    def hear(self, kind: str, fields: tuple[Any, ...], parcels: Sequence[Any]) -> None:
        """Tell the client something; on the coordinator's thread. The parcels that it gets are its own."""
        self._hear(kind, fields, parcels)
        if kind == "gone":
            self._coordinator = None

    def running(self) -> list[tuple[int, int, float]]:
        """What runs right now: worker, id of the task, and since when."""
        coordinator = self._coordinator
        return [] if coordinator is None else coordinator.crew.running()

    def close(self) -> None:
        """Leave the cluster."""
        self.send("close")
        self._coordinator = None  # records of what was run keep this connection
