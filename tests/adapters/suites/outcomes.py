"""What a suite's tests came to on one engine, and in what that differs from another."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

KNOWN_DIFFERENCES = Path(__file__).parent / "known_differences.toml"


class Outcome(NamedTuple):
    """How one test ended."""

    outcome: str  # passed, failed, skipped, xfailed
    runs: int = 0  # of ours that it started
    message: str = ""


NOT_RUN = Outcome("not run", message="the tests broke off before it, or do not have it")

Outcomes = Mapping[str, Outcome]  # of a suite: by the test's name


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """What the recorder wrote; the last word on a test counts."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["test"]: Outcome(line["outcome"], line["runs"], line["message"]) for line in lines}


class Difference(NamedTuple):
    """A test that ends otherwise on an engine than on dask's own."""

    engine: str
    test: str
    baseline: Outcome
    ours: Outcome

    def __str__(self) -> str:
        message = (self.ours if self.ours.message else self.baseline).message.strip().replace("\n", " ")
        return f"{self.engine}: {self.test}: {self.baseline.outcome} -> {self.ours.outcome}  {message[:160]}".rstrip()


def differences(engine: str, baseline: Outcomes, ours: Outcomes) -> list[Difference]:
    """Every test that ended otherwise; tests that only one side has are among them."""
    tests = dict.fromkeys([*baseline, *ours])
    pairs = ((test, baseline.get(test, NOT_RUN), ours.get(test, NOT_RUN)) for test in tests)
    return [Difference(engine, test, theirs, mine) for test, theirs, mine in pairs if theirs.outcome != mine.outcome]


@dataclass(frozen=True)
class Known:
    """A difference that is explained: which tests (``*`` stands for anything), on which engines, and why."""

    test: str
    engines: tuple[str, ...]
    reason: str

    def names(self, test: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, self.test.split("*"))), test, re.DOTALL) is not None

    def covers(self, difference: Difference) -> bool:
        return difference.engine in self.engines and self.names(difference.test)


def read_known(path: Path = KNOWN_DIFFERENCES) -> list[Known]:
    """The list that is kept beside this file."""
    entries = tomllib.loads(path.read_text()).get("difference", [])
    return [Known(entry["test"], tuple(entry["engines"]), entry["reason"]) for entry in entries]


class Verdict(NamedTuple):
    """What to make of differences."""

    unknown: list[Difference]  # in no list
    explained: list[tuple[Difference, Known]]
    stale: list[tuple[str, Known]]  # (engine, entry): listed for tests that ran there, and no longer there

    @property
    def good(self) -> bool:
        return not self.unknown and not self.stale


def judge(found: Iterable[Difference], known: Sequence[Known], ran: Mapping[str, Collection[str]]) -> Verdict:
    """Hold differences against the list; ``ran`` has the tests that ran, by engine."""
    unknown = []
    explained = []
    for difference in found:
        entry = next((entry for entry in known if entry.covers(difference)), None)
        if entry is None:
            unknown.append(difference)
        else:
            explained.append((difference, entry))
    there = {(difference.engine, entry) for difference, entry in explained}
    stale = [
        (engine, entry)
        for engine, tests in ran.items()
        for entry in known
        if engine in entry.engines and (engine, entry) not in there and any(map(entry.names, tests))
    ]
    return Verdict(unknown, explained, stale)
