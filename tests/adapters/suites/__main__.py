"""Runs dask's and xarray's own tests on taskloom's engines, and prints in what they differ from dask's schedulers.

``python -m tests.adapters.suites [--suites core,array] [--engines sync,threads] [--tests FILE]`` ends with 1 where a
test ends otherwise than on dask and known_differences.toml does not say why, and where it says so of one that no longer
differs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from taskloom.engines import ENGINES
from tests.adapters.suites.outcomes import Difference, Known, Verdict, judge, read_known
from tests.adapters.suites.recorder import DEFAULTS
from tests.adapters.suites.sources import CannotFetch
from tests.adapters.suites.suites import REPRESENTATIVE, SUITES, BrokeOff, Compared, compare

ALL_SUITES = {suite.name: suite for suite in (*SUITES, *REPRESENTATIVE)}
ALL_ENGINES = (*dict.fromkeys(engine.name for engine in ENGINES.values()), DEFAULTS)


def main() -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.adapters.suites", description=__doc__)
    parser.add_argument(
        "--suites",
        type=some_of(ALL_SUITES),
        default=[suite.name for suite in SUITES],
        help=f"some of {', '.join(ALL_SUITES)}, with commas between",
    )
    parser.add_argument(
        "--engines",
        type=some_of(ALL_ENGINES),
        default=[*ALL_ENGINES],
        help=f"some of {', '.join(ALL_ENGINES)} ({DEFAULTS}: the engine that each kind of collection prefers)",
    )
    parser.add_argument(
        "--tests",
        type=lambda text: text.split(","),
        help="only these files, folders or names of tests of the suite, as pytest takes them, with commas between",
    )
    wanted = parser.parse_args()
    suites = [ALL_SUITES[name] for name in wanted.suites]
    if wanted.tests:
        suites = [suite.only(wanted.tests) for suite in suites]
    known = read_known()
    compared = []
    try:
        for suite in suites:
            for engine in wanted.engines:
                compared.append(compare(suite, engine, known))
                print(row(compared[-1]), flush=True)
    except (BrokeOff, CannotFetch) as error:
        print(error, file=sys.stderr)
        return 1
    verdict = verdict_on(compared, known)
    print(report(verdict, [difference for one in compared for difference in one.unsteady]))
    return 0 if verdict.good else 1


def some_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What parses names with commas between them."""

    def parse(text: str) -> list[str]:
        parts = text.split(",")
        if not set(parts) <= set(names):
            raise argparse.ArgumentTypeError(f"some of {', '.join(names)}, with commas between")
        return parts

    return parse


def row(compared: Compared) -> str:
    """A suite on an engine in one line."""
    counts = Counter(outcome.outcome for outcome in compared.outcomes.values())
    ours = [outcome.runs for outcome in compared.outcomes.values() if outcome.runs]
    ends = "  ".join(f"{counts[kind]:5} {kind}" for kind in ("passed", "failed", "skipped", "xfailed"))
    return (
        f"{compared.suite.name:12} {compared.engine:12} {ends}  {len(ours):5} on taskloom in {sum(ours)} runs"
        f"  {len(compared.differences)} differ"
    ) + (f", {len(compared.unsteady)} did once" if compared.unsteady else "")


def verdict_on(compared: Sequence[Compared], known: Sequence[Known]) -> Verdict:
    """All differences, held against the list."""
    ran: dict[str, set[str]] = {}
    for one in compared:
        ran.setdefault(one.engine, set()).update(one.outcomes)
    return judge((found for one in compared for found in one.differences), known, ran)


def report(verdict: Verdict, unsteady: Sequence[Difference] = ()) -> str:
    """The differences, those that nobody explains last."""
    by_reason: dict[str, list[str]] = {}
    for difference, entry in verdict.explained:
        by_reason.setdefault(entry.reason, []).append(str(difference))
    lines = [""]
    for reason, tests in by_reason.items():
        lines += [reason, *(f"    {test}" for test in tests)]
    if unsteady:
        lines += ["", "Different once, and not again:", *(f"    {difference}" for difference in unsteady)]
    if verdict.stale:
        lines += ["", "Listed as different, and not different any more:"]
        lines += [f"    {engine}: {entry.test}" for engine, entry in verdict.stale]
    if verdict.unknown:
        lines += ["", "Different, and nobody said why:", *(f"    {difference}" for difference in verdict.unknown)]
    if verdict.good:
        lines += ["", "No difference but those listed."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
