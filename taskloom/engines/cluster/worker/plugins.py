"""The plugins of a worker, and the thread that calls their methods in turn."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.plugin import WorkerPlugin
from taskloom.engines.cluster.worker.awaited import awaited
from taskloom.engines.cluster.worker.place import current_task, place
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker

_log = logging.getLogger("taskloom")

#: Told the name of the last plugin that something was done with, and what it has raised.
Settle = Callable[[str, BaseException | None], None]


class Plugins:
    """The plugins of a worker.

    Attributes
    ----------
    there : by name, those that are set up.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.there: dict[str, Any] = {}
        self._turns: SimpleQueue[Callable[[], None] | None] | None = None
        self._watching: list[Any] = []  # those that want to hear of tasks
        self._keys: dict[int, Key] = {}  # of the tasks that they hear of

    # -- for the thread that answers ------------------------------------------------------------------------------

    def add(self, given: Sequence[tuple[str, bytes]], settle: Settle) -> None:
        """Set up pickled plugins soon, in the place of those of the same names, up to the first that raises."""
        self._do(partial(self._add, given, settle))

    def remove(self, names: Sequence[str] | None, settle: Settle) -> None:
        """Take some away soon, or all."""
        self._do(partial(self._remove, names, settle))

    def close(self) -> None:
        """End the thread, after what it has to do."""
        if self._turns is not None:
            self._turns.put(partial(self._remove, None, _nobody))
            self._turns.put(None)

    def _do(self, action: Callable[[], None]) -> None:
        if self._turns is None:
            self._turns = SimpleQueue()
            self._worker.start_thread("taskloom-plugins", self._serve, self._turns)
        self._turns.put(action)

    def _serve(self, turns: SimpleQueue[Callable[[], None] | None]) -> None:
        place.host = self._worker
        while (action := turns.get()) is not None:
            action()

    # -- on their thread ------------------------------------------------------------------------------------------

    def _add(self, given: Sequence[tuple[str, bytes]], settle: Settle) -> None:
        name = ""
        for name, payload in given:
            try:
                self._tear_down(name)
                plugin = pickle.loads(payload)
                awaited(_method(plugin, "setup")(self._worker.handle))
                self.there[name] = plugin
                self._watch()
            except BaseException as error:
                settle(name, error)
                return
        settle(name, None)

    def _remove(self, names: Sequence[str] | None, settle: Settle) -> None:
        wrong: tuple[str, BaseException | None] = ("", None)
        for name in [*reversed(self.there)] if names is None else names:
            try:
                self._tear_down(name)
            except BaseException as error:
                wrong = name, error
        settle(*wrong)

    def _tear_down(self, name: str) -> None:
        plugin = self.there.pop(name, None)
        if plugin is not None:
            self._watch()
            awaited(_method(plugin, "teardown")(self._worker.handle))

    # -- what becomes of tasks ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Have functions tell of their calls, if anybody wants to hear of them."""
        store = self._worker.store
        self._watching = [plugin for plugin in self.there.values() if is_watching(plugin)]
        store.prepare = self._watched if self._watching else _unwatched
        for code, function in [*store.functions.items()]:
            if code in store.functions:
                store.functions[code] = store.prepare(_unwatched(function))
        if not self._watching:
            self._keys.clear()

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _Watched(function, self)

    def learn(self, keys: dict[int, Key], parcels: object) -> None:
        """The keys of tasks that are about to come."""
        self._keys.update(keys)
        for id in keys:
            self.tell(id, "released", "ready")

    def released(self, ids: Iterable[int]) -> None:
        """Results were dropped."""
        if self._keys:
            for id in ids:
                self.tell(id, "memory", "released")

    def forgotten(self, ids: Iterable[int]) -> None:
        """Tasks have come to another end than a result."""
        if self._keys:
            for id in ids:
                self.tell(id, "ready", "released")

    def tell(self, id: int, start: str, finish: str) -> None:
        """A task has gone from one state to another."""
        if id in self._keys and self._turns is not None:
            key = self._keys.pop(id) if finish in ("error", "released") else self._keys[id]
            self._turns.put(partial(self._tell, key, start, finish))

    def _tell(self, key: Key, start: str, finish: str) -> None:
        for plugin in self._watching:
            try:
                plugin.transition(key, start, finish)
            except BaseException:
                _log.exception("taskloom: the transition method of the plugin %r raised", plugin)


class _Watched:
    """A function that tells of its calls."""

    __slots__ = ("function", "plugins")

    def __init__(self, function: Callable[..., Any], plugins: Plugins) -> None:
        self.function = function
        self.plugins = plugins

    def __call__(self, *args: Any) -> Any:
        __tracebackhide__ = True
        task = current_task()
        id = -1 if task is None else task[1]
        self.plugins.tell(id, "ready", "executing")
        try:
            result = self.function(*args)
        except BaseException:
            self.plugins.tell(id, "executing", "error")
            raise
        self.plugins.tell(id, "executing", "memory")
        return result


def _unwatched(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.function if isinstance(function, _Watched) else function


def is_watching(plugin: Any) -> bool:
    """Whether a plugin wants to hear of tasks."""
    return getattr(type(plugin), "transition", WorkerPlugin.transition) is not WorkerPlugin.transition


def _method(plugin: Any, name: str) -> Callable[..., Any]:
    """What a plugin that is no `WorkerPlugin` need not have."""
    method: Callable[..., Any] = getattr(plugin, name, _nothing)
    return method


def _nothing(worker: object) -> None:
    pass


def _nobody(name: str, error: BaseException | None) -> None:
    pass
