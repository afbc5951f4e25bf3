"""Where other processes of the same user join a cluster: a Unix socket, and no port."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from time import monotonic
from weakref import WeakSet

from taskloom.engines.cluster.door.address import PrivateDirectory
from taskloom.engines.cluster.door.handshake import (
    DEADLINE,
    Handshake,
    HandshakeError,
    as_cluster,
    link_over,
    unix_socket,
)
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.waker import Waker

MOST_PENDING = 64  # connections that are in a handshake; more wait in the kernel
_REST = 0.1  # seconds between two tries to accept when there is no room for one more file

_open: WeakSet[Listener] = WeakSet()


class Listener:
    """Lets processes in that know the secret of a directory, on a thread of its own.

    `adopt(link)` is called there, for each that has proved it, with a link that does not wait. It should be quick.
    """

    def __init__(self, directory: PrivateDirectory, adopt: Callable[[Link], None]) -> None:
        self._directory = directory
        self._adopt = adopt
        self._pending: dict[int, tuple[Handshake, float]] = {}  # by descriptor, with its deadline
        self._rests_until = 0.0
        self._closed = False
        self._waker = Waker()
        self._sock = unix_socket()
        try:
            self._sock.bind(directory.socket)
            os.chmod(directory.socket, 0o600)
            self._sock.listen(MOST_PENDING)
            self._sock.setblocking(False)
            self._thread = threading.Thread(target=self._listen, name="taskloom-listener", daemon=True)
            self._thread.start()
        except BaseException:
            self._sock.close()
            raise
        _open.add(self)

    def close(self) -> None:
        """Let nobody in any more, and remove the directory. Links that were adopted stay."""
        self._closed = True
        self._waker.wake()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._directory.close()

    def let_go(self) -> None:
        """Give up what a fork has of it: it belongs to the parent."""
        _open.discard(self)
        self._directory.let_go()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._sock.close()
        for handshake, _ in self._pending.values():
            handshake.sock.close()
        self._pending.clear()

    def _listen(self) -> None:
        try:
            while not self._closed:
                for file, _ in self._wait():
                    if file == self._waker.fileno():
                        self._waker.clear()
                    elif file == self._sock.fileno():
                        self._accept()
                    else:
                        self._go_on(file)
                self._end_slow_ones()
        finally:
            self._close_sockets()

    def _wait(self) -> list[tuple[int, int]]:
        """What is ready, as soon as something is or must be done."""
        now = monotonic()
        times = [deadline for _, deadline in self._pending.values()]
        poll = select.poll()
        for file in (self._waker.fileno(), *self._pending):
            poll.register(file, select.POLLIN)
        if now < self._rests_until:
            times.append(self._rests_until)
        elif len(self._pending) < MOST_PENDING:
            poll.register(self._sock, select.POLLIN)
        return poll.poll(max(0.0, min(times) - now) * 1000 + 1 if times else None)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionError):  # it has gone again
            return
        except OSError:  # there are too many open files
            self._rests_until = monotonic() + _REST
            return
        sock.setblocking(False)
        try:
            handshake = Handshake(sock, as_cluster(self._directory.secret))
        except HandshakeError:  # another user
            sock.close()
            return
        self._pending[sock.fileno()] = handshake, monotonic() + DEADLINE

    def _go_on(self, file: int) -> None:
        handshake, _ = self._pending[file]
        try:
            if handshake.go_on():
                del self._pending[file]
                self._let_in(handshake.sock)
        except HandshakeError:
            self._refuse(file)

    def _let_in(self, sock: socket.socket) -> None:
        link = link_over(sock)
        try:
            self._adopt(link)
        except Exception:
            link.close()
            logging.getLogger(__name__).exception("A client could not join the cluster")

    def _end_slow_ones(self) -> None:
        now = monotonic()
        for file in [file for file, (_, deadline) in self._pending.items() if deadline <= now]:
            self._refuse(file)

    def _refuse(self, file: int) -> None:
        self._pending.pop(file)[0].sock.close()


def _let_go_in_child() -> None:
    for listener in list(_open):
        listener.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
