from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import taskloom
from taskloom import config


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """No settings but those of the test: neither the user's files nor what another test set."""
    for variable in [name for name in os.environ if name.startswith("TASKLOOM_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TASKLOOM_ROOT_CONFIG", str(tmp_path / "root"))
    config.refresh()
    yield
    monkeypatch.undo()
    config.refresh()


def in_new_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import taskloom\n{code}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return (done.stdout + done.stderr).strip()


# -- set -------------------------------------------------------------------------------------------------------------


def test_set_as_a_call_stays():
    config.set(num_workers=3)
    assert config.get("num_workers") == 3
    assert config.source("num_workers") == "set"


def test_set_as_a_context_manager_is_taken_back():
    with config.set(num_workers=3):
        with config.set(num_workers=4, scheduler="sync"):
            assert config.get("num_workers") == 4
        assert config.get("num_workers") == 3
        assert config.get("scheduler") is None
    assert config.get("num_workers") is None
    assert config.source("num_workers") == "default"


def test_set_is_taken_back_after_an_error():
    with pytest.raises(KeyError), config.set(num_workers=3):
        raise KeyError
    assert config.get("num_workers") is None


def test_a_block_restores_what_was_before_it():
    config.set(num_workers=2)
    with config.set(num_workers=3):
        config.set(num_workers=4)
        assert config.get("num_workers") == 4
    assert config.get("num_workers") == 2


def test_blocks_of_two_threads_do_not_take_back_each_others_values():
    entered, left = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        with config.set(num_workers=5):
            entered.set()
            assert left.wait(10)
            seen.append(config.get("num_workers"))

    thread = threading.Thread(target=other)
    with config.set(num_workers=2):
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join(10)
    assert seen == [5]  # still the other thread's
    assert config.get("num_workers") is None  # and not the 2 that was in force when it entered


def test_a_value_set_for_good_in_another_thread_survives_the_block():
    with config.set(num_workers=2):
        thread = threading.Thread(target=lambda: config.set(num_workers=7))
        thread.start()
        thread.join(10)
    assert config.get("num_workers") == 7


def test_many_threads_at_once():
    start = threading.Barrier(8)
    wrong = []

    def work(number: int) -> None:
        start.wait(10)
        for _ in range(50):
            with config.set(notebook__progress_delay=number):
                if config.get("notebook.progress-delay") not in range(8):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert config.get("notebook.progress_delay") == 0.3


def test_setting_a_key_again_and_again_takes_no_memory():
    def blocks() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    def growth() -> int:
        before = blocks()
        for _ in range(5_000):
            config.set(num_workers=2)
        return blocks() - before

    assert min(growth() for _ in range(3)) < 1_000  # something else may take memory just now


def test_none_means_the_default():
    config.set(notebook__progress=False)
    config.set(notebook__progress=None)
    assert config.get("notebook.progress") is True


def test_keys_may_be_written_with_dots_dashes_double_underscores_and_nested():
    for given in (
        {"notebook.progress-delay": 1.5},
        {"notebook__progress_delay": 1.5},
        {"notebook": {"progress-delay": 1.5}},
    ):
        with config.set(given):
            assert config.get("notebook.progress-delay") == 1.5
            assert config.get("notebook.progress_delay") == 1.5
            assert config.get("notebook__progress_delay") == 1.5
            assert config.get("notebook")["progress_delay"] == 1.5


def test_an_assignment_names_its_source_and_can_be_undone():
    assignment = config.Assignment({"num_workers": 3}, source="%scheduler")
    config.set(scheduler="sync")
    assert config.source("num_workers") == "%scheduler"
    assignment.undo()
    assert config.get("num_workers") is None
    assert config.get("scheduler") == "sync"


def test_later_assignments_have_higher_orders():
    assert config.setting("scheduler").order == 0
    config.set(scheduler="sync")
    config.set(num_workers=2)
    assert 0 < config.setting("scheduler").order < config.setting("num_workers").order


# -- get -------------------------------------------------------------------------------------------------------------


def test_defaults():
    assert config.defaults["notebook.progress"] is True
    assert config.get("notebook.progress") is True
    assert config.get("notebook.progress-delay") == 0.3
    assert config.get("scheduler") is None
    assert all(config.source(key) == "default" for key in config.defaults)
    with pytest.raises(TypeError):
        config.defaults["scheduler"] = "sync"


def test_get_with_a_default():
    assert config.get("scheduler", default="sync") == "sync"
    assert config.get("no.such.key", default=5) == 5
    assert config.get("notebook.progress", default=False) is True


def test_get_of_an_unknown_key_names_the_nearest():
    with pytest.raises(taskloom.ConfigError, match=r"'num_worker'.*Did you mean 'num_workers'"):
        config.get("num_worker")


# -- checks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("num_workers", 0, "at least 1, not 0"),
        ("num_workers", -1, "at least 1, not -1"),
        ("num_workers", "four", "whole number.*not 'four'"),
        ("num_workers", True, "not True"),
        ("num_workers", 2.5, "not 2.5"),
        ("scheduler", 3, "name of an engine.*not 3"),
        ("scheduler", "", "not ''"),
        ("scheduler", dict, "not <class 'dict'>"),
        ("scheduler", "thread", "'thread'.*Did you mean 'threads'"),
        ("pool", 4, "an Executor.*not 4"),
        ("multiprocessing.context", "spoon", "'spawn', 'forkserver' or 'fork', not 'spoon'"),
        ("notebook.progress", "on", "True or False, not 'on'"),
        ("notebook.progress_delay", -1, "at least 0, not -1"),
        ("notebook.progress_delay", float("nan"), "not nan"),
        ("notebook", True, "section.*notebook.progress"),
        ("shceduler", "sync", "Did you mean 'scheduler'"),
        (5, "sync", "a string, not 5"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_set(key, value, told):
    with pytest.raises(taskloom.ConfigError, match=told):
        config.set({"multiprocessing.context": "fork", key: value})
    assert config.source("multiprocessing.context") == "default"


# -- environment and files -------------------------------------------------------------------------------------------


def test_environment(monkeypatch):
    monkeypatch.setenv("TASKLOOM_NUM_WORKERS", "4")
    monkeypatch.setenv("TASKLOOM_MULTIPROCESSING__CONTEXT", "forkserver")
    monkeypatch.setenv("TASKLOOM_NOTEBOOK__PROGRESS", "off")
    monkeypatch.setenv("TASKLOOM_NOTEBOOK__PROGRESS_DELAY", "1")
    monkeypatch.setenv("TASKLOOM_SCHEDULER", "")  # as good as not there
    config.refresh()
    assert config.get("num_workers") == 4
    assert config.get("multiprocessing.context") == "forkserver"
    assert config.get("notebook") == {"progress": False, "progress_delay": 1, "dask": True, "dashboard_link": None}
    assert config.source("num_workers") == "environment"
    assert config.source("scheduler") == "default"
    with config.set(num_workers=2):
        assert config.get("num_workers") == 2
    assert config.get("num_workers") == 4


def test_environment_of_a_new_process(tmp_path):
    answer = in_new_process(
        "print(taskloom.config.get('scheduler'), taskloom.config.source('scheduler'))", TASKLOOM_SCHEDULER="sync"
    )
    assert answer == "sync environment"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [("TASKLOOM_NUM_WORKERS", "four", "'four'"), ("TASKLOOM_SCHEDULER", "thread", "Did you mean 'threads'")],
)
def test_a_bad_variable_is_named(monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)
    with pytest.raises(taskloom.ConfigError, match=f"{variable}.*{told}"):
        config.refresh()
    with pytest.raises(taskloom.ConfigError, match=variable):  # and again, not only the first time
        config.get("num_workers")


def test_an_unknown_variable_is_warned_of_and_ignored(monkeypatch):
    monkeypatch.setenv("TASKLOOM_NUM_WORKER", "4")
    with pytest.warns(UserWarning, match=r"TASKLOOM_NUM_WORKER: .*Did you mean 'num_workers'.*ignored"):
        config.refresh()
    assert config.get("num_workers") is None


@pytest.mark.parametrize("as_folder", [False, True])
def test_taskloom_config_names_a_file_or_folder(tmp_path, monkeypatch, as_folder):
    file = tmp_path / "mine.yaml"
    file.write_text("num-workers: 6\nmultiprocessing:\n  context: fork\nscheduler:\n")
    monkeypatch.setenv("TASKLOOM_CONFIG", str(tmp_path if as_folder else file))
    config.refresh()
    assert config.get("num_workers") == 6
    assert config.get("multiprocessing.context") == "fork"
    assert config.source("num_workers") == f"file {file}"
    assert config.source("scheduler") == "default"


def test_order_of_files_and_environment(tmp_path, monkeypatch):
    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    home = tmp_path / "home" / ".config" / "taskloom"
    write(tmp_path / "root" / "site.yaml", "num_workers: 1\nnotebook: {progress-delay: 1, progress: false}")
    write(home / "10.yaml", "num_workers: 2\nnotebook: {progress-delay: 2}")
    last = write(home / "20.yaml", "num_workers: 3")
    config.refresh()
    assert config.get("num_workers") == 3
    assert config.source("num_workers") == f"file {last}"
    assert config.get("notebook") == {"progress": False, "progress_delay": 2, "dask": True, "dashboard_link": None}
    chosen = write(tmp_path / "chosen.yaml", "num_workers: 4")
    monkeypatch.setenv("TASKLOOM_CONFIG", str(chosen))
    config.refresh()
    assert config.get("num_workers") == 4
    monkeypatch.setenv("TASKLOOM_NUM_WORKERS", "5")
    config.refresh()
    assert config.get("num_workers") == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [("num_workers: [1", "malformed"), ("- a list", "malformed"), ("num_workers: zero", "num_workers must be")],
)
def test_a_bad_file_is_named(tmp_path, monkeypatch, text, told):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    monkeypatch.setenv("TASKLOOM_CONFIG", str(file))
    with pytest.raises(taskloom.ConfigError, match=f"(?s){file}.*{told}"):
        config.refresh()


