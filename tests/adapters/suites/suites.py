"""Which tests there are, and their runs: each a pytest of its own, in the folder of the sources, on one engine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from tests.adapters.suites.outcomes import Difference, Known, Outcomes, differences, read_outcomes
from tests.adapters.suites.recorder import BASELINE
from tests.adapters.suites.sources import CACHE, source_of

REPOSITORY = Path(__file__).parents[3]

DECIDING = frozenset(
    ["cachey", "dask", "distributed", "netCDF4", "numpy", "pandas", "pyarrow", "pytest", "scipy", "xarray"]
)

LONGEST_TEST = 120  # seconds
LONGEST_RUN = 2 * 60 * 60

PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short", "--show-capture=no", "--color=no"),
    *("-p", "tests.adapters.suites.recorder", "-p", "no:cacheprovider"),
    # Their settings hold (warnings are errors, strict xfails), but for options of plugins that nothing depends on.
    *("-o", "addopts=", "-o", f"timeout={LONGEST_TEST}", "-o", "timeout_method=signal"),
]


@dataclass(frozen=True)
class Suite:
    """Tests of one distribution: files, folders or names of tests, as pytest takes them.

    ``without`` has the beginnings of names of tests that are left out.
    """

    name: str
    distribution: str
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()

    def only(self, tests: Iterable[str]) -> Suite:
        """The same suite with fewer tests."""
        return replace(self, tests=tuple(tests))

    def as_options(self) -> list[str]:
        """What pytest is told to run."""
        return [*self.tests, *(f"--deselect={name}" for name in self.without)]


SUITES = (
    Suite("core", "dask", ("dask/tests",)),  # dask.delayed among it
    Suite("bag", "dask", ("dask/bag",)),
    Suite("diagnostics", "dask", ("dask/diagnostics",)),
    Suite("array", "dask", ("dask/array",)),
    Suite("dataframe", "dask", ("dask/dataframe",)),
    Suite("xarray", "xarray", ("xarray/tests/test_dask.py",)),
)

#: What `make test` runs of them: all that looks closely at a scheduler, and of each kind of collection a little.
REPRESENTATIVE = (
    Suite(
        "schedulers-in-short",  # tests that name the scheduler themselves
        "dask",
        (
            "dask/tests/test_cache.py",
            "dask/tests/test_callbacks.py",
            "dask/tests/test_context.py",
            "dask/tests/test_local.py",
            "dask/tests/test_multiprocessing.py",
            "dask/tests/test_threaded.py",
            "dask/tests/test_traceback.py",
            "dask/diagnostics/tests/test_profiler.py",
        ),
    ),
    Suite(
        "collections-in-short",
        "dask",
        (
            "dask/tests/test_base.py",
            "dask/tests/test_delayed.py",
            "dask/tests/test_graph_manipulation.py",
            "dask/array/tests/test_shuffle.py",
            "dask/array/tests/test_xarray.py",
            "dask/bag/tests/test_text.py",
            "dask/dataframe/dask_expr/tests/test_indexing.py",
        ),
        without=(  # half of the time: they start a Python or a cluster of their own that knows nothing of the engine
            "dask/tests/test_base.py::test_emscripten_default_scheduler",
            "dask/tests/test_delayed.py::test_p2p_as_delayed",
            "dask/array/tests/test_xarray.py::test_tokenize_without_pyarrow",
        ),
    ),
    Suite(
        "xarray-in-short",
        "xarray",
        tuple(
            f"xarray/tests/test_dask.py::{name}"
            for name in (
                "test_raise_if_dask_computes",
                "test_basic_compute",
                "test_persist_Dataset",
                "test_map_blocks",
                "TestDataArrayAndDataset",
            )
        ),
    ),
)


class BrokeOff(Exception):
    """The tests did not run to their end."""


def run(suite: Suite, engine: str, results: Path) -> Outcomes:
    """Run a suite on an engine, and write what its tests came to into a file; what pytest says goes beside it.

    A crash in the middle shows by the tests that are missing.

    Raises
    ------
    CannotFetch
        The sources are not to be had.
    BrokeOff
        Not one test ran.
    """
    sources = source_of(suite.distribution)
    results.unlink(missing_ok=True)
    log = results.with_suffix(".log")
    environment = {
        **os.environ,
        # The sources first: the tests, and the workers they start, import the release that they belong to.
        "PYTHONPATH": os.pathsep.join([str(sources), str(REPOSITORY)]),
        "PYTHONHASHSEED": "0",  # some of their tests end as the order of a set has it
        "SUITES_ENGINE": engine,
        "SUITES_RESULTS": str(results),
    }
    with log.open("w") as output:
        try:
            subprocess.run(
                [*PYTEST, *suite.as_options()],
                cwd=sources,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_RUN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            output.write(f"\nstopped after {LONGEST_RUN} seconds\n")
    outcomes = read_outcomes(results)
    if not outcomes:
        raise BrokeOff(f"No test of {suite.name} ran on {engine}. pytest said: {log.read_text()[-2000:]}")
    return outcomes


def run_baseline(suite: Suite) -> Outcomes:
    """The outcomes on dask's own schedulers, kept for as long as `DECIDING` stay as they are."""
    folder = CACHE / "baseline"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{suite.name}-{_digest(suite)}.jsonl"
    return read_outcomes(kept) if kept.exists() else _run_and_keep(suite, BASELINE, kept)


def _run_and_keep(suite: Suite, engine: str, kept: Path) -> Outcomes:
    """Run a suite, and have its results replace those that are kept: another process may do the same meanwhile."""
    fresh = kept.with_suffix(f".{os.getpid()}.jsonl")
    outcomes = run(suite, engine, fresh)
    for suffix in (".log", ".jsonl"):
        fresh.with_suffix(suffix).rename(kept.with_suffix(suffix))
    return outcomes


def _digest(suite: Suite) -> str:
    """Stands for the tests and for the releases that decide how they end."""
    installed = {found.name: found.version for found in distributions() if found.name in DECIDING}
    return hashlib.sha256(repr((suite, sys.version, sorted(installed.items()))).encode()).hexdigest()[:16]


class Compared(NamedTuple):
    """A suite on an engine, held against dask's own."""

    suite: Suite
    engine: str
    outcomes: Outcomes
    differences: list[Difference]
    unsteady: list[Difference]  # differed once, and not again


def compare(suite: Suite, engine: str, known: Sequence[Known]) -> Compared:
    """Run a suite on an engine, and hold it against dask's own.

    The files with differences that nobody explains run again on both sides: only what differs again counts.
    """
    folder = CACHE / "results"
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = _run_and_keep(suite, engine, folder / f"{suite.name}-{engine}.jsonl")
    found = differences(engine, run_baseline(suite), outcomes)
    unknown = [difference for difference in found if not any(entry.covers(difference) for entry in known)]
    if not unknown:
        return Compared(suite, engine, outcomes, found, [])
    again = suite.only(dict.fromkeys(difference.test.partition("::")[0] for difference in unknown))
    with tempfile.TemporaryDirectory(prefix="suites-") as room:
        theirs = run(again, BASELINE, Path(room, "baseline.jsonl"))
        ours = run(again, engine, Path(room, "ours.jsonl"))
    second = {difference.test for difference in differences(engine, theirs, ours)}
    unsteady = [difference for difference in unknown if difference.test not in second]
    return Compared(suite, engine, outcomes, [one for one in found if one not in unsteady], unsteady)
