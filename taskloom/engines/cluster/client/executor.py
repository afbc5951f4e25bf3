"""A cluster as a `concurrent.futures.Executor`."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.future import Future
from taskloom.engines.cluster.client.reply import block, waiting
from taskloom.graph import did_you_mean

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_OPTIONS = frozenset({"pure", "priority", "retries", "workers", "allow_other_workers", "resources"})


class ClientExecutor(concurrent.futures.Executor):
    """Calls run on the cluster of a client. The futures are those of the standard library.

    Inside of a task, who waits by `result` or `exception` of such a future, or by `map`, frees the slot of the task for
    others meanwhile. `concurrent.futures.wait` and `as_completed` cannot: where all slots are taken by tasks that wait
    so, what they wait for never runs. There, take `taskloom.distributed.wait` and `as_completed` with futures of
    `get_client().submit`.

    Parameters
    ----------
    client : who submits.
    options : of all calls, as for `Client.submit`; calls are not taken to be pure, unless ``pure=True``.
    """

    def __init__(self, client: Client, **options: Any) -> None:
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            hint = did_you_mean(unknown[0], _OPTIONS)
            raise TypeError(
                f"get_executor has no option {unknown[0]!r}.{hint} There are: {', '.join(sorted(_OPTIONS))}."
            )
        self._client = client
        self._options = {"pure": False, **options}
        self._lock = Lock()
        self._is_shut = False
        self._outstanding: dict[_Future, Future] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Have a call run on the cluster."""
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future = self._client.submit(fn, *args, **self._options, **kwargs)
            outer = _Future(future)
            self._outstanding[outer] = future
        outer.add_done_callback(self._over)
        future.add_done_callback(outer.settle)
        return outer

    def _over(self, outer: Any) -> None:
        self._outstanding.pop(outer, None)

    def map(
        self, fn: Callable[..., Any], *iterables: Any, timeout: float | None = None, chunksize: int = 1, **_: Any
    ) -> Iterator[Any]:
        """The results of calls, in order; with a chunk size, so many calls are one task."""
        deadline = None if timeout is None else monotonic() + timeout
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize > 1:
            return self._map_chunks(fn, list(zip(*iterables, strict=False)), deadline, chunksize)
        return super().map(fn, *iterables, timeout=timeout)

    def _map_chunks(self, fn: Callable[..., Any], calls: list[Any], deadline: float | None, size: int) -> Iterator[Any]:
        futures = [self.submit(_call_all, fn, calls[first : first + size]) for first in range(0, len(calls), size)]

        def results() -> Iterator[Any]:
            try:
                for future in futures:
                    yield from future.result(None if deadline is None else deadline - monotonic())
            finally:
                for future in futures:
                    future.cancel()

        return results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The client stays open."""
        with self._lock:
            self._is_shut = True
            outstanding = list(self._outstanding)
        if cancel_futures:
            for future in outstanding:
                future.cancel()
        if wait:
            with waiting():
                concurrent.futures.wait(outstanding)

    def __repr__(self) -> str:
        return f"<ClientExecutor of {self._client!r}>"


class _Future(concurrent.futures.Future[Any]):
    """A future of the standard library that follows one of a cluster."""

    def __init__(self, inner: Future) -> None:
        super().__init__()
        self._inner = inner

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result. Inside of a task the slot of the task is free meanwhile."""
        with nullcontext() if self.done() else waiting():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the outcome. Inside of a task the slot of the task is free meanwhile."""
        with nullcontext() if self.done() else waiting():
            return super().exception(timeout)

    def cancel(self) -> bool:
        """Cancel the call, also if it runs already; False if it has an outcome."""
        if not super().cancel():
            return self.cancelled()
        self._inner._client._session.send("cancel", [self._inner._state.id], False)
        return True

    def settle(self, inner: Future) -> None:
        """The call has an outcome."""
        if inner.status in ("cancelled", "lost"):
            super().cancel()
            self.set_running_or_notify_cancel() if self._state == "CANCELLED" else None
            return
        if not self.set_running_or_notify_cancel():
            return
        try:
            value = block(inner._result())
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(value)


def _call_all(fn: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in calls]
