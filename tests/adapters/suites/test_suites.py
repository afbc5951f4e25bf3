"""A representative part of dask's and xarray's own tests ends on each of our engines as on dask's own schedulers."""

import pytest

from tests.adapters.suites.__main__ import ALL_ENGINES, report, verdict_on
from tests.adapters.suites.outcomes import read_known
from tests.adapters.suites.suites import REPRESENTATIVE, Suite, compare


@pytest.mark.parametrize("engine", ALL_ENGINES)
@pytest.mark.parametrize("suite", REPRESENTATIVE, ids=lambda suite: suite.name)
def test_representative_part(suite: Suite, engine: str) -> None:
    known = read_known()
    compared = compare(suite, engine, known)
    verdict = verdict_on([compared], known)
    assert verdict.good, report(verdict)
    on_taskloom = sum(bool(outcome.runs) for outcome in compared.outcomes.values())
    assert on_taskloom > len(compared.outcomes) // 3, "few of the tests reached the engine: is it plugged in?"
