"""The source distributions that hold the tests: those of the releases that are installed here, fetched once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

CACHE = Path(sys.prefix) / "suites"  # belongs to the environment, and goes with it

LONGEST_DOWNLOAD = 300  # seconds


class CannotFetch(Exception):
    """No source distribution, and why."""


def source_of(distribution: str) -> Path:
    """The folder with the sources of the installed release of a distribution; pip fetches and verifies them.

    Raises
    ------
    CannotFetch
        The package index is out of reach, or has no sources of that release.
    """
    release = f"{distribution}-{version(distribution)}"
    folder = CACHE / release
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as room:
            shutil.unpack_archive(_download(distribution, room), room, filter="data")
            try:
                os.replace(Path(room, release), folder)  # all at once: a folder that is there is whole
            except OSError:
                if not folder.exists():  # else another process was quicker
                    raise
    return folder


def _download(distribution: str, room: str) -> str:
    requirement = f"{distribution}=={version(distribution)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-binary", distribution, "--dest", room, requirement],
        capture_output=True,
        text=True,
        timeout=LONGEST_DOWNLOAD,
        check=False,
    )
    if done.returncode:
        raise CannotFetch(
            f"The sources of {requirement}, which hold its tests, could not be fetched. Is the package index in reach? "
            f"pip says: {done.stderr.strip()}"
        )
    (archive,) = Path(room).glob("*.tar.gz")
    return str(archive)
