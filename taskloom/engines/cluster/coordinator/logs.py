"""The last of what workers have printed, warned of and logged, and of how they came and went."""

from __future__ import annotations

from collections import deque
from itertools import groupby
from operator import itemgetter

from taskloom.engines.worker.said import as_line

MOST_ENTRIES = 10_000  # of a worker
MOST_BYTES = 1 << 18  # ... in all
STREAMS = {"stdout": "STDOUT", "stderr": "STDERR"}

Entry = tuple[str, str | bytes]  # "stdout", "stderr", "warning", "record" or a level; and the text, or a packed one
Line = tuple[str, str]  # level and text


class Log:
    """The last entries of one worker."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def add(self, kind: str, content: str | bytes) -> None:
        content = content[-MOST_BYTES:] if isinstance(content, str) else content
        self._entries.append((kind, content))
        self._bytes += len(content)
        while self._entries and (self._bytes > MOST_BYTES or len(self._entries) > MOST_ENTRIES):
            self._bytes -= len(self._entries.popleft()[1])

    def entries(self) -> list[Entry]:
        """A copy; any thread may ask for it."""
        return list(self._entries.copy())


class Logs:
    """Logs by the names of workers. A worker that takes the place of another has its name, and goes on with its log."""

    def __init__(self) -> None:
        self._by_worker: dict[str, Log] = {}

    def add(self, worker: str, kind: str, content: str | bytes) -> None:
        if worker not in self._by_worker:
            self._by_worker[worker] = Log()
        self._by_worker[worker].add(kind, content)

    def entries(self) -> dict[str, list[Entry]]:
        """The entries by worker; any thread may ask for them."""
        return {name: log.entries() for name, log in list(self._by_worker.items())}


def lines_of(entries: list[Entry]) -> list[Line]:
    """Entries as levels and lines, oldest first.

    >>> lines_of([("stdout", "one\\ntwo "), ("stdout", "three\\n"), ("INFO", "It was ended.")])
    [('STDOUT', 'one'), ('STDOUT', 'two three'), ('INFO', 'It was ended.')]
    """
    lines: list[Line] = []
    for kind, group in groupby(entries, itemgetter(0)):
        contents = [content for _, content in group]
        if kind in STREAMS:
            lines += [(STREAMS[kind], line) for line in "".join(map(str, contents)).splitlines()]
        else:
            lines += [_line(kind, content) for content in contents]
    return lines


def _line(kind: str, content: str | bytes) -> Line:
    if isinstance(content, str):
        return kind, content
    try:
        return as_line(kind, content)
    except Exception as error:  # what it is made of may be known in the worker only
        return "WARNING", f"<a {kind} that cannot be read here: {type(error).__name__}>"
