"""How a worker process comes to be: as a new interpreter, as a fork of this process, or as a fork of a server.

None of them runs the user's script again. The new process gets its five files and the process to die with.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from taskloom.engines.worker import authkey
from taskloom.engines.worker.forked import become_worker
from taskloom.engines.worker.link import Link, link_pair

PATIENCE = 5.0  # seconds in which the fork server notices that a worker has ended


class Files(NamedTuple):
    """The descriptors of a worker."""

    work: int
    data: int
    page: int
    stdout: int
    stderr: int


class Child(Protocol):
    """A process that was started, as `subprocess.Popen` shows one."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class Launcher(Protocol):
    """A way to start workers. They die with the thread that started them."""

    def start(self, files: Files, module: str) -> Child:
        """Start one that calls the module's `start`."""

    def close(self) -> None: ...


class Spawn:
    """Each worker is a new interpreter that knows nothing of this one."""

    def start(self, files: Files, module: str) -> Child:
        call = f"from {module} import start; start{(*files[:3], os.getpid())}"
        return _interpreter(call, files, stdout=files.stdout, stderr=files.stderr)

    def close(self) -> None:
        pass


class Fork:
    """Each worker is a copy of this process, with all that it has in memory, of which one thread goes on."""

    def start(self, files: Files, module: str) -> Child:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            become_worker(module, *files, parent)
        return _Forked(pid)

    def close(self) -> None:
        pass


class ForkServer:
    """Each worker is a copy of a process that has done nothing but load what workers need: a fork that is quick, and
    takes no locks, threads or files along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._alive: set[int] = set()  # pids, as far as this one's server has told
        self._ended: dict[int, int] = {}  # exit codes by pid

    def start(self, files: Files, module: str) -> Child:
        with self._lock:
            link = self._connect()
            link.send(module.encode(), files)
            link.sock.settimeout(None)
            while (event := _event(link)) is not None:
                name, pid, code = event
                if name == "started":
                    self._alive.add(pid)
                    return _Served(self, pid)
                self._ended[pid] = code
            self._forget()
        raise OSError("the fork server ended")

    def _connect(self) -> Link:
        if self._link is None:
            self._link, theirs = link_pair()
            try:
                call = f"from taskloom.engines.worker.forked import serve; serve({theirs.fileno()}, {os.getpid()})"
                self._process = _interpreter(call, (theirs.fileno(),), stdout=subprocess.DEVNULL, stderr=None)
            except BaseException:
                self._forget()
                raise
            finally:
                theirs.close()
        return self._link

    def code(self, pid: int, patience: float) -> int | None:
        """The exit code of a worker; None if it is not known to have ended in so many seconds."""
        with self._lock:
            while pid not in self._ended:
                if self._link is None:
                    return -signal.SIGKILL  # it went with the server
                self._link.sock.settimeout(patience)
                try:
                    event = _event(self._link)
                except (BlockingIOError, TimeoutError):
                    return None
                if event is None:
                    self._forget()
                else:
                    self._ended[event[1]] = event[2]
            return self._ended[pid]

    def _forget(self) -> None:
        self._ended |= dict.fromkeys(self._alive - self._ended.keys(), -signal.SIGKILL)  # they went with the server
        self._alive.clear()
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        with self._lock:
            self._forget()


LAUNCHERS: dict[str, type[Launcher]] = {"spawn": Spawn, "forkserver": ForkServer, "fork": Fork}


def _event(link: Link) -> tuple[str, int, int] | None:
    """What the fork server tells: a name, a pid and an exit code; None when it is gone."""
    try:
        received = link.receive()
    except ConnectionError:
        return None
    if received is None:
        return None
    event: tuple[str, int, int] = pickle.loads(received[0])
    return event


class _Forked:
    """A child of this process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        code = self._reap(0)
        assert code is not None
        return code

    def _reap(self, how: int) -> int | None:
        with self._lock:
            if self._code is None:
                try:
                    pid, status = os.waitpid(self.pid, how)
                except ChildProcessError:  # somebody else has waited for it
                    self._code = 0
                else:
                    self._code = os.waitstatus_to_exitcode(status) if pid else None
            return self._code

    def kill(self) -> None:
        with self._lock:
            if self._code is None:
                os.kill(self.pid, signal.SIGKILL)


class _Served:
    """A child of the fork server."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server

    def poll(self) -> int | None:
        return self._server.code(self.pid, 0)

    def wait(self) -> int:
        code = self._server.code(self.pid, PATIENCE)
        return -signal.SIGKILL if code is None else code

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


_hash_seed = str(random.SystemRandom().randrange(1, 2**32))


def _interpreter(call: str, files: Sequence[int], stdout: int, stderr: int | None) -> subprocess.Popen[bytes]:
    """Start a Python that has these files and makes one call of this package's."""
    seed = os.environ.get("PYTHONHASHSEED", "random")
    key = authkey.offer()
    take_key = f"from taskloom.engines.worker.authkey import take; take({key})"
    program = f"import sys; sys.path[:] = {sys.path!r}\n{take_key}\n{call}"
    try:
        return subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", program],  # type: ignore[attr-defined]
            pass_fds=(*files, key),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C in the terminal, and a notebook's interrupt, reach the parent only
            env={**os.environ, "PYTHONHASHSEED": _hash_seed if seed == "random" else seed},
        )
    finally:
        os.close(key)
