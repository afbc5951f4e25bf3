# ruff: noqa: F811  (fixtures)
"""What programs do inside of workers, on taskloom's clusters and on those of dask.distributed: actors, what tasks know
of their worker, and plugins.

Each test runs against both. Where taskloom differs on purpose, the test asks `side.is_ours`, and its name is in
`DIFFERENCES` with the reason.
"""

import ast
import asyncio
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

import taskloom.distributed

from .sides import Side, client, cluster, shared, side, workers  # noqa: F401  (fixtures)

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:distributed"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*:ResourceWarning"),
]

DIFFERENCES = {
    "test_calls_are_made_in_their_order": "always; dask's may overtake each other on a busy machine",
    "test_a_plugin_that_raises_is_not_kept": "it is taken back from all workers; dask keeps it, and new workers fail",
    "test_a_task_cannot_secede_outside_of_tasks": "an error that says so; dask's get_worker says that there is none",
    "test_an_actor_is_lost_with_its_worker": "a WorkerDied that names the actor; dask tells of the connection",
    "test_an_attribute_of_an_object_is_read": "any; dask reads what the class has, too",
    "test_scheduler_plugins_hear_of_workers": "it is in the client's process; dask's is a copy in the scheduler's",
}


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """A test that hangs fails. Some start clusters, which takes dask a while."""

    def ring(*_: Any) -> None:
        raise AssertionError("the test hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def counter(client: Any) -> Any:
    return client.submit(Counter, 0, actor=True, pure=False, key=f"counter-{time.monotonic_ns()}").result()


class Counter:
    n = 0

    def __init__(self, n: int = 0) -> None:
        self.n = n
        self.only_in_objects = n
        self.event: Any = None

    def add(self, more: int = 1) -> int:
        self.n += more
        return self.n

    def slow_add(self) -> int:
        n = self.n
        time.sleep(0.001)
        self.n = n + 1
        return self.n

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def wait_for(self, path: str) -> str:
        return wait_for(path)

    def where(self, get_worker: Callable[[], Any]) -> Any:
        return get_worker().address

    def use(self, other: Any) -> Any:
        return other.add(10).result()

    async def double(self) -> int:
        await asyncio.sleep(0.001)
        return 2 * self.n

    async def wait(self) -> str:
        self.event = asyncio.Event()
        await self.event.wait()
        return "set"

    async def set(self) -> bool:
        if self.event is None:
            return False
        self.event.set()
        return True


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.002)
    return path


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.01)
    return found


def add_to(counter: Any, more: int) -> Any:
    return counter.add(more).result()


# -- actors -----------------------------------------------------------------------------------------------------------


def test_an_actor_is_a_proxy(side: Side, client: Any, counter: Any) -> None:
    assert isinstance(counter, side.Actor)
    assert repr(counter).startswith("<Actor: Counter, key=")
    assert {"add", "fail"} <= set(dir(counter))


def test_a_method_gives_a_future(side: Side, counter: Any) -> None:
    future = counter.add(3)
    assert isinstance(future, side.ActorFuture)
    assert isinstance(future, side.BaseActorFuture)
    assert future.result() == 3
    assert future.result(timeout=5) == 3
    assert future.done()


def test_a_method_takes_names(counter: Any) -> None:
    assert counter.add(more=4).result() == 4


def test_an_attribute_is_read(counter: Any) -> None:
    counter.add(5).result()
    assert counter.n == 5


def test_an_attribute_of_an_object_is_read(side: Side, counter: Any) -> None:
    if side.is_ours:
        assert counter.only_in_objects == 0
    else:
        with pytest.raises(AttributeError):
            counter.only_in_objects  # noqa: B018


def test_an_attribute_that_is_not_there(counter: Any) -> None:
    with pytest.raises(AttributeError):
        counter.nothing_of_the_kind  # noqa: B018


def test_calls_are_made_in_their_order(side: Side, counter: Any) -> None:
    results = [future.result() for future in [counter.add() for _ in range(50)]]
    if side.is_ours:
        assert results == list(range(1, 51))
    else:
        assert sorted(results) == list(range(1, 51))


