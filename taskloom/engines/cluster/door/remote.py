"""A client in another process than its cluster: the connection as the client holds it, and as the coordinator does."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic, sleep
from typing import Any

from taskloom.engines.cluster.door.address import ConnectError, secret_of, socket_of
from taskloom.engines.cluster.door.handshake import (
    DEADLINE,
    HandshakeError,
    as_client,
    link_over,
    peer_of,
    shake_hands,
    unix_socket,
)
from taskloom.engines.cluster.door.messages import Messages
from taskloom.engines.worker.failure import pack_error, unpack_error
from taskloom.engines.worker.parcel import Parcel
from taskloom.engines.worker.waker import Waker

WELCOME = 20.0  # seconds that a busy coordinator may take to welcome a client
LAST_WORDS = 2.0  # seconds in which what was sent before a close still goes out

Hear = Callable[[str, tuple[Any, ...], Sequence[Parcel]], None]
Running = list[tuple[int, int, float]]  # worker, task, since when


class RemoteClient(Messages):
    """A client in another process, as the coordinator has it: its thread alone uses it.

    `waiting` is what the client does not take yet: when its socket can be written to, call `send_waiting`. When `gone`
    is not empty any more, `close` it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._told: Running = []
        self.pid, _ = peer_of(self.link.sock)

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Send a message without ever waiting. Its parcels are given away."""
        self.put(kind, *fields, parcels=parcels)
        self.send_waiting()

    def tell_running(self, running: Running) -> None:
        """Tell what runs right now, if that is news, and if the client listens."""
        if running != self._told and not self.waiting:
            self._told = running
            self.send("running", running)


class RemoteConnection:
    """The connection that a client holds to a cluster in another process.

    All is sent and heard by one thread: what a caller adds to the queue is not torn by an interrupt of that caller.
    """

    threads = False

    pack = staticmethod(Parcel.of)
    pack_error = staticmethod(pack_error)
    unpack_error = staticmethod(unpack_error)

    def __init__(self, messages: Messages, number: int, hear: Hear) -> None:
        self.number = number
        self._messages = messages
        self._hear = hear
        self._running: Running = []
        self._asleep = False
        self._ends = inf  # when it must be closed, whatever is left to send
        self._waker = Waker()
        self._thread = threading.Thread(target=self._work, name="taskloom-connection", daemon=True)
        self._thread.start()

    def send(self, kind: str, *fields: Any, parcels: Sequence[Parcel] = ()) -> None:
        """Send a message, after all that this thread has sent before. Its parcels are given away."""
        self._messages.put(kind, *fields, parcels=parcels)
        if self._asleep:
            self._waker.wake()
        if self._messages.gone:
            self._messages.close()  # and so that message

    def running(self) -> Running:
        """What runs at the workers, as the coordinator has told last: worker, task, since when."""
        return self._running

    def close(self) -> None:
        """Leave the cluster when what was sent has gone out."""
        self._ends = min(self._ends, monotonic() + LAST_WORDS)
        self._waker.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(2 * LAST_WORDS)

    def _work(self) -> None:
        messages = self._messages
        while not messages.gone:
            messages.send_waiting()
            while (message := messages.receive()) is not None:
                self._tell(*message)
            left = self._ends - monotonic()
            if left <= 0 or (left < inf and not messages.waiting):
                break
            self._sleep(left)
        messages.close()
        if self._ends == inf:
            self._tell("gone", (messages.gone,), [])

    def _tell(self, kind: str, fields: tuple[Any, ...], parcels: list[Parcel]) -> None:
        if kind == "running":
            (self._running,) = fields
            return
        try:
            self._hear(kind, fields, parcels)
        except Exception:
            logging.getLogger(__name__).exception("A message of the cluster was lost: %s", kind)

    def _sleep(self, seconds: float) -> None:
        """Wait until there is something to do."""
        self._asleep = True  # whoever adds to the queue from now on wakes; what is in it already does so, too
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.register(self._messages, select.POLLIN | (select.POLLOUT if self._messages.waiting else 0))
        poll.poll(None if seconds == inf else seconds * 1000)
        self._asleep = False
        self._waker.clear()


def connect(address: str, hear: Hear, secret: bytes | None = None) -> RemoteConnection:
    """Connect to the cluster at an address; without a secret, with the one beside its socket.

    `hear(kind, fields, parcels)` is called for each message, on the connection's thread. The last one is "gone", unless
    `close` is called before.

    Raises
    ------
    ConnectError
        There is no cluster, or it is another user's, or it does not answer.
    ConfigError
        It is not the address of a cluster on this machine.
    """
    path = socket_of(address)
    if secret is None:
        secret = secret_of(path)
    sock = unix_socket()
    try:
        _reach(sock, path)
        shake_hands(sock, as_client(secret))
        messages = Messages(link_over(sock))
    except BaseException:
        sock.close()
        raise
    try:
        return RemoteConnection(messages, _welcome(messages), hear)
    except BaseException:
        messages.close()
        raise


def _reach(sock: socket.socket, path: str) -> None:
    """Connect a socket, and leave it in a state in which it does not wait."""
    sock.setblocking(False)
    deadline = monotonic() + DEADLINE
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:  # many others are being let in
            if monotonic() > deadline:
                raise ConnectError(f"The cluster at {path} lets nobody in: too many are waiting.") from None
            sleep(0.01)
        except OSError as error:
            reason = error.strerror or error
            raise ConnectError(f"There is no cluster at {path} that this process can join ({reason}).") from None


def _welcome(messages: Messages) -> int:
    """The number that the coordinator gives to this client."""
    poll = select.poll()
    poll.register(messages, select.POLLIN)
    deadline = monotonic() + WELCOME
    while (message := messages.receive()) is None:
        if messages.gone:
            raise HandshakeError(f"The cluster did not let this process in: {messages.gone}.")
        left = deadline - monotonic()
        if left <= 0:
            raise ConnectError(f"The cluster has not welcomed this process within {WELCOME:g} s.")
        poll.poll(left * 1000)
    kind, fields, _ = message
    if kind != "welcome":
        raise HandshakeError(f"The cluster began with {kind!r} instead of a welcome.")
    return int(fields[0])
