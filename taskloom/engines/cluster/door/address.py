"""Where a cluster is found by the other processes of its user, and by nobody else.

Each cluster has a private directory with a socket, a secret and a note of whose it is. Its owner holds a lock on it, so
that what is left of one that was killed can be told from what is in use, and swept away.
"""

from __future__ import annotations

import os
import secrets
import tempfile

from taskloom.engines.cluster.door.private import OwnDirectory, flaw, read, sweep_places, write
from taskloom.errors import ConfigError, TaskloomError

SECRET_LENGTH = 32  # bytes
LONGEST_PATH = 103  # bytes of a socket's path: macOS takes no more, Linux 107

_SCHEME = "unix://"
_SOCKET, _SECRET = "scheduler.sock", "secret"
_PREFIX = "cluster-"


class ConnectError(TaskloomError, ConnectionError):
    """There is no cluster at an address, or none that this process may use."""


class PrivateDirectory(OwnDirectory):
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
        longest = f"{_PREFIX}{0:08x}"
        bases = [base for base in _bases() if len(os.fsencode(os.path.join(base, longest, _SOCKET))) <= LONGEST_PATH]
        super().__init__(_PREFIX, bases, "every path is too long for a socket")
        self.socket = os.path.join(self.path, _SOCKET)
        self.address = _SCHEME + self.socket
        self.secret = secrets.token_bytes(SECRET_LENGTH)
        try:
            write(os.path.join(self.path, _SECRET), self.secret)
        except BaseException:
            self.close()
            raise


def sweep() -> None:
    """Remove the directories of clusters whose owners are gone."""
    sweep_places(_PREFIX, _bases())


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
        "cluster.scheduler_address. The scheduler of a dask cluster is at tcp://host:8786, or host:8786."
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
    if problem := flaw(directory):
        raise ConnectError(
            f"There is no cluster at {_SCHEME}{socket}: {directory} is not the directory of a cluster of this user, as "
            f"it {problem}."
        )
    try:
        secret = read(os.path.join(directory, _SECRET))
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
    if os.path.isabs(runtime) and not flaw(runtime):
        bases.append(os.path.join(runtime, "taskloom"))
    places = (tempfile.gettempdir(), "/tmp")
    return list(dict.fromkeys([*bases, *[os.path.join(place, f"taskloom-{os.geteuid()}") for place in places]]))
