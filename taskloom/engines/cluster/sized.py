"""How many workers a cluster has, as people say it."""

from __future__ import annotations

from typing import Any

from taskloom.engines.cluster.adaptive import Adaptive
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cpus import usable_cpus


class Sized:
    """A cluster that grows and shrinks."""

    _coordinator: Any
    _adaptive: Adaptive | None = None

    def _check(self) -> None:
        raise NotImplementedError

    def scale(self, n: Any) -> None:
        """Have so many workers from now on. The data of those that go are kept by the others.

        Parameters
        ----------
        n : how many. With 0 the data are kept in this process, and what is submitted waits for workers.
        """
        _check_count(f"scale({n!r}) cannot be done", n, 0)
        self._check()
        self._stop_adapting()
        self._coordinator.call(self._coordinator.resize, n)

    def adapt(
        self,
        minimum: int = 0,
        maximum: int | None = None,
        interval: Any = "1s",
        wait_count: int = 3,
        target_duration: Any = "5s",
    ) -> Adaptive:
        """Have as many workers as there is work for, until `scale` says how many there are.

        Parameters
        ----------
        minimum, maximum : bounds; by default none, and as many as there are cores for.
        interval : time between two looks at what there is to do: seconds, or a text such as ``"500 ms"``.
        wait_count : how many times in a row fewer workers must do before some go.
        target_duration : the time within which all that could run now should be done.

        Returns
        -------
        Adaptive
            Its ``stop()`` leaves the cluster as large as it is.

        Raises
        ------
        ValueError
            There is something that cannot be used.
        """
        self._check()
        _check_count(f"minimum={minimum!r} cannot be used", minimum, 0)
        _check_count(f"wait_count={wait_count!r} cannot be used", wait_count, 1)
        if maximum is None:
            maximum = max(minimum, self._most())
        _check_count(f"maximum={maximum!r} cannot be used", maximum, max(1, minimum))
        seconds = _duration("interval", interval), _duration("target_duration", target_duration)
        self._stop_adapting()
        self._adaptive = Adaptive(self._coordinator, minimum, maximum, seconds[0], wait_count, seconds[1])
        return self._adaptive

    def sizes(self) -> tuple[int, int]:
        """How many workers there should be now, and for how many there are cores."""
        return self._coordinator.crew.size, self._most()

    def _most(self) -> int:
        return max(1, usable_cpus() // int(self._coordinator.crew.threads))

    @property
    def adaptive(self) -> Adaptive | None:
        """What has the cluster grow and shrink; None where nothing does."""
        return self._adaptive if self._adaptive is not None and self._adaptive.is_on else None

    def _stop_adapting(self) -> None:
        if self._adaptive is not None:
            self._adaptive.stop()
            self._adaptive = None


def _check_count(wrong: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{wrong}: it takes a whole number, {least} or more.")


def _duration(name: str, value: Any) -> float:
    """A time above 0, in seconds."""
    try:
        seconds = seconds_of(value)
    except (TypeError, ValueError):
        seconds = None
    if seconds is None or not 0 < seconds < float("inf"):
        raise ValueError(f"{name}={value!r} cannot be used: it takes seconds above 0, or a text such as '500 ms'.")
    return seconds
