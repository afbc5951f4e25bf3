"""Random work on a cluster under random trouble gives the right answers, and leaves nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_that_are_killed_stopped_cancelled_interrupted_and_scaled(place: Path, seed: int) -> None:
    program = [sys.executable, "-m", "tests.engines.cluster.soak", "15", str(seed)]
    result = subprocess.run(program, capture_output=True, text=True, timeout=150, cwd=REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr[-5000:]
