"""A representative part of dask's and xarray's own tests ends on our engines as on dask's own schedulers.

On `defaults` arrays and dataframes run on threads and bags on processes, and many tests ask for the sync engine.
"""

import pytest

from tests.adapters.suites.__main__ import report, verdict_on
from tests.adapters.suites.outcomes import read_known
from tests.adapters.suites.suites import REPRESENTATIVE, compare

IN_SHORT = {suite.name: suite for suite in REPRESENTATIVE}


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("schedulers-in-short", "defaults"),
        ("collections-in-short", "defaults"),
        ("collections-in-short", "processes"),
        ("collections-in-short", "distributed"),
        ("xarray-in-short", "defaults"),
    ],
)
def test_representative_part(name: str, engine: str) -> None:
    suite = IN_SHORT[name]
    known = read_known()
    compared = compare(suite, engine, known)
    verdict = verdict_on([compared], known)
    assert verdict.good, report(verdict, compared.unsteady)
    on_taskloom = sum(bool(outcome.runs) for outcome in compared.outcomes.values())
    assert on_taskloom > len(compared.outcomes) // 3, "few of the tests reached the engine: is it plugged in?"
