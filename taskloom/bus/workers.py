"""The workers of a run: what they used, held, and sent to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Worker:
    """A thread or process that ran tasks: joined and left in seconds since the run started.

    Worker processes hold results: `held` are the bytes of those there now, `peak_held` the most there were at a time,
    as far as results have a size that can be told.
    """

    name: str
    pid: int
    threads: int = 1
    joined: float = 0.0
    left: float | None = None
    held: int = 0
    peak_held: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a worker's process used: `time` in seconds since the run started, `cpu` in percent of one core.

    `held` are the bytes of results there, as far as they have a size that can be told.
    """

    time: float
    worker: int
    cpu: float
    rss: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """A result that went to another worker: `time` in seconds since the run started, its task, from where to where.

    `target` is None where the result went into a store that all workers read.
    """

    time: float
    task: int
    source: int
    target: int | None
    nbytes: int
