"""Real schedulers, and the clients that taskloom gives for them."""

import os
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from taskloom import bus
from tests.adapters.clusters.processes import DaskProcesses

DEADLINE = 60.0  # seconds for what takes a second or two on an idle machine


class Ends:
    """Hears of the ends of runs."""

    def __init__(self) -> None:
        self.begun = time.time()
        self.runs: list[bus.Run] = []

    def run_finished(self, run: bus.Run) -> None:
        if run.started > self.begun:
            self.runs.append(run)


@pytest.fixture
def ends() -> Iterator[list[bus.Run]]:
    """The runs that have begun and ended since the test began."""
    listener = Ends()
    with bus.subscribe(listener):
        yield listener.runs


@pytest.fixture
def soon() -> Callable[[Callable[[], Any]], Any]:
    """Waits until something is true, for a limited time."""

    def wait(happened: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE
        while not (value := happened()):
            assert time.monotonic() < deadline, "it has not happened"
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that ends with the test, or once there is a file ``over`` in its folder."""
    over = str(tmp_path / "over")

    def wait(*_: Any) -> None:
        while not os.path.exists(over):
            time.sleep(0.01)

    yield wait
    Path(over).touch()


@pytest.fixture(scope="package", autouse=True)
def resource_tracker_runs() -> None:
    """The first process that multiprocessing spawns starts one for good: no test has left that behind."""
    resource_tracker.ensure_running()


@pytest.fixture(scope="package")
def shared() -> Iterator[DaskProcesses]:
    """A cluster for tests that leave it as it was."""
    with DaskProcesses() as cluster:
        yield cluster


@pytest.fixture
def own() -> Iterator[DaskProcesses]:
    """A cluster to break."""
    with DaskProcesses() as cluster:
        yield cluster


@pytest.fixture
def client(shared: DaskProcesses) -> Iterator[Any]:
    from taskloom.distributed import Client

    with Client(shared.address) as client:
        yield client
