"""Who may join a cluster: processes of its user that know its secret. Nobody else is heard, whatever they say."""

import os
import pickle
import shutil
import socket
import stat
import subprocess
import threading
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskloom.engines.cluster.door import handshake, listener
from taskloom.engines.cluster.door.address import ConnectError, PrivateDirectory, secret_of
from taskloom.engines.cluster.door.handshake import HELLO_LENGTH, hello, unix_socket
from taskloom.engines.cluster.door.listener import Listener
from taskloom.engines.cluster.door.remote import connect
from taskloom.engines.worker.link import Link
from tests.engines.cases import PATIENCE, check_child, in_thread, wait_for
from tests.engines.cluster.doors import Client, Door, open_door, threads_named

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def door(place: Path) -> Iterator[Door]:
    with open_door() as door:
        yield door


@pytest.fixture
def bomb(place: Path) -> bytes:
    """What makes a file when it is unpickled."""
    return pickle.dumps(Bomb(str(place / "exploded")))


class Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def knock(door: Door) -> socket.socket:
    """A connection to the door that has not said anything yet."""
    sock = unix_socket()
    sock.connect(door.directory.socket)  # waits in the kernel, which a socket with a time-out does not
    sock.settimeout(PATIENCE)
    return sock


def is_refused(sock: socket.socket) -> bool:
    """Whether the other end closes a connection without a word more than the challenge; waits for it."""
    with suppress(ConnectionError):
        said = sock.recv(10_000)
        return not said or (len(said) == handshake.CHALLENGE_LENGTH and not sock.recv(10_000))
    return True


