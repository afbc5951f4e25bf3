"""A whole cluster and its safety: no ports, no secrets in sight, its user's processes only, and nothing left behind."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskloom.distributed import Client, LocalCluster
from taskloom.engines.cluster.door.address import secret_of, socket_of
from taskloom.engines.cluster.door.remote import connect
from tests.engines.cases import PATIENCE, REPOSITORY, check_child
from tests.engines.cluster.test_security import as_nobody, as_root

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def cluster(place: Path) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster:
        yield cluster


def family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def sockets_of(process: psutil.Process) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def test_neither_the_cluster_nor_its_workers_open_a_port(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        bound = set()
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            with suppress(FileNotFoundError):
                rows = Path("/proc/net", table).read_text().splitlines()[1:]
                bound |= {row.split()[9] for row in rows}
        opened = [sockets_of(process) for process in family()]
        assert sum(map(bool, opened)) >= 3
        assert not [sockets for sockets in opened if sockets & bound]


def test_the_secret_is_nowhere_to_be_read(cluster: LocalCluster) -> None:
    secret = secret_of(socket_of(cluster.scheduler_address))
    forms = [secret, secret.hex().encode(), repr(secret).encode()]
    with Client(cluster) as client:
        environments = client.run(dict, os.environ)
        for environment in environments.values():
            assert not any(secret.hex() in value for value in environment.values())
        for process in family():
            for name in ("cmdline", "environ"):
                content = Path(f"/proc/{process.pid}", name).read_bytes()
                assert not any(form in content for form in forms)
                assert b"scheduler.sock" not in content


def test_another_process_of_the_user_computes_on_it(cluster: LocalCluster) -> None:
    program = """
import sys
from taskloom.distributed import Client
with Client(sys.argv[1]) as client:
    print(client.submit(abs, -1).result(), client.gather(client.map(abs, [-1, -2])))
"""
    assert check_child(program, cluster.scheduler_address) == "1 [1, 2]\n"


@as_root
def test_another_user_sees_nothing_of_it(cluster: LocalCluster) -> None:
    path = socket_of(cluster.scheduler_address)
    program = f"""
import os, socket
for look in (
    lambda: os.listdir({os.path.dirname(path)!r}),
    lambda: open({os.path.join(os.path.dirname(path), "secret")!r}),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({path!r}),
    lambda: os.listdir("/proc/{family()[-1].pid}/fd"),
):
    try:
        print(look())
    except OSError as error:
        print(type(error).__name__)
"""
    done = as_nobody(program)
    assert done.stdout.split() == ["PermissionError"] * 4, done.stderr
    with Client(cluster) as client:
        assert client.submit(abs, -1).result() == 1


OWNER = """
import json, os, sys, psutil
from taskloom.distributed import Client, LocalCluster
cluster = LocalCluster(n_workers=2, threads_per_worker=1)
client = Client(cluster)
client.gather(client.map(abs, range(10)))
kept = client.scatter(bytes(1_000_000))
pids = [child.pid for child in psutil.Process().children(recursive=True)]
print(json.dumps([cluster.scheduler_address, pids]), flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_cluster_that_was_killed(place: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    address, pids = json.loads(child.stdout.readline())
    workers = [psutil.Process(pid) for pid in pids]
    assert len(workers) >= 2
    child.kill()
    child.communicate()
    _, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive
    assert os.path.exists(socket_of(address))
    with LocalCluster(n_workers=1, threads_per_worker=1):  # sweeps what another one has left
        assert not os.path.exists(socket_of(address))
    assert not list(place.iterdir())


def test_nothing_is_left_of_a_cluster_that_was_closed(place: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        assert client.submit(abs, -1).result() == 1
        assert list(place.iterdir())
    assert not list(place.iterdir())


def test_a_client_that_is_killed_does_not_end_the_cluster(cluster: LocalCluster) -> None:
    program = """
import sys
from taskloom.distributed import Client
client = Client(sys.argv[1])
futures = client.map(abs, range(1_000))
futures[0].result()
print("there", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program, cluster.scheduler_address],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    child.kill()
    child.communicate()
    with Client(cluster) as client:
        assert client.submit(abs, -1).result() == 1
        deadline = time.monotonic() + PATIENCE
        while any(client.has_what().values()) and time.monotonic() < deadline:  # what was the other one's is dropped
            time.sleep(0.01)
        assert not any(client.has_what().values())


def test_a_client_that_sends_nonsense_is_parted_with_alone() -> None:
    parted = threading.Event()
    words: list[str] = []

    def hear(kind: str, fields: tuple[Any, ...], parcels: Any) -> None:
        if kind == "gone":
            words.append(fields[0])
            parted.set()

    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        connection = connect(cluster.scheduler_address, hear)
        connection.send("assign", 1)  # a method of the scheduler's, but no message
        assert parted.wait(PATIENCE)
        assert "no message 'assign'" in words[0]
        assert client.submit(pow, 2, 3).result(PATIENCE) == 8
        connection.close()
