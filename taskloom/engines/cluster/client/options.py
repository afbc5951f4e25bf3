"""How tasks are to be run, as people say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from taskloom.engines.cluster.scheduler.tasks import Options, Slice
from taskloom.engines.cluster.worker.place import current_task
from taskloom.engines.processes_errors import describe
from taskloom.errors import ConfigError
from taskloom.graph import check_annotation

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "us": 1e-6, "": 1.0}


def options_of(
    priority: Any = 0,
    retries: Any = None,
    workers: Any = None,
    allow_other_workers: bool = False,
    resources: Any = None,
    deaths: Any = None,
    fifo_timeout: Any = None,
    actor: bool = False,
) -> Options | None:
    """The options of some tasks; None where all are the defaults.

    Parameters
    ----------
    workers : a worker's name or number, or several.
    fifo_timeout : has no meaning here, and is ignored.
    actor : whether the result stands for an object that stays in its worker.

    Raises
    ------
    ValueError
        One of them cannot be used.

    Examples
    --------
    >>> options_of(workers=[1, "worker-0"], retries=2).workers == {"worker-0", "worker-1"}
    True
    """
    if not priority and not retries and workers is None and resources is None and deaths is None and not actor:
        return None
    check_annotation("priority", priority or 0)
    check_annotation("retries", retries)
    return Options(
        priority=int(priority or 0),
        retries=int(retries or 0),
        deaths=_count("deaths", deaths),
        workers=None if workers is None else frozenset(worker_names(workers)),
        allow_other_workers=bool(allow_other_workers),
        resources=tuple(sorted(amounts_of(resources).items())),
        actor=actor,
    )


def amounts_of(resources: Any) -> dict[str, float]:
    """Resources by name, those that a worker has or that a task takes.

    >>> amounts_of({"GPU": 1})
    {'GPU': 1.0}

    Raises
    ------
    ConfigError
        They cannot be used.
    """
    try:
        check_annotation("resources", resources)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return {str(name): float(amount) for name, amount in (resources or {}).items()}


def check_key(key: Any) -> None:
    """Refuse a name of a task that is none: it goes to other processes, where it must be the same.

    >>> check_key(("x", 0))
    """
    if isinstance(key, tuple):
        for part in key:
            check_key(part)
    elif not isinstance(key, str | bytes | int | float):
        raise TypeError(f"{describe(key)} cannot be a key: keys are str, bytes, int, float, or tuples of those.")


def from_here(slice: Slice) -> Slice:
    """Tasks that the calling thread submits: those of a task go first, as it may wait for them, with others of its kind
    behind it that would wait, too."""
    here = current_task()
    if here is not None:
        slice.options = _sooner(slice.options, here[1])
        slice.own = {id: _sooner(options, here[1]) for id, options in slice.own.items()}
    return slice


def _sooner(options: Options | None, origin: int) -> Options:
    options = options or Options()
    return replace(options, priority=options.priority + 1, origin=origin)


def worker_names(workers: Any) -> list[str]:
    """Names of workers, given by name or by number, one or several.

    >>> worker_names(2), worker_names(["worker-0", 1])
    (['worker-2'], ['worker-0', 'worker-1'])
    """
    several = workers if isinstance(workers, Iterable) and not isinstance(workers, str) else [workers]
    names = []
    for worker in several:
        if isinstance(worker, str):
            names.append(worker)
        elif hasattr(worker, "__index__") and not isinstance(worker, bool):
            names.append(f"worker-{int(worker)}")
        else:
            raise ValueError(f"workers={workers!r} cannot be used: it takes names of workers, such as 'worker-0'.")
    if not names:
        raise ValueError("workers= holds no worker: leave it out where any will do.")
    return names


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool | float) or not hasattr(value, "__index__") or value < 0:
        raise ValueError(f"{name}={value!r} cannot be used: it takes a whole number, 0 or more.")
    return int(value)


def seconds_of(timeout: Any) -> float | None:
    """A time as a number of seconds: a number, a text such as "500 ms", or None.

    >>> seconds_of("500 ms"), seconds_of(2), seconds_of(None)
    (0.5, 2.0, None)
    """
    if timeout is None:
        return None
    if isinstance(timeout, str):
        text = timeout.strip().lower()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz").strip()
        unit = text[len(digits) :].strip()
        if unit in _UNITS:
            return float(digits) * _UNITS[unit]
        raise ValueError(f"timeout={timeout!r} cannot be used: it takes seconds, or a text such as '2s' or '500 ms'.")
    if hasattr(timeout, "total_seconds"):
        return float(timeout.total_seconds())
    return float(timeout)
