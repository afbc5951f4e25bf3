"""What counts as a difference between two runs of somebody else's tests, and what the list of known ones has to say."""

import json
from pathlib import Path

import pytest

from tests.adapters.suites.outcomes import (
    NOT_RUN,
    Difference,
    Known,
    Outcome,
    differences,
    judge,
    read_known,
    read_outcomes,
)

PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failed", 1, "ValueError: no"), Outcome("skipped")


def test_a_test_that_ends_otherwise_differs() -> None:
    found = differences("threads", {"a": PASSED, "b": PASSED, "c": FAILED}, {"a": PASSED, "b": FAILED, "c": PASSED})
    assert found == [Difference("threads", "b", PASSED, FAILED), Difference("threads", "c", FAILED, PASSED)]


def test_a_test_that_only_one_side_has_differs() -> None:
    found = differences("sync", {"a": PASSED}, {"b": SKIPPED})
    assert found == [Difference("sync", "a", PASSED, NOT_RUN), Difference("sync", "b", NOT_RUN, SKIPPED)]


def test_how_many_runs_it_took_and_what_it_said_do_not_differ() -> None:
    assert differences("sync", {"a": FAILED}, {"a": Outcome("failed", 7, "TypeError: no")}) == []


def test_a_difference_says_where_and_what() -> None:
    assert str(Difference("sync", "t.py::a", PASSED, FAILED)) == "sync: t.py::a: passed -> failed  ValueError: no"


@pytest.mark.parametrize(
    ("pattern", "test", "named"),
    [
        ("t.py::a", "t.py::a", True),
        ("t.py::a", "t.py::ab", False),
        ("t.py::a[*]", "t.py::a[1-x]", True),
        ("t.py::a[*]", "t.py::a", False),
        ("t.py::*", "t.py::a[line\nbreak]", True),
        ("t.py::a.", "t.py::ab", False),
    ],
)
def test_only_the_star_stands_for_anything(pattern: str, test: str, named: bool) -> None:
    assert Known(pattern, ("sync",), "").names(test) is named


def test_a_listed_difference_is_explained_where_it_is_listed() -> None:
    known = Known("a", ("threads",), "dask's own defect")
    on_threads, on_sync = (Difference(engine, "a", PASSED, FAILED) for engine in ("threads", "sync"))
    verdict = judge([on_threads, on_sync], [known], {"threads": {"a"}, "sync": {"a"}})
    assert verdict.explained == [(on_threads, known)]
    assert verdict.unknown == [on_sync]
    assert not verdict.good


def test_a_listed_difference_that_is_gone_is_stale() -> None:
    known = Known("a", ("threads", "sync"), "dask's own defect")
    verdict = judge([Difference("sync", "a", PASSED, FAILED)], [known], {"threads": {"a"}, "sync": {"a"}})
    assert verdict.stale == [("threads", known)]
    assert not verdict.good


def test_what_did_not_run_is_not_stale() -> None:
    known = [Known("a", ("threads",), ""), Known("b", ("processes",), "")]
    assert judge([], known, {"threads": {"b"}, "sync": {"a"}}).good


def test_the_list_gives_a_reason_for_each() -> None:
    assert [known for known in read_known() if not (known.engines and known.reason.strip())] == []


def test_the_last_word_on_a_test_counts(tmp_path: Path) -> None:
    """A plugin may run a test again."""
    lines = [{"test": "a", "outcome": outcome, "runs": 0, "message": ""} for outcome in ("failed", "passed")]
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_outcomes(results) == {"a": PASSED}
    assert read_outcomes(tmp_path / "missing.jsonl") == {}
