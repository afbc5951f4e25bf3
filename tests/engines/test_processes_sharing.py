"""Who of the worker processes gets which task, and what moves between them."""

import sys
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pandas as pd
import pytest

import taskloom

from .cases import Get, Meet, in_thread, until


def newest() -> taskloom.Run:
    run = taskloom.last_run()
    assert run is not None
    return run


@pytest.mark.parametrize("place", [0, 5, 40])
def test_what_is_queued_behind_a_long_task_is_given_back(get: Get, tmp_path: Path, place: int) -> None:
    """The long task waits for all others: whatever stays in its worker's queue never runs."""
    meet = Meet(tmp_path, 60)

    def short(i: int) -> int:
        (tmp_path / f"{i}").touch()
        return i

    dsk: dict[Any, Any] = {("x", i): (short, i) for i in range(60)}
    dsk["x", place] = (meet, place)
    assert get(dsk, list(dsk)) == [None if i == place else i for i in range(60)]


def test_a_task_goes_where_most_of_its_input_is(get: Get, tmp_path: Path) -> None:
    meet = Meet(tmp_path, 2)

    def make(size: int) -> Any:
        meet(size)
        return np.ones(size // 8)

    for n in range(3):
        for file in tmp_path.iterdir():
            file.unlink()
        sizes = (1_000_000 << n, 8_000_000 << n) if n % 2 else (8_000_000 << n, 1_000_000 << n)
        dsk = {"a": (make, sizes[0]), "b": (make, sizes[1]), "c": (lambda a, b: a.nbytes + b.nbytes, "a", "b")}
        assert get(dsk, "c") == sum(sizes)
        tasks = newest().tasks
        where = dict(zip(tasks.key, tasks.worker, strict=True))
        assert where["a"] != where["b"]
        assert where["c"] == where["ab"[sizes.index(max(sizes))]]
        assert sum(move.nbytes for move in newest().transfers) < 2 * min(sizes), "only the small one moved"


def test_a_reduction_does_not_pass_through_the_parent(get: Get) -> None:
    """What comes to the parent is the sum; chunks are used where they were made, or handed over as open files."""

    def make(i: int) -> Any:
        return np.full(250_000, float(i))

    dsk: dict[Any, Any] = {("chunk", i): (make, i) for i in range(40)}
    dsk |= {("sum", i): (np.sum, ("chunk", i)) for i in range(40)}
    dsk["total"] = (sum, [("sum", i) for i in range(40)])
    assert get(dsk, "total") == 780 * 250_000
    chunks = {task for task, key in enumerate(newest().tasks.key) if key[0] == "chunk"}
    moved = sum(move.nbytes for move in newest().transfers if move.task in chunks)
    assert moved <= 4 * 2_000_000, "nearly all chunks were used by the worker that made them"


def test_live_results_stay_near_what_one_worker_would_keep(get: Get, tmp_path: Path) -> None:
    """Last in, first out: a chunk is used up before further ones are made."""

    def make(i: int) -> Any:
        sleep(0.002)
        return np.full(100_000, float(i))

    def total(*arrays: Any) -> float:
        return float(sum(array[0] for array in arrays))

    dsk: dict[Any, Any] = {("x", i): (make, i) for i in range(64)}
    dsk |= {("sum", i): (total, ("x", 2 * i), ("x", 2 * i + 1)) for i in range(32)}
    dsk["all"] = (sum, [("sum", i) for i in range(32)])
    assert get(dsk, "all") == sum(range(64))
    run = newest()
    number = {key: task for task, key in enumerate(run.tasks.key)}
    stop = run.tasks.stop
    events = [(stop[number["x", i]], 1) for i in range(64)] + [(stop[number["sum", i // 2]], -1) for i in range(64)]
    live = most = 0
    for _, change in sorted(events):
        live += change
        most = max(most, live)
    assert most <= 16, "the worst order would keep 64, one worker 2"


@pytest.mark.parametrize("backend", ["numpy", "object"])
def test_frames_move_between_workers(get: Get, tmp_path: Path, backend: str) -> None:
    meet = Meet(tmp_path, 2)

    def make(start: int) -> Any:
        meet(start)
        numbers = pd.Series(np.arange(start, start + 50_000), name="n")
        return pd.DataFrame({"n": numbers, "text": numbers.astype(str) if backend == "object" else numbers * 0.5})

    dsk = {"a": (make, 0), "b": (make, 7), "c": (lambda a, b: pd.concat([a, b]), "a", "b")}
    found = get(dsk, "c")
    moved = [move.task for move in newest().transfers]
    assert moved, "they were in different workers"
    assert len(moved) == len(set(moved)), "once"
    assert list(found["n"]) == [*range(50_000), *range(7, 50_007)]
    assert found["text"].iloc[-1] == ("50006" if backend == "object" else 25_003.0)
    found.loc[:, "n"] = 0  # what arrives here can be written to
    assert not found["n"].any()


def test_frames_on_arrow_are_mapped_and_not_copied(get: Get, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    meet = Meet(tmp_path, 2)

    def make(start: int) -> Any:
        meet(start)
        return pd.DataFrame({"n": pd.array(np.arange(start, start + 50_000), dtype="int64[pyarrow]")})

    def is_mapped(frame: Any) -> bool:
        address = frame["n"].array._pa_array.chunk(0).buffers()[1].address
        maps = Path("/proc/self/maps").read_text().splitlines()
        shared = [line.split()[0] for line in maps if "memfd:taskloom" in line]
        return any(int(low, 16) <= address < int(high, 16) for low, high in (span.split("-") for span in shared))

    def add(a: Any, b: Any) -> Any:
        return int((a["n"] + b["n"]).sum()), is_mapped(a) + is_mapped(b)

    total, mapped = get({"a": (make, 0), "b": (make, 7), "c": (add, "a", "b")}, "c")
    assert total == sum(range(50_000)) + sum(range(7, 50_007))
    assert mapped >= 1, "the one from the other worker"


def test_an_import_that_is_cancelled_can_be_made_again(get: Get, tmp_path: Path) -> None:
    """Its worker is as good as before: nobody is stopped between a module's beginning and its end."""
    package, begun, go_on = tmp_path / "slowly", tmp_path / "begun", tmp_path / "go on"
    package.mkdir()
    (package / "part.py").write_text("__all__ = ['value']; value = 1")
    (package / "__init__.py").write_text(
        f"from .part import *\nnames = part.__all__\nopen({str(begun)!r}, 'a').close()\n"
        f"import os\nwhile not os.path.exists({str(go_on)!r}): sum(range(100))\n"
    )

    def imports(place: str) -> Any:
        sys.path.insert(0, place)
        import slowly  # type: ignore[import-not-found]

        return slowly.names

    one = partial(get, num_workers=1)
    run = in_thread(one, {"a": (imports, str(tmp_path))}, "a")
    until(begun.exists)
    newest().cancel()
    sleep(0.2)  # so long its worker may take to hear of it, and is told several times
    go_on.touch()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert one({"a": (imports, str(tmp_path))}, "a") == ["value"]