def test_methods_do_not_overlap(client: Any, counter: Any) -> None:
    for future in [counter.slow_add() for _ in range(20)]:
        future.result()
    assert counter.n == 20


def test_what_a_method_raises_arrives_as_itself(counter: Any) -> None:
    with pytest.raises(ValueError, match="so it is"):
        counter.fail("so it is").result()
    assert counter.add().result() == 1


def test_an_actor_in_the_arguments_of_tasks(side: Side, client: Any, workers: list[str]) -> None:
    future = client.submit(Counter, actor=True, key=f"arg-{time.monotonic_ns()}")
    found = [client.submit(add_to, future, 1, workers=[worker], pure=False).result() for worker in workers]
    assert found == [1, 2]
    assert client.submit(add_to, future.result(), 1, pure=False).result() == 3


def test_many_tasks_call_one_actor(client: Any, counter: Any) -> None:
    futures = [client.submit(add_to, counter, 1, pure=False) for _ in range(30)]
    assert sorted(client.gather(futures)) == list(range(1, 31))


def test_an_actor_calls_another(client: Any, counter: Any, workers: list[str]) -> None:
    other = client.submit(Counter, actor=True, workers=[workers[1]], key=f"other-{time.monotonic_ns()}").result()
    assert counter.use(other).result() == 10
    assert other.n == 10


def test_coroutines_of_an_actor(counter: Any) -> None:
    counter.add(4).result()
    assert counter.double().result() == 8


def test_coroutines_of_an_actor_run_side_by_side(counter: Any) -> None:
    waiting = counter.wait()
    until(lambda: counter.set().result())
    assert waiting.result(timeout=10) == "set"


def test_equal_calls_make_several_actors(client: Any) -> None:
    one, two = client.submit(Counter, 77, actor=True), client.submit(Counter, 77, actor=True)
    one.result().add().result()
    assert two.result().n == 77
    assert one.key != two.key


def test_an_actor_is_not_what_a_call_of_its_class_gives(client: Any) -> None:
    plain = client.submit(Counter, 78, key=f"plain-{time.monotonic_ns()}").result()
    assert plain.add() == 79


def test_actors_by_map(client: Any) -> None:
    actors = client.gather(client.map(Counter, [10, 20], actor=True, key=f"mapped-{time.monotonic_ns()}"))
    assert [actor.add().result() for actor in actors] == [11, 21]


def test_a_function_that_makes_an_actor(client: Any) -> None:
    actor = client.submit(make_counter, 5, actor=True).result()
    assert "Counter" in repr(actor)
    assert actor.add().result() == 6


def make_counter(n: int) -> Counter:
    return Counter(n)


def test_a_class_that_cannot_be_made_to_an_actor(client: Any) -> None:
    future = client.submit(Counter, 1, 2, 3, 4, actor=True)
    with pytest.raises(TypeError):
        future.result()


def test_a_timeout_for_a_call(counter: Any, tmp_path: Path) -> None:
    future = counter.wait_for(str(tmp_path / "gate"))
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        future.result(timeout=0.05)
    assert not future.done()
    (tmp_path / "gate").touch()
    assert future.result(timeout=10) == str(tmp_path / "gate")


def test_a_call_takes_no_slot_of_tasks(client: Any, workers: list[str], counter: Any, tmp_path: Path) -> None:
    where = counter.wait_for(str(tmp_path / "gate"))
    assert client.gather([client.submit(abs, -i, workers=[worker]) for i, worker in enumerate(workers)]) == [0, 1]
    (tmp_path / "gate").touch()
    where.result()


def test_a_proxy_keeps_the_actor(client: Any) -> None:
    future = client.submit(Counter, 3, actor=True, key=f"kept-{time.monotonic_ns()}")
    actor = future.result()
    del future
    client.gather(client.map(abs, range(10), pure=False))
    assert actor.add().result() == 4


def test_an_actor_is_released_with_its_future(client: Any) -> None:
    future = client.submit(Counter, actor=True, key=f"released-{time.monotonic_ns()}")
    key = future.key
    future.result()
    del future
    until(lambda: not any(key in keys for keys in client.has_what().values()))


