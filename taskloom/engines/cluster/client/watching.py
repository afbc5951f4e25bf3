"""What a client hears, told to plugins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.plugin import SchedulerPlugin
from taskloom.engines.cluster.worker.awaited import awaited

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.session import Session

_log = logging.getLogger("taskloom")


class Watching:
    """Calls the methods of a `SchedulerPlugin`, on the thread for callbacks.

    Parameters
    ----------
    session : of the client that hears.
    client : what the plugin is given in the place of a scheduler.
    """

    def __init__(self, session: Session, client: Any, plugin: SchedulerPlugin) -> None:
        self._session = session
        self._client = client
        self._plugin = plugin
        self._names = {worker.number: worker.name for worker in session.workers.values()}
        self._hears: dict[str, Callable[..., None]] = {
            "client_joined": self._client_joined,
            "client_left": self._client_left,
            "joined": self._joined,
            "left": self._left,
        }
        if type(plugin).transition is not SchedulerPlugin.transition:
            self._hears |= {"again": self._again, "done": self._done, "erred": self._erred, "report": self._report}
        self._call(plugin.start, client)
        for name in self._names.values():
            self._call(plugin.add_worker, client, name)

    def hear(self, kind: str, fields: Sequence[Any]) -> None:
        """The client has taken in a message."""
        if kind in self._hears:
            self._hears[kind](*fields)

    def close(self) -> None:
        """It hears no more."""
        self._call(self._plugin.close)

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._session.call_back(_called, method, args, kwargs)

    def _client_joined(self, number: int) -> None:
        self._call(self._plugin.add_client, self._client, f"client-{number}")

    def _client_left(self, number: int) -> None:
        self._call(self._plugin.remove_client, self._client, f"client-{number}")

    def _joined(self, number: int, name: str, *_: Any) -> None:
        self._names[number] = name
        self._call(self._plugin.add_worker, self._client, name)

    def _left(self, number: int, why: str) -> None:
        name = self._names.pop(number, f"worker-{number}")
        self._call(self._plugin.remove_worker, self._client, name, reason=why)

    def _again(self, ids: Iterable[int]) -> None:
        self._moved(ids, "memory", "processing", None)

    def _done(self, ids: Iterable[int], *_: Any) -> None:
        self._moved(ids, "processing", "memory", None)

    def _report(self, worker: int, ids: Iterable[int], *_: Any) -> None:
        self._moved(ids, "processing", "memory", worker)

    def _erred(self, id: int, packed: Any, worker: int, start: float, stop: float, attempt: int, ids: Any) -> None:
        self._moved(ids, "processing", "erred", worker)

    def _moved(self, ids: Iterable[int], start: str, finish: str, worker: int | None) -> None:
        name = None if worker is None else self._names.get(worker)
        for id in ids:
            state = self._session.states.get(id)
            if state is not None:
                self._call(self._plugin.transition, state.key, start, finish, worker=name)


def _called(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        awaited(method(*args, **kwargs))
    except BaseException:
        _log.exception("taskloom: the %s method of the plugin %r raised", method.__name__, method.__self__)
