"""The graphs of the RSDS benchmark have the shapes that they are to have, and can be computed."""

import pytest

import taskloom
from benchmarks import rsds
from benchmarks.graphs import Case

# From the formulas that the paper' programs give when Dask fuses what has one dependent.
SHAPES = {
    "merge-100": (rsds.merge(100), 101, 100),
    "tree-15": (rsds.tree(15), 32_767, 32_766),
    "join-24": (rsds.join(24), 24**2 + 4 * 24 + 1, 2 * 24**2 + 3 * 24),
    "bag-10": (rsds.bag(10), 10 + 10 + 100 + 100 + 16, 10 + 190 + 100 + 115),
    "numpy-10": (rsds.numpy(10), 75 + 50 + 50 + 30 + 4, 95 + 50 + 70 + 13),
    "xarray-25": (rsds.xarray(3, 52), 2 + 3 * (1 + 3 * 52) + 79, 1 + 3 + 156 * 4 + 234),
    "groupby-8": (rsds.groupby(8), 5 * 8 + 3 + 2, 3 * 8 + 15 + 24 + 4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name: str) -> None:
    case, tasks, dependencies = SHAPES[name]
    assert (len(case.dsk), rsds.count_dependencies(case)) == (tasks, dependencies)


@pytest.mark.parametrize("name", SHAPES)
def test_every_task_is_needed(name: str) -> None:
    case: Case = SHAPES[name][0]
    run = Recorder()
    with taskloom.subscribe(run):
        taskloom.get(case.dsk, case.keys)
    assert run.n_done == len(case.dsk)


class Recorder:
    """Notes how many tasks a run has done."""

    n_done = 0

    def run_started(self, run: taskloom.Run) -> None: ...

    def run_updated(self, run: taskloom.Run) -> None: ...

    def run_finished(self, run: taskloom.Run) -> None:
        self.n_done = run.n_done
