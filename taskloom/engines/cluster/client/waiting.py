"""Waiting for several futures."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

from taskloom.containers import extract
from taskloom.engines.cluster.client.current import default_client
from taskloom.engines.cluster.client.elsewhere import MaybeOfTheirs, library_of
from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.gathering import bring, settled
from taskloom.engines.cluster.client.higher import higher
from taskloom.engines.cluster.client.options import seconds_of
from taskloom.engines.cluster.client.reply import LOOK_UP, Reply, in_loop, waiting
from taskloom.engines.cluster.client.state import State
from taskloom.engines.cluster.compared import AS_COMPLETED, compared

ALL_COMPLETED = "ALL_COMPLETED"
FIRST_COMPLETED = "FIRST_COMPLETED"


class DoneAndNotDoneFutures(NamedTuple):
    """What `wait` gives."""

    done: set[Future]
    not_done: set[Future]


def futures_of(value: Any) -> list[Any]:
    """The futures in a value: in containers of any depth, and in the graphs of persisted collections; each once."""
    found = futures_in(value)
    theirs = None if found else library_of(value)
    return found if theirs is None else list(theirs.futures_of(value))


def futures_in(value: Any) -> list[Future]:
    """The futures of taskloom's clients in a value."""
    finder = _Finder()
    extract([value], finder)
    return list(finder.found)


class _Finder:
    """Finds futures. It is no function within another, which would hold itself, and so the futures, until the garbage
    collector comes."""

    def __init__(self) -> None:
        self.found: dict[Future, None] = {}

    def __call__(self, item: Any) -> None:
        if item.__class__ is Future:
            self.found[item] = None
        elif "is_collection" in higher and higher["is_collection"](item):
            extract(list(item.__dask_graph__().values()), self)


def wait(fs: Any, timeout: Any = None, return_when: str = ALL_COMPLETED) -> Any:
    """Wait until futures are no longer pending.

    Parameters
    ----------
    fs : futures or persisted collections, in containers of any depth.
    timeout : seconds, or a text such as ``"2s"``.
    return_when : ``"ALL_COMPLETED"`` or ``"FIRST_COMPLETED"``.

    Returns
    -------
    named tuple of the sets ``done`` and ``not_done``

    Raises
    ------
    TimeoutError
        They are pending still. They go on.
    FutureCancelledError
        One was cancelled.
    """
    __tracebackhide__ = True
    if timeout is not None and not isinstance(timeout, int | float | str):
        raise TypeError(f"timeout= is {timeout!r}: it takes seconds. Several futures go into one list.")
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED):
        raise ValueError(
            f'return_when={return_when!r} cannot be used: it takes "{ALL_COMPLETED}" or "{FIRST_COMPLETED}".'
        )
    futures = futures_in(fs)
    if not futures and (theirs := library_of(fs)) is not None:
        return theirs.wait(fs, timeout, return_when)
    client = futures[0].client if futures else default_client()
    return client._do(_wait(futures, return_when), seconds_of(timeout))


async def _wait(futures: list[Future], return_when: str) -> DoneAndNotDoneFutures:
    await settled([future._state for future in futures], _any if return_when == FIRST_COMPLETED else None)
    for future in futures:
        if future.status in ("cancelled", "lost"):
            error = future._state.error()
            assert error is not None
            raise error
    done = {future for future in futures if future.done()}
    return DoneAndNotDoneFutures(done, set(futures) - done)


def _any(state: State) -> bool:
    return True


