"""A pytest plugin for somebody else's tests: it sets the engine they run on, and writes down how each of them ended.

Loaded with ``-p tests.adapters.suites.recorder``. Two environment variables say what is wanted: ``SUITES_ENGINE``
(`BASELINE` leaves dask as it is) and ``SUITES_RESULTS`` (the file: one line of JSON for each test, written as it ends,
so that a crash loses one test only).
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

BASELINE = "dask"  # not one of our engines: dask's own schedulers
DEFAULTS = "defaults"  # the engine that each kind of collection prefers

MESSAGE_LENGTH = 300  # characters

#: Warnings that say nothing about an engine; all others are errors.
IGNORED = (
    ":DeprecationWarning",  # libraries deprecate things after the release
    r"\s*Port \d+ is already in use:UserWarning",  # another cluster on this machine
)

#: Of plugins that are not needed: what differs runs again anyway, and the few asynchronous tests fail alike everywhere.
MARKERS = ("flaky: of pytest-rerunfailures", "asyncio: of pytest-asyncio")


def pytest_configure(config: pytest.Config) -> None:
    """Plug the engine in before a test is imported."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    for ignored in IGNORED:
        config.addinivalue_line("filterwarnings", f"ignore:{ignored}")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background; some tests are about Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    engine = os.environ["SUITES_ENGINE"]
    runs = None if engine == BASELINE else Runs()
    if engine != BASELINE:
        import taskloom

        taskloom.enable_dask()
        if engine != DEFAULTS:
            taskloom.config.set(scheduler=engine)
        taskloom.get(
            {"x": (abs, 1)}, "x"
        )  # starts the ticker's thread, else the first test that runs is said to leak it
        taskloom.subscribe(runs)
    results = open(os.environ["SUITES_RESULTS"], "a")  # noqa: SIM115  # closed with the session
    config.pluginmanager.register(Recorder(results, runs), "recorder of outcomes")


class Runs:
    """A listener of the bus that counts runs."""

    def __init__(self) -> None:
        self.count = 0

    def run_finished(self, run: Any) -> None:
        self.count += 1


class Recorder:
    """Writes the outcome of each test: its worst phase, its last words, and how many runs of ours it started."""

    def __init__(self, results: TextIO, runs: Runs | None) -> None:
        self.results = results
        self.runs = runs
        self.reports: list[pytest.TestReport] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around one test, with its fixtures."""
        self.reports = []
        before = self.runs.count if self.runs else 0
        done = yield
        outcome, message = worst(self.reports)
        line = {
            "test": item.nodeid,
            "outcome": outcome,
            "runs": self.runs.count - before if self.runs else 0,
            "seconds": round(sum(report.duration for report in self.reports), 3),
            "message": message[-MESSAGE_LENGTH:],
        }
        self.results.write(json.dumps(line) + "\n")
        self.results.flush()
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported counts as a test that fails."""
        if report.failed:
            line = {"test": report.nodeid, "outcome": "failed", "runs": 0, "seconds": 0, "message": last_words(report)}
            self.results.write(json.dumps(line) + "\n")

    def pytest_unconfigure(self) -> None:
        self.results.close()


def worst(reports: list[pytest.TestReport]) -> tuple[str, str]:
    """``failed``, ``xfailed``, ``skipped`` or ``passed``, and the reason: the first phase that did not pass decides."""
    for report in reports:
        if report.failed:
            return "failed", last_words(report)
        if report.skipped:
            return "xfailed" if hasattr(report, "wasxfail") else "skipped", last_words(report)
    return "passed", ""


def last_words(report: Any) -> str:
    """The line that names the exception, or the reason of a skip."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "")
