"""Links over sockets that know no messages: whole messages all the same, whatever happens in between."""

import os
import select
import socket
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from taskloom.engines.worker.anonymous import empty_file
from taskloom.engines.worker.link import Link, StreamLink, link_pair

from .cases import PATIENCE, in_thread


@pytest.fixture(params=["packets", "stream"])
def link(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Link, Link]]:
    if request.param == "stream":
        monkeypatch.delattr(socket, "SOCK_SEQPACKET")
    ends = link_pair()
    assert isinstance(ends[0], StreamLink) == (request.param == "stream")
    for end in ends:
        end.sock.settimeout(PATIENCE)
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 60_000, 60_001, 5_000_000])
def test_messages_arrive_one_by_one(link: tuple[Link, Link], size: int) -> None:
    ours, theirs = link
    messages = [os.urandom(size), b"", b"x", os.urandom(size)]
    sent = in_thread(lambda: [ours.send(message) for message in messages])
    assert [theirs.receive() for _ in messages] == [(message, []) for message in messages]
    sent()
    ours.close()
    assert theirs.receive() is None


def test_each_message_has_its_own_files(link: tuple[Link, Link]) -> None:
    ours, theirs = link
    pipes = [os.pipe() for _ in range(3)]
    for number, (_, end) in enumerate(pipes):
        os.write(end, b"%d" % number)
    ours.send(b"a", [pipes[0][0]])
    ours.send(b"b")
    ours.send(b"c", [pipes[1][0], pipes[2][0]])
    for message, content in ((b"a", [b"0"]), (b"b", []), (b"c", [b"1", b"2"])):
        received = theirs.receive()
        assert received is not None
        assert received[0] == message
        assert not any(os.get_inheritable(file) for file in received[1])
        assert [os.read(file, 9) for file in received[1]] == content
        for file in received[1]:
            os.close(file)
    for pipe in pipes:
        for file in pipe:
            os.close(file)


@pytest.mark.parametrize("count", [250, 251, 700])
def test_a_message_brings_any_number_of_files(link: tuple[Link, Link], count: int) -> None:
    ours, theirs = link
    files = [empty_file() for _ in range(count)]
    for number, file in enumerate(files):
        os.write(file, b"%d" % number)

    def send() -> None:
        for message in (b"a", b"", b"b" * 60_001):
            ours.send(message, files)
        ours.send(b"c")

    sent = in_thread(send)
    for message in (b"a", b"", b"b" * 60_001):
        received = theirs.receive()
        assert received is not None
        assert received[0] == message
        assert [int(os.pread(file, 9, 0)) for file in received[1]] == [*range(count)]
        for file in received[1]:
            os.close(file)
    assert theirs.receive() == (b"c", [])
    sent()
    for file in files:
        os.close(file)


def test_files_go_on_where_the_other_end_was_slow(link: tuple[Link, Link]) -> None:
    ours, theirs = link
    for end in link:
        end.sock.setblocking(False)
    file = empty_file()
    numbers: list[int] = []

    def receive() -> None:
        received = theirs.receive()
        assert received is not None
        message, files = received
        assert len(files) == 300
        numbers.append(int(message[:3]))
        for each in files:
            os.close(each)

    refused = 0
    for number in range(200):
        message = b"%03d" % number + bytes(50_000)
        while True:
            try:
                ours.send(message, [file] * 300)
                break
            except BlockingIOError:
                refused += 1
                with suppress(BlockingIOError):
                    receive()
    while len(numbers) < 200:
        receive()
    assert refused
    assert numbers == [*range(200)]
    os.close(file)