@compared(AS_COMPLETED)
class as_completed(MaybeOfTheirs):
    """The futures as they are no longer pending, each as often as it was added.

    Parameters
    ----------
    futures : to begin with.
    with_results : give pairs of future and result.
    raise_errors : with results, whether what a task raised is raised here; False: it is given in place of the result.
    timeout : seconds from now after which asking for the next one raises `TimeoutError`.

    Examples
    --------
    >>> from taskloom.distributed import Client, as_completed
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     sorted(future.result() for future in as_completed(client.map(abs, [-1, -2])))
    [1, 2]
    """

    def __init__(
        self,
        futures: Iterable[Future] | None = None,
        loop: Any = None,
        with_results: bool = False,
        raise_errors: bool = True,
        *,
        timeout: Any = None,
    ) -> None:
        seconds = seconds_of(timeout)
        self.with_results = with_results
        self.raise_errors = raise_errors
        self._deadline = None if seconds is None else monotonic() + seconds
        self._left: Counter[Future] = Counter()  # those that have not been given
        self._ready: SimpleQueue[Future] = SimpleQueue()
        self._wakers: list[Reply] = []
        self.update(futures or ())

    def add(self, future: Future) -> None:
        """One more future."""
        self.update((future,))

    def update(self, futures: Iterable[Future]) -> None:
        """More futures."""
        for future in futures:
            if not isinstance(future, Future):
                raise TypeError(f"as_completed takes futures, not {future!r}.")
            self._left[future] += 1
            future._state.when_done(_Once(self, future))

    def _came(self, future: Future) -> None:
        self._ready.put(future)
        while self._wakers:
            self._wakers.pop().resolve()

    def is_empty(self) -> bool:
        """Whether all have been given."""
        return not self._left

    def has_ready(self) -> bool:
        """Whether the next one is there."""
        return not self._ready.empty()

    def count(self) -> int:
        """How many have not been given."""
        return self._left.total()

    def clear(self) -> None:
        """Forget all that have not been given."""
        self._left.clear()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._given(self._take())

    next = __next__

    def _take(self, block: bool = True) -> Future:
        """The next future, which is there; or Empty, if it does not block."""
        while self._left:
            left = LOOK_UP if self._deadline is None else min(LOOK_UP, self._deadline - monotonic())
            if left <= 0 and self._ready.empty():
                raise TimeoutError("The next future has not come in time.")
            try:
                future = self._ready.get(False)
            except Empty:
                if not block:
                    raise
                with waiting():
                    try:
                        future = self._ready.get(timeout=max(0.0, left))
                    except Empty:
                        continue
            if self._book(future):
                return future
        if not block:
            raise Empty
        raise StopIteration

    def _book(self, future: Future) -> bool:
        """Whether a future is to be given, and not forgotten meanwhile."""
        if future not in self._left:
            return False
        self._left[future] -= 1
        if not self._left[future]:
            del self._left[future]
        return True

    def _given(self, future: Future) -> Any:
        if not self.with_results:
            return future
        if self.raise_errors:
            return future, future._client._block_on(future._result())
        return future, future._client._block_on(_outcome(future))

    def next_batch(self, block: bool = True) -> list[Any]:
        """All that are there; unless told otherwise, at least one."""
        batch = [self._take()] if block else []
        while True:
            try:
                batch.append(self._take(block=False))
            except Empty:
                return [self._given(future) for future in batch]

    def batches(self) -> Batches:
        """Lists of all that are there, as they come: an iterator, and an asynchronous one."""
        return Batches(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._given_in_loop(await self._come_next())

    async def _come_next(self) -> Future:
        """The next future, in an event loop."""
        while True:
            waker = Reply()
            self._wakers.append(waker)
            try:
                return self._take(block=False)
            except Empty:
                if not self._left:
                    raise StopAsyncIteration from None
            left = None if self._deadline is None else max(0.0, self._deadline - monotonic())
            await in_loop(_awaited(waker), left)

    async def _given_in_loop(self, future: Future) -> Any:
        if not self.with_results:
            return future
        return future, await in_loop(future._result() if self.raise_errors else _outcome(future))

    def __repr__(self) -> str:
        return f"<as_completed: {self.count()} futures, {self._ready.qsize()} of them there>"


class Batches:
    """Lists of all futures that are there, as they come."""

    def __init__(self, completed: as_completed) -> None:
        self._completed = completed

    def __iter__(self) -> Iterator[list[Any]]:
        return self

    def __next__(self) -> list[Any]:
        return self._completed.next_batch()

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        return self

    async def __anext__(self) -> list[Any]:
        completed = self._completed
        batch = [await completed._come_next()]
        while True:
            try:
                batch.append(completed._take(block=False))
            except Empty:
                return [await completed._given_in_loop(future) for future in batch]


class _Once:
    """Puts a future into the queue when it is done, once."""

    __slots__ = ("_future", "_to")

    def __init__(self, to: as_completed, future: Future) -> None:
        self._to: as_completed | None = to
        self._future = future

    def __call__(self, _: State) -> None:
        to, self._to = self._to, None
        if to is not None:
            to._came(self._future)


async def _awaited(reply: Reply) -> None:
    await reply


async def _outcome(future: Future) -> Any:
    """The result of a future, or what its task raised."""
    try:
        (value,) = (await bring(future._client._session, [future._state])).values()
        return value
    except Exception as error:
        return error


_forgotten: dict[int, Future] = {}


def fire_and_forget(obj: Any) -> None:
    """Have tasks run although nobody keeps their futures: also when their client is closed, as long as there is the
    cluster."""
    futures = futures_in(obj)
    if not futures and (theirs := library_of(obj)) is not None:
        theirs.fire_and_forget(obj)
    for future in futures:
        kept = Future(future.key, future._client)
        future._client._session.send("fire", [kept._state.id])
        number = id(kept)
        _forgotten[number] = kept

        def forget(_: State, number: int = number) -> None:
            _forgotten.pop(number, None)

        kept._state.when_done(forget)