def as_nobody(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program as another user, with no more than the standard library, which it may not even find here."""
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python that other users may run")
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-I", "-c", program]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=PATIENCE, check=False)


# ---- what lies there


def test_what_lies_there_is_for_its_user_only(door: Door) -> None:
    directory = Path(door.directory.path)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()} == {
        "scheduler.sock": 0o600,
        "secret": 0o600,
        "owner": 0o600,
    }
    assert stat.S_ISSOCK(Path(door.directory.socket).lstat().st_mode)


def test_nothing_is_left_when_it_is_closed(place: Path) -> None:
    with open_door() as door:
        client = Client(door)
    assert not list(place.iterdir())
    client.connection.send("submit")  # who was let in stays
    client.close()
    assert not threads_named("taskloom-listener")


def test_no_port_is_opened(door: Door) -> None:
    """Of the sockets of this process no other one listens than before."""
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(FileNotFoundError):
            rows = Path("/proc/self/net", table).read_text().splitlines()[1:]
            listening |= {row.split()[9] for row in rows if row.split()[3] in ("0A", "07")}
    links = [os.readlink(entry) for entry in _descriptors()]
    assert not [link for link in links if link.removeprefix("socket:[").removesuffix("]") in listening]
    assert any(link.startswith("socket:") for link in links)


def _descriptors() -> Iterator[Path]:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if os.path.lexists(entry):
            yield entry


# ---- another user


@as_root
def test_another_user_sees_nothing(door: Door) -> None:
    program = f"""
import os, socket
for path in ({door.directory.path!r}, {os.path.join(door.directory.path, "secret")!r}):
    try:
        print(os.listdir(path) if path.endswith("/") else open(path).read())
    except OSError as error:
        print(type(error).__name__)
try:
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({door.directory.socket!r})
except OSError as error:
    print(type(error).__name__)
"""
    done = as_nobody(program)
    assert done.stdout.split() == ["PermissionError"] * 3, done.stderr
    assert door.clients.empty()


@as_root
def test_another_user_who_has_the_secret_is_refused(door: Door, place: Path) -> None:
    """The walls stand one by one: here the directory is open, and the secret known."""
    for path in (place, Path(door.directory.path).parent, Path(door.directory.path)):
        path.chmod(0o755)
    os.chmod(door.directory.socket, 0o666)
    program = f"""
import hmac, os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.settimeout(10)
sock.connect({door.directory.socket!r})
try:
    sock.send({hello(bytes(32))!r})
    print(sock.recv(1000))
except ConnectionError:
    print(b"")
"""
    done = as_nobody(program)
    assert done.stdout.split() == ["b''"], done.stderr
    assert door.clients.empty()


@as_root
def test_a_cluster_of_another_user_gets_no_word(place: Path) -> None:
    """A client does not tell a stranger anything, though it was given his address and a secret."""
    place.chmod(0o755)
    theirs = place / "theirs"
    theirs.mkdir(0o700)
    os.chown(theirs, NOBODY, NOBODY)
    path = str(theirs / "scheduler.sock")
    program = f"""
import socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.bind({path!r})
sock.listen()
sock.settimeout(10)
open({str(theirs / "ready")!r}, "w").close()
other, _ = sock.accept()
try:
    print(other.recv(1000))
except ConnectionError:
    print(b"")
"""
    running = in_thread(as_nobody, program)
    pause = threading.Event()
    while not (theirs / "ready").exists():
        pause.wait(0.01)
    with pytest.raises(ConnectError, match=f"belongs to another user .uid {NOBODY}"):
        connect(f"unix://{path}", print)
    with pytest.raises(ConnectError, match=f"belongs to another user .uid {NOBODY}"):
        connect(f"unix://{path}", print, b"s" * 32)
    assert running().stdout.split() == ["b''"]


# ---- what strangers of the same user say


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.binary(min_size=HELLO_LENGTH, max_size=HELLO_LENGTH),
            st.binary(min_size=32, max_size=32).map(hello),
            st.sampled_from([pickle.dumps(("submit", (), [])), bytes(60_000)]),
        ),
        max_size=4,
    )
)
def test_nonsense_is_refused(door: Door, said: list[bytes]) -> None:
    with knock(door) as sock:
        with suppress(ConnectionError):
            for message in said:
                sock.send(message)
            sock.shutdown(socket.SHUT_WR)
        assert is_refused(sock)
    assert door.clients.empty()


def test_nothing_is_unpickled_before_the_handshake_is_over(door: Door, bomb: bytes, place: Path) -> None:
    greeting = hello(os.urandom(32))
    file = os.open(os.devnull, os.O_RDONLY)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))]
    messages = (bomb, bomb.ljust(HELLO_LENGTH, b"."), b"\0" + bomb, b"\1" + bomb, greeting + bomb)
    for before in ([], [greeting], [greeting, os.urandom(32)]):
        for message in messages:
            for ancillary in ([], rights):
                with knock(door) as sock:
                    with suppress(ConnectionError):
                        for part in before:
                            sock.send(part)
                        sock.sendmsg([message], ancillary)
                    assert is_refused(sock)
    os.close(file)
    assert not (place / "exploded").exists()
    assert door.clients.empty()
    client = Client(door)  # the bomb is one: a client that knows the secret may send whatever it likes
    client.connection._messages.waiting.append((bomb, []))
    client.connection.send("close")
    client.there.link.sock.settimeout(PATIENCE)
    client.there.receive()
    assert (place / "exploded").exists()
    client.close()


def test_after_all_that_a_good_client_is_let_in(door: Door) -> None:
    for _ in range(300):
        with knock(door) as sock:
            sock.send(os.urandom(HELLO_LENGTH))
    client = Client(door)
    assert client.connection.number == 1
    client.close()


def test_a_recorded_conversation_opens_nothing(door: Door) -> None:
    secret = secret_of(door.directory.socket)
    greeting = hello(b"n" * 32)
    with knock(door) as sock:
        sock.send(greeting)
        answer = handshake.response(secret, greeting, sock.recv(1_000))
        sock.send(answer)
        assert len(sock.recv(1_000)) > 0  # welcome
    door.next_client().close()
    with knock(door) as sock:
        sock.send(greeting)
        sock.recv(1_000)
        sock.send(answer)
        assert is_refused(sock)
    assert door.clients.empty()


def test_silent_ones_hold_nobody_up(door: Door) -> None:
    silent = [knock(door) for _ in range(listener.MOST_PENDING - 1)]
    client = Client(door)
    client.close()
    for sock in silent:
        sock.close()


def test_only_so_many_are_listened_to_at_a_time(door: Door) -> None:
    silent = [knock(door) for _ in range(listener.MOST_PENDING)]
    with knock(door) as next_one:
        next_one.send(hello(bytes(32)))
        next_one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            next_one.recv(100)
        silent.pop().close()
        next_one.settimeout(PATIENCE)
        assert len(next_one.recv(100)) == handshake.CHALLENGE_LENGTH
    for sock in silent:
        sock.close()


def test_silent_ones_are_let_go_in_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are listened to at a time, and more behind them; the good one gets in when their time is over."""
    monkeypatch.setattr(listener, "DEADLINE", 0.5)  # which the good one has, too
    with open_door() as door:
        silent = [knock(door) for _ in range(listener.MOST_PENDING + 20)]
        client = Client(door)
        client.close()
        assert all(is_refused(sock) for sock in silent)
        for sock in silent:
            sock.close()


def test_it_goes_on_when_there_is_no_room_for_another_file(place: Path) -> None:
    program = """
import os, resource
from tests.engines.cluster.doors import Client, open_door
from taskloom.engines.cluster.door.handshake import hello, unix_socket
with open_door() as door:
    first = unix_socket()
    files = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    first.connect(door.directory.socket)
    first.send(hello(bytes(32)))
    first.settimeout(0.3)
    try:
        print(first.recv(100))
    except TimeoutError:  # it could not be accepted
        pass
    for file in files:
        os.close(file)
    first.settimeout(20)
    assert len(first.recv(100)) == 64
    Client(door).close()
    first.close()
"""
    assert check_child(program) == ""


def test_it_goes_on_when_a_client_cannot_be_adopted(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Link] = []
    adopted = threading.Event()

    def adopt(link: Link) -> None:
        seen.append(link)
        if len(seen) == 1:
            raise ValueError("no")
        adopted.set()

    directory = PrivateDirectory()
    door = Listener(directory, adopt)
    with pytest.raises(ConnectError, match="did not let this process in"):
        connect(directory.address, print)
    second = in_thread(connect, directory.address, print)
    wait_for(adopted)
    seen[1].close()
    with pytest.raises(ConnectError, match="did not let this process in"):
        second()
    assert "could not join" in caplog.text
    door.close()


# ---- what others can read of it


def test_no_other_process_can_read_the_secret_in_proc(door: Door) -> None:
    """It is neither in arguments nor in the environment."""
    forms = {door.directory.secret, door.directory.secret.hex().encode(), repr(door.directory.secret).encode()}
    for name in ("cmdline", "environ"):
        content = Path("/proc/self", name).read_bytes()
        assert not any(form in content for form in forms)
    assert not any(form in os.environb.values() for form in forms)
