"""Where dask is not installed, everything else works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "without_dask"

#: What runs again: some tests that go through much of each room.
AGAIN = {
    "graphs": "tests/graph/test_graphs.py tests/collections/test_delayed.py",
    "bus": "tests/bus/test_event_bus.py",
    "engines": "tests/engines/test_contract.py",
    "cluster": "tests/engines/cluster/test_client.py",
    "views": "tests/views/test_graph.py tests/diagnostics/test_drawing.py",
    "notebook": "tests/notebook/test_graph_magic.py tests/notebook/test_progress_magic.py",
}

PLAIN = """
import importlib.util
import sys

import taskloom
from IPython.core.interactiveshell import InteractiveShell

assert importlib.util.find_spec("dask") is None and importlib.util.find_spec("distributed") is None
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "taskloom")
assert taskloom.compute(taskloom.delayed(sum)([1, 2])) == (3,)
taskloom.disable_dask()
shell.run_line_magic("unload_ext", "taskloom")
try:
    taskloom.enable_dask()
except ImportError as error:
    print(error)
"""

CONFIGURED = """
from taskloom import ConfigError
from taskloom.distributed import Client

try:
    Client()
except ConfigError as error:
    print(error)
with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
    print(client.submit(abs, -1).result())
"""


@pytest.fixture
def without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started find no dask: kernels and workers, too."""
    folders = [str(FOLDER), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders).rstrip(os.pathsep))


@pytest.mark.parametrize("name", AGAIN)
def test_what_holds_with_dask_holds_without(without_dask: None, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *AGAIN[name].split()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]


def test_enabling_dask_says_what_is_missing(without_dask: None, tmp_path: Path) -> None:
    """And the extension loads and unloads, without a word about it."""
    command = [sys.executable, "-W", "error", "-c", PLAIN]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install" in done.stdout
    assert done.stderr == ""


def test_a_configured_scheduler_of_dask_needs_dask(
    without_dask: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://10.0.0.1:8786")
    command = [sys.executable, "-c", CONFIGURED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said, one = done.stdout.splitlines()
    assert "DASK_SCHEDULER_ADDRESS" in said
    assert "tcp://10.0.0.1:8786" in said
    assert "not installed: pip install" in said
    assert one == "1"