def test_get_worker_in_an_actor(side: Side, client: Any, workers: list[str]) -> None:
    actor = client.submit(Counter, actor=True, workers=[workers[1]], key=f"where-{time.monotonic_ns()}").result()
    assert actor.where(side.get_worker).result() == workers[1]


def test_an_asynchronous_client_awaits_actors(side: Side, cluster: Any) -> None:
    async def check() -> None:
        async with side.Client(cluster.scheduler_address, asynchronous=True) as client:
            counter = await client.submit(Counter, 6, actor=True, key=f"async-{time.monotonic_ns()}")
            assert await counter.add() == 7
            assert await counter.double() == 14
            assert await counter.n == 7

    asyncio.run(check())


def test_an_actor_is_lost_with_its_worker(side: Side) -> None:
    with (
        side.LocalCluster(n_workers=1, threads_per_worker=1, **side.quiet) as cluster,
        side.Client(cluster) as client,
    ):
        future = client.submit(Counter, actor=True, key="the-counter")
        counter = future.result()
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        if side.is_ours:
            with pytest.raises(taskloom.WorkerDied, match="'the-counter' is gone"):
                counter.add().result()
            until(lambda: future.status == "error")  # which is told after that
            with pytest.raises(taskloom.WorkerDied, match="'the-counter' is gone"):
                future.result()
        else:
            with pytest.raises((RuntimeError, OSError)):
                until(lambda: counter.add().result(timeout=5) is None)


# -- inside of tasks --------------------------------------------------------------------------------------------------


def test_a_task_knows_its_worker(side: Side, client: Any, workers: list[str]) -> None:
    def whereabouts(get_worker: Any) -> Any:
        worker = get_worker()
        return worker.address, worker.state.nthreads if hasattr(worker, "state") else worker.nthreads

    for worker in workers:
        assert client.submit(whereabouts, side.get_worker, workers=[worker], pure=False).result() == (worker, 1)


def test_a_worker_keeps_what_tasks_note(side: Side, client: Any, workers: list[str]) -> None:
    def note(get_worker: Any, value: Any) -> None:
        get_worker().noted = value

    def noted(get_worker: Any) -> Any:
        return get_worker().noted

    client.submit(note, side.get_worker, [1], workers=[workers[0]], pure=False).result()
    assert client.submit(noted, side.get_worker, workers=[workers[0]], pure=False).result() == [1]
    with pytest.raises(AttributeError):
        client.submit(noted, side.get_worker, workers=[workers[1]], pure=False).result()


def test_there_is_no_worker_outside(side: Side) -> None:
    with pytest.raises(ValueError, match=r"[Nn]o worker"):
        side.get_worker()


def test_a_task_knows_its_key(side: Side, client: Any) -> None:
    def key(get_worker: Any) -> Any:
        return get_worker().get_current_task()

    assert client.submit(key, side.get_worker, key="its-own-key").result() == "its-own-key"


def test_a_worker_shows_its_data(side: Side, client: Any, workers: list[str]) -> None:
    def read(get_worker: Any) -> Any:
        return get_worker().data["some-data"]

    future = client.submit(list, range(3), key="some-data", workers=[workers[0]])
    future.result()
    assert client.submit(read, side.get_worker, workers=[workers[0]], pure=False).result() == [0, 1, 2]


def test_run_knows_the_worker(client: Any, workers: list[str]) -> None:
    assert list(client.run(lambda dask_worker: dask_worker.address).values()) == workers


def test_a_worker_has_a_directory(client: Any) -> None:
    places = client.run(lambda dask_worker: os.path.isdir(dask_worker.local_directory) and dask_worker.local_directory)
    assert len(set(places.values())) == 2
    assert all(places.values())


def total(worker_client: Any, n: int) -> Any:
    with worker_client() as client:
        return sum(client.gather(client.map(abs, range(-n, 0), pure=False)))