def test_unknown_keys_in_a_file_are_warned_of(tmp_path, monkeypatch):
    file = tmp_path / "newer.yaml"
    file.write_text("sheduler: sync\nnum_workers: 2")
    monkeypatch.setenv("TASKLOOM_CONFIG", str(file))
    with pytest.warns(UserWarning, match=f"{file}.*'sheduler'.*Did you mean 'scheduler'"):
        config.refresh()
    assert config.get("num_workers") == 2


def test_a_missing_file_is_named(monkeypatch):
    monkeypatch.setenv("TASKLOOM_CONFIG", "/no/such/file.yaml")
    with pytest.raises(taskloom.ConfigError, match=r"TASKLOOM_CONFIG.*/no/such/file\.yaml"):
        config.refresh()


def test_refresh_forgets_what_was_set(monkeypatch):
    config.set(num_workers=2)
    monkeypatch.setenv("TASKLOOM_NUM_WORKERS", "4")
    assert config.get("num_workers") == 2
    config.refresh()
    assert config.get("num_workers") == 4


# -- other promises --------------------------------------------------------------------------------------------------


def test_import_does_not_load_the_parser():
    code = "import sys; taskloom.config.get('scheduler'); print({'yaml', 'donfig'} & set(sys.modules))"
    assert in_new_process(code) == "set()"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_while_a_thread_holds_the_lock_can_set():
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with config._lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # instead of hanging
        try:
            config.set(num_workers=9)
            os._exit(0 if config.get("num_workers") == 9 else 1)
        finally:
            os._exit(2)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        release.set()
        thread.join(10)


def test_threads_per_worker_has_a_short_variable(monkeypatch):
    monkeypatch.setenv("TASKLOOM_THREADS_PER_WORKER", "3")
    config.refresh()
    assert config.get("distributed.threads_per_worker") == 3
    monkeypatch.delenv("TASKLOOM_THREADS_PER_WORKER")
    config.refresh()
