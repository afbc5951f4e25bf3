"""How tasks are asked to be run: by a call, by the blocks that it is in, and by what the tasks were made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from taskloom.engines.cluster.client.options import options_of
from taskloom.engines.cluster.scheduler.tasks import Options, Slice
from taskloom.graph import Key, did_you_mean
from taskloom.graph.annotations import NONE, here

#: By name what is asked for; a value may be a function of the key.
Asked = Mapping[str, Any]

NAMES = ("priority", "retries", "workers", "allow_other_workers", "resources")


def asked_for(
    priority: Any = 0,
    retries: Any = None,
    workers: Any = None,
    allow_other_workers: bool = False,
    resources: Any = None,
    deaths: Any = None,
    fifo_timeout: Any = None,
    **others: Any,
) -> Asked:
    """What a call asks for, as for `options_of`, and where it says nothing the blocks that it is in.

    Raises
    ------
    TypeError
        There is no such option.
    ValueError
        There is something that cannot be used.

    Examples
    --------
    >>> from taskloom.graph import annotate
    >>> with annotate(priority=1, retries=2):
    ...     asked_for(priority=3)
    {'priority': 3, 'retries': 2}
    """
    for option in others:
        raise TypeError(f"Tasks have no option {option!r}.{did_you_mean(option, NAMES)} There are: {', '.join(NAMES)}.")
    around = here.get()
    if allow_other_workers and workers is None and "workers" not in around:
        raise ValueError("allow_other_workers= says something of workers=, which is not given.")
    given = {"priority": priority or None, "retries": retries, "workers": workers, "resources": resources}
    given |= {"allow_other_workers": allow_other_workers or None, "deaths": deaths}
    asked = {**around, **{name: value for name, value in given.items() if value is not None}}
    if not _varies(asked):
        options_of(**asked)
    return asked


def _varies(asked: Asked) -> bool:
    """Whether it is not the same for all keys."""
    return any(map(callable, asked.values()))


def options_for(asked: Asked, key: Key = None) -> Options | None:
    """The options of the task with a key, None where all are the defaults."""
    if not asked:
        return None
    return options_of(**{name: value(key) if callable(value) else value for name, value in asked.items()})


def give_options(slice: Slice, asked: Asked, annotated: Mapping[int, Asked] = NONE) -> Slice:
    """Say how the tasks of a slice are to be run: as is asked, and some as they were annotated.

    Parameters
    ----------
    annotated : what was said of tasks when they were made, by their places in the slice.
    """
    places: Iterable[int] = annotated
    if _varies(asked):
        places = range(len(slice.keys))
    else:
        slice.options = options_for(asked)
    slice.own = {
        slice.first + place: options_for({**asked, **annotated.get(place, NONE)}, slice.keys[place]) for place in places
    }
    return slice
