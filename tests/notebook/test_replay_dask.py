"""`%replay` and `%pdb on` where dask's collections fail, wherever they run: they open in the user's own frame."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("dask.array")
pytest.importorskip("dask.dataframe")
pytest.importorskip("distributed")

from tests.adapters.clusters.processes import DaskProcesses

SETUP = """
import dask.array as da, dask.bag as db, dask.dataframe as dd, numpy as np, pandas as pd
def check(part):
    limit = 26
    if part.sum() > limit:
        raise OverflowError(part.sum())
    return part
def outer(part):
    mine = part * 1
    return check(mine)
array = ((da.arange(9, chunks=3) + 2).map_blocks(outer, meta=np.ones(0)) + 1).sum()
flights = dd.from_pandas(pd.DataFrame({"delay": range(2, 11)}), npartitions=3)
frame = flights.delay.map_partitions(outer, meta=flights.delay).sum()
bag = db.from_sequence(range(0, 30, 4), npartitions=3).map(np.int64).map(outer).sum()
"""
OPENS = {
    "threads": "",
    "processes": "",
    "distributed": "from taskloom.distributed import Client; client = Client(n_workers=1, threads_per_worker=1)",
    "a dask cluster": "from taskloom.distributed import Client; client = Client(address)",
}
COLLECTIONS = {"array": 27, "frame": 27, "bag": 28}  # each with the sum that is too much


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with DaskProcesses(workers=1) as cluster:
        yield cluster.address


@pytest.fixture(params=OPENS)
def how(request: pytest.FixtureRequest, address: str, session: Any) -> Iterator[str]:
    """How a collection is computed in each place, which is open."""
    place: str = request.param
    session.shell.user_ns["address"] = address
    session.run(SETUP + OPENS[place])
    yield ".compute()" if OPENS[place] else f".compute(scheduler={place!r})"
    if OPENS[place]:
        session.run("client.close()")
    elif place == "processes":
        from taskloom.engines.worker.pool import pool

        pool.close()


@pytest.mark.parametrize("name", COLLECTIONS)
def test_it_opens_in_the_users_frame_and_shows_none_of_dasks(session: Any, how: str, name: str) -> None:
    shown = f"ipdb> p int(part.sum())\n{COLLECTIONS[name]}\n"
    session.run("%pdb on")
    output = session.run(f"{name}{how}", "p int(part.sum())", "up", "p mine.size > 0", "q")
    session.run("%pdb off")
    assert shown in output
    assert "ipdb> p mine.size > 0\nTrue\n" in output

    output = session.run("%%replay\np int(part.sum())\nw\nup\nup")
    assert shown in output
    assert "site-packages" not in output
    assert output.rpartition("ipdb> up\n")[2].startswith("***"), "above the user's outermost function is nothing"

    output = session.run("%replay --step", "n", "n", "p int(mine.sum())", "q")
    assert "outer()" in output.partition("ipdb>")[0], "none of dask's own is stopped in"
    assert "ipdb> p int(mine.sum())\n" in output


def test_frames_of_dask_that_raise_are_shown(session: Any) -> None:
    session.run(SETUP + "def wrong(part):\n    return da.ones(3, chunks=3).rechunk(((1, 2, 3),))\n")
    session.run("da.ones(3).map_blocks(wrong, meta=np.ones(0)).compute(scheduler='threads')")
    output = session.run("%%replay\nw\nup")
    assert "rechunk()" in output
    assert "rechunk()" in output.rpartition("ipdb> up\n")[2] or "wrong()" in output.rpartition("ipdb> up\n")[2]


def test_a_persist_that_failed_before_the_last_run(session: Any, address: str) -> None:
    session.shell.user_ns["address"] = address
    session.run(SETUP + "import dask, distributed, time, taskloom\n" + OPENS["a dask cluster"])
    output = session.run(
        "persisted = da.arange(9, chunks=3).map_blocks(outer, meta=np.ones(0)).persist()\n"
        "persisted = (persisted + 2).map_blocks(outer, meta=np.ones(0)).persist(); distributed.wait(persisted)\n"
        "failed = taskloom.last_run()\n"
        "while failed.status == 'running':\n    time.sleep(0.01)\n"
        "print(failed.id)"
    )
    number = int(output.split()[-1])
    session.run("taskloom.get({'a': (abs, -1)}, 'a')")
    assert f"which runs again as long as its cluster has it:  %replay --run {number}" in session.run("%replay")
    output = session.run(f"%replay --run {number}", "p int(part.sum())", "up", "p mine.size > 0", "q")
    assert "ipdb> p int(part.sum())\n27\n" in output
    assert "ipdb> p mine.size > 0\nTrue\n" in output
    session.run("client.close()")
    assert "the client that submitted it is not connected any more" in session.run(f"%replay --run {number}")
