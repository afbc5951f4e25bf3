"""Where what a client's tasks print, warn of and log appears: where they were submitted."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.worker import printing
from taskloom.engines.worker.said import hear

KEPT = 10_000  # places


class Place(Protocol):
    """A cell of a notebook, or a task."""

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function: what it prints appears there."""


class Printing:
    """Remembers where tasks were submitted, as long as it is not the same place as that of those before.

    Outside of notebooks and tasks there is only one place: wherever this process prints.
    """

    def __init__(self) -> None:
        self._places: list[tuple[int, Place | None]] = []  # from which id on; in the order of the ids

    def note(self, first: int) -> None:
        """Tasks with ids from this one on are submitted here. Ids must grow from call to call."""
        place = _here()
        places = self._places
        if (places[-1][1] if places else None) != place:
            places.append((first, place))
            if len(places) > KEPT:
                self._places = places[KEPT // 2 :]

    def printed(self, id: int, name: str, texts: Sequence[str]) -> None:
        """A task has printed something to stdout or stderr."""
        self._run(id, _write, name, "".join(texts))

    def told(self, id: int, what: str, payload: bytes) -> None:
        """A task has warned of something, or logged it."""
        self._run(id, hear, what, payload)

    def _run(self, id: int, function: Callable[..., Any], *args: Any) -> None:
        places = self._places
        number = bisect_right(places, id, key=itemgetter(0)) - 1
        place = places[number][1] if number >= 0 else None
        if place is None:
            function(*args)
        else:
            place.run(function, *args)


def _here() -> Place | None:
    voice = printing.voice()
    if voice is not None:
        return voice
    cell = higher.get("cell")
    return cell() if cell is not None else None


def _write(name: str, text: str) -> None:
    stream = getattr(sys, name)
    if stream is None:
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
