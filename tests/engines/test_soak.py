"""Random graphs under random trouble give the right answers."""

import subprocess
import sys
from pathlib import Path


def test_worker_processes_that_are_killed_stopped_cancelled_and_interrupted() -> None:
    program = [sys.executable, "-m", "tests.engines.soak", "10"]
    result = subprocess.run(program, capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stdout + result.stderr[-5000:]
