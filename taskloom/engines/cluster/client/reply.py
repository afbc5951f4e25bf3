"""Things to wait for, from a thread or from a running event loop, with one piece of code for both.

What a client does is written as coroutines that await `Reply` objects. `block` runs such a coroutine in a thread that
may wait, and `in_loop` in whatever event loop is running.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from taskloom.engines.base import drop_own_frames
from taskloom.engines.cluster.worker import place

#: Seconds: a signal that comes just before a wait begins does not end it, but is taken when it goes on.
LOOK_UP = 0.5


class Reply:
    """Something that is not there yet. One thread or coroutine waits for it; anybody may resolve it, once.

    >>> reply = Reply()
    >>> reply.resolve(3)
    >>> reply.wait(), reply.value
    (True, 3)
    """

    __slots__ = ("_gate", "_then", "done", "value")

    def __init__(self) -> None:
        self._gate = allocate_lock()
        self._gate.acquire()
        self._then: Callable[[], Any] | None = None
        self.done = False
        self.value: Any = None

    def resolve(self, value: Any = None) -> None:
        """It is there; what comes after the first time is ignored."""
        if self.done:
            return
        self.value = value
        self.done = True
        then = self._then
        if then is not None:
            then()
            self._then = None  # it may hold this reply
        if self._gate.locked():
            try:
                self._gate.release()
            except RuntimeError:  # resolved by two threads at a time
                pass

    def then(self, action: Callable[[], Any]) -> None:
        """Have a function called when it is there, which it may be already; it may be called twice."""
        self._then = action
        if self.done:
            action()
            self._then = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, interruptibly; False where it has not come in time."""
        acquire = self._gate.acquire
        if timeout is None:
            while not self.done:
                acquire(True, LOOK_UP)
            return True
        deadline = monotonic() + timeout
        while not self.done:
            left = deadline - monotonic()
            if left <= 0:
                return False
            acquire(True, min(left, LOOK_UP))
        return True

    def __await__(self) -> Generator[Reply, None, Any]:
        if not self.done:
            yield self
        return self.value


def block(steps: Coroutine[Reply, None, Any], timeout: float | None = None) -> Any:
    """Run a coroutine that awaits replies, in a thread that may wait.

    Inside of a task the slot of the task is free meanwhile.

    Raises
    ------
    TimeoutError
        It has taken more than `timeout` seconds.
    """
    __tracebackhide__ = True
    deadline = None if timeout is None else monotonic() + timeout
    try:
        reply = steps.send(None)
        with waiting():
            while True:
                left = None if deadline is None else max(0.0, deadline - monotonic())
                if not reply.wait(left):
                    raise TimeoutError(f"It has taken more than {timeout:g} seconds.")
                reply = steps.send(None)
    except StopIteration as stop:
        return stop.value
    except Exception as error:
        drop_own_frames(error)
        raise
    finally:
        steps.close()


@contextmanager
def cancelled_together(cancel: Callable[[], None]) -> Iterator[None]:
    """When the task that the calling thread is in is cancelled, so is what it waits for."""
    try:
        yield
    except KeyboardInterrupt:
        if place.current_task() is not None:
            with suppress(RuntimeError):  # the cluster is gone
                cancel()
        raise


async def in_loop(steps: Coroutine[Reply, None, Any], timeout: float | None = None) -> Any:
    """Run a coroutine that awaits replies in the event loop that is running.

    Inside of a task the slot of the task is free meanwhile, also for what else the loop does.

    Raises
    ------
    TimeoutError
        It has taken more than `timeout` seconds.
    """
    __tracebackhide__ = True
    async with asyncio.timeout(timeout):
        loop = asyncio.get_running_loop()
        try:
            while True:
                reply = steps.send(None)
                there: asyncio.Future[None] = loop.create_future()
                reply.then(partial(_set_in, loop, there))
                with waiting():
                    await there
        except StopIteration as stop:
            return stop.value
        finally:
            steps.close()


def _set_in(loop: asyncio.AbstractEventLoop, there: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_set, there)


def _set(there: asyncio.Future[None]) -> None:
    if not there.done():
        there.set_result(None)


def waiting() -> AbstractContextManager[None]:
    """What a thread enters that is about to wait: inside of a task, another task runs meanwhile."""
    return place.waiting()
