"""The handshake before a connection: who knows the secret gets through, and nothing else does."""

import os
import socket
import struct
import sys
import threading
from array import array
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.engines.cluster.door.handshake import (
    CHALLENGE_LENGTH,
    HELLO_LENGTH,
    HandshakeError,
    Steps,
    as_client,
    as_cluster,
    challenge,
    check_response,
    hello,
    response,
    shake_hands,
)
from tests.engines.cases import in_thread

SECRET, OTHER = b"s" * 32, b"t" * 32
NONCES = b"c" * 32, b"n" * 32
Pair = tuple[socket.socket, socket.socket]


def conversation(secret: bytes = SECRET, nonces: tuple[bytes, bytes] = NONCES) -> tuple[bytes, bytes, bytes]:
    """What both sides say when all is well."""
    greeting = hello(nonces[0])
    question = challenge(secret, greeting, nonces[1])
    return greeting, question, response(secret, greeting, question)


@pytest.fixture(params=["SOCK_SEQPACKET", "SOCK_STREAM"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    ends = socket.socketpair(socket.AF_UNIX, getattr(socket, request.param))
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_both_sides_that_know_the_secret_are_content() -> None:
    greeting, question, answer = conversation()
    check_response(SECRET, greeting, question, answer)
    assert (len(greeting), len(question), len(answer)) == (HELLO_LENGTH, CHALLENGE_LENGTH, 32)
    assert not any(SECRET in said for said in (greeting, question, answer))


def test_a_side_without_the_secret_is_refused() -> None:
    greeting, question, answer = conversation(OTHER)
    with pytest.raises(HandshakeError):
        response(SECRET, greeting, question)
    with pytest.raises(HandshakeError):
        check_response(SECRET, greeting, challenge(SECRET, greeting, NONCES[1]), answer)


def test_what_was_said_before_is_refused() -> None:
    """A replay: each side draws a nonce of its own, and so hears another answer each time."""
    old_greeting, old_question, old_answer = conversation()
    new_greeting = hello(b"d" * 32)
    with pytest.raises(HandshakeError):
        response(SECRET, new_greeting, old_question)
    new_question = challenge(SECRET, old_greeting, b"m" * 32)
    with pytest.raises(HandshakeError):
        check_response(SECRET, old_greeting, new_question, old_answer)


def test_what_one_side_says_is_of_no_use_to_the_other() -> None:
    """A reflection: the same nonces, but the proof of the wrong side."""
    greeting, question, answer = conversation()
    with pytest.raises(HandshakeError):
        check_response(SECRET, greeting, question, question[32:])
    with pytest.raises(HandshakeError):
        response(SECRET, greeting, question[:32] + answer)
    with pytest.raises(HandshakeError):
        challenge(SECRET, question[:HELLO_LENGTH], NONCES[1])


@given(st.binary(max_size=200))
def test_anything_else_is_refused(said: bytes) -> None:
    greeting, question, _ = conversation()
    with pytest.raises(HandshakeError):
        check_response(SECRET, greeting, question, said)
    with pytest.raises(HandshakeError):
        response(SECRET, greeting, said)
    with pytest.raises(HandshakeError):
        challenge(SECRET, said, NONCES[1])


@given(st.integers(0, HELLO_LENGTH + CHALLENGE_LENGTH + 31), st.integers(0, 7))
def test_every_bit_counts(position: int, bit: int) -> None:
    said = bytearray(b"".join(conversation()))
    said[position] ^= 1 << bit
    greeting, rest = bytes(said[:HELLO_LENGTH]), bytes(said[HELLO_LENGTH:])
    with pytest.raises(HandshakeError):
        hear_all(greeting, rest[:CHALLENGE_LENGTH], rest[CHALLENGE_LENGTH:])


def hear_all(greeting: bytes, question: bytes, answer: bytes) -> None:
    """Check a conversation as its two sides do, taken together."""
    challenge(SECRET, greeting, NONCES[1])
    response(SECRET, greeting, question)
    check_response(SECRET, greeting, question, answer)


def test_over_a_socket(pair: Pair) -> None:
    cluster = in_thread(shake_hands, pair[0], as_cluster(SECRET))
    shake_hands(pair[1], as_client(SECRET))
    cluster()
    pair[0].send(b"what follows is not touched")
    assert pair[1].recv(100) == b"what follows is not touched"


@pytest.mark.parametrize(("ours", "theirs"), [(SECRET, OTHER), (OTHER, SECRET)])
def test_over_a_socket_with_different_secrets(pair: Pair, ours: bytes, theirs: bytes) -> None:
    cluster = in_thread(shake_hands, pair[0], as_cluster(ours))
    with pytest.raises(HandshakeError, match="does not know the secret"):
        shake_hands(pair[1], as_client(theirs))
    pair[1].close()
    with pytest.raises(HandshakeError):
        cluster()


def say_hello(sock: socket.socket) -> None:
    sock.send(hello(NONCES[0]))


def fall_silent(sock: socket.socket) -> None:
    """Say a part at most."""
    if sock.type == socket.SOCK_STREAM:
        sock.send(b"taskl")


def close(sock: socket.socket) -> None:
    sock.close()


def say_half(sock: socket.socket) -> None:
    sock.send(hello(NONCES[0])[:-1])
    sock.close()


def say_too_much(sock: socket.socket) -> None:
    sock.send(hello(NONCES[0]) + bytes(50_000))


def send_a_file(sock: socket.socket) -> None:
    file = os.open(os.devnull, os.O_RDONLY)
    sock.sendmsg([hello(NONCES[0])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))])
    os.close(file)


