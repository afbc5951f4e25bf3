"""Which of dask's clients are followed: what they submit is recorded, and their scheduler tells of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial, wraps
from itertools import count
from threading import Lock, RLock
from types import MethodType
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakSet, ref

from distributed import Client

from taskloom import config
from taskloom.adapters.dask import layers
from taskloom.adapters.distributed import connection
from taskloom.adapters.distributed.book import Submission, SubmittedBook
from taskloom.adapters.distributed.events import TaskEvents, switch_of
from taskloom.adapters.distributed.listener import Listener
from taskloom.adapters.distributed.polling import Polling
from taskloom.bus.event_bus import bus
from taskloom.engines.cluster.client.future import abroad

PATIENCE = 5.0  # seconds that a submission may wait for the scheduler's consent
LATE = 1.0  # seconds that a call may wait for the last of its events: mostly they come first
STEP = 0.005

_PROCESS = uuid4().hex  # names this process to schedulers, together with its id: it may fork

_followed: WeakKeyDictionary[Client, Following] = WeakKeyDictionary()
_chosen: WeakSet[Client] = WeakSet()  # that are followed whether or not all are
_everybody: _Everybody | None = None
_changing = Lock()
_switching = RLock()
_numbers = count()  # of those that were ever followed: a client may be left alone, and followed again
_submission: ContextVar[Submission | None] = ContextVar("_submission", default=None)  # what is being sent
_call: ContextVar[SubmittedBook | None] = ContextVar("_call", default=None)  # the record of the call that submits


def attach(client: Client) -> None:
    """Follow one client, if it is not followed yet."""
    with _changing:
        if client not in _followed:
            _followed[client] = Following(client)


def detach(client: Client) -> None:
    """Follow it no more. Its open records end as if it were closed."""
    with _changing:
        following = _followed.pop(client, None)
    if following is not None:
        following.close()


class Following:
    """One client that is followed, until `close`: its own methods are called through these."""

    def __init__(self, client: Client) -> None:
        self._client = ref(client)
        self._listener = Listener(client)
        self._topic = f"taskloom-{client.id}-{next(_numbers)}"
        self._comm: Any = None  # the connection over which the scheduler was asked to tell
        self._asking = Lock()
        self._starting = asyncio.Lock()
        self._consent: concurrent.futures.Future[None] | None = None
        self._polling: Polling | None = None
        self._looks_on = False  # whether somebody wants to see what other clients do
        self._told: bool | None = None  # what the scheduler was told of that; None: it does not listen
        self._telling = asyncio.Lock()
        for name, method in (("_graph_to_futures", self._submit), ("get", self._get)):
            client.__dict__[name] = MethodType(_called_as_method(method), client)
        connection.on_error(client, self._listener.erred)
        connection.on_connect(client, self._ask)
        connection.on_send(client, _note_packed)
        self._ask()
        bus.onlookers.follow(self)

    def look_on(self, wanted: bool) -> None:
        """Have it shown what other clients of the scheduler do, or not any more."""
        self._looks_on = wanted
        client = self._client()
        if client is not None and connection.is_open(client):
            client.loop.add_callback(self._tell_later, client)

    def close(self) -> None:
        bus.onlookers.leave(self)
        client = self._client()
        if client is not None:
            for name in ("_graph_to_futures", "get"):
                client.__dict__.pop(name, None)
            connection.on_error(client, None)
            connection.on_connect(client, None)
            connection.on_send(client, None)
            if connection.is_open(client):
                client.loop.add_callback(self._stop, client)
        self._listener.records.gone()

    # -- what the client is asked to do -------------------------------------------------------------------------------

    def _submit(self, client: Client, *args: Any, **options: Any) -> Any:
        plain = type(client)._graph_to_futures
        if connection.is_aside.get():
            return plain(client, *args, **options)
        expression, keys = connection.submitted(args, options)
        layers.note(expression)
        if not keys or (isinstance(expression, dict) and not expression):  # nothing new
            return plain(client, *args, **options)
        self._ensure(client)
        submission = Submission(keys, partial(connection.graph_of, expression))
        self._listener.expect(submission, _call.get())
        try:
            with _set(abroad, "a cluster of Dask's"), _set(_submission, submission):
                futures = plain(client, *args, **options)
        except BaseException:
            self._listener.withdraw(submission)
            raise
        submission.states = [future._state for future in futures.values()]
        polling = self._polling
        if polling is not None:
            polling.submitted(submission)
        return futures

    def _get(self, client: Client, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        plain = type(client).get
        if client.asynchronous or not connection.waits(args, options):
            return plain(client, *args, **options)
        book = self._listener.records.begin_call()
        try:
            with _set(_call, book):
                answer = plain(client, *args, **options)
            _wait_until(lambda: book.is_complete)
        except BaseException as error:
            if not _is_stop(book, error):
                _wait_until(lambda: book.run.failure is not None)
            self._end(book, error)
            bus.finished(book.run)
            if book.run.stopped:
                raise book.run.cancelled() from None
            raise
        self._end(book)
        bus.finished(book.run)
        return answer

    def _end(self, book: SubmittedBook, error: BaseException | None = None) -> None:
        if error is None:
            self._listener.records.end_call(book, "finished")
        elif _is_stop(book, error):
            self._listener.records.end_call(book, "cancelled")
        else:
            self._listener.explain(book, error)
            self._listener.records.end_call(book, "failed")

    # -- the scheduler ------------------------------------------------------------------------------------------------

    def _ensure(self, client: Client) -> None:
        """See to it that the scheduler tells of what is about to be submitted."""
        self._ask()
        consent = self._consent
        if consent is not None and not connection.is_on_loop(client):
            with suppress(Exception):  # then it is told later, or not at all, and what is submitted will say why
                consent.result(PATIENCE)

    def _ask(self) -> None:
        """Ask the scheduler to tell, once over each connection."""
        client = self._client()
        with self._asking:
            if client is not None and connection.is_open(client) and self._comm is not client.scheduler_comm:
                self._comm = client.scheduler_comm
                self._consent = asyncio.run_coroutine_threadsafe(self._start(client), client.loop.asyncio_loop)

    async def _start(self, client: Client) -> None:
        async with self._starting:  # one at a time: the connection may break meanwhile, and another be made
            comm = self._comm
            if comm is None or client.scheduler_comm is not comm:
                return
            try:
                await self._listen(client, comm)
            except BaseException:
                with self._asking:
                    if self._comm is comm:
                        self._comm = None  # the next submission tries again
                raise
            if client.scheduler_comm is not comm and self._told is not None:
                await connection.unregister(client, self._topic)

    async def _listen(self, client: Client, comm: Any) -> None:
        self._told = self._polling = None
        self._listener.connected()
        client.subscribe_topic(self._topic, self._listener.hear)
        await connection.read_clock(client, self._listener.clock, f"{self._topic}-clock")
        try:
            await connection.register(client, TaskEvents(client.id, self._topic, f"{_PROCESS}-{os.getpid()}"))
        except OSError:
            raise
        except Exception as error:
            self._polling = Polling(client, comm, self._listener)
            for submission in self._listener.awaited:
                self._polling.submitted(submission)
            warnings.warn(_refused(client, error), RuntimeWarning, stacklevel=2)
            return
        self._told = False
        await self._tell(client)

    async def _tell_later(self, client: Client) -> None:
        with suppress(OSError):  # where it is connected again, it is told then
            await self._tell(client)

    async def _tell(self, client: Client) -> None:
        """Tell the scheduler whether somebody looks on, unless it knows."""
        async with self._telling:  # one at a time, lest they overtake each other
            while self._told not in (None, self._looks_on):
                wanted = self._looks_on
                await client.scheduler.log_event(topic=switch_of(self._topic), msg=wanted)
                self._told = wanted

    async def _stop(self, client: Client) -> None:
        """Have it tell no more, which it may just have been asked to do."""
        if self._consent is not None:
            with suppress(Exception):
                await asyncio.wrap_future(self._consent)
        if self._comm is not None and self._polling is None:
            await connection.unregister(client, self._topic)


def _refused(client: Client, error: Exception) -> str:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    address = getattr(client.scheduler, "address", "?")
    return (
        f"The scheduler at {address} takes no plugin of taskloom's ({reason}). It is asked four times a second "
        "instead: runs are shown, later and in less detail, and what other clients run is not."
    )


def _called_as_method(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(client: Client, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        return method(client, *args, **options)

    call.__name__ = method.__name__.strip("_")
    return call


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _note_packed(packed: connection.Packed) -> None:
    submission = _submission.get()
    if submission is not None and packed.has_futures:
        submission.packed = packed


def _is_stop(book: SubmittedBook, error: BaseException) -> bool:
    """Whether a call ended because somebody stopped it, or the connection."""
    kinds = (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, concurrent.futures.CancelledError)
    return bool(book.run.stopped) or isinstance(error, kinds)


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LATE
    while not happened() and time.monotonic() < deadline:
        time.sleep(STEP)


class _Everybody:
    """Follows all clients of this process, those that are open and those to come, until `stop`."""

    def __init__(self) -> None:
        self._plain = plain = Client.__init__
        self._stopped = False

        @wraps(plain)
        def init(client: Client, *args: Any, **options: Any) -> None:
            plain(client, *args, **options)
            if not self._stopped and not connection.is_in_task(client):
                attach(client)

        self._init = Client.__init__ = init
        for client in connection.all_clients():
            if not connection.is_in_task(client):
                attach(client)

    def stop(self) -> None:
        self._stopped = True
        if Client.__init__ is self._init:
            Client.__init__ = self._plain
        for client in list(_followed):
            if client not in _chosen:
                detach(client)


def follow() -> None:
    """Record what any of dask's clients submits in this process, also those that are made from now on."""
    global _everybody
    with _switching:
        if _everybody is None:
            _everybody = _Everybody()


def unfollow() -> None:
    """Leave clients alone again, but for those that `connect` has made."""
    global _everybody
    with _switching:
        if _everybody is not None:
            _everybody.stop()
            _everybody = None


def connect(address: Any = None, timeout: Any = None, **options: Any) -> Client:
    """A client of dask's own, for a scheduler's address or a cluster object, which is followed until it closes.

    Takes what `dask.distributed.Client` takes; a timeout that is None is Dask's own. Unless ``set_as_default=False``,
    `taskloom.compute` uses it, too.
    """
    if timeout is not None:
        options["timeout"] = timeout
    client = Client(address, **options)
    _chosen.add(client)
    attach(client)
    if options.get("set_as_default", True):
        setting = config.Assignment({"scheduler": client}, source="an open client")
        connection.on_close(client, setting.undo)
    return client
