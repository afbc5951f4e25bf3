"""Locks that reach as far as this machine: over threads, worker processes, and other programs of its user."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from functools import cache
from hashlib import blake2b
from threading import Lock
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from taskloom.engines.cluster.door.private import make_private

_PREFIX = "lock-"


class MachineLock:
    """A lock that one thread at a time may have, of all processes on this machine. It can be pickled.

    The system holds it, on a file that is there as long as somebody has the lock or waits for it. So one whose holder
    is killed is free again, and no process has to serve it.

    Parameters
    ----------
    name : locks of the same name are the same lock; by default one that nobody has had.

    Examples
    --------
    >>> lock = MachineLock("results.nc")
    >>> with lock:
    ...     MachineLock("results.nc").acquire(blocking=False)
    False
    """

    def __new__(cls, name: str | None = None) -> MachineLock:
        """There is one object of each lock in a process: who takes several has to take them in the same order."""
        said = secrets.token_hex(16) if name is None else name
        return _at(os.path.join(_place(), _PREFIX + blake2b(said.encode(), digest_size=16).hexdigest()))

    path: str
    _held: int | None  # the descriptor whose lock it is

    def acquire(self, blocking: bool = True) -> bool:
        """Have the lock; False if somebody else has it, and is not to be waited for."""
        while True:
            file = _opened(self.path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
                if os.path.samestat(os.fstat(file), os.stat(self.path)):
                    self._held = file
                    return True
            except BlockingIOError:
                os.close(file)
                return False
            except FileNotFoundError:
                pass
            except BaseException:  # an interrupt
                os.close(file)
                raise
            os.close(file)  # its last holder has removed it meanwhile

    def release(self) -> None:
        """Let the next one have it."""
        file, self._held = self._held, None
        if file is None:
            raise RuntimeError("The lock cannot be released: nobody in this process has it.")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        fcntl.flock(file, fcntl.LOCK_UN)  # also where a fork has the file open
        os.close(file)

    def locked(self) -> bool:
        """Whether somebody has it."""
        if self.acquire(blocking=False):
            self.release()
            return False
        return True

    def __enter__(self) -> MachineLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __reduce__(self) -> Any:
        return _at, (self.path,)


_locks: WeakValueDictionary[str, MachineLock] = WeakValueDictionary()
_finding = Lock()


def _at(path: str) -> MachineLock:
    """The lock whose file is there."""
    with _finding:
        lock = _locks.get(path)
        if lock is None:
            lock = object.__new__(MachineLock)
            lock.path = path
            lock._held = None
            _locks[path] = lock
        return lock


def _opened(path: str) -> int:
    """The descriptor of the file of a lock, which is made where it is not there."""
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # the last cluster was closed just now, and has removed the place with its own
            make_private(os.path.dirname(path))


@cache
def _place() -> str:
    """Where the files of locks are. What killed holders have left there is removed."""
    place = os.path.join(tempfile.gettempdir(), f"taskloom-{os.geteuid()}")
    make_private(place)
    for name in os.listdir(place):
        if name.startswith(_PREFIX):
            left = _at(os.path.join(place, name))
            if left.acquire(blocking=False):
                left.release()
    return place
