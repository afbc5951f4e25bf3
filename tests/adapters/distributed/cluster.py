"""A dask scheduler and its workers as processes of their own, as `dask scheduler` and `dask worker` start them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEADLINE = 30.0

#: They are to do without taskloom.
_WITHOUT = "import sys; sys.modules['taskloom'] = None; from distributed.cli.dask_{0} import main; main()"


class RealCluster:
    """One scheduler on this machine's loopback, and workers of one thread."""

    def __init__(self, workers: int = 2, preload: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="taskloom-test-")
        self._processes: list[subprocess.Popen[bytes]] = []
        file = Path(self._folder.name) / "scheduler.json"
        options = ["--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
        if preload:
            (Path(self._folder.name) / "preload.py").write_text(preload)
            options += ["--preload", str(Path(self._folder.name) / "preload.py")]
        self.scheduler = self._start("scheduler", options)
        self.address = self._address_in(file)
        self.workers = [self.add_worker(f"worker-{number}") for number in range(workers)]

    def add_worker(self, name: str) -> "subprocess.Popen[bytes]":
        return self._start("worker", [self.address, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"])

    def _start(self, kind: str, options: Sequence[str]) -> "subprocess.Popen[bytes]":
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(
            [sys.executable, "-c", _WITHOUT.format(kind), *options],
            cwd=self._folder.name,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _address_in(self, file: Path) -> str:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                return str(json.loads(file.read_text())["address"])
            except (OSError, ValueError):
                assert self.scheduler.poll() is None, "the scheduler has ended"
                time.sleep(0.05)
        raise AssertionError("the scheduler has not started")

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._folder.cleanup()

    def __enter__(self) -> "RealCluster":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
