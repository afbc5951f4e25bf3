"""`%scheduler` in IPython and in a kernel without a page: what it sets, says and completes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom import config
from taskloom.engines import ENGINES, Engine
from taskloom.notebook.selector import Selection
from taskloom.notebook.selector_picture import selector_html, selector_text

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")

from IPython.core.completer import provisionalcompleter  # noqa: E402
from IPython.core.error import UsageError  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>\n\x1b[31m"


class FarEngine(Engine):
    name = "far"
    names = ("far",)
    summary = "On the moon."
    settings = ("num_workers", "multiprocessing.context")
    run = None  # type: ignore[assignment]

    def unavailable(self) -> str:
        return HOSTILE


@pytest.fixture
def shell(shell: InteractiveShell) -> Iterator[InteractiveShell]:
    yield shell
    config.refresh()


@pytest.fixture
def far_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    FarEngine.__abstractmethods__ = frozenset()
    monkeypatch.setitem(ENGINES, "far", FarEngine())


def completions(shell: InteractiveShell, line: str) -> set[str]:
    with provisionalcompleter():
        return {completion.text for completion in shell.Completer.completions(line, len(line))}


def used_engine() -> str:
    taskloom.delayed(abs)(-1).compute()
    return taskloom.last_run().engine


def test_a_line_chooses_for_the_next_computation(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("scheduler", "sync num_workers=4")
    assert used_engine() == "sync"
    assert config.setting("num_workers").value == 4
    assert config.source("scheduler") == "%scheduler"
    assert capsys.readouterr().out.startswith("Scheduler: sync (from %scheduler).")


def test_names_are_known_by_all_their_spellings(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "single-threaded")
    assert config.get("scheduler") == "sync"


def test_undo_takes_back_one_choice_after_the_other(shell: InteractiveShell) -> None:
    config.set(scheduler="sync")
    shell.run_line_magic("scheduler", "threads")
    shell.run_line_magic("scheduler", "num_workers=1")
    shell.run_line_magic("scheduler", "undo")
    assert config.get("num_workers") is None
    assert config.get("scheduler") == "threads"
    shell.run_line_magic("scheduler", "undo")
    assert (config.get("scheduler"), config.source("scheduler")) == ("sync", "set")
    with pytest.raises(UsageError, match="nothing to undo"):
        shell.run_line_magic("scheduler", "undo")


def test_a_client_of_dask_that_runs_its_collections_all_the_same_is_named(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")

    def said(line: str) -> str:
        """What a line says, which has to be what happens."""
        shell.run_line_magic("scheduler", line)
        dask.delayed(abs)(-1).compute()
        text = capsys.readouterr().out
        assert ("Dask's collections" in text) == (taskloom.last_run().engine == "dask.distributed"), text
        return text

    taskloom.enable_dask()
    try:
        assert said("sync").startswith("Scheduler: sync (from %scheduler).")
        with distributed.Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as client:
            assert said("threads").startswith("Scheduler: threads · workers ")
            but = f"; Dask's collections run on the client at {client.scheduler.address}). "
            assert said("undo").startswith(f"Scheduler: sync (from %scheduler{but}")
            assert but in said("auto")
            assert but in said("undo")
            assert f"(from the default{but}" in said("undo")
            assert but in said("")
            assert but in said("distributed")
            said("undo")
            with dask.config.set(scheduler="threads"):
                said("")
        assert "Dask's" not in said("")
    finally:
        taskloom.disable_dask()


def test_what_dask_is_configured_to_run_on_is_named(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    dask = pytest.importorskip("dask")

    def said(line: str) -> str:
        shell.run_line_magic("scheduler", line)
        return capsys.readouterr().out

    def my_get(dsk: Any, keys: Any, **options: Any) -> Any:
        return taskloom.get(dsk, keys)

    taskloom.enable_dask()
    try:
        with dask.config.set(scheduler="Single-Threaded"):
            but = "; Dask's own compute runs on sync, as Dask's configuration says). "
            assert f"(from %scheduler{but}" in said("threads")
            dask.delayed(abs)(-1).compute()
            assert taskloom.last_run().engine == "sync"
            assert f"(from the default{but}" in said("undo")
            assert "Dask's" not in said("sync")
        with dask.config.set(scheduler=my_get):
            assert "; Dask's own compute runs on my_get, as" in said("")
        with dask.config.set(scheduler=HOSTILE):
            assert "\x1b" not in said("")
        assert "Dask's" not in said("")
    finally:
        taskloom.disable_dask()


def test_auto_means_no_choice(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "sync")
    shell.run_line_magic("scheduler", "auto")
    assert config.get("scheduler") is None
    assert used_engine() == "threads"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("thread", "Did you mean 'threads'"),
        ("threads num_worker=4", "Did you mean 'num_workers'"),
        ("threads num_workers=none-at-all", "num_workers must be a whole number, at least 1, not 'none-at-all'"),
        ("threads sync", "One engine at a time"),
    ],
)
def test_errors_suggest(shell: InteractiveShell, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shell.run_line_magic("scheduler", line)
    assert config.source("scheduler") == "default"


@pytest.mark.usefixtures("far_engine")
def test_an_engine_that_cannot_be_used_says_why(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="'far' cannot be used here"):
        shell.run_line_magic("scheduler", "far")
    state = Selection().state()
    html = selector_html(state)
    assert "<img" not in html
    assert html.isprintable()
    assert "× far" in selector_text(state)
    assert "\x1b" not in selector_text(state)


@pytest.mark.usefixtures("far_engine")
def test_an_engines_settings_are_offered_with_where_they_come_from() -> None:
    with config.set(scheduler="far", num_workers=3):
        workers, start = Selection().state()["settings"]
    assert (workers["value"], workers["source"]) == ("3", "config.set")
    assert start["choices"] == ["spawn", "forkserver", "fork"]
    assert start["source"] == "the default"


def test_what_is_no_engine_is_named() -> None:
    def my_get(dsk: Any, keys: Any) -> None: ...

    with config.set(scheduler=my_get):
        state = Selection().state()
    assert state["chosen"] == ""
    assert state["force_text"] == "my_get"
    assert state["source_text"] == "config.set"


def test_state_is_plain_json() -> None:
    state = Selection().state()
    assert json.loads(json.dumps(state)) == state
    assert state["chosen"] == "auto"
    assert all(engine["cost"] for engine in state["engines"] if engine["name"] != "auto")


def test_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKLOOM_SCHEDULER", "sync")
    config.refresh()
    assert Selection().state()["source_text"] == "TASKLOOM_SCHEDULER"
    monkeypatch.delenv("TASKLOOM_SCHEDULER")
    monkeypatch.setenv("TASKLOOM_multiprocessing__context", "fork")
    config.refresh()
    with config.set(scheduler="processes"):
        sources = {field["name"]: field["source"] for field in Selection().state()["settings"]}
    assert sources["multiprocessing.context"] == "TASKLOOM_multiprocessing__context"
    monkeypatch.delenv("TASKLOOM_multiprocessing__context")
    config.refresh()


def test_a_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("num_workers: 3")
    monkeypatch.setenv("TASKLOOM_CONFIG", str(file))
    config.refresh()
    (workers,) = Selection().state()["settings"]
    assert workers["source"].startswith("file /")
    monkeypatch.delenv("TASKLOOM_CONFIG")
    config.refresh()


def test_the_processes_engine_offers_its_start_method_and_memory(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "processes context=forkserver memory_limit=2GiB")
    assert config.get("multiprocessing.context") == "forkserver"
    assert config.get("multiprocessing.memory_limit") == 2 * 2**30
    fields = {field["name"]: field for field in Selection().state()["settings"]}
    assert fields["multiprocessing.memory_limit"]["value"] == "2 GiB"
    assert fields["multiprocessing.context"]["choices"] == ["spawn", "forkserver", "fork"]
    assert "memory limit 2 GiB" in Selection().state()["force_text"]
    assert "context=" in completions(shell, "%scheduler processes con")


def test_the_distributed_engine_offers_the_size_of_its_cluster(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "cluster n_workers=2 threads_per_worker=3 memory_limit=1GiB")
    assert config.get("scheduler") == "distributed"
    fields = {field["label"]: field["value"] for field in Selection().state()["settings"]}
    assert fields == {"Workers": "2", "Threads per worker": "3", "Memory limit per worker": "1 GiB"}
    assert config.get("multiprocessing.memory_limit") is None, "an option is the engine's that the line names"
    shell.run_line_magic("scheduler", "undo")
    state = Selection().state()
    assert all(field["value"] == "" for field in state["settings"])
    assert "distributed" in [engine["name"] for engine in state["engines"]]
    assert "threads_per_worker=" in completions(shell, "%scheduler cluster thr")


def test_an_option_without_an_engine_is_of_the_one_in_force(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "distributed")
    shell.run_line_magic("scheduler", "memory_limit=2GiB")
    assert config.get("distributed.memory_limit") == 2 * 2**30
    shell.run_line_magic("scheduler", "processes memory_limit=3GiB")
    assert config.get("multiprocessing.memory_limit") == 3 * 2**30
    assert config.get("distributed.memory_limit") == 2 * 2**30


def test_undoing_a_size_shows_what_was_before(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "processes memory_limit=1.5GB")
    assert config.get("multiprocessing.memory_limit") == 1_500_000_000
    shell.run_line_magic("scheduler", "undo")
    assert config.get("multiprocessing.memory_limit") is None


def test_a_terminal_prints_what_is_in_force(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("scheduler", "threads")
    capsys.readouterr()
    shell.run_line_magic("scheduler", "")
    printed = capsys.readouterr().out
    assert "● threads" in printed
    assert "○ sync" in printed
    assert "Workers: " in printed


def test_help_has_the_decision_table(shell: InteractiveShell) -> None:
    doc = shell.find_line_magic("scheduler").__doc__
    assert "NumPy" in doc
    assert "num_workers" in doc


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("%scheduler th", "threads"), ("%scheduler threads num", "num_workers="), ("%scheduler un", "undo")],
)
def test_completion(shell: InteractiveShell, line: str, wanted: str) -> None:
    assert wanted in completions(shell, line)


@pytest.mark.usefixtures("far_engine")
def test_completion_of_a_settings_values(shell: InteractiveShell) -> None:
    line = "%scheduler far context=f"
    assert {"fork", "forkserver"} <= completions(shell, line)


def test_unload_undoes_everything(shell: InteractiveShell) -> None:
    shell.run_line_magic("scheduler", "sync num_workers=3")
    shell.extension_manager.unload_extension("taskloom")
    assert shell.find_line_magic("scheduler") is None
    assert config.source("scheduler") == config.source("num_workers") == "default"
    assert "threads" not in completions(shell, "%scheduler th")
    shell.extension_manager.load_extension("taskloom")


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    count = "from comm import get_comm_manager\nprint(len(get_comm_manager().comms))"
    cells = {
        "load": "%load_ext taskloom",
        "open": "%scheduler",
        "line": "%scheduler sync",
        "many": "for _ in range(30): get_ipython().run_line_magic('scheduler', '')",
        "count": count,
        "unload": "%unload_ext taskloom\n" + count,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    return {name: cell.outputs for name, cell in zip(cells, notebook.cells, strict=True)}


def test_an_executed_notebook_keeps_a_picture(outputs: dict[str, Any]) -> None:
    (output,) = outputs["open"]
    assert set(output.data) == {"text/html", "text/plain"}
    assert "taskloom-scheduler" in output.data["text/html"]
    assert "○ threads" in output.data["text/plain"]


def test_selectors_are_closed(outputs: dict[str, Any]) -> None:
    assert int(outputs["count"][-1].text) < 20
    assert int(outputs["unload"][-1].text) == 0
