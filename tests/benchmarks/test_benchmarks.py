"""The benchmarks run, and what they print are whole tables. How fast anything is, no test asks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "benchmarks" / "README.md").read_text()

TITLES = [
    "Overhead per task",
    "Scaling",
    "Latency of one task",
    "Nested compute",
    "Peak of live results",
    "METG: shortest tasks at which two workers pay",
    "Worker processes",
    "Hand-over",
    "METG of worker processes",
    "Cluster: whole graphs",
    "Futures",
    "Cluster: hand-over and start",
    "Cluster: five times the memory",
    "Shapes of the RSDS benchmark",
    "Dask's own clusters",
    "Dask's arrays: scheduling",
    "Dask's collections: whole jobs",
    "Recording and listening",
    "Views",
    "Imports",
    "Promises",
]


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800)


@pytest.fixture(scope="module")
def tables() -> dict[str, list[list[str]]]:
    """The cells of each table that a quick run prints, by the table's title."""
    done = run_benchmarks("--quick")
    assert done.returncode == 0, done.stderr
    sections = re.findall(r"^### (.*)\n\n((?:\|.*\n)+)", done.stdout, re.MULTILINE)
    return {title: [split_row(line) for line in table.splitlines()] for title, table in sections}


def split_row(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_benchmark_prints_a_table(tables: dict[str, list[list[str]]]) -> None:
    assert list(tables) == TITLES


@pytest.mark.parametrize("title", TITLES)
def test_table_is_well_formed(tables: dict[str, list[list[str]]], title: str) -> None:
    header, rule, *rows = tables[title]
    assert rows
    assert all(re.fullmatch("-+:?", cell) for cell in rule)
    assert {len(row) for row in (header, rule, *rows)} == {len(header)}
    assert all(all(row) for row in rows)


def test_every_promise_is_answered(tables: dict[str, list[list[str]]]) -> None:
    header, _, *rows = tables["Promises"]
    assert header == ["promise", "limit", "measured", "kept?"]
    assert {row[-1] for row in rows} <= {"yes", "no"}
    assert len({row[0] for row in rows}) == len(rows)


def test_a_wrong_name_is_told_what_there_is() -> None:
    done = run_benchmarks("overheat")
    assert done.returncode == 2
    assert "overheat" in done.stderr
    assert "overhead, scaling, latency" in done.stderr


def test_only_a_full_run_is_written_to_the_readme() -> None:
    assert run_benchmarks("--quick", "--write").returncode == 2
    assert README.count("<!-- table -->\n") == README.count("<!-- /table -->") == 1
