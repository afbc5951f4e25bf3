"""What the suites for taskloom's clusters and those of dask.distributed share: both libraries, and clusters of them.

A suite imports the fixtures that it needs; `limit` makes its tests fail that hang.
"""

import ast
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import distributed
import pytest

import taskloom
import taskloom.distributed

LIMIT = 60  # seconds for a test

#: Marks of a suite: dask warns of this and that.
QUIET = [
    pytest.mark.filterwarnings("ignore::Warning:distributed"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*:ResourceWarning"),
]


class Side(SimpleNamespace):
    """One of the two libraries."""

    is_ours: bool
    quiet: dict[str, Any]  # what a cluster must be told so that it serves and says nothing


OURS = Side(
    is_ours=True,
    quiet={},
    **{name: getattr(taskloom.distributed, name) for name in taskloom.distributed.__all__},
    delayed=taskloom.delayed,
    persist=taskloom.persist,
    compute=taskloom.compute,
)
DASKS = Side(
    is_ours=False,
    quiet={"dashboard_address": None, "silence_logs": 50},
    **{name: getattr(distributed, name) for name in taskloom.distributed.__all__ if hasattr(distributed, name)},
    delayed=dask.delayed,
    persist=dask.persist,
    compute=dask.compute,
)


@pytest.fixture(scope="module", params=[OURS, DASKS], ids=["taskloom", "dask"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """The workers of dask must be able to import this file."""
    path = list(sys.path)
    if not request.param.is_ours:
        sys.path.insert(0, str(Path(__file__).parents[2]))
    yield request.param
    sys.path[:] = path


@pytest.fixture(scope="module")
def cluster(side: Side) -> Iterator[Any]:
    with side.LocalCluster(n_workers=2, threads_per_worker=1, **side.quiet) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shared(side: Side, cluster: Any) -> Iterator[Any]:
    with side.Client(cluster) as client:
        client.wait_for_workers(2)
        client.gather(client.map(abs, range(4), pure=False))
        yield client


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """A test that hangs fails."""

    def ring(*_: Any) -> None:
        raise AssertionError("the test hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def client(shared: Any) -> Any:
    return shared


@pytest.fixture
def workers(client: Any) -> list[str]:
    """Both of them: a client of dask's knows them as of its last question only, a while ago."""
    deadline = time.monotonic() + LIMIT
    while len(found := list(client.scheduler_info()["workers"])) < 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def inc(x: Any) -> Any:
    return x + 1


def add(x: Any, y: Any = 10) -> Any:
    return x + y


def fail(x: Any = "no") -> Any:
    raise ValueError(x, 7)


def wait_for(path: str, value: Any = None) -> Any:
    """A task that runs until a file is there."""
    while not os.path.exists(path):
        time.sleep(0.002)
    return value


def note(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.005)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which tasks wait; it is there at the end of the test in any case."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def in_loop(side: Side, cluster: Any, steps: Callable[[Any], Any]) -> Any:
    """The result of a coroutine function that takes an asynchronous client."""

    async def run() -> Any:
        async with side.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            return await steps(client)

    return asyncio.run(run())


def asking(suite: str) -> set[str]:
    """The names of the tests in a file that ask which side they are on."""
    found = set()
    for function in ast.parse(Path(suite).read_text()).body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            tests = [node.test for node in ast.walk(function) if isinstance(node, ast.If | ast.IfExp)]
            if any(ast.unparse(test) == "side.is_ours" for test in tests):
                found.add(function.name)
    return found