def test_worker_client(side: Side, client: Any) -> None:
    assert client.submit(total, side.worker_client, 4).result() == 10
    assert client.submit(total, side.local_client, 3).result() == 6


def nested(worker_client: Any, n: int) -> Any:
    if not n:
        return 1
    with worker_client() as client:
        return sum(client.gather([client.submit(nested, worker_client, n - 1, pure=False) for _ in range(2)]))


def test_worker_client_in_depth(side: Side, client: Any) -> None:
    """Each level takes more places than there are."""
    assert client.submit(nested, side.worker_client, 4).result() == 16


def test_there_is_no_worker_client_outside(side: Side) -> None:
    with pytest.raises(ValueError, match=r"[Nn]o worker"), side.worker_client():
        pass


def seceded(secede: Any, path: str) -> str:
    secede()
    return wait_for(path)


def test_a_task_that_has_seceded_leaves_its_place(side: Side, client: Any, workers: list[str], tmp_path: Path) -> None:
    place = [workers[0]]
    future = client.submit(seceded, side.secede, str(tmp_path / "gate"), workers=place)
    client.submit(Path(tmp_path / "gate").touch, workers=place, pure=False).result()
    assert future.result() == str(tmp_path / "gate")


def test_a_place_is_taken_again(side: Side, client: Any, workers: list[str], tmp_path: Path) -> None:
    def leave(secede: Any, rejoin: Any, gate: str) -> str:
        secede()
        wait_for(gate)
        rejoin()
        return gate

    futures = [client.submit(leave, side.secede, side.rejoin, str(tmp_path / "gate"), pure=False) for _ in range(4)]
    (tmp_path / "gate").touch()
    assert client.gather(futures) == [str(tmp_path / "gate")] * 4
    assert client.submit(abs, -1, pure=False).result() == 1


def test_a_task_cannot_secede_outside_of_tasks(side: Side) -> None:
    with pytest.raises(ValueError, match="no task" if side.is_ours else "No worker"):
        side.secede()


def test_a_task_is_rescheduled(side: Side, client: Any, tmp_path: Path) -> None:
    def choosy(get_worker: Any, reschedule: Any, path: str) -> Any:
        if not os.path.exists(path):
            Path(path).write_text(get_worker().address)
            raise reschedule
        return get_worker().address

    assert client.submit(choosy, side.get_worker, side.Reschedule, str(tmp_path / "first")).result()


# -- plugins ----------------------------------------------------------------------------------------------------------


