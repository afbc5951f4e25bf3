"""What workers have said: the last of what they have printed, warned of and logged."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from taskloom.engines.cluster.client.info import ClusterInfo
from taskloom.engines.cluster.client.options import worker_names
from taskloom.engines.cluster.coordinator.logs import Entry, Line, lines_of


class ClusterLogs(ClusterInfo):
    """Asks a cluster what its workers have said. Those that have ended are among them."""

    def get_worker_logs(self, n: int | None = None, workers: Any = None, nanny: bool = False) -> Any:
        """Worker -> the last of what it has printed, warned of and logged, as pairs of a level and a line, newest
        first.

        Levels are those of `logging`, and ``"STDOUT"`` and ``"STDERR"``. When a worker began, and how it ended, are
        in its log, too. A worker that takes the place of another goes on with its log. Of workers that are threads of
        this process there is no more, as they print here.

        Parameters
        ----------
        n : how many lines of each; by default all that are kept: of each worker the last 256 KiB.
        workers : names of workers; by default all that there are or have been.
        nanny : taken for the sake of programs for dask.distributed, and ignored: workers have no nannies.
        """
        return self._do(self._get_worker_logs(n, workers))

    async def _get_worker_logs(self, n: int | None, workers: Any) -> dict[str, tuple[Line, ...]]:
        entries, _ = await self._session.answer("logs")
        return {name: tuple(lines_of(entries[name])[::-1][:n]) for name in _chosen(entries, workers)}


class Log(str):
    """Lines of a log."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self)}</pre>"


class Logs(dict[str, Log]):
    """Worker -> what it has said. A notebook shows it as a list that can be opened."""

    def _repr_html_(self) -> str:
        return "".join(
            f"<details><summary>{html.escape(name)}</summary>{log._repr_html_()}</details>"
            for name, log in self.items()
        )


def texts_of(entries: Mapping[str, list[Entry]], workers: Any) -> Logs:
    """Logs as text, oldest line first; of all workers (True), of some by their names, or of none (False)."""
    if workers is False:
        return Logs()
    names = _chosen(entries, None if workers is True else workers)
    return Logs(
        {name: Log("\n".join([f"{level} {line}" for level, line in lines_of(entries[name])])) for name in names}
    )


def _chosen(entries: Mapping[str, list[Entry]], workers: Any) -> list[str]:
    if workers is None:
        return sorted(entries)
    names = worker_names(workers)
    for name in names:
        if name not in entries:
            raise ValueError(f"There has been no worker {name!r}. There are logs of: {', '.join(sorted(entries))}.")
    return sorted(names)
