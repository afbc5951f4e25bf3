"""What worker processes find in their environment."""

from collections.abc import Iterator

import pytest

import taskloom
from taskloom.distributed import Client
from taskloom.engines.cpus import usable_cpus
from taskloom.engines.worker.environment import NATIVE_THREADS
from taskloom.engines.worker.pool import pool


@pytest.fixture(autouse=True)
def no_warm_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in NATIVE_THREADS:
        monkeypatch.delenv(name, raising=False)
    pool.close()
    yield
    pool.close()


def native_threads() -> dict[str, str | None]:
    import os

    return {name: os.environ.get(name) for name in NATIVE_THREADS}


@pytest.mark.parametrize("workers", [1, usable_cpus(), usable_cpus() + 1])
def test_workers_share_the_cores_for_the_threads_of_numeric_libraries(workers: int) -> None:
    found = taskloom.multiprocessing.get({"a": (native_threads,)}, "a", num_workers=workers)
    assert found == dict.fromkeys(NATIVE_THREADS, str(max(1, usable_cpus() // workers)))


def test_who_has_set_them_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = taskloom.multiprocessing.get({"a": (native_threads,)}, "a", num_workers=1)
    assert found["OMP_NUM_THREADS"] == "7"


def test_so_do_those_of_a_cluster() -> None:
    with Client(n_workers=1, threads_per_worker=usable_cpus(), env={"MKL_NUM_THREADS": 5}) as client:
        found = client.submit(native_threads).result()
    assert found == {**dict.fromkeys(NATIVE_THREADS, "1"), "MKL_NUM_THREADS": "5"}
