"""What a client shows of what ran: its run records, as data, pictures and documents."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taskloom.bus.event_bus import Subscription, bus, runs
from taskloom.bus.run import Run, presenters
from taskloom.engines.cluster.client.current import default_client
from taskloom.engines.cluster.client.elsewhere import MaybeTheirs
from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.client.merged_run import merged_run
from taskloom.engines.cluster.client.others import ForeignRun, name_of_others

if TYPE_CHECKING:
    from taskloom.engines.cluster.local_cluster import LocalCluster

ENGINE = "distributed"


class Served:
    """The dashboard of a cluster, served to this machine from the first time that its link is asked for.

    Parameters
    ----------
    port : where; 0 for any.
    """

    def __init__(self, wanted: bool = True, port: int = 0) -> None:
        self._wanted = wanted
        self._port = port
        self._server: Any = None

    def link(self) -> str | None:
        if not self._wanted:
            return None
        if self._server is None:
            self._server = higher["dashboard_server"](self._port)
        return str(self._server.link)

    @property
    def link_if_served(self) -> str | None:
        """The link, if somebody has asked for it before."""
        return None if self._server is None else str(self._server.link)

    def close(self) -> None:
        self._wanted = False
        if self._server is not None:
            self._server.close()
            self._server = None


class ClusterViews:
    """Pictures of what ran on clusters through this process."""

    cluster: LocalCluster | None
    asynchronous: bool
    _served: Served

    @property
    def dashboard_link(self) -> str | None:
        """Where the dashboard is: an address of this machine with a token, served from the first time that this is
        read; None with ``dashboard_address=False``."""
        return self._served.link()

    def get_task_stream(
        self,
        start: float | None = None,
        stop: float | None = None,
        count: int | None = None,
        plot: bool | str = False,
        filename: str = "task-stream.html",
    ) -> Any:
        """The tasks that have run, as dictionaries in the order in which they ended.

        Those of other clients are among them as far as they ended while a dashboard was open in this process, or a
        block of `taskloom.distributed.get_task_stream`: with ``"client"``, the number of theirs.

        Parameters
        ----------
        start, stop : seconds since the epoch: tasks that ended between them.
        count : the last ones only.
        plot : True gives a pair of those and a Bokeh figure; ``"save"`` also writes it to a file.
        filename : which.
        """
        if self.asynchronous:
            return asyncio.to_thread(task_stream, start, stop, count, plot, filename)
        return task_stream(start, stop, count, plot, filename)

    def profile(
        self,
        key: str | None = None,
        start: float | None = None,
        stop: float | None = None,
        plot: bool | str = False,
        filename: str | None = None,
    ) -> Any:
        """How much time each function took: name -> seconds, the largest first.

        Parameters
        ----------
        key : of functions with this name only.
        start, stop : seconds since the epoch: of tasks that ended between them.
        plot : True gives a pair of that and a Bokeh figure.
        filename : a file to which the report of all of that is written.
        """
        if self.asynchronous:
            return asyncio.to_thread(profile, key, start, stop, plot, filename)
        return profile(key, start, stop, plot, filename)


def task_stream(
    start: float | None = None,
    stop: float | None = None,
    count: int | None = None,
    plot: bool | str = False,
    filename: str = "task-stream.html",
) -> Any:
    """The tasks that have run, see `Client.get_task_stream`."""
    ran = _runs_between(start, stop)
    rows = sorted([row for run in ran for row in _rows(run)], key=lambda row: row["startstops"][0]["stop"])
    rows = [row for row in rows if _is_between(row["startstops"][0]["stop"], start, stop)]
    rows = rows if count is None else rows[len(rows) - min(count, len(rows)) :]
    if not plot:
        return rows
    run = merged_run(ran)
    if plot == "save":
        presenters["report"](run, filename)
    return rows, higher["task_stream"](run)


def profile(key: str | None, start: float | None, stop: float | None, plot: bool | str, filename: str | None) -> Any:
    """How much time each function took, see `Client.profile`."""
    ran = _runs_between(start, stop)
    seconds: dict[str, float] = {}
    for run in ran:
        for row in _rows(run):
            (stamp,) = row["startstops"]
            if _is_between(stamp["stop"], start, stop) and key in (None, row["name"]):
                seconds[row["name"]] = seconds.get(row["name"], 0.0) + stamp["stop"] - stamp["start"]
    seconds = dict(sorted(seconds.items(), key=lambda item: -item[1]))
    if filename is not None:
        presenters["report"](merged_run(ran), filename)
    return (seconds, higher["profile"](merged_run(ran))) if plot or filename is not None else seconds


def _runs_between(start: float | None, stop: float | None) -> list[Run]:
    """The records of clusters' runs that overlap a time."""
    return [
        run
        for run in (*list(bus.foreign), *list(runs))
        if run.engine in (ENGINE, name_of_others(ENGINE))
        and (stop is None or run.started <= stop)
        and (start is None or run.started + run.duration >= start)
    ]


def _is_between(time: float, start: float | None, stop: float | None) -> bool:
    return (start is None or time >= start) and (stop is None or time <= stop)


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    """The tasks of a run that have ended."""
    tasks = run.tasks
    names = [worker.name for worker in run.workers]
    clients = run.clients if isinstance(run, ForeignRun) else ()
    for row, (key, name, worker, start, stop, nbytes, status) in enumerate(
        zip(*(tasks.key, tasks.name, tasks.worker, tasks.start, tasks.stop, tasks.nbytes, tasks.status), strict=True)
    ):
        if stop:
            whose = {"client": clients[row]} if clients else {}
            yield whose | {
                "key": key[1] if clients else key,
                "name": name,
                "status": "error" if status == "failed" else "OK",
                "worker": names[worker] if worker < len(names) else "",
                "nbytes": nbytes,
                "startstops": [{"action": "compute", "start": run.started + start, "stop": run.started + stop}],
            }


class get_task_stream(MaybeTheirs):
    """A block; `data` holds the tasks that ended in it, and `figure` their picture if it was asked for.

    Those of other clients of the cluster are among them, with ``"client"``, the number of theirs.

    Parameters
    ----------
    client : by default the current one.
    plot, filename : as for `Client.get_task_stream`.
    """

    def __init__(self, client: Any = None, plot: bool | str = False, filename: str = "task-stream.html") -> None:
        self.client = default_client(client)
        self.data: list[dict[str, Any]] = []
        self.figure: Any = None
        self._plot = plot
        self._filename = filename
        self._start = 0.0
        self._subscription: Subscription | None = None

    #: As a listener: the clients of this process have it shown what others do.
    looks_on = True

    def __enter__(self) -> get_task_stream:
        self._subscription = bus.subscribe(self)
        self.client._catch_up()
        self._start = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self.client._catch_up()
        if self._subscription is not None:
            self._subscription.close()
        stream = task_stream(self._start, plot=self._plot, filename=self._filename)
        self.data, self.figure = stream if self._plot else (stream, None)

    async def __aenter__(self) -> get_task_stream:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)


class performance_report:
    """A block of which all that ran on clusters is written to an HTML file, with all views, which needs no network.

    Raises
    ------
    ImportError
        Bokeh is not installed.
    """

    def __init__(self, filename: str | os.PathLike[str] = "taskloom-report.html") -> None:
        self._filename = filename
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.time()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            presenters["report"](merged_run(_runs_between(self._start, None)), self._filename)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await asyncio.to_thread(self.__exit__, kind)
