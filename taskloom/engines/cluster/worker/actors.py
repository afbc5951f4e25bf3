"""Where actors live: objects that stay in the worker that has made them, while calls of their methods come there."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, finalize

from taskloom.engines.cluster.worker.place import current_task, place
from taskloom.errors import TaskloomError, WorkerDied
from taskloom.graph import Key, function_name, short_key

if TYPE_CHECKING:
    from taskloom.engines.cluster.worker.worker import Worker

#: The arguments of a call, once somebody wants them: they may have to be unpickled.
Arguments = Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
#: Told what a call has come to: its result, or what it has raised.
Settle = Callable[[Any, BaseException | None], None]

_homes: WeakValueDictionary[tuple[str | None, int], ActorHome] = WeakValueDictionary()


def home_of(address: str | None, id: int) -> ActorHome | None:
    """Where the actor that a task of a cluster has made lives, if it does so in this process."""
    return _homes.get((address, id))


def close_all(worker: Worker) -> None:
    """A worker ends whose process goes on: its actors take no more calls, whoever has proxies of them."""
    for home in list(_homes.values()):
        if home.worker is worker:
            home.close()


class MakeActor:
    """Makes an object that stays in the worker; the result of the task is a proxy of it."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    @property
    def __name__(self) -> str:
        return function_name(self.func)

    def __dask_tokenize__(self) -> Any:
        return self.func

    def __call__(self, key: Key, *args: Any, **kwargs: Any) -> Any:
        from taskloom.engines.cluster.client.actor import Actor

        __tracebackhide__ = True
        made = self.func(*args, **kwargs)
        worker, task = place.worker, current_task()
        if worker is None or task is None:
            raise TaskloomError(f"The actor {short_key(key)} can be made only by a worker of a cluster.")
        id, address = task[1], worker.info.address
        home = worker.store.actors[id] = _homes[address, id] = ActorHome(made, key, worker)
        names = frozenset([name for name in getattr(made, "__dict__", ()) if not name.startswith("_")])
        return Actor(type(made), names, key, id, address, home)


class ActorHome:
    """An object and the thread that calls its methods, in turn. Its coroutines run side by side, in an event loop.

    The thread ends with the last reference to the home: that of the worker's store, and those of proxies here.
    """

    def __init__(self, made: Any, key: Key, worker: Worker) -> None:
        self._made = made
        self._key = key
        self.worker = worker
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._changing = threading.Lock()  # whether it is closed, and whether it has a loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=_serve, args=(worker, self._calls), name="taskloom-actor", daemon=True)
        self._thread.start()
        self._end = finalize(self, self._calls.put, None)
        self._end.atexit = False

    def call(self, name: str, arguments: Arguments, settle: Settle) -> None:
        """Call a method soon."""
        made = self._made
        if inspect.iscoroutinefunction(getattr(type(made), name, None)):
            self._start(_await(made, name, arguments, settle), settle)
        else:
            self._do(lambda: _settled(lambda: _called(made, name, arguments), settle), settle)

    def read(self, name: str, settle: Settle) -> None:
        """Read an attribute soon, between calls."""
        made = self._made
        self._do(lambda: _settled(lambda: getattr(made, name), settle), settle)

    def close(self) -> None:
        """Take no more calls: the worker ends."""
        with self._changing:
            self._end()
            if self._loop is not None:
                _stop(self._loop)

    def _do(self, action: Callable[[], None], settle: Settle) -> None:
        if threading.current_thread() is self._thread:
            action()  # it calls itself: whoever waits for that would wait for ever
            return
        with self._changing:
            if self._end.alive:
                self._calls.put(action)
                return
        settle(None, self._gone())

    def _start(self, steps: Any, settle: Settle) -> None:
        with self._changing:
            if self._end.alive:
                if self._loop is None:
                    self._loop = _new_loop(self, self.worker)
                asyncio.run_coroutine_threadsafe(steps, self._loop)
                return
        steps.close()
        settle(None, self._gone())

    def _gone(self) -> WorkerDied:
        return WorkerDied(f"The actor {short_key(self._key)} is gone: its worker has ended.")


def _serve(worker: Worker, calls: SimpleQueue[Callable[[], None] | None]) -> None:
    place.host = worker
    while (action := calls.get()) is not None:
        action()
        del action  # it may hold the last reference


def _called(made: Any, name: str, arguments: Arguments) -> Any:
    args, kwargs = arguments()
    return getattr(made, name)(*args, **kwargs)


def _settled(compute: Callable[[], Any], settle: Settle) -> None:
    try:
        value = compute()
    except BaseException as error:
        settle(None, error)
    else:
        settle(value, None)


async def _await(made: Any, name: str, arguments: Arguments, settle: Settle) -> None:
    try:
        args, kwargs = arguments()
        value = await getattr(made, name)(*args, **kwargs)
    except BaseException as error:
        settle(None, error)
    else:
        settle(value, None)


def _new_loop(home: ActorHome, worker: Worker) -> asyncio.AbstractEventLoop:
    """An event loop that runs in a thread of its own as long as the home is there."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        place.host = worker
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
        finally:
            loop.close()

    threading.Thread(target=run, name="taskloom-actor-loop", daemon=True).start()
    finalize(home, _stop, loop).atexit = False
    return loop


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(loop.stop)
