"""The engines as fixtures: `engine` is each of them, with two workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from typing import Any

import pytest

from .cases import CASES, Case, Get, processes


@dataclass
class Engine:
    """A case, opened with two workers."""

    case: Case
    get: Get


def _ids(case: Case) -> str:
    return case.name


def _open(case: Case) -> Iterator[Engine]:
    with case.open(2) as get:
        yield Engine(case, get)


@pytest.fixture(autouse=True, scope="session")
def servers_of_multiprocessing() -> None:
    """Start what the pools of the standard library start once and never end, before tests count processes."""
    forkserver.ensure_running()
    resource_tracker.ensure_running()


@pytest.fixture(params=CASES, ids=_ids)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine."""
    yield from _open(request.param)


@pytest.fixture(params=[case for case in CASES if case.in_process], ids=_ids)
def local(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine whose tasks run in this process, so that tests can share objects with them."""
    yield from _open(request.param)


@pytest.fixture(params=[case for case in CASES if case.in_process and case.parallel], ids=_ids)
def parallel(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine that runs two tasks at a time in this process."""
    yield from _open(request.param)


@pytest.fixture
def get() -> Iterator[Get]:
    """Worker processes, two of them."""
    with processes(2) as get:
        yield get


@pytest.fixture
def calls() -> list[Any]:
    """A list for what was called."""
    return []
