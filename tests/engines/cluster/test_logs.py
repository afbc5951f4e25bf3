"""What workers have said can be read later, also of those that have died."""

import asyncio
import logging
import os
import sys
import warnings
from collections.abc import Iterator

import pytest

from taskloom.distributed import Client, LocalCluster
from taskloom.engines.cluster.coordinator.logs import MOST_BYTES, MOST_ENTRIES, Log, lines_of

pytestmark = pytest.mark.usefixtures("capsys")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(n_workers=1, threads_per_worker=1) as client:
        yield client


def speak() -> None:
    print("one\ntwo")
    print("three", file=sys.stderr)
    warnings.warn("four", stacklevel=1)
    logging.getLogger("taskloom-test.logs").error("five")
    os.system("echo six")


def test_all_that_is_said_is_kept_newest_first(client: Client) -> None:
    with pytest.warns(UserWarning, match="four"):
        client.submit(speak).result()
    client.run(print, "seven")
    logs = client.get_worker_logs()
    assert list(logs) == ["worker-0"]
    *later, first = logs["worker-0"]
    assert first[0] == "INFO"
    assert "worker-0 has started" in first[1]
    assert [level for level, _ in later if level not in ("STDOUT", "STDERR")] == ["ERROR", "WARNING"]
    assert ("ERROR", "taskloom-test.logs: five") in later
    assert any(line.endswith("UserWarning: four") for _, line in later)
    said = [line for level, line in reversed(later) if level == "STDOUT"]
    assert sorted(said) == sorted(["one", "two", "six", "seven"])
    assert said.index("one") < said.index("two")
    assert ("STDERR", "three") in later


def test_the_last_lines_only(client: Client) -> None:
    client.submit(print, "a\nb\nc").result()
    assert client.get_worker_logs(n=2) == {"worker-0": (("STDOUT", "c"), ("STDOUT", "b"))}


def test_a_log_outlives_its_worker(client: Client) -> None:
    def die() -> None:
        print("going now")
        os._exit(7)

    assert client.submit(die).exception() is not None
    lines = client.get_worker_logs()["worker-0"]
    assert [line for level, line in lines if level == "STDOUT"] == ["going now"] * 4
    assert len([line for level, line in lines if level == "ERROR" and "exited with code 7" in line]) == 4
    assert client.cluster is not None
    client.cluster.scale(0)
    client.submit(print)  # it waits: nobody is there
    assert "going now" in client.cluster.get_logs()["worker-0"]


def test_the_logs_of_a_cluster(client: Client) -> None:
    cluster = client.cluster
    assert cluster is not None
    client.submit(print, "<b>bold</b>").result()
    logs = cluster.get_logs()
    assert logs["worker-0"].splitlines()[-1] == "STDOUT <b>bold</b>"
    assert "&lt;b&gt;bold" in logs._repr_html_()
    assert "<b>" not in logs._repr_html_()
    assert cluster.logs() == logs
    assert cluster.get_logs(workers=False) == {}
    assert list(cluster.get_logs(workers=["worker-0"])) == ["worker-0"]
    with pytest.raises(ValueError, match=r"no worker 'worker-9'\. There are logs of: worker-0"):
        cluster.get_logs(workers=["worker-9"])
    with LocalCluster(n_workers=1, processes=False) as closed:
        pass
    assert "worker-0 has started" in closed.logs()["worker-0"]
    with pytest.raises(ValueError, match="no worker 'worker-9'"):
        client.get_worker_logs(workers=["worker-9"])


def test_logs_can_be_awaited() -> None:
    async def main() -> None:
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, asynchronous=True)
        async with cluster, Client(cluster, asynchronous=True) as client:
            await client.submit(print, "awaited")
            assert ("STDOUT", "awaited") in (await client.get_worker_logs())["worker-0"]
            assert "awaited" in (await cluster.get_logs())["worker-0"]

    asyncio.run(main())


def test_a_log_is_bounded() -> None:
    log = Log()
    for number in range(2 * MOST_ENTRIES):
        log.add("stdout", f"{number}\n")
    assert len(log.entries()) == MOST_ENTRIES
    assert lines_of(log.entries())[-1] == ("STDOUT", str(2 * MOST_ENTRIES - 1))
    log.add("stdout", 3 * MOST_BYTES * "x")
    assert sum(len(text) for _, text in log.entries()) == MOST_BYTES
    log.add("stdout", "y")
    assert log.entries() == [("stdout", "y")]


def test_what_cannot_be_read_is_named() -> None:
    ((level, line),) = lines_of([("record", b"no pickle")])
    assert level == "WARNING"
    assert "a record that cannot be read here" in line
