"""A cluster that has as many workers as there is work for."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

from taskloom.engines.cluster.forks import give_up_in_forks
from taskloom.engines.cluster.scheduler.sizing import Sizer, demand_of, workers_wanted

if TYPE_CHECKING:
    from taskloom.engines.cluster.coordinator.coordinator import Coordinator


class Adaptive:
    """Looks from time to time at what there is to do, and has the cluster grow and shrink with it.

    It ends with `stop`, when the cluster is scaled by hand or adapted otherwise, and with the cluster.

    Attributes
    ----------
    minimum, maximum : bounds for the number of workers.
    interval : seconds between two looks.
    wait_count : how many times in a row fewer workers must do before some go.
    target_duration : seconds within which all work should be done; more workers are wanted for more.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        minimum: int,
        maximum: int,
        interval: float,
        wait_count: int,
        target_duration: float,
    ) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.interval = interval
        self.wait_count = wait_count
        self.target_duration = target_duration
        self._coordinator = coordinator
        self._sizer = Sizer(minimum, maximum, wait_count)
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="taskloom-adaptive", daemon=True).start()
        give_up_in_forks(self)

    @property
    def is_on(self) -> bool:
        """Whether it still has the cluster grow and shrink."""
        return not self._stopped.is_set()

    def stop(self) -> None:
        """Leave the cluster as large as it is."""
        self._stopped.set()

    def let_go(self) -> None:
        """Be over, in a fork: the workers are its parent's."""
        self._stopped = threading.Event()
        self._stopped.set()

    def _run(self) -> None:
        while not self._coordinator.closed:
            self._coordinator.call(self._look)
            if self._stopped.wait(self.interval):
                return
        self._stopped.set()

    def _look(self) -> None:
        """Have as many workers as are wanted; on the coordinator's thread."""
        if self._stopped.is_set():
            return
        coordinator, crew, now = self._coordinator, self._coordinator.crew, perf_counter()
        demand = demand_of(coordinator.scheduler, {id: now - started for _, id, started in crew.running()})
        wanted = workers_wanted(demand, crew.threads, crew.memory_limit, self.target_duration)
        size = self._sizer.size(wanted, crew.size)
        if size != crew.size:
            coordinator.resize(size)

    def __repr__(self) -> str:
        state = "" if self.is_on else ", stopped"
        return f"Adaptive(minimum={self.minimum}, maximum={self.maximum}, interval={self.interval:g}{state})"
