"""Where a cluster is found by the other processes of its user, and by nobody else.

Each cluster has a private directory with a socket, a secret and a note of whose it is. Its owner holds a lock on it, so
that what is left of one that was killed can be told from what is in use, and swept away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile

from taskloom.errors import ConfigError, TaskloomError

SECRET_LENGTH = 32  # bytes
LONGEST_PATH = 103  # bytes of a socket's path: macOS takes no more, Linux 107

_SCHEME = "unix://"
_SOCKET, _SECRET, _OWNER = "scheduler.sock", "secret", "owner"
_PREFIX = "cluster-"
_MISSING = "is not there"
_CLOCKS_DIFFER = 10.0  # seconds: a process's start is known by a clock that may be set meanwhile


class ConnectError(TaskloomError, ConnectionError):
    """There is no cluster at an address, or none that this process may use."""


class PrivateDirectory:
    """The private directory of a cluster that this process owns, until `close`.

    Examples
    --------
    >>> directory = PrivateDirectory()
    >>> secret_of(socket_of(directory.address)) == directory.secret
    True
    >>> directory.close()
    """

    def __init__(self) -> None:
        sweep()
        self.path, self._lock = _new_directory()
        self.socket = os.path.join(self.path, _SOCKET)
        self.address = _SCHEME + self.socket
        self.secret = secrets.token_bytes(SECRET_LENGTH)
        try:
            _write(os.path.join(self.path, _OWNER), f"{os.getpid()} {_start_of(os.getpid())}\n".encode())
            _write(os.path.join(self.path, _SECRET), self.secret)
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


def sweep() -> None:
    """Remove the directories whose owners are gone. Those of other users, and of living processes, stay."""
    for base in _bases():
        if _flaw(base):
            continue
        with contextlib.suppress(OSError):
            for name in os.listdir(base):
                if name.startswith(_PREFIX):
                    _sweep(os.path.join(base, name))


def _sweep(path: str) -> None:
    lock = _locked(path)
    if lock is not None:
        if not _flaw(path) and not _owner_lives(path):
            _remove(path)
        os.close(lock)


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):  # there are others in it
        os.rmdir(os.path.dirname(path))


def socket_of(address: str) -> str:
    """The path of the socket that an address names.

    Examples
    --------
    >>> socket_of("unix:///run/user/1000/taskloom/cluster-1/scheduler.sock")
    '/run/user/1000/taskloom/cluster-1/scheduler.sock'
    """
    path = address.removeprefix(_SCHEME)
    if path != address and os.path.isabs(path) and "\0" not in path:
        return path
    raise ConfigError(
        f"{address[:200]!r} is not the address of a cluster on this machine: those read unix:///.../{_SOCKET}, as in "
        "cluster.scheduler_address. More than one machine belongs to dask.distributed: connect with its own Client."
    )


def secret_of(socket: str) -> bytes:
    """The secret of the cluster with this socket.

    Raises
    ------
    ConnectError
        The cluster is not there any more, or is another user's.
    """
    directory = os.path.dirname(socket)
    if not os.path.lexists(directory):
        raise ConnectError(f"There is no cluster at {_SCHEME}{socket}: it has been closed, or another user owns it.")
    if flaw := _flaw(directory):
        raise ConnectError(
            f"There is no cluster at {_SCHEME}{socket}: {directory} is not the directory of a cluster of this user, as "
            f"it {flaw}."
        )
    try:
        secret = _read(os.path.join(directory, _SECRET))
    except OSError as error:
        raise ConnectError(
            f"The cluster at {_SCHEME}{socket} is being closed, or left nothing of use: {error}."
        ) from None
    if len(secret) != SECRET_LENGTH:
        raise ConnectError(f"The cluster at {_SCHEME}{socket} has no valid secret. Start it again.")
    return secret


def _bases() -> list[str]:
    """Where directories of clusters may be, the best place first."""
    bases = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and not _flaw(runtime):
        bases.append(os.path.join(runtime, "taskloom"))
    places = (tempfile.gettempdir(), "/tmp")
    return list(dict.fromkeys([*bases, *[os.path.join(place, f"taskloom-{os.geteuid()}") for place in places]]))


def _new_directory() -> tuple[str, int]:
    """A new directory, and the descriptor that holds its lock."""
    name = _PREFIX + secrets.token_hex(4)
    bases = [base for base in _bases() if len(os.fsencode(os.path.join(base, name, _SOCKET))) <= LONGEST_PATH]
    problem = "every path is too long for a socket"
    for base in bases:
        for _ in range(100):  # each time a sweep of another process was quicker than the lock
            path = os.path.join(base, name)
            try:
                _make(base)
                os.mkdir(path, 0o700)
            except OSError as error:
                problem = str(error)
                if not isinstance(error, (FileExistsError, FileNotFoundError)):
                    break  # nothing can be made there: the next one
            else:
                if (lock := _locked(path)) is not None:
                    return path, lock
            name = _PREFIX + secrets.token_hex(4)
    raise ConfigError(f"There is no place for the private directory of a cluster ({problem}). Set TMPDIR to one.")


def _make(base: str) -> None:
    """Have a directory that is ours alone, or refuse what somebody else may have put there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(base, 0o700)
    if (flaw := _flaw(base)) and flaw != _MISSING:  # a missing one was removed by another cluster just now
        raise ConfigError(
            f"The private directory of a cluster cannot be made in {base}: that {flaw}. "
            "Remove it, or set TMPDIR to a directory of your own."
        )


def _flaw(path: str) -> str:
    """What keeps a directory from being private to this user; nothing if it is."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _MISSING
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
        pid, start = _read(os.path.join(path, _OWNER)).split()
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


def _write(path: str, content: bytes) -> None:
    with open(path, "xb", opener=_open_private) as file:
        file.write(content)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _read(path: str) -> bytes:
    """What a file holds that only this user can write and read."""
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{path} is not a private file of this user")
        return file.read(1_000)
