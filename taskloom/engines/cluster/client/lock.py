"""Locks and semaphores for clients and tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from taskloom.engines.cluster.client.question import Outcome, Question
from taskloom.engines.cluster.client.shared import Shared
from taskloom.engines.cluster.compared import LOCK, MULTI_LOCK, SEMAPHORE, compared
from taskloom.engines.cluster.worker.place import undisturbed

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client


class _Leased(Shared):
    """What is acquired and released. What is not released is when the object or its process is gone."""

    def __init__(self, name: Any = None, client: Client | None = None) -> None:
        super().__init__(name, client)
        self._leases: deque[int] = deque()  # by the numbers of the questions that they are the answers to
        self._held: set[int] = set()  # the same, and one whose release was interrupted before the cluster knew

    def _wanted(self) -> Question:
        """What asks for a lease, and waits for it."""
        raise NotImplementedError

    def _acquired(self, outcome: Outcome, number: int) -> bool:
        if not outcome.late:
            self._held.add(number)
            self._leases.append(number)
        return not outcome.late

    def release(self) -> Any:
        """Let the next one have it.

        Raises
        ------
        RuntimeError
            It was not acquired by this object.
        """
        return self._given_back().ask()

    def _given_back(self) -> Question:
        """A lease is given back: what asks whether that is done."""
        with undisturbed():
            try:
                lease = self._leases.popleft()
            except IndexError:
                raise RuntimeError(f"Released too often: {self!r} was not acquired by this object.") from None
            try:
                self.client._session.undo(lease)
            except BaseException:  # an interrupt: there is a lease still
                self._leases.appendleft(lease)
                raise
            self._held.discard(lease)
        return self._question("value", self.name, finish=_true)

    def __enter__(self) -> Any:
        self._wanted().ask()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    async def __aenter__(self) -> Any:
        await self._wanted().in_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._given_back().in_loop()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never finished
            for lease in self._held:
                self.client._session.undo(lease)


def _true(outcome: Outcome, number: int) -> bool:
    return True


@compared(LOCK)
class Lock(_Leased):
    """A lock, which one at a time may have. They get it in turn.

    It is given to the next one when the process that has it ends, such as a worker that is killed, and when the `Lock`
    object that has acquired it is gone.

    Parameters
    ----------
    name : locks of the same name are the same lock; by default one that nobody has had.
    client : by default the current one when it is first used.

    Examples
    --------
    >>> from taskloom.distributed import Client, Lock
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     lock = Lock("account")
    ...     with lock:
    ...         Lock("account").acquire(blocking=False)
    False
    """

    _kind = "locks"

    def acquire(self, blocking: bool = True, timeout: Any = None) -> Any:
        """Have the lock.

        Parameters
        ----------
        blocking : False: do not wait for it.
        timeout : how long to wait for it: seconds, or a text such as ``"2s"``.

        Returns
        -------
        whether it was acquired
        """
        return self._wanted(_limit(blocking, timeout)).ask()

    def _wanted(self, timeout: Any = None) -> Question:
        return self._question("acquire", (self.name,), 1, timeout=timeout, finish=self._acquired)

    def locked(self) -> Any:
        """Whether somebody has it."""
        return self._ask("value", self.name, finish=_is_used)


def _is_used(outcome: Outcome, number: int) -> bool:
    return bool(outcome.value)


def _limit(blocking: bool, timeout: Any) -> Any:
    if not blocking and timeout is not None:
        raise ValueError("can't specify a timeout for a non-blocking call")
    return timeout if blocking else 0


@compared(SEMAPHORE)
class Semaphore(_Leased):
    """A semaphore, of which so many at a time may have a lease.

    A lease is given to the next one when the process that has it ends, such as a worker that is killed, and when the
    `Semaphore` object that has acquired it is gone. The cluster knows the semaphore until it is closed.

    Parameters
    ----------
    max_leases : how many there are; the same for all semaphores of this name.
    name, client : as for `Lock`.

    Examples
    --------
    >>> from taskloom.distributed import Client, Semaphore
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     database = Semaphore(max_leases=2, name="database")
    ...     with database:
    ...         used = database.get_value()
    ...     database.close()
    >>> used
    1
    """

    _kind = "semaphores"

    def __init__(self, max_leases: int = 1, name: Any = None, client: Client | None = None) -> None:
        if max_leases < 1:
            raise ValueError(f"max_leases={max_leases!r} cannot be used: it takes a whole number, 1 or more.")
        super().__init__(name, client)
        self.max_leases = max_leases
        self._registered = False

    def register(self) -> Any:
        """Tell the cluster how many leases there are, which acquiring one does, too.

        Raises
        ------
        ValueError
            There is a semaphore of this name with another number.
        """
        return self._registration().ask()

    def _registration(self) -> Question:
        return self._question("register", self.name, self.max_leases, finish=self._is_registered)

    def _is_registered(self, outcome: Outcome, number: int) -> None:
        self._registered = True

    def acquire(self, timeout: Any = None) -> Any:
        """Have a lease; False if there is none within `timeout` seconds (a number, or a text such as ``"2s"``).

        Raises
        ------
        RuntimeError
            The semaphore was closed.
        ValueError
            There is a semaphore of this name with another number of leases.
        """
        return self._wanted(timeout).ask()

    def _wanted(self, timeout: Any = None) -> Question:
        limit = None if self._registered else self.max_leases
        return self._question("enter", self.name, limit, timeout=timeout, finish=self._acquired)

    def _acquired(self, outcome: Outcome, number: int) -> bool:
        self._registered = True
        return super()._acquired(outcome, number)

    def get_value(self) -> Any:
        """How many leases are in use."""
        return self._ask("value", self.name)

    def close(self) -> Any:
        """Have the cluster forget it, whoever has leases. Those who wait for one get an error."""
        return self._ask("close", self.name)

    async def _itself(self) -> Any:
        await self._registration().in_loop()
        return self

    def __reduce__(self) -> Any:
        return type(self), (self.max_leases, self.name)


@compared(MULTI_LOCK)
class MultiLock(_Leased):
    """Several locks at once, or so many of them. Two that want the same ones never wait for each other.

    These locks are none of those that `Lock` makes.

    Parameters
    ----------
    names : of the locks.
    client : by default the current one when it is first used.

    Examples
    --------
    >>> from taskloom.distributed import Client, MultiLock
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    ...     with MultiLock(["x", "y"]):
    ...         MultiLock(["y", "z"]).acquire(blocking=False)
    False
    """

    _kind = "multilocks"

    def __init__(self, names: Sequence[Any] | None = None, client: Client | None = None) -> None:
        super().__init__(None, client)
        self.names = list(names or ())

    def acquire(self, blocking: bool = True, timeout: Any = None, num_locks: int | None = None) -> Any:
        """Have the locks.

        Parameters
        ----------
        blocking, timeout : as for `Lock.acquire`.
        num_locks : how many of them are enough; by default all.

        Returns
        -------
        whether they were acquired
        """
        return self._wanted(_limit(blocking, timeout), num_locks).ask()

    def _wanted(self, timeout: Any = None, num_locks: int | None = None) -> Question:
        needed = len(set(self.names)) if num_locks is None else num_locks
        return self._question("acquire", tuple(self.names), needed, timeout=timeout, finish=self._acquired)

    def release(self) -> Any:
        """Let others have the locks.

        Raises
        ------
        ValueError
            They were not acquired.
        """
        if not self._leases:
            raise ValueError("Lock is not yet acquired")
        return super().release()

    def locked(self) -> bool:
        """Whether this object has acquired them."""
        return bool(self._leases)

    def __reduce__(self) -> Any:
        return type(self), (self.names,)

    def __repr__(self) -> str:
        return f"<MultiLock: {len(self.names)} locks>"
