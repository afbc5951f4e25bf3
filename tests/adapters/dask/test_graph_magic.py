"""`%%graph` of dask's collections, in a shell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import taskloom

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")
pytest.importorskip("anywidget")
shell_module = pytest.importorskip("IPython.core.interactiveshell")

ARRAY = "import dask.array as da; x = (da.ones((40, 40), chunks=(10, 10)) + 1).T.sum(axis=0)"
FRAME = """
import dask.dataframe as dd, pandas as pd
df = dd.from_pandas(pd.DataFrame({"a": range(10), "b": 1.5}), npartitions=2)
"""


@pytest.fixture
def shell() -> Iterator[Any]:
    shell = shell_module.InteractiveShell()
    shell.history_manager.enabled = False
    shell.extension_manager.load_extension("taskloom")
    taskloom.enable_dask()
    yield shell
    shell.extension_manager.unload_extension("taskloom")
    shell.history_manager.end_session()


def test_a_run_is_drawn_with_what_its_layers_make(shell: Any, tmp_path: Path) -> None:
    total = shell.run_cell_magic("graph", f"--layers --save {tmp_path}/run.svg", f"{ARRAY}\nx.compute().sum()")
    assert total == 3200
    text = (tmp_path / "run.svg").read_text()
    assert "4 × 4 chunks of 1 × 10, 80 bytes" in text
    assert "includes ones_like, add, transpose" in text
    assert "16/16" in text


@pytest.mark.parametrize("cell", ["x.compute()", "import dask; dask.compute(x, x + 1)", "x.persist()"])
def test_no_run_draws_what_would_run(shell: Any, capsys: pytest.CaptureFixture[str], cell: str) -> None:
    before = len(taskloom.runs)
    assert shell.run_cell_magic("graph", "--no-run", f"{ARRAY}\n{cell}") is None
    assert "Graph of Not run · " in capsys.readouterr().out
    assert len(taskloom.runs) == before
    assert shell.run_cell_magic("graph", "", "x.compute().sum()") == 3200, "as before"


def test_no_run_counts_more_than_dasks_configuration(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(taskloom.runs)
    with dask.config.set(scheduler="sync"):
        shell.run_cell_magic("graph", "--no-run", f"{ARRAY}\nx.compute()")
    assert "Graph of Not run · " in capsys.readouterr().out
    assert len(taskloom.runs) == before


def test_a_collection_at_the_end_is_drawn_before_and_after(
    shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shell.run_cell_magic("graph", f"--save {tmp_path}/x.svg", f"{ARRAY}\nx")
    assert (
        capsys.readouterr().out == "Graph of Before optimisation · 68 tasks\nGraph of After optimisation · 20 tasks\n"
    )
    assert "chunk (3, 3) of 4 × 4: 10 × 10 float64, 800 bytes" in (tmp_path / "x.svg").read_text()
    shell.run_cell_magic("graph", "--optimized", "x, 7")
    assert capsys.readouterr().out == "Graph of After optimisation · 20 tasks\n"


def test_a_frame_is_drawn_as_expressions_and_no_run_computes_nothing(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell_magic("graph", "", f"{FRAME}\ndf[df.a > 1].b")
    out = capsys.readouterr().out
    assert [line.split(" · ")[0] for line in out.splitlines()] == [
        "Graph of Expression before optimisation",
        "Graph of Expression after optimisation",
        "Graph of After optimisation",
    ]
    before = len(taskloom.runs)
    shell.run_cell_magic("graph", "--no-run", "df.set_index('b')")
    assert capsys.readouterr().out == "Graph of Expression before optimisation · 2 expressions\n"
    assert len(taskloom.runs) == before


def test_xarray_and_collections_of_both_kinds(shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    cell = """
import numpy as np, xarray as xr, taskloom
air = xr.Dataset({"air": (("time", "x"), np.ones((20, 3)))}).chunk(time=5)
air.mean("time"), taskloom.delayed(abs)(-1)
"""
    shell.run_cell_magic("graph", f"--layers --save {tmp_path}/air.svg", cell)
    assert "Graph of After optimisation" in capsys.readouterr().out
    before, after = (tmp_path / "air.svg").read_text(), (tmp_path / "air-2.svg").read_text()
    assert "array 20 × 3 float64" in before
    assert "includes xarray-air" in after
    assert 'data-key="abs' in after
