"""The private directory of a cluster: who may look into it, where it is, and that no dead one stays."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from taskloom.engines.cluster.door.address import ConnectError, PrivateDirectory, secret_of, socket_of, sweep
from taskloom.errors import ConfigError
from tests.engines.cases import REPOSITORY, check_child, in_thread

OTHER_USER = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of another user can be made by root only")

OWNER = """
import sys
from taskloom.engines.cluster.door.address import PrivateDirectory
directory = PrivateDirectory()
print(directory.path, flush=True)
"""


def owner_in_child(more: str = "") -> tuple[subprocess.Popen[str], str]:
    """A process that owns a private directory until it is killed, and that directory."""
    child = subprocess.Popen(
        [sys.executable, "-c", OWNER + more + "\nsys.stdin.read()"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_only_its_user_can_look_into_it(place: Path) -> None:
    umask = os.umask(0)
    try:
        directory = PrivateDirectory()
    finally:
        os.umask(umask)
    assert mode_of(os.path.dirname(directory.path)) == mode_of(directory.path) == 0o700
    assert {name: mode_of(os.path.join(directory.path, name)) for name in os.listdir(directory.path)} == {
        "secret": 0o600,
        "owner": 0o600,
    }
    directory.close()


def test_nothing_is_left_when_it_is_closed(place: Path) -> None:
    first, second = PrivateDirectory(), PrivateDirectory()
    first.close()
    assert os.path.exists(second.path)
    second.close()
    second.close()
    assert not list(place.iterdir())


def test_the_runtime_directory_is_the_better_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = place / "run"
    runtime.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    directory = PrivateDirectory()
    assert os.path.dirname(directory.path) == str(runtime / "taskloom")
    directory.close()
    assert not list(runtime.iterdir())


@pytest.mark.parametrize("flaw", ["open", "link", "missing", "relative", pytest.param("foreign", marks=as_root)])
def test_a_runtime_directory_that_is_not_private_is_not_used(
    place: Path, monkeypatch: pytest.MonkeyPatch, flaw: str
) -> None:
    runtime = place / "run"
    if flaw == "link":
        (place / "real").mkdir(0o700)
        runtime.symlink_to(place / "real")
    elif flaw != "missing":
        runtime.mkdir(0o750 if flaw == "open" else 0o700)
    if flaw == "foreign":
        os.chown(runtime, OTHER_USER, OTHER_USER)
    if flaw == "relative":
        monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run" if flaw == "relative" else str(runtime))
    directory = PrivateDirectory()
    assert os.path.dirname(directory.path) == str(place / f"taskloom-{os.geteuid()}")
    directory.close()


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("open", "open to other users (mode 0770)"),
        ("link", "is a symbolic link"),
        ("file", "is not a directory"),
        pytest.param("foreign", f"belongs to another user (uid {OTHER_USER})", marks=as_root),
    ],
)
def test_what_somebody_put_in_the_way_is_refused(place: Path, flaw: str, said: str) -> None:
    base = place / f"taskloom-{os.geteuid()}"
    if flaw == "link":
        (place / "real").mkdir(0o700)
        base.symlink_to(place / "real")
    elif flaw == "file":
        base.touch(0o600)
    else:
        base.mkdir(0o700)
        base.chmod(0o770 if flaw == "open" else 0o700)
        if flaw == "foreign":
            os.chown(base, OTHER_USER, OTHER_USER)
    with pytest.raises(ConfigError) as caught:
        PrivateDirectory()
    assert said in str(caught.value)
    assert "TMPDIR" in str(caught.value)
    assert not list(place.glob("*/cluster-*"))


def test_a_path_that_is_too_long_for_a_socket_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = place / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    directory = PrivateDirectory()
    assert directory.path.startswith("/tmp/taskloom-")
    assert not list(deep.iterdir())
    directory.close()


@pytest.mark.parametrize(
    "address",
    [
        "host:8786",
        "tcp://10.0.0.1:8786",
        "tls://host:8786",
        "unix://relative/scheduler.sock",
        "/tmp/scheduler.sock",
        "unix:///tmp/\0",
        "",
        "x" * 10_000,
    ],
)
def test_other_addresses_are_of_no_cluster_on_this_machine(address: str) -> None:
    with pytest.raises(ConfigError, match=r"not the address of a cluster on this machine.*host:8786") as caught:
        socket_of(address)
    assert len(str(caught.value)) < 600


def test_the_secret_is_read_by_the_address(place: Path) -> None:
    directory = PrivateDirectory()
    other = PrivateDirectory()
    assert secret_of(socket_of(directory.address)) == directory.secret
    assert directory.secret != other.secret
    other.close()
    directory.close()
    with pytest.raises(ConnectError, match="has been closed"):
        secret_of(socket_of(directory.address))


@pytest.mark.parametrize("flaw", ["open", "link", "fifo", "short", "missing"])
def test_a_secret_that_others_may_have_written_is_not_taken(place: Path, flaw: str) -> None:
    directory = PrivateDirectory()
    secret = Path(directory.path, "secret")
    if flaw == "open":
        secret.chmod(0o640)
    elif flaw == "short":
        secret.write_bytes(b"x")
    else:
        secret.rename(place / "secret")
        if flaw == "link":
            secret.symlink_to(place / "secret")
        elif flaw == "fifo":
            os.mkfifo(secret, 0o600)
    with pytest.raises(ConnectError):
        secret_of(directory.socket)
    directory.close()


def test_an_open_directory_is_not_trusted(place: Path) -> None:
    directory = PrivateDirectory()
    os.chmod(directory.path, 0o777)
    with pytest.raises(ConnectError, match="open to other users"):
        secret_of(directory.socket)
    directory.close()


def test_what_a_killed_owner_left_is_swept(place: Path) -> None:
    child, path = owner_in_child()
    Path(path, "spilled").mkdir()
    Path(path, "spilled", "1").touch()
    sweep()
    assert os.path.exists(path)
    end(child)
    assert os.path.exists(path)
    sweep()
    assert not list(place.iterdir())


def test_a_new_one_sweeps(place: Path) -> None:
    child, path = owner_in_child()
    end(child)
    directory = PrivateDirectory()
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(directory.path)]
    directory.close()


def test_what_is_not_of_a_cluster_is_not_swept(place: Path) -> None:
    base = place / f"taskloom-{os.geteuid()}"
    base.mkdir(0o700)
    (place / "elsewhere").mkdir(0o700)
    (base / "cluster-link").symlink_to(place / "elsewhere")
    (base / "cluster-file").touch()
    (base / "other").mkdir()
    (base / "cluster-open").mkdir()
    (base / "cluster-open").chmod(0o777)
    before = sorted(place.rglob("*"))
    sweep()
    assert sorted(place.rglob("*")) == before


def test_one_whose_owner_lives_is_not_swept_without_its_lock(place: Path) -> None:
    directory = PrivateDirectory()
    directory.let_go()
    sweep()
    assert os.path.exists(directory.path)
    owner = Path(directory.path, "owner")
    pid, start = owner.read_text().split()
    owner.write_text(f"{pid} {float(start) - 3600}")  # another process has got this number
    sweep()
    assert not os.path.exists(directory.path)


@pytest.mark.parametrize("content", ["", "nonsense", "-1 0", "1 nan", "99999999999999999999 5", "1 2 3"])
def test_a_note_of_the_owner_may_say_anything(place: Path, content: str) -> None:
    directory = PrivateDirectory()
    directory.let_go()
    Path(directory.path, "owner").write_text(content)
    sweep()
    assert not os.path.exists(directory.path)


def test_a_fork_does_not_keep_it(place: Path) -> None:
    """A process that lives on, such as a daemon that the owner forked, is not its owner."""
    fork = """
from taskloom.engines.cluster.door.listener import Listener
import os, signal
listener = Listener(directory, print)
if not os.fork():
    listener.close()
    print(os.getpid(), flush=True)
    signal.pause()
"""
    child, path = owner_in_child(fork)
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    child.kill()
    child.wait()
    try:
        assert os.path.exists(path)
        sweep()
        assert not os.path.exists(path)
    finally:
        os.kill(pid, signal.SIGKILL)
        child.communicate()


def test_sweeps_and_starts_do_not_disturb_each_other(place: Path) -> None:
    program = """
import os
from taskloom.engines.cluster.door.address import PrivateDirectory, secret_of
for _ in range(150):
    directory = PrivateDirectory()
    assert secret_of(directory.socket) == directory.secret
    directory.close()
"""
    runs = [in_thread(check_child, program) for _ in range(4)]
    for run in runs:
        run()
    with contextlib.suppress(FileNotFoundError):
        assert not list((place / f"taskloom-{os.geteuid()}").iterdir())
