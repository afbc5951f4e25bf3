"""A place of its own for the private directories of a test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .simulation import Client, Cluster


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The temporary directory of this process and of those that it starts. Its name is short, as sockets want it."""
    tmp_path_factory.getbasetemp()  # which is for all tests, and not to be made in there
    path = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return cluster.add_client()
