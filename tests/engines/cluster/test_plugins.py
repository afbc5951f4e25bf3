"""Plugins of clusters when something goes wrong, or changes: what both libraries promise is in the suite for both."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom import config
from taskloom.distributed import Client, Environ, LocalCluster, SchedulerPlugin, UploadFile, WorkerPlugin, get_worker


@pytest.fixture(params=[True, False], ids=["processes", "threads"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(n_workers=2, threads_per_worker=1, processes=request.param) as client:
        yield client


@pytest.fixture
def own() -> Iterator[Client]:
    """A client of processes."""
    with Client(n_workers=2, threads_per_worker=1) as client:
        yield client


class Noting(WorkerPlugin):
    def __init__(self, path: Any = os.devnull) -> None:
        self.path = str(path)

    def note(self, *words: Any) -> None:
        with open(self.path, "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def setup(self, worker: Any) -> None:
        worker.has_plugin = True
        self.note("setup", worker.name)

    def teardown(self, worker: Any) -> None:
        self.note("teardown", worker.name)


class FailsLater(Noting):
    """It can be set up in the first two workers."""

    def setup(self, worker: Any) -> None:
        super().setup(worker)
        if worker.number > 1:
            raise ValueError("so it is")


class KilledOnce(Noting):
    """The worker in which it is set up as the third one is killed by somebody else at that moment."""

    def setup(self, worker: Any) -> None:
        super().setup(worker)
        if len(lines(Path(self.path))) == 3:
            os.kill(os.getpid(), signal.SIGKILL)


class Ends(Noting):
    def setup(self, worker: Any) -> None:
        super().setup(worker)
        os._exit(3)


class Hangs(Noting):
    def teardown(self, worker: Any) -> None:
        self.note("hangs")
        threading.Event().wait()


class Watching(Noting):
    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        self.note(key, start, finish)
        raise ValueError("so it is")


class Hearing(SchedulerPlugin):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def start(self, scheduler: Any) -> None:
        self.heard.append(("start", scheduler))

    def close(self) -> None:
        self.heard.append("close")

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self.heard.append(("add", worker))

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        self.heard.append(("remove", worker, kwargs["reason"]))

    def add_client(self, scheduler: Any, client: str) -> None:
        self.heard.append(("add", client))

    def remove_client(self, scheduler: Any, client: str) -> None:
        self.heard.append(("remove", client))

    async def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        self.heard.append((key, start, finish, kwargs["worker"]))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.01)
    return found


def scaled(client: Client, n: int) -> None:
    cluster: Any = client.cluster
    cluster.scale(n)
    until(lambda: len(client.scheduler_info()["workers"]) == n)


# -- workers that come and go -----------------------------------------------------------------------------------------


def has_plugin(i: int) -> tuple[bool, str]:
    time.sleep(0.005)
    return getattr(get_worker(), "has_plugin", False), get_worker().name


def test_a_worker_that_joins_while_a_graph_runs(client: Client) -> None:
    client.register_plugin(Noting(), name="noting")
    futures = client.map(has_plugin, range(200))
    cluster: Any = client.cluster
    cluster.scale(3)
    found = client.gather(futures)
    more = client.gather(client.map(has_plugin, range(200, 300)))
    assert all(has for has, _ in [*found, *more])
    until(lambda: "worker-2" in client.scheduler_info()["workers"])


def test_a_worker_that_takes_the_place_of_another(own: Client, tmp_path: Path) -> None:
    own.register_plugin(Noting(tmp_path / "notes"), name="noting")
    (tmp_path / "module_of_all.py").write_text("value = 5\n")
    own.upload_file(tmp_path / "module_of_all.py")
    pids = own.run(os.getpid)
    os.kill(pids["worker-0"], signal.SIGKILL)
    until(lambda: own.run(os.getpid, on_error="ignore").get("worker-0", pids["worker-0"]) != pids["worker-0"])
    own.wait_for_workers(2)
    assert own.run(lambda: __import__("module_of_all").value) == {"worker-0": 5, "worker-1": 5}
    own.restart()
    assert own.run(lambda: get_worker().has_plugin) == {"worker-0": True, "worker-1": True}
    assert lines(tmp_path / "notes").count("setup worker-0") == 3


# -- plugins that fail ------------------------------------------------------------------------------------------------


def test_a_new_worker_that_cannot_set_up_a_plugin(client: Client, tmp_path: Path) -> None:
    """It is not used, the user is told, and no other is started in its place again and again."""
    client.register_plugin(FailsLater(tmp_path / "notes"), name="fails-later")
    cluster: Any = client.cluster
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        cluster.scale(4)
        until(lambda: len(caught) >= 2)
        found = client.gather(client.map(has_plugin, range(40)))
    assert {name for _, name in found} <= {"worker-0", "worker-1"}
    texts = sorted([str(warning.message) for warning in caught])
    assert [text.split()[0] for text in texts] == ["worker-2", "worker-3"]
    for text in texts:
        assert "could not set up the plugin 'fails-later' (ValueError: so it is)" in text
    assert len(lines(tmp_path / "notes")) <= 4
    client.unregister_worker_plugin("fails-later")
    client.wait_for_workers(4, timeout=20)
    assert len(client.gather(client.map(has_plugin, range(40, 80)))) == 40


@pytest.mark.filterwarnings("ignore:worker-. could not set up")
def test_a_worker_that_is_killed_while_it_sets_up_a_plugin_is_replaced(own: Client, tmp_path: Path) -> None:
    own.register_plugin(KilledOnce(tmp_path / "notes"), name="killed-once")
    own.cluster.scale(3)
    own.wait_for_workers(3, timeout=15)
    assert len(lines(tmp_path / "notes")) == 4


def test_no_worker_can_set_up_a_plugin(client: Client, tmp_path: Path) -> None:
    """Tasks fail with the reason, whenever they were submitted, and run once the plugin is gone."""
    client.register_plugin(FailsLater(tmp_path / "notes"), name="fails-later")
    scaled(client, 0)
    future = client.submit(abs, -1, pure=False)
    cluster: Any = client.cluster
    cluster.scale(1)
    for _ in range(2):
        with pytest.raises(taskloom.WorkerDied, match="could not set up the plugin 'fails-later'"):
            future.result(timeout=20)
        future = client.submit(abs, -1, pure=False)
    with pytest.raises(taskloom.WorkerDied):
        future.result(timeout=20)
    assert len([line for line in lines(tmp_path / "notes") if line.startswith("setup")]) <= 6
    client.unregister_worker_plugin("fails-later")
    assert client.submit(abs, -1, pure=False).result(timeout=20) == 1


def test_a_plugin_that_ends_the_worker(own: Client, tmp_path: Path) -> None:
    with pytest.raises(taskloom.TaskloomError, match="ended"):
        own.register_plugin(Ends(tmp_path / "notes"), name="ends")
    own.wait_for_workers(2, timeout=20)
    assert own.submit(abs, -1, pure=False).result(timeout=20) == 1
    with pytest.raises(ValueError, match="no plugin 'ends'"):
        own.unregister_worker_plugin("ends")


def test_a_plugin_that_fails_in_one_worker_is_taken_from_the_others(client: Client, tmp_path: Path) -> None:
    scaled(client, 3)
    with pytest.raises(ValueError, match="so it is") as caught:
        client.register_plugin(FailsLater(tmp_path / "notes"), name="fails-later")
    assert "the plugin 'fails-later' in worker-2" in caught.value.__notes__[-1]
    until(lambda: sorted(lines(tmp_path / "notes"))[-2:] == ["teardown worker-0", "teardown worker-1"])
    assert not any(client.run(lambda: len(get_worker().plugins)).values())


def test_a_plugin_that_cannot_be_pickled(client: Client) -> None:
    plugin: Any = Noting()
    plugin.lock = threading.Lock()
    with pytest.raises(taskloom.SerializationError, match="The plugin 'locked' cannot be pickled"):
        client.register_plugin(plugin, name="locked")


def test_a_name_of_any_length(client: Client) -> None:
    name = "<b>" * 1000
    client.register_plugin(Noting(), name=name)
    client.unregister_worker_plugin(name)
    with pytest.raises(ValueError, match="There is no plugin") as caught:
        client.unregister_worker_plugin(name)
    assert len(str(caught.value)) < 400


def test_a_teardown_that_hangs_holds_nothing_up_for_long(tmp_path: Path) -> None:
    with Client(n_workers=2, threads_per_worker=1) as client:
        client.register_plugin(Hangs(tmp_path / "notes"), name="hangs")
        scaled(client, 1)
        until(lambda: lines(tmp_path / "notes").count("hangs") == 1)
        assert client.submit(abs, -1).result(timeout=20) == 1
    assert lines(tmp_path / "notes").count("hangs") == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_transition_that_raises_harms_no_task(client: Client, tmp_path: Path) -> None:
    kept = client.submit(abs, -7, key="before")
    kept.result()
    client.register_plugin(Watching(tmp_path / "notes"), name="watching")
    futures = client.map(abs, range(-20, 0), key=[f"task-{i}" for i in range(20)])
    futures.append(client.submit(abs, 0, key="stays", workers=["worker-0"]))  # others may go from worker to worker
    assert client.gather(futures) == list(range(20, -1, -1))
    until(lambda: sum(line.endswith("executing memory") for line in lines(tmp_path / "notes")) == 21)
    found = [line.removeprefix("stays ") for line in lines(tmp_path / "notes") if line.startswith("stays ")]
    assert found == ["released ready", "ready executing", "executing memory"]
    assert not any(line.startswith("before") for line in lines(tmp_path / "notes"))
    del futures
    until(lambda: "stays memory released" in lines(tmp_path / "notes"))


def wait_for(path: str, number: int) -> int:
    while not os.path.exists(path):
        time.sleep(0.005)
    return number


def test_tasks_that_are_cancelled_are_told_as_released(client: Client, tmp_path: Path) -> None:
    client.register_plugin(Watching(tmp_path / "notes"), name="watching")
    futures = client.map(wait_for, [str(tmp_path / "never")] * 20, range(20), workers=["worker-0"])
    until(lambda: any("executing" in line for line in lines(tmp_path / "notes")))
    client.cancel(futures)
    until(lambda: any(line.endswith("ready released") for line in lines(tmp_path / "notes")))


# -- plugins in the client --------------------------------------------------------------------------------------------


def test_a_scheduler_plugin_hears_of_workers_clients_and_tasks(client: Client) -> None:
    plugin = Hearing()
    client.register_plugin(plugin, name="hearing")
    until(lambda: plugin.heard == [("start", client), ("add", "worker-0"), ("add", "worker-1")])
    with Client(client.cluster, set_as_default=False):
        until(lambda: plugin.heard[-1][1].startswith("client-"))
        what, name = plugin.heard[-1]
        assert what == "add"
    until(lambda: plugin.heard[-1] == ("remove", name))
    futures = [  # of what nobody has a future of any more, nobody need be told
        client.submit(abs, -1, key="done", workers=["worker-0"]),
        client.submit(divmod, 1, 0, key="fails", workers=["worker-1"]),
    ]
    assert [type(future.exception()) for future in futures] == [type(None), ZeroDivisionError]
    until(lambda: ("done", "processing", "memory", "worker-0") in plugin.heard)
    until(lambda: ("fails", "processing", "erred", "worker-1") in plugin.heard)
    scaled(client, 1)
    until(lambda: any(("remove", f"worker-{i}", "was ended") in plugin.heard for i in range(2)))
    client.close()
    until(lambda: plugin.heard[-1] == "close")


def test_a_scheduler_plugin_that_raises_is_named(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(SchedulerPlugin):
        def transition(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("not this one")

    client.register_plugin(Fails())
    future = client.submit(abs, -1)
    assert future.result() == 1
    until(lambda: any("the transition method of the plugin <" in message for message in caplog.messages))


def test_a_scheduler_plugin_is_taken_away(client: Client) -> None:
    first, second = Hearing(), Hearing()
    client.register_plugin(first, name="same")
    client.register_plugin(second, name="same")
    until(lambda: first.heard[-1:] == ["close"])
    client.unregister_scheduler_plugin("same")
    until(lambda: second.heard[-1:] == ["close"])
    client.submit(abs, -1, key="not-heard-of").result()
    assert second.heard[-1] == "close"


# -- the environment, preloads, files ---------------------------------------------------------------------------------


def test_the_environment_of_running_workers(own: Client) -> None:
    own.register_plugin(Environ({"SOME_VARIABLE": 5}), name="environ")
    assert own.run(os.getenv, "SOME_VARIABLE") == {"worker-0": "5", "worker-1": "5"}
    own.unregister_worker_plugin("environ")
    assert own.run(os.getenv, "SOME_VARIABLE") == {"worker-0": None, "worker-1": None}
    assert "SOME_VARIABLE" not in os.environ


def test_environment_and_preloads_from_the_settings() -> None:
    code = "import os\nos.environ['LOADED'] = os.environ['GIVEN'] + '!'"
    with (
        config.set({"distributed.worker.env": {"GIVEN": 3}, "distributed.worker.preload": ["json", code]}),
        Client(n_workers=1, threads_per_worker=1) as client,
    ):
        assert client.submit(os.getenv, "LOADED").result() == "3!"
        assert client.run(lambda: len(get_worker().plugins)) == {"worker-0": 2}


@pytest.mark.parametrize("processes", [True, False])
def test_a_preload_that_fails(processes: bool) -> None:
    with pytest.raises(taskloom.errors.ConfigError, match=r"preload 0: no_such_module_at_all.*ModuleNotFoundError"):
        LocalCluster(n_workers=2, threads_per_worker=1, processes=processes, preload="no_such_module_at_all")


def test_threads_have_no_environment_of_their_own() -> None:
    with pytest.raises(taskloom.errors.ConfigError, match="env= is for processes"):
        LocalCluster(n_workers=1, processes=False, env={"A": "1"})


@pytest.mark.parametrize(
    ("name", "value"), [("distributed.worker.env", ["A"]), ("distributed.worker.preload", [1])], ids=["env", "preload"]
)
def test_a_setting_that_cannot_be_used(name: str, value: Any) -> None:
    with pytest.raises(taskloom.errors.ConfigError, match=name), config.set({name: value}):
        pass


def test_an_uploaded_file_is_replaced_and_taken_away(own: Client, tmp_path: Path) -> None:
    path = tmp_path / "short_module.py"
    for value in (1, 2, 3):  # of one size, within a second
        path.write_text(f"value = {value}\n")
        own.upload_file(path)
        assert set(own.run(lambda: __import__("short_module").value).values()) == {value}
    own.unregister_worker_plugin("upload_file-short_module.py")
    left = own.run(lambda: os.path.exists(os.path.join(get_worker().local_directory, "short_module.py")))
    assert left == {"worker-0": False, "worker-1": False}


def test_a_file_that_is_not_loaded(own: Client, tmp_path: Path) -> None:
    path = tmp_path / "broken_module.py"
    path.write_text("1 / 0\n")
    own.register_plugin(UploadFile(path, load=False))
    with pytest.raises(ZeroDivisionError):
        own.run(lambda: __import__("broken_module"))


def test_versions_that_differ(own: Client) -> None:
    from taskloom.engines.cluster.versions import mismatches

    found = own.get_versions()
    assert mismatches(found) == ""
    found["workers"]["worker-1"]["packages"]["numpy"] = "0.1"
    assert "worker-1 has 0.1" in mismatches(found)


def test_the_former_name_takes_objects_of_any_class(client: Client, tmp_path: Path) -> None:
    class Plain:
        def __init__(self, path: str) -> None:
            self.path = path

        def setup(self, worker: Any) -> None:
            with open(self.path, "a") as file:
                file.write(worker.name + "\n")

    client.register_worker_plugin(Plain(str(tmp_path / "notes")), name="plain")
    assert sorted(lines(tmp_path / "notes")) == ["worker-0", "worker-1"]
    client.unregister_worker_plugin("plain")
