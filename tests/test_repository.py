"""What the repository promises to a reader: the README is true, and the files around the package agree with it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import taskloom

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TARGETS = re.findall(r"\bmake ([a-z]+)", README)


def run_python(program: str, folder: Path) -> str:
    """Run a program in a new interpreter, warnings being errors, and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_readme_snippet_prints_what_it_says(snippet: str, tmp_path: Path) -> None:
    """A line of a snippet that ends in ``# -> text`` prints that text."""
    assert run_python(snippet, tmp_path).splitlines() == re.findall(r"# -> (.*)", snippet)


def test_readme_names_make_targets_that_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert {"demo", "lab", "test", "bench"} <= set(TARGETS)
    assert not [target for target in TARGETS if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    broken = [link for link in links if not (REPOSITORY / link).exists()]
    assert not broken


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    for target in ("demo", "test", "lab", "bench", "check", "clean"):
        assert re.search(rf"^  {target} +\S", listed, re.MULTILINE)


def test_readme_settings_exist() -> None:
    table = README.partition("## Configuration")[2].partition("\n## ")[0]
    settings = re.findall(r"^\| `([a-z_.]+)`", table, re.MULTILINE)
    assert settings
    assert set(settings) <= set(taskloom.config.defaults)


@pytest.mark.parametrize("script", [".ci/run", "binder/postBuild"])
def test_script_is_executable(script: str) -> None:
    assert os.access(REPOSITORY / script, os.X_OK)
    subprocess.run(["bash", "-n", REPOSITORY / script], check=True)


def test_version_is_the_one_of_the_project() -> None:
    assert taskloom.__version__ == PROJECT["version"]


def test_extras_are_there() -> None:
    assert {"notebook", "dask", "demo", "test"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("path", sorted((REPOSITORY / "taskloom").rglob("*.py")), ids=lambda path: path.stem)
def test_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
