"""A release of Dask that taskloom is not for, or one that misses something, is left alone: its user can import it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from taskloom.adapters.dask import OLDEST

REPOSITORY = Path(__file__).parents[2]

#: name -> the release, another file of what passes for it, and what is said
RELEASES = {
    "too old": ("2024.8.0", ("core.py", ""), "No module named 'dask.base'"),
    "misses something": ("2025.1.0", ("base.py", "import no_arrow"), "No module named 'no_arrow'"),
}

PROGRAM = """
import sys
import taskloom
from IPython.core.interactiveshell import InteractiveShell

if "before" in sys.argv:
    import dask
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "taskloom")
import distributed  # which imports dask
import dask
assert dask.at_work and distributed.at_work
assert not [finder for finder in sys.meta_path if "taskloom" in type(finder).__module__]
shell.run_line_magic("scheduler", "sync")
assert taskloom.compute(taskloom.delayed(sum)([1, 2])) == (3,)
try:
    taskloom.enable_dask()
except taskloom.ConfigError as error:
    print("ConfigError:", error)
taskloom.disable_dask()
shell.run_line_magic("unload_ext", "taskloom")
"""


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("imported", ["before", "after"])
def test_it_is_left_alone(release: str, imported: str, tmp_path: Path) -> None:
    number, (name, text), reason = RELEASES[release]
    files = {
        "dask/__init__.py": f"from dask import config\n__version__ = {number!r}\nat_work = True",
        "dask/config.py": "def get(key, default): return default",
        f"dask/{name}": text,
        "distributed/__init__.py": "import dask\nat_work = True",
    }
    for path, source in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, imported],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: taskloom leaves dask alone: ") == 1
    for said in (done.stderr, done.stdout.rpartition("ConfigError:")[2]):
        assert f"dask {number} cannot be used (ModuleNotFoundError: {reason})" in said
        assert f"taskloom is for Dask {OLDEST} or newer" in said


def test_the_release_it_names_is_the_one_that_is_required() -> None:
    required = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dask"]
    assert all(line.endswith(f">={OLDEST}") for line in required)
