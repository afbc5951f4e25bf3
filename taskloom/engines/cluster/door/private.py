"""Directories that belong to a process of this user, and to nobody else.

Their owner holds a lock on each, so that what is left of one that was killed can be told from what is in use, and swept
away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable

from taskloom.errors import ConfigError

MISSING = "is not there"
ATTEMPTS = 10  # to remove a directory

_OWNER = "owner"
_CLOCKS_DIFFER = 10.0  # seconds: a process's start is known by a clock that may be set meanwhile


class OwnDirectory:
    """A new private directory of this process, until `close`, in the first of some places where one can be made.

    Parameters
    ----------
    problem, setting : what is said where there is no such place: why, and what names another one.

    Attributes
    ----------
    path : where it is.

    Raises
    ------
    ConfigError
        It cannot be made in any of these places.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     directory = OwnDirectory("of-a-test-", [place])
    ...     os.path.isdir(directory.path)
    ...     directory.close()
    True
    """

    def __init__(self, prefix: str, bases: Iterable[str], problem: str = "", setting: str = "TMPDIR") -> None:
        self.path, self._lock = _new(prefix, bases, problem, setting)
        try:
            write(os.path.join(self.path, _OWNER), f"{os.getpid()} {_start_of(os.getpid())}\n".encode())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove it."""
        if self._lock >= 0:
            _remove(self.path)
            self.let_go()

    def let_go(self) -> None:
        """Leave it alone: in a fork, which is not its owner."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def sweep_places(prefix: str, bases: Iterable[str]) -> None:
    """Remove the directories whose owners are gone. Those of other users, and of living processes, stay."""
    for base in bases:
        if flaw(base):
            continue
        with contextlib.suppress(OSError):
            for name in os.listdir(base):
                if name.startswith(prefix):
                    _sweep(os.path.join(base, name))


def _sweep(path: str) -> None:
    lock = _locked(path)
    if lock is not None:
        if not flaw(path) and not _owner_lives(path):
            _remove(path)
        os.close(lock)


def _remove(path: str) -> None:
    for _ in range(ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            break
        time.sleep(0.01)  # another thread is removing a part of it
    with contextlib.suppress(OSError):  # there are others in it
        os.rmdir(os.path.dirname(path))


def _new(prefix: str, bases: Iterable[str], problem: str, setting: str) -> tuple[str, int]:
    """A new directory, and the descriptor that holds its lock."""
    for base in bases:
        for _ in range(100):  # each time a sweep of another process was quicker than the lock
            path = os.path.join(base, prefix + secrets.token_hex(4))
            try:
                make_private(base, setting)
                os.mkdir(path, 0o700)
            except OSError as error:
                problem = str(error)
                if not isinstance(error, (FileExistsError, FileNotFoundError)):
                    break  # nothing can be made there: the next one
            else:
                if (lock := _locked(path)) is not None:
                    return path, lock
    raise ConfigError(f"There is no place for the private directory of a cluster ({problem}). Set {setting} to one.")


def make_private(base: str, setting: str = "TMPDIR") -> None:
    """Have a directory that is ours alone, or refuse what somebody else may have put there.

    Raises
    ------
    ConfigError
        Others can look into it; `setting` is what names another one.
    OSError
        It cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(base, 0o700)
    if (problem := flaw(base)) and problem != MISSING:  # a missing one was removed by another cluster just now
        raise ConfigError(
            f"The files of this user's runs cannot be kept in {base}: that {problem}. "
            f"Remove it, or set {setting} to a directory of your own."
        )


def flaw(path: str) -> str:
    """What keeps a directory from being private to this user; nothing if it is."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory"
    if found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid})"
    if found.st_mode & 0o077:
        return f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _locked(path: str) -> int | None:
    """A descriptor that holds the lock of a directory; None if another one does, or if it is gone by now.

    The lock is one of the open directory itself: it ends with the last process that has it open, however that ends.
    """
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.lstat(path)):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _owner_lives(path: str) -> bool:
    """Whether the noted owner does: it should not, as the lock is free. One that cannot be read has never begun."""
    try:
        pid, start = read(os.path.join(path, _OWNER)).split()
        return abs(_start_of(int(pid)) - float(start)) < _CLOCKS_DIFFER
    except (OSError, ValueError):
        return False


def _start_of(pid: int) -> float:
    """When a process began; never for one that is not there."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, ValueError, OverflowError):
        return float("inf")


def write(path: str, content: bytes) -> None:
    with open(path, "xb", opener=_open_private) as file:
        file.write(content)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def read(path: str) -> bytes:
    """What a file holds that only this user can write and read."""
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{path} is not a private file of this user")
        return file.read(1_000)
