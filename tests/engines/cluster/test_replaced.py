"""A client that made its own cluster ends with it once another has taken its place and nobody has it any more."""

import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskloom.distributed import Client
from taskloom.engines.cluster.client.replaced import close_replaced
from tests.engines.cases import PATIENCE

from .wire import wait_for

SMALL: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1}


def made(pids: list[int]) -> Client:
    """A new client, whose worker is noted."""
    client = Client(**SMALL)
    pids += [worker.pid for worker in client.cluster.workers.values()]  # type: ignore[union-attr]
    return client


def alive(pids: list[int]) -> list[bool]:
    return [psutil.pid_exists(pid) for pid in pids]


def until(pids: list[int], expected: list[bool]) -> None:
    """Look again and again: that nobody has a future, or has left, is heard of a little later."""
    deadline = time.monotonic() + PATIENCE
    while alive(pids) != expected:
        assert time.monotonic() < deadline
        close_replaced()


def test_what_is_made_again_and_again_is_there_twice_at_most() -> None:
    pids: list[int] = []
    for _ in range(4):
        client = made(pids)
        assert client.submit(abs, -1).result() == 1
    assert alive(pids) == [False, False, True, True]  # the last but one had a name when the last was made
    close_replaced()
    assert alive(pids) == [False, False, False, True]
    client.close()
    assert alive(pids) == [False] * 4


def test_one_that_is_used_where_none_is_given_stays_without_a_name() -> None:
    pids: list[int] = []
    made(pids)
    close_replaced()
    assert alive(pids) == [True]
    Client.current().close()


def test_who_has_a_future_has_its_client() -> None:
    pids: list[int] = []
    future = made(pids).submit(abs, -1)
    client = made(pids)
    close_replaced()
    assert future.result() == 1
    del future
    until(pids, [False, True])
    client.close()


def test_who_has_the_cluster_or_is_connected_to_it_keeps_it() -> None:
    pids: list[int] = []
    cluster = made(pids).cluster
    assert cluster is not None
    client = made(pids)
    close_replaced()
    assert alive(pids) == [True, True]
    other = Client(cluster.scheduler_address, set_as_default=False)
    del cluster
    close_replaced()
    assert other.submit(abs, -1).result() == 1
    other.close()
    del other
    until(pids, [False, True])
    client.close()


@pytest.mark.parametrize("has_name", [True, False])
def test_a_name_or_a_call_that_waits_keeps_it(has_name: bool, tmp_path: Path) -> None:
    pids: list[int] = []
    gate = tmp_path / "gate"
    first = made(pids)
    results: list[Any] = []
    call = threading.Thread(
        target=lambda client: results.append(client.get({"x": (wait_for, str(gate))}, "x")), args=[first]
    )
    call.start()
    if not has_name:
        del first
    second = made(pids)
    close_replaced()
    assert alive(pids) == [True, True]
    gate.touch()
    call.join()
    assert results == ["there"]
    if has_name:
        close_replaced()
        assert first.submit(abs, -1).result() == 1
        del first
    until(pids, [False, True])
    second.close()
