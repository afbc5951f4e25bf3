"""Connections of clients in other processes: all that is sent arrives, in order, and nothing stays when they end."""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from taskloom.engines.cluster.door import remote
from taskloom.engines.cluster.door.address import ConnectError, PrivateDirectory
from taskloom.engines.cluster.door.remote import connect
from taskloom.errors import ConfigError
from tests.engines.cases import PATIENCE, REPOSITORY, check_child, in_thread, wait_for
from tests.engines.cluster.doors import Client, Door, open_door, receive, threads_named


def files() -> int:
    """How many this process has open."""
    gc.collect()
    return len(os.listdir("/dev/fd"))


@pytest.fixture(params=["packets", "stream"])
def door(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    if request.param == "stream":
        monkeypatch.delattr(socket, "SOCK_SEQPACKET")
    with open_door() as door:
        yield door


@pytest.fixture
def client(door: Door) -> Iterator[Client]:
    client = Client(door)
    yield client
    client.close()


def alike(program: str) -> str:
    """A program for another process, which has the kind of sockets that this one has just now."""
    return program if hasattr(socket, "SOCK_SEQPACKET") else "import socket; del socket.SOCK_SEQPACKET\n" + program


def silent(*message: Any) -> None:
    """Hear nothing."""


def test_each_client_is_welcomed_with_a_number(door: Door) -> None:
    clients = [Client(door) for _ in range(3)]
    assert [client.connection.number for client in clients] == [1, 2, 3]
    assert not any(client.connection.threads for client in clients)
    for client in clients:
        client.close()


def test_messages_arrive_in_order_both_ways(client: Client) -> None:
    for number in range(200):
        client.connection.send("release", [number])
        client.there.send("done", [number], {}, {})
    assert [receive(client.there) for _ in range(200)] == [("release", ([number],), []) for number in range(200)]
    assert [client.next_message() for _ in range(200)] == [("done", ([n], {}, {}), []) for n in range(200)]


@pytest.mark.parametrize("count", [1, 249, 250, 251, 700])
def test_a_message_brings_any_number_of_files(client: Client, count: int) -> None:
    before = files()
    for send in (client.connection.send, client.there.send):
        parcels = [client.connection.pack(numpy.full(10_000, number)) for number in range(count)]
        send("submit", "many", parcels=parcels)
        send("submit", "none")
    for message in (receive(client.there), client.next_message()):
        assert message is not None
        assert message[:2] == ("submit", ("many",))
        assert [int(parcel.value()[-1]) for parcel in message[2]] == [*range(count)]
        for parcel in message[2]:
            parcel.close()
    assert receive(client.there) == client.next_message() == ("submit", ("none",), [])
    assert files() == before


def test_a_sender_gives_its_parcels_away(client: Client) -> None:
    for send in (client.connection.send, client.there.send):
        parcel = client.connection.pack(numpy.zeros(10_000))
        assert parcel.files
        send("submit", parcels=[parcel])
        assert not parcel.files
    for message in (receive(client.there), client.next_message()):
        assert message is not None
        message[2][0].close()


def test_files_of_a_message_that_never_comes_are_closed(client: Client) -> None:
    before = files()
    client.connection._messages.waiting.append((b"", [os.open(os.devnull, os.O_RDONLY) for _ in range(9)]))
    client.connection.close()
    assert receive(client.there) is None
    client.there.close()
    assert files() < before


def test_threads_send_messages_with_many_files_at_the_same_time(client: Client) -> None:
    def send(thread: int) -> None:
        for number in range(10):
            parcels = [client.connection.pack(numpy.full(5_000, thread)) for _ in range(30)]
            client.connection.send("submit", thread, number, parcels=parcels)

    sending = [in_thread(send, thread) for thread in range(3)]
    numbers: dict[int, list[int]] = {thread: [] for thread in range(3)}
    for _ in range(30):
        message = receive(client.there)
        assert message is not None
        _, (thread, number), parcels = message
        numbers[thread].append(number)
        assert {int(parcel.value()[0]) for parcel in parcels} == {thread}
        for parcel in parcels:
            parcel.close()
    assert list(numbers.values()) == 3 * [[*range(10)]]
    for sent in sending:
        sent()


def test_long_messages_arrive(client: Client) -> None:
    text = "x" * 5_000_000
    client.connection.send("submit", text)
    assert receive(client.there) == ("submit", (text,), [])
    sent = in_thread(lambda: (client.there.send("done", text), receive(client.there)))  # which sends what waits
    assert client.next_message() == ("done", (text,), [])
    client.connection.send("close")
    sent()


def test_a_sender_does_not_wait_for_one_who_does_not_listen(client: Client) -> None:
    """Neither side does: 60 MB fit into no socket."""
    block = "x" * 50_000
    for number in range(1_200):
        client.connection.send("submit", number, block)
    for number in range(1_200):
        message = receive(client.there)
        assert message is not None
        assert message[1] == (number, block)
    for number in range(1_200):
        client.there.send("done", number, block)
    assert client.there.waiting or client.heard.qsize()
    sent = in_thread(receive, client.there)
    for number in range(1_200):
        assert client.next_message()[1] == (number, block)
    client.connection.send("close")
    assert sent() == ("close", (), [])


def test_values_and_errors_travel(client: Client) -> None:
    connection = client.connection
    parcel = connection.pack({"a": numpy.arange(100_000)})
    assert int(parcel.value()["a"].sum()) == 4_999_950_000
    parcel.close()
    error = connection.unpack_error(connection.pack_error(ZeroDivisionError("by nothing")))
    assert (type(error), error.args) == (ZeroDivisionError, ("by nothing",))


def test_what_runs_is_what_was_told_last(client: Client) -> None:
    assert client.connection.running() == []
    client.there.tell_running([(0, 7, 1.5)])
    client.there.tell_running([(0, 7, 1.5)])
    client.there.send("done")
    assert client.next_message() == ("done", (), [])
    assert client.connection.running() == [(0, 7, 1.5)]


def test_a_message_that_nobody_understands_is_not_the_last(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    second = threading.Event()

    def hear(kind: str, fields: Any, parcels: Any) -> None:
        heard.append(kind)
        if kind == "first":
            raise ValueError
        second.set()

    connection = connect(door.address, hear)
    there = door.next_client()
    there.send("first")
    there.send("second")
    wait_for(second)
    assert heard == ["first", "second"]
    assert "A message of the cluster was lost: first" in caplog.text
    connection.close()
    there.close()


def test_the_client_hears_once_that_the_cluster_is_gone(client: Client) -> None:
    client.there.send("report", 1)
    client.there.close()
    assert client.next_message() == ("report", (1,), [])
    kind, (why,), _ = client.next_message()
    assert kind == "gone"
    assert "closed" in why or "lost" in why
    before = files()
    client.connection.send("submit", 1, parcels=[client.connection.pack(numpy.zeros(50_000))])
    client.connection.close()
    assert files() <= before
    assert client.heard.empty()


def test_what_was_sent_before_a_close_arrives(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LAST_WORDS", PATIENCE)  # it is not about how long that takes
    block = "x" * 50_000
    for _ in range(100):
        client.connection.send("submit", block)
    reading = in_thread(lambda: [receive(client.there) for _ in range(102)])
    client.connection.send("close")
    client.connection.close()
    client.connection.close()
    messages = reading()
    assert [message and message[0] for message in messages] == ["submit"] * 100 + ["close", None]
    assert "closed" in client.there.gone
    assert client.heard.empty()
    assert not threads_named("taskloom-connection")


def test_a_close_does_not_wait_for_ever(client: Client) -> None:
    block = "x" * 50_000
    for _ in range(1_000):
        client.connection.send("submit", block)
    before = threads_named("taskloom-connection")
    assert len(before) == 1
    client.connection.close()  # nobody reads
    assert not before[0].is_alive()


@pytest.mark.parametrize("message", [b"nonsense", b"\x80\x05N.", b"cos\n_exit\n", b"\x80\x05(lp0"])
def test_a_broken_message_ends_that_client_only(client: Client, door: Door, message: bytes) -> None:
    other = Client(door)
    file = os.open(os.devnull, os.O_RDONLY)
    before = files()
    client.there.send("still", "there")
    client.next_message()
    client.connection._messages.waiting.append((message, [os.dup(file)]))
    client.connection.send("submit")
    assert receive(client.there) is None
    assert "cannot be read" in client.there.gone
    client.there.close()
    assert client.next_message()[0] == "gone"
    other.connection.send("submit", 1)
    assert receive(other.there) == ("submit", (1,), [])
    other.close()
    os.close(file)
    assert files() < before


PEER = """
import sys
from taskloom.engines.cluster.door.remote import connect
connection = connect(sys.argv[1], lambda *message: None)
block = "x" * 300_000
while True:
    connection.send("submit", block)
    if len(connection._messages.waiting) > 50:
        print("busy", flush=True)
        sys.stdin.read()
"""


def test_a_client_that_is_killed_amid_its_messages_does_no_harm(door: Door) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", alike(PEER), door.address],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    there = door.next_client()
    before = files()
    assert child.stdout is not None
    assert child.stdout.readline() == b"busy\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    while (message := receive(there)) is not None:
        assert message[:1] == ("submit",)
        assert len(message[1][0]) == 300_000
    assert there.gone
    there.close()
    assert files() < before
    good = Client(door)
    good.close()


def test_another_process_connects_and_leaves(door: Door) -> None:
    program = """
import sys, threading
from taskloom.engines.cluster.door.remote import connect
heard = threading.Event()
connection = connect(sys.argv[1], lambda *message: heard.set())
connection.send("submit", 1)
assert heard.wait(10)
connection.close()
"""
    running = in_thread(check_child, alike(program), door.address)
    there = door.next_client()
    assert receive(there) == ("submit", (1,), [])
    there.send("done")
    assert receive(there) is None
    running()
    there.close()


def test_a_fork_of_a_client_does_not_speak_for_it(client: Client) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            client.connection.send("submit", "from the child")
            client.connection.close()
            os.write(write, b"done")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"done"
    os.close(read)
    os.close(write)
    client.connection.send("submit", "from the parent")
    assert receive(client.there) == ("submit", ("from the parent",), [])


def test_a_fork_does_not_hide_the_end_of_the_parents_connection(client: Client) -> None:
    pid = os.fork()
    if not pid:
        signal.pause()
    try:
        client.connection.close()
        assert receive(client.there) is None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_where_nobody_listens(place: Path) -> None:
    directory = PrivateDirectory()
    with pytest.raises(ConnectError, match="There is no cluster at"):
        connect(directory.address, silent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(directory.socket)
    with pytest.raises(ConnectError, match="Connection refused"):
        connect(directory.address, silent)
    directory.close()
    with pytest.raises(ConnectError, match="has been closed"):
        connect(directory.address, silent)
    with pytest.raises(ConfigError, match="not the address of a cluster on this machine"):
        connect("host:8786", silent)


def test_the_secret_decides(door: Door) -> None:
    with pytest.raises(ConnectError, match="does not know the secret"):
        connect(door.address, silent, bytes(32))
    connection = connect(door.address, silent, door.directory.secret)
    assert connection.number == 1
    connection.close()


def test_an_interrupted_caller_has_sent_all_or_nothing(client: Client) -> None:
    """An interrupt in the middle of a send, wherever it comes: the messages that arrive are whole, and in order."""
    sent = 0
    gc.collect()  # what goes in the midst of a send would be struck instead
    for moment in range(200):
        calls = 0

        def strike(frame: Any, event: str, argument: Any, moment: int = moment) -> None:
            nonlocal calls
            if event in ("call", "c_return", "return"):
                calls += 1
                if calls > moment:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        gc.disable()
        sys.setprofile(strike)
        try:
            client.connection.send("submit", moment)
            sys.setprofile(None)
            sent += 1
        except KeyboardInterrupt:
            pass
        finally:
            gc.enable()
    assert sent
    client.connection.send("close")
    numbers = []
    while (message := receive(client.there)) is not None and message[0] == "submit":
        numbers.append(message[1][0])
    assert message == ("close", (), [])
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= sent


def test_many_connect_at_once(door: Door) -> None:
    connecting = [in_thread(connect, door.address, silent) for _ in range(100)]
    connections = [connected() for connected in connecting]
    assert sorted(connection.number for connection in connections) == [*range(1, 101)]
    for connection in connections:
        connection.close()
    poll = select.poll()
    for _ in connections:
        there = door.next_client()
        poll.register(there, select.POLLIN)
        assert poll.poll(PATIENCE * 1000)
        assert receive(there) is None
        poll.unregister(there)
        there.close()
