"""How times are taken: in rounds, in each of which every contender has its turn."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How thorough a measurement is to be. A quick one only shows that everything works."""

    rounds: int
    quick: bool

    def choose(self, full: T, quick: T) -> T:
        return quick if self.quick else full


@dataclass(frozen=True)
class Times:
    """The seconds that each contender took, round by round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times as long as `other` `name` takes: the median over rounds, whose weather both shared."""
        return median(mine / theirs for mine, theirs in zip(self.seconds[name], self.seconds[other], strict=True))

    def without(self, name: str) -> Times:
        """The times of the others, less in each round what `name` took."""
        base = self.seconds[name]
        return Times(
            {
                other: [mine - less for mine, less in zip(seconds, base, strict=True)]
                for other, seconds in self.seconds.items()
                if other != name
            }
        )


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: bool = True,
    between: Callable[[], object] = lambda: None,
) -> Times:
    """Time the contenders: once each per round, and each round begins with another one.

    Garbage is collected before each turn, so that nobody pays for what others left. Apart from that the collector is
    as Python sets it, also while the clock runs. The first turn of all, which warms pools and caches, does not count.
    `between` is called before each turn, too: there, what a turn has left to other threads can come to its end.
    """
    if warm_up:
        for contender in contenders.values():
            contender()
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            contender = contenders[name]
            between()
            gc.collect()
            begun = perf_counter()
            answer = contender()
            seconds[name].append(perf_counter() - begun)
            del answer
    return Times(seconds)