def test_files_of_a_message_that_was_given_up_stay_with_nobody() -> None:
    ours, theirs = link_pair()
    if isinstance(ours, StreamLink):
        pytest.skip("this one finishes what was begun")
    ours.sock.setblocking(False)
    here, there = os.pipe()
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(1), [there] * 300)
    ours.sock.setblocking(True)
    theirs.sock.settimeout(PATIENCE)
    sent = in_thread(ours.send, b"another", [there] * 260)
    while (received := theirs.receive()) is not None and received[0] != b"another":
        assert len(received[1]) == 300
        for file in received[1]:
            os.close(file)
    assert received is not None
    assert len(received[1]) == 260
    sent()
    for file in received[1]:
        os.close(file)
    ours.close()
    theirs.close()
    os.close(there)
    assert os.read(here, 1) == b""  # nobody has the other end any more
    os.close(here)


def test_a_message_that_is_not_taken_as_a_whole_is_sent_again(link: tuple[Link, Link]) -> None:
    ours, theirs = link
    for end in link:
        end.sock.setblocking(False)
    messages = [bytes([number]) * 59_000 for number in range(250)]
    received = []
    refused = 0
    for message in messages:
        while True:
            try:
                ours.send(message)
            except BlockingIOError:
                refused += 1
                with suppress(BlockingIOError):
                    received.append(theirs.receive())
            else:
                break
    assert refused
    while len(received) < len(messages):
        received.append(theirs.receive())
    assert received == [(message, []) for message in messages]


def test_a_message_that_never_becomes_whole_leaves_no_file() -> None:
    ours, theirs = socket.socketpair()
    link = StreamLink(ours)
    ours.setblocking(False)
    file, kept = os.pipe()
    theirs.sendmsg([bytes(7)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [kept]))])
    os.close(kept)
    with pytest.raises(BlockingIOError):
        link.receive()
    assert not select.select([file], [], [], 0)[0]
    link.close()
    assert os.read(file, 1) == b""  # nobody has the other end any more
    os.close(file)
    theirs.close()


def test_threads_may_send_at_the_same_time(link: tuple[Link, Link]) -> None:
    ours, theirs = link
    threads = [
        threading.Thread(target=lambda n=n: [ours.send(bytes([n]) * 20_000) for _ in range(50)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for _ in range(200):
        received = theirs.receive()
        assert received is not None
        assert len(received[0]) == 20_000
        assert len(set(received[0])) == 1
    for thread in threads:
        thread.join()


class Strike:
    """Raises a KeyboardInterrupt at one moment of those at which Python takes signals."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        if event in ("call", "c_return") and function is not sys.setprofile:
            self.left -= 1
            if self.left < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    def during(self, function: Callable[[], Any]) -> Any:
        """Call it; returns what it does, or None if it was interrupted."""
        sys.setprofile(self)
        try:
            return function()
        except KeyboardInterrupt:
            return None
        finally:
            sys.setprofile(None)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_interrupt_at_any_moment_leaves_whole_messages(link: tuple[Link, Link], size: int) -> None:
    """The one that was under way may be lost; those before and behind it are as they were sent."""
    ours, theirs = link
    ours.sock.setblocking(False)
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)  # takes a part of the longer ones
    moment = 0
    while True:
        sending, receiving = Strike(moment), Strike(moment)
        first, second, third, last = [b"%d %d " % (moment, number) * size for number in range(4)]
        sent = in_thread(lambda m=[first, second, third, last], s=sending: _send(ours, m, s))
        received = []
        received.append(receiving.during(theirs.receive))
        while not received[-1] or received[-1][0] != last:
            received.append(theirs.receive())
        sent()
        messages = [message[0] for message in received if message]
        assert set(messages) <= {first, second, third, last}
        assert messages == sorted(set(messages))
        assert messages[-2:] == [third, last]
        if sending.left >= 0 and receiving.left >= 0:
            assert messages == [first, second, third, last]
            break
        moment += 1
    assert moment > 3


def _send(link: Link, messages: list[bytes], strike: Strike) -> None:
    first, second, *others = messages
    _send_one(link, first)
    strike.during(lambda: _send_one(link, second))
    for message in others:
        _send_one(link, message)


def _send_one(link: Link, message: bytes) -> None:
    while True:
        try:
            link.send(message)
            return
        except BlockingIOError:
            select.select([], [link], [], PATIENCE)
