"""Run records as files."""

import json
import os
import threading
from math import isnan
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

import taskloom
from taskloom import Run, threaded
from taskloom.bus import event_bus

HOSTILE = [
    "two\nlines\r\u2028\x00\x1b[31m",
    "</script><script>alert(1)</script>",
    "__import__('os').abort()",
    "\ud800 alone",
    "quote ' and \" and \\",
    "x" * 5000,
    "größe 🎉",
    "'a'",
]
KEYS = ["a", b"\xff raw", 7, -1, 2.5, 1e300, ("x", 0), ("x", 0, 1), (("deep", (1, b"z")), 2.5), (), *HOSTILE]


def last_run() -> Run:
    run = taskloom.last_run()
    assert run is not None
    return run


def fail(*args: Any) -> None:
    raise ZeroDivisionError("no way")


def nan_as_none(values: Any) -> list[Any]:
    return [None if isinstance(value, float) and isnan(value) else value for value in values]


def assert_alike(loaded: Run, run: Run) -> None:
    for name in ("id", "engine", "status", "parent", "started", "duration", "n_tasks", "n_done", "n_failed", "names"):
        assert getattr(loaded, name) == getattr(run, name), name
    for column in run.tasks.columns:
        assert nan_as_none(loaded.tasks[column]) == nan_as_none(run.tasks[column]), column
    assert list(loaded.done) == list(run.done)
    assert loaded.workers == run.workers
    assert loaded.samples == run.samples
    assert loaded.graph.keys == run.graph.keys
    assert loaded.graph.functions == run.graph.functions
    assert loaded.graph.dependencies == run.graph.dependencies
    assert loaded.critical_path() == run.critical_path()
    assert nan_as_none(loaded.ready) == nan_as_none(run.ready)
    assert loaded.running == []
    assert str(loaded.summary()) == str(run.summary())
    assert repr(loaded) == repr(run)


@pytest.mark.parametrize("get", [taskloom.get, threaded.get], ids=["sync", "threads"])
def test_round_trip_with_keys_of_all_kinds(get: Any, tmp_path: Path) -> None:
    dsk = {key: (repr, KEYS[i - 1]) if i else (repr, "start") for i, key in enumerate(KEYS)}
    get(dsk, list(dsk))
    run = last_run()
    run.save(tmp_path / "run.jsonl")
    assert_alike(Run.load(tmp_path / "run.jsonl"), run)
    assert_alike(Run.load(str(tmp_path / "run.jsonl")), run)
    assert os.listdir(tmp_path) == ["run.jsonl"]


def test_the_file_is_json_lines(tmp_path: Path) -> None:
    taskloom.get({HOSTILE[0]: (abs, -1)}, HOSTILE[0])
    last_run().save(tmp_path / "run.jsonl")
    header, *lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text("ascii").splitlines()]
    assert (header["format"], header["version"]) == ("taskloom-run", 2)
    assert [line["function"] for line in lines if "function" in line] == ["abs"]


def test_round_trip_of_a_failed_run(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        taskloom.get({"a": (abs, -1), ("bad", 0): (fail, "a"), "after": (str, ("bad", 0))}, "after")
    run = last_run()
    run.save(tmp_path / "run.jsonl")
    loaded = Run.load(tmp_path / "run.jsonl")
    assert_alike(loaded, run)
    assert loaded.tasks.status == ["finished", "failed", "waiting"]
    assert loaded.failure is not None
    assert (loaded.failure.key, loaded.failure.exception) == (("bad", 0), "ZeroDivisionError: no way")
    with pytest.raises(ValueError, match="not at hand"):
        loaded.failure.replay()


def test_round_trip_of_long_tasks_and_samples(tmp_path: Path) -> None:
    sampled = threading.Event()

    class Watch:
        def run_updated(self, run: Run) -> None:
            sampled.set()

    with taskloom.subscribe(Watch()):
        taskloom.get({"a": (sampled.wait, 20), "b": (abs, -1), "c": (max, "a", "b")}, "c")
    run = last_run()
    assert run.samples
    run.save(tmp_path / "run.jsonl")
    loaded = Run.load(tmp_path / "run.jsonl")
    assert_alike(loaded, run)
    assert not isnan(loaded.tasks.cpu[run.tasks.key.index("a")])


def test_round_trip_of_a_run_whose_rows_have_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "KEEP_ROWS", 10)
    taskloom.get({f"x-{i}": (abs, i) for i in range(30)}, [f"x-{i}" for i in range(30)])
    run = last_run()
    taskloom.get({"a": (abs, 1)}, "a")
    deadline = monotonic() + 20
    while len(run.graph) != 10:  # cut down in the background
        assert monotonic() < deadline
        sleep(0.001)
    run.save(tmp_path / "run.jsonl")
    assert_alike(Run.load(tmp_path / "run.jsonl"), run)


def test_a_key_of_another_kind_is_loaded_as_its_text(tmp_path: Path) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    odd = Odd()
    taskloom.get({odd: (abs, -1), ("x", odd): (abs, odd)}, ("x", odd))
    last_run().save(tmp_path / "run.jsonl")
    assert Run.load(tmp_path / "run.jsonl").tasks.key == ["<odd>", "('x', <odd>)"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    taskloom.get({"a": (abs, -1), "b": (abs, "a")}, "b")
    last_run().save(tmp_path / "run.jsonl")
    return tmp_path / "run.jsonl"


def test_a_file_that_was_cut_off_anywhere_is_named(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in range(len(whole) - 1):  # without the last newline it is whole
        saved.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"run\.jsonl is no whole run record"):
            Run.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hello", b"[1, 2]", b"1\n2", b"{}", b"\xff\xfe", b'{"format": "other", "version": 1}', b"null\n" * 3],
)
def test_a_file_that_is_no_run_record_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.txt is no whole run record"):
        Run.load(path)


def test_a_later_version_is_refused(saved: Path) -> None:
    saved.write_text(saved.read_text().replace('"version":2', '"version":3', 1))
    with pytest.raises(ValueError, match="version 3"):
        Run.load(saved)


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Run.load(tmp_path / "nothing.jsonl")


def test_a_path_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    taskloom.get({"a": (abs, -1)}, "a")
    run = last_run()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for path in ("folder", "missing/run.jsonl", "file/run.jsonl"):
        with pytest.raises(OSError, match=path.split("/")[0]):
            run.save(tmp_path / path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_save_that_fails_leaves_the_old_file_as_it_was(saved: Path) -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    before = saved.read_bytes()
    bad = Bad()
    taskloom.get({bad: (abs, -1)}, bad)
    with pytest.raises(ZeroDivisionError):
        last_run().save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_save_replaces_what_was_there(saved: Path) -> None:
    taskloom.get({"other": (abs, -1)}, "other")
    last_run().save(saved)
    assert Run.load(saved).tasks.key == ["other"]


def test_loading_adds_no_run_to_the_history(saved: Path) -> None:
    before = list(taskloom.runs)
    Run.load(saved)
    assert list(taskloom.runs) == before


def test_a_run_saved_while_it_runs_is_read_as_running(tmp_path: Path) -> None:
    path, seen = tmp_path / "run.jsonl", []

    def save() -> None:
        run = taskloom.runs[-1]
        run.save(path)
        seen.append((Run.load(path), run.tasks.status))

    taskloom.get({"a": (save,), "b": (abs, 1), "c": (max, "a", "b")}, ["b", "a"])
    ((loaded, status),) = seen
    assert loaded.tasks.status == status
    assert "running" in status
    assert loaded.status == "running"