def say_nonsense(sock: socket.socket) -> None:
    sock.send(bytes(HELLO_LENGTH))


@pytest.mark.parametrize(
    "fault",
    [say_hello, fall_silent, close, say_half, say_too_much, send_a_file, say_nonsense],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("side", [as_cluster, as_client])
def test_a_peer_at_fault_is_refused(
    pair: Pair, fault: Callable[[socket.socket], None], side: Callable[[bytes], Steps]
) -> None:
    fault(pair[1])
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with pytest.raises(HandshakeError) as caught:
        shake_hands(pair[0], side(SECRET), 0.05)
    stream = pair[0].type == socket.SOCK_STREAM
    on_the_way = {say_hello} if side is as_cluster else {say_hello, say_nonsense} if stream else set()
    assert ("has not answered" in str(caught.value)) == (fault in {fall_silent, *on_the_way})
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before  # fewer, if garbage of other tests was collected meanwhile


def test_a_peer_that_is_slow_has_no_more_time_for_each_byte() -> None:
    """The deadline is one for the whole handshake."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    over = threading.Event()

    def drip() -> None:
        for byte in hello(NONCES[0]):
            theirs.send(bytes([byte]))
            if over.wait(0.05):
                break

    dripping = in_thread(drip)
    with pytest.raises(HandshakeError, match=r"has not answered within 0\.3 s"):
        shake_hands(ours, as_cluster(SECRET), 0.3)
    over.set()
    dripping()
    ours.close()
    theirs.close()


class OfAnother(socket.socket):
    """A socket of which the kernel says that another user's process is at the other end."""

    def getsockopt(self, level: int, name: int, length: int = 0) -> bytes:  # type: ignore[override]
        return struct.pack("=iII", 1, os.geteuid() + 1, 0)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the credentials look so on Linux only")
@pytest.mark.parametrize("side", [as_cluster, as_client])
def test_another_user_is_refused_before_a_byte_is_sent(side: Callable[[bytes], Steps]) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    foreign = OfAnother(fileno=ours.detach())
    with pytest.raises(HandshakeError, match=f"belongs to another user .uid {os.geteuid() + 1}"):
        shake_hands(foreign, side(SECRET))
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    foreign.close()
    theirs.close()