class Noting(distributed.WorkerPlugin):
    """Notes what happens in a file. It is a plugin of either library."""

    def __init__(self, path: Any, value: Any = None) -> None:
        self.path = str(path)
        self.value = value

    def note(self, *words: Any) -> None:
        with open(self.path, "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def setup(self, worker: Any) -> None:
        worker.value_of_plugin = self.value
        self.note("setup", self.value)

    def teardown(self, worker: Any) -> None:
        self.note("teardown", self.value)


class Ours(Noting, taskloom.distributed.WorkerPlugin):
    pass


class Watching(Noting, taskloom.distributed.WorkerPlugin):
    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        self.note(key, start, finish)


class Failing(Noting, taskloom.distributed.WorkerPlugin):
    def setup(self, worker: Any) -> None:
        raise ValueError("so it is")


class Once(Noting, taskloom.distributed.WorkerPlugin):
    idempotent = True


class Slow(Noting, taskloom.distributed.WorkerPlugin):
    async def setup(self, worker: Any) -> None:
        await asyncio.sleep(0.01)
        self.note("setup")


class Hearing(distributed.SchedulerPlugin, taskloom.distributed.SchedulerPlugin):
    def __init__(self, path: Any) -> None:
        self.path = str(path)

    def add_worker(self, scheduler: Any, worker: str) -> None:
        Noting.note(self, "add")  # type: ignore[arg-type]

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        Noting.note(self, "remove")  # type: ignore[arg-type]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_plugin_is_set_up_in_all_workers(side: Side, client: Any, workers: list[str], tmp_path: Path) -> None:
    answer = client.register_plugin(Ours(tmp_path / "notes", 5), name="first")
    assert answer == {worker: {"status": "OK"} for worker in workers}
    assert lines(tmp_path / "notes") == ["setup 5", "setup 5"]
    assert set(client.run(lambda dask_worker: dask_worker.value_of_plugin).values()) == {5}
    assert all(client.run(lambda dask_worker: "first" in dask_worker.plugins).values())
    client.unregister_worker_plugin("first")
    assert lines(tmp_path / "notes")[2:] == ["teardown 5", "teardown 5"]
    assert not any(client.run(lambda dask_worker: "first" in dask_worker.plugins).values())


def test_a_plugin_takes_the_place_of_its_namesake(client: Any, tmp_path: Path) -> None:
    client.register_plugin(Ours(tmp_path / "notes", 1), name="same")
    client.register_plugin(Ours(tmp_path / "notes", 2), name="same")
    assert sorted(lines(tmp_path / "notes")) == sorted(["setup 1", "teardown 1", "setup 2"] * 2)
    client.unregister_worker_plugin("same")


def test_an_idempotent_plugin_is_set_up_once(client: Any, tmp_path: Path) -> None:
    client.register_plugin(Once(tmp_path / "notes", 1), name="once")
    client.register_plugin(Once(tmp_path / "notes", 2), name="once")
    assert lines(tmp_path / "notes") == ["setup 1", "setup 1"]
    client.unregister_worker_plugin("once")


def test_the_name_of_a_plugin_is_an_attribute_of_it(client: Any, tmp_path: Path) -> None:
    plugin = Ours(tmp_path / "notes")
    plugin.name = "its-own-name"  # type: ignore[attr-defined]
    client.register_plugin(plugin)
    client.unregister_worker_plugin("its-own-name")


def test_a_coroutine_sets_up_a_plugin(client: Any, tmp_path: Path) -> None:
    client.register_plugin(Slow(tmp_path / "notes"), name="slow")
    assert lines(tmp_path / "notes") == ["setup", "setup"]
    client.unregister_worker_plugin("slow")


def test_what_setting_up_a_plugin_raises(client: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="so it is"):
        client.register_plugin(Failing(tmp_path / "notes"), name="failing")
    assert client.submit(abs, -1, pure=False).result() == 1


def test_a_plugin_that_raises_is_not_kept(side: Side, client: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="so it is"):
        client.register_plugin(Failing(tmp_path / "notes"), name="not-kept")
    if side.is_ours:
        with pytest.raises(ValueError, match="no plugin 'not-kept'"):
            client.unregister_worker_plugin("not-kept")
    else:
        client.unregister_worker_plugin("not-kept")


def test_a_plugin_that_is_not_there_is_not_taken_away(client: Any) -> None:
    with pytest.raises(ValueError, match="nobody-knows-it"):
        client.unregister_worker_plugin("nobody-knows-it")


def test_what_is_no_plugin_is_refused(client: Any) -> None:
    class Duck:
        def setup(self, worker: Any) -> None:
            pass

    with pytest.raises(TypeError):
        client.register_plugin(Duck())


def test_a_plugin_hears_of_tasks(client: Any, workers: list[str], tmp_path: Path) -> None:
    client.register_plugin(Watching(tmp_path / "notes"), name="watching")
    client.submit(abs, -1, key="heard-of", workers=[workers[0]]).result()
    future = client.submit(divmod, 1, 0, key="fails", workers=[workers[1]])
    assert isinstance(future.exception(), ZeroDivisionError)
    wanted = {"heard-of executing memory", "fails executing error"}
    until(lambda: wanted <= set(lines(tmp_path / "notes")))
    until(lambda: any(line.startswith("heard-of memory released") for line in lines(tmp_path / "notes")))
    client.unregister_worker_plugin("watching")
    before = lines(tmp_path / "notes")
    client.submit(abs, -1, key="not-heard-of").result()
    assert lines(tmp_path / "notes") == before


def test_new_workers_have_the_plugins(side: Side, tmp_path: Path) -> None:
    with (
        side.LocalCluster(n_workers=1, threads_per_worker=1, **side.quiet) as cluster,
        side.Client(cluster) as client,
    ):
        client.register_plugin(Ours(tmp_path / "notes", 7), name="for-all")
        client.register_plugin(Hearing(tmp_path / "heard"), name="hearing")
        cluster.scale(2)
        client.wait_for_workers(2)
        assert list(client.run(lambda dask_worker: dask_worker.value_of_plugin).values()) == [7, 7]
        until(lambda: "add" in lines(tmp_path / "heard"))
        cluster.scale(1)
        until(lambda: "remove" in lines(tmp_path / "heard"))
        until(lambda: "teardown 7" in lines(tmp_path / "notes"))
    until(lambda: lines(tmp_path / "notes").count("teardown 7") == 2)


def test_scheduler_plugins_hear_of_workers(side: Side, client: Any, tmp_path: Path) -> None:
    plugin = Hearing(tmp_path / "heard")
    client.register_plugin(plugin, name="hears")
    if side.is_ours:  # dask's is a copy, and not called for those that are there
        until(lambda: lines(tmp_path / "heard") == ["add", "add"])
    client.unregister_scheduler_plugin("hears")
    with pytest.raises(ValueError, match="hears"):
        client.unregister_scheduler_plugin("hears")


def imported(name: str) -> Any:
    return __import__(name).value


def test_a_file_is_uploaded(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "uploaded_module.py"
    path.write_text("value = 1\n")
    assert all(answer == {"status": "OK"} for answer in client.upload_file(str(path)).values())
    assert set(client.run(imported, "uploaded_module").values()) == {1}
    path.write_text("value = 2\n")
    client.upload_file(str(path))
    assert set(client.run(imported, "uploaded_module").values()) == {2}


def test_an_archive_is_uploaded(client: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("archived_module.py", "value = 3\n")
    client.upload_file(str(tmp_path / "archive.zip"))
    assert set(client.run(imported, "archived_module").values()) == {3}


def test_an_uploaded_file_with_an_error(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "broken_module.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        client.upload_file(str(path))


def test_a_file_that_is_not_there(client: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_file(str(tmp_path / "nothing.py"))


def test_versions(client: Any, workers: list[str]) -> None:
    found = client.get_versions(check=True, packages=["pytest", "no-such-package"])
    assert set(found) == {"scheduler", "workers", "client"}
    assert list(found["workers"]) == workers
    for place in (found["scheduler"], found["client"], *found["workers"].values()):
        assert place["packages"]["pytest"] == pytest.__version__
        assert place["packages"]["no-such-package"] is None
        assert {"python", "OS", "machine", "byteorder"} <= set(place["host"])


def test_the_environment_and_preloads_of_workers(side: Side, tmp_path: Path) -> None:
    path = tmp_path / "preloaded.py"
    path.write_text(
        "import os\ndef dask_setup(worker):\n    worker.preloaded = os.environ['SOME_VARIABLE']\n"
        f"def dask_teardown(worker):\n    open({str(tmp_path / 'gone')!r}, 'w').close()\n"
    )
    with (
        side.LocalCluster(
            n_workers=1, threads_per_worker=1, env={"SOME_VARIABLE": "4"}, preload=str(path), **side.quiet
        ) as cluster,
        side.Client(cluster) as client,
    ):
        client.wait_for_workers(1)
        assert list(client.run(lambda dask_worker: dask_worker.preloaded).values()) == ["4"]
        assert client.submit(os.getenv, "SOME_VARIABLE").result() == "4"
    until((tmp_path / "gone").exists)


# -- this file --------------------------------------------------------------------------------------------------------


def test_differences_are_those_that_are_listed() -> None:
    """Whatever test asks which side it is on is listed, and nothing else."""
    asking = set()
    for node in ast.parse(Path(__file__).read_text()).body:
        asks = any(isinstance(part, ast.Attribute) and part.attr == "is_ours" for part in ast.walk(node))
        if isinstance(node, ast.FunctionDef) and asks:
            asking.add(node.name)
    assert asking == set(DIFFERENCES)
