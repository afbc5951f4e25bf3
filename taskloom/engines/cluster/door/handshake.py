"""Who is at the other end of a socket, made sure on both sides before anything it sends is unpickled.

The kernel says whether the peer is a process of the same user. Then both prove that they know the cluster's secret:
each draws a nonce, and answers with an HMAC of all that was said so far under a name for its side. So nothing that was
said once is of use a second time, or to the side that said it.

    client  -> cluster   HELLO, its nonce
    cluster -> client    its nonce, PROOF as cluster
    client  -> cluster   PROOF as client
"""

from __future__ import annotations

import hmac
import os
import select
import socket
import struct
import sys
from collections.abc import Generator
from contextlib import suppress
from time import monotonic

from taskloom.engines.cluster.door.address import ConnectError
from taskloom.engines.worker.link import BUFFER, Link, link_on

DEADLINE = 5.0  # seconds from the first byte to the last

_HELLO = b"taskloom cluster 1\n"
_NONCE = 32  # bytes
_PROOF = 32  # bytes
HELLO_LENGTH = len(_HELLO) + _NONCE
CHALLENGE_LENGTH = _NONCE + _PROOF

#: One side of a handshake: yields what to send and how many bytes to wait for, and is sent those.
Steps = Generator[tuple[bytes, int], bytes, None]


class HandshakeError(ConnectError):
    """The other end is not who it should be, or does not speak as it should."""


def hello(nonce: bytes) -> bytes:
    """The first message, from the client."""
    return _HELLO + nonce


def challenge(secret: bytes, said: bytes, nonce: bytes) -> bytes:
    """The second message, from the cluster, as the answer to the first."""
    if len(said) != HELLO_LENGTH or not said.startswith(_HELLO):
        raise HandshakeError("The other end is no client of this version of taskloom.")
    return nonce + _proof(secret, b"cluster", said + nonce)


def response(secret: bytes, greeting: bytes, said: bytes) -> bytes:
    """The third message, from the client, as the answer to the second."""
    nonce = said[:_NONCE]
    if not hmac.compare_digest(said[_NONCE:], _proof(secret, b"cluster", greeting + nonce)):
        raise HandshakeError("The other end is not the cluster that it should be: it does not know the secret.")
    return _proof(secret, b"client", greeting + said)


def check_response(secret: bytes, greeting: bytes, question: bytes, said: bytes) -> None:
    """Raise an error if the third message does not come from a client that knows the secret."""
    if not hmac.compare_digest(said, _proof(secret, b"client", greeting + question)):
        raise HandshakeError("The other end does not know the secret of this cluster.")


def _proof(secret: bytes, side: bytes, transcript: bytes) -> bytes:
    return hmac.digest(secret, side + b"\0" + transcript, "sha256")


def as_client(secret: bytes) -> Steps:
    """What a client does."""
    greeting = hello(os.urandom(_NONCE))
    said = yield greeting, CHALLENGE_LENGTH
    yield response(secret, greeting, said), 0


def as_cluster(secret: bytes) -> Steps:
    """What a cluster does."""
    greeting = yield b"", HELLO_LENGTH
    question = challenge(secret, greeting, os.urandom(_NONCE))
    said = yield question, _PROOF
    check_response(secret, greeting, question, said)


class Handshake:
    """A handshake over a socket that does not wait. What goes wrong is a `HandshakeError`."""

    def __init__(self, sock: socket.socket, steps: Steps) -> None:
        check_peer(sock)
        self.sock = sock
        self._steps = steps
        self._said = b""
        self._missing = 0  # bytes of what the other end is to say next
        self._over = False
        self._step(next(steps))

    def fileno(self) -> int:
        return self.sock.fileno()

    def go_on(self) -> bool:
        """Hear what has come, and answer; returns whether that was all."""
        while not self._over and self._hear():
            if not self._missing:
                try:
                    step = self._steps.send(self._said)
                except StopIteration:
                    self._over = True
                else:
                    self._step(step)
        return self._over

    def _step(self, step: tuple[bytes, int]) -> None:
        message, self._missing = step
        self._said = b""
        self._over = not self._missing
        try:
            if message and self.sock.send(message) != len(message):
                raise HandshakeError("The other end does not take what it is sent.")
        except OSError as error:
            raise HandshakeError(f"The other end has closed the connection ({error.strerror}).") from None

    def _hear(self) -> bool:
        """Take what is there, and nothing beyond what is missing; returns whether it was anything."""
        try:
            said, _, flags, _ = self.sock.recvmsg(self._missing)
        except BlockingIOError:
            return False
        except OSError as error:
            raise HandshakeError(f"The other end has closed the connection ({error.strerror}).") from None
        if not said:
            raise HandshakeError("The other end has closed the connection.")
        short = self.sock.type != socket.SOCK_STREAM and len(said) < self._missing
        if short or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise HandshakeError("The other end said something else than a handshake.")
        self._said += said
        self._missing -= len(said)
        return True


def shake_hands(sock: socket.socket, steps: Steps, seconds: float = DEADLINE) -> None:
    """Go through a handshake, and wait for the other end so long."""
    deadline = monotonic() + seconds
    handshake = Handshake(sock, steps)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while not handshake.go_on():
        left = deadline - monotonic()
        if left <= 0:
            raise HandshakeError(f"The other end has not answered within {seconds:g} s.")
        poll.poll(left * 1000)


def unix_socket() -> socket.socket:
    """A new socket of the best kind that the system has: one that keeps message boundaries, or a stream."""
    try:
        return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except (AttributeError, OSError):
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def link_over(sock: socket.socket) -> Link:
    """The link that a socket becomes after the handshake. It does not wait."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    link = link_on(sock.detach())
    link.sock.setblocking(False)
    return link


def check_peer(sock: socket.socket) -> None:
    """Raise an error if the process at the other end is another user's."""
    _, uid = peer_of(sock)
    if uid is not None and uid != os.geteuid():
        raise HandshakeError(f"The process at the other end belongs to another user (uid {uid}).")


def peer_of(sock: socket.socket) -> tuple[int | None, int | None]:
    """The id of the process at the other end, and its user; None where the system does not say."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
    if sys.platform == "darwin" or "bsd" in sys.platform:
        credentials = sock.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED: version, uid, groups
        return None, int(struct.unpack_from("=II", credentials)[1])
    return None, None
