"""Several clients on one cluster, from several processes: they share results, not fates, and none waits for another."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom.distributed import Client, Future, FutureCancelledError, LocalCluster, get_client, get_task_stream, wait
from taskloom.engines.cluster.client.records import Records

from .simulation import BIG, SMALL, Cluster, finish
from .simulation import Client as SimulatedClient

LIMIT = 60.0


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster:
        yield cluster


@pytest.fixture
def pair(shared: LocalCluster) -> Iterator[tuple[Client, Client]]:
    with Client(shared) as one, Client(shared) as two:
        yield one, two


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.005)
    return found


class Notebook:
    """A client in another process, which does line after line what it is told."""

    PROGRAM = """
import json, sys, time
from taskloom.distributed import Client, Future, wait
from tests.engines.cluster.test_several_clients import *
client = Client(sys.argv[1])
for line in sys.stdin:
    print(json.dumps(eval(json.loads(line), globals())), flush=True)
client.close()
"""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, code: str) -> None:
        """Have it evaluate something; `answer` waits for the value."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def do(self, code: str) -> Any:
        self.start(code)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        with self._process:  # which closes its pipes: then it ends by itself
            timer = threading.Timer(LIMIT, self._process.kill)
            timer.start()
        timer.cancel()
        timer.join()


@contextmanager
def opened(cluster: LocalCluster) -> Iterator[Notebook]:
    notebook = Notebook(cluster.scheduler_address)
    try:
        yield notebook
    finally:
        notebook.close()


def note(place: str, name: str) -> str:
    with open(f"{place}/{name}", "a") as file:
        file.write("x")
    return name


def wait_for(place: str, name: str) -> str:
    note(place, f"{name}-begun")
    while not Path(place, name).exists():
        time.sleep(0.005)
    return name


def inc(x: int) -> int:
    return x + 1


def linger(seconds: float) -> int:
    time.sleep(seconds)
    return 0


# -- results ----------------------------------------------------------------------------------------------------------


def test_an_equal_call_of_another_process_is_not_made_again(shared: LocalCluster, tmp_path: Path) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        future = client.submit(note, str(tmp_path), "once", key="note-once")
        assert future.result() == "once"
        assert notebook.do(f"client.submit(note, {str(tmp_path)!r}, 'once', key='note-once').result()") == "once"
        assert (tmp_path / "once").read_text() == "x"


def test_a_key_of_another_process_is_waited_for(shared: LocalCluster, tmp_path: Path) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        future = client.submit(wait_for, str(tmp_path), "gate", key="of the first")
        notebook.start("Future('of the first', client).result()")
        until((tmp_path / "gate-begun").exists)
        (tmp_path / "gate").touch()
        assert notebook.answer() == "gate"
        assert future.result() == "gate"


def test_what_another_process_still_has_is_kept(shared: LocalCluster) -> None:
    with opened(shared) as notebook:
        with Client(shared) as client:
            future = client.submit(inc, 41, key="of both")
            assert notebook.do("[future := client.submit(inc, 41, key='of both')][0].result()") == 42
            del future
            client.submit(inc, 0, pure=False).result()  # the release has been taken in
            assert notebook.do("Future('of both', client).result()") == 42
        assert notebook.do("future.result()") == 42
        assert notebook.do("client.submit(inc, future).result()") == 43


def test_what_nobody_has_any_more_is_gone(pair: tuple[Client, Client]) -> None:
    one, two = pair
    first, second = one.submit(inc, 1, key="shared by two"), two.submit(inc, 1, key="shared by two")
    wait([first, second])

    def held() -> bool:
        return any("shared by two" in keys for keys in one.has_what().values())

    del first
    one.submit(inc, 2, pure=False).result()
    assert held()
    del second
    until(lambda: not held())


def test_a_client_that_is_killed_leaves_what_others_share(shared: LocalCluster, tmp_path: Path) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        notebook.do(f"[f := client.submit(wait_for, {str(tmp_path)!r}, 'gate', key='of a dead one')] and None")
        future = client.submit(wait_for, str(tmp_path), "gate", key="of a dead one")
        until((tmp_path / "gate-begun").exists)
        notebook.kill()
        (tmp_path / "gate").touch()
        assert future.result(timeout=LIMIT) == "gate"
        assert (tmp_path / "gate-begun").read_text() == "x"


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_two_cancel_the_same_key(pair: tuple[Client, Client], tmp_path: Path) -> None:
    one, two = pair
    first = one.submit(wait_for, str(tmp_path), "gate", key="cancelled twice")
    second = two.submit(wait_for, str(tmp_path), "gate", key="cancelled twice")
    until((tmp_path / "gate-begun").exists)
    first.cancel()
    assert first.cancelled()
    assert second.status == "pending"  # the other one wants it
    second.cancel()
    assert second.cancelled()
    until(lambda: not any(one.processing().values()))  # and now it is stopped
    assert one.submit(inc, 1, pure=False).result() == 2


def test_two_cancel_the_same_keys_at_once(shared: LocalCluster, tmp_path: Path) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        make = f"futures := client.map(wait_for, [{str(tmp_path)!r}] * 20, list(map(str, range(20))))"
        notebook.do(f"[{make}] and None")
        futures = client.map(wait_for, [str(tmp_path)] * 20, list(map(str, range(20))))
        until((tmp_path / "0-begun").exists)
        notebook.start("[client.cancel(futures), [future.status for future in futures]][1]")
        client.cancel(futures)
        assert {future.status for future in futures} == {"cancelled"}
        assert set(notebook.answer()) == {"cancelled"}
        until(lambda: not any(client.processing().values()))
        assert client.gather(client.map(inc, range(10), pure=False)) == list(range(1, 11))


def test_who_cancels_by_force_takes_it_from_others(pair: tuple[Client, Client], tmp_path: Path) -> None:
    one, two = pair
    first = one.submit(wait_for, str(tmp_path), "gate", key="by force")
    second = two.submit(inc, two.submit(wait_for, str(tmp_path), "gate", key="by force"))
    until((tmp_path / "gate-begun").exists)
    first.cancel(force=True)
    until(second.done)
    assert second.cancelled()
    assert two.submit(inc, 1, pure=False).result() == 2


def test_what_is_gone_by_a_restart_says_so_to_all() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster,
        Client(cluster) as one,
        Client(cluster) as two,
    ):
        futures = [client.submit(inc, i, key=f"of-{i}") for i, client in enumerate((one, two))]
        wait(futures)
        one.restart()
        until(lambda: all(future.cancelled() for future in futures))
        for i, future in enumerate(futures):
            with pytest.raises(FutureCancelledError) as caught:
                future.result()
            assert str(caught.value) == f"'of-{i}' was cancelled: The cluster was restarted."


# -- fairness ---------------------------------------------------------------------------------------------------------


def ran_between(cluster: Cluster, first: SimulatedClient, second: SimulatedClient, ids: list[int]) -> int:
    """How many tasks of the first client are done before those of the second."""
    before = sum([status == "finished" for status in first.status.values()])
    for turn in range(100_000):
        cluster.flush()
        if all(second.status[id] == "finished" for id in ids):
            return sum([status == "finished" for status in first.status.values()]) - before
        steps = cluster.steps()
        steps[turn % len(steps)]()
    raise AssertionError("it goes on for ever")


@pytest.mark.parametrize("function", [SMALL, BIG])
@pytest.mark.parametrize("workers", [1, 3])
def test_ten_tasks_do_not_wait_for_thousands(
    cluster: Cluster, client: SimulatedClient, function: Any, workers: int
) -> None:
    for _ in range(workers):
        cluster.add_worker()
    other = cluster.add_client()
    cluster.submit(client, [(f"m{i}", function, []) for i in range(2000)])
    cluster.flush()
    ids = cluster.submit(other, [(f"few{i}", function, []) for i in range(10)])
    queued = sum([len(worker.outstanding) for worker in cluster.scheduler.workers.values()])
    assert ran_between(cluster, client, other, ids) <= queued + 10 + 10 * workers
    finish(cluster)


def test_tasks_with_inputs_take_turns_as_well(cluster: Cluster, client: SimulatedClient) -> None:
    cluster.add_worker()
    other = cluster.add_client()
    cluster.submit(client, [(f"m{i}", BIG, []) for i in range(500)] + [(f"n{i}", SMALL, [i]) for i in range(500)])
    cluster.flush()
    ids = cluster.submit(other, [(f"few{i}", SMALL, [] if i < 5 else [i - 5]) for i in range(10)])
    queued = sum([len(worker.outstanding) for worker in cluster.scheduler.workers.values()])
    assert ran_between(cluster, client, other, ids) <= queued + 30
    finish(cluster)


def test_what_a_task_submits_goes_before_others_of_its_client(cluster: Cluster, client: SimulatedClient) -> None:
    """Else ever more tasks would begin, only to wait."""
    cluster.add_worker()
    inside, deeper, other = cluster.add_client(), cluster.add_client(), cluster.add_client()
    outer = cluster.submit(client, [(f"outer{i}", SMALL, []) for i in range(100)])
    theirs = cluster.submit(other, [(f"theirs{i}", SMALL, []) for i in range(100)])
    (nested,) = cluster.submit(inside, [("nested", SMALL, [])], priority=1, origin=outer[0])
    cluster.submit(deeper, [(f"nested{i}", SMALL, []) for i in range(50)], priority=2, origin=nested)
    order = []
    while len(order) < 80:
        cluster.scheduler.assign()
        batch, cluster.scheduler.workers[0].batch = cluster.scheduler.workers[0].batch, []
        order += [task.id for task in batch]
        ids = [task.id for task in batch]
        cluster.scheduler.done(0, ids, [0.0, 0.001] * len(ids), dict.fromkeys(ids), {}, 0.0)
    assert len(set(order).intersection(theirs)) >= 35  # the other client has its turns
    assert not set(order).intersection(outer)


def test_many_clients_take_turns(cluster: Cluster, client: SimulatedClient) -> None:
    cluster.add_worker()
    others = [cluster.add_client() for _ in range(9)]
    for each in (client, *others):
        cluster.submit(each, [(f"{each.number}-{i}", SMALL, []) for i in range(100)])
    for turn in range(100_000):
        cluster.flush()
        counts = [sum([status == "finished" for status in each.status.values()]) for each in (client, *others)]
        if min(counts) >= 50:
            assert max(counts) <= min(counts) + 10
            break
        steps = cluster.steps()
        steps[turn % len(steps)]()
    finish(cluster)


def test_a_hundred_thousand_tasks_hold_nobody_up(pair: tuple[Client, Client]) -> None:
    one, two = pair
    many = one.map(inc, range(100_000), pure=False)
    many += one.map(time.sleep, [0.01] * 2000, pure=False)  # so that it is not all done for want of luck
    assert two.gather(two.map(inc, range(10), pure=False)) == list(range(1, 11))
    assert not all(future.done() for future in many[-1000:])
    one.cancel(many)


def test_a_graph_holds_nobody_up(pair: tuple[Client, Client], tmp_path: Path) -> None:
    one, two = pair
    graph: dict[Any, Any] = {("x", i): (inc, i) for i in range(30_000)}
    graph |= {("y", i): (inc, ("x", i)) for i in range(30_000)}
    graph |= {("slow", i): (linger, 0.01) for i in range(200)}  # so that it is not all done for want of luck
    graph["z"] = (sum, [key for key in graph if key[0] != "x"])
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(one.get(graph, "z")))
    thread.start()
    until(lambda: any(one.processing().values()))
    assert two.gather(two.map(inc, range(10), pure=False)) == list(range(1, 11))
    assert not results
    thread.join(LIMIT)
    assert results == [sum(range(2, 30_002))]


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_ten_thousand_futures_are_dropped_at_once(pair: tuple[Client, Client]) -> None:
    one, two = pair
    kept = two.map(inc, range(0, 10_000, 100))
    done = one.map(inc, range(10_000))
    wait(done)
    under_way = one.map(time.sleep, [0.001] * 10_000, pure=False)
    del done, under_way
    until(lambda: not any(one.processing().values()))
    names = {future.key for future in kept}
    until(lambda: {key for keys in one.has_what().values() for key in keys} <= names)
    assert two.gather(kept) == list(range(1, 10_001, 100))
    assert one.submit(inc, 1, pure=False).result() == 2


def submit_ten(number: int) -> int:
    client = get_client()
    return int(sum(client.gather(client.map(inc, range(10 * number, 10 * number + 10)))))


@pytest.mark.parametrize("processes", [True, False])
def test_a_thousand_tasks_submit_ten_each_and_gather(processes: bool) -> None:
    with Client(n_workers=2, threads_per_worker=2, processes=processes) as client:
        assert sum(client.gather(client.map(submit_ten, range(1000)))) == sum(range(1, 10_001))
        until(lambda: not any(client.has_what().values()))


def test_two_processes_submit_from_tasks_at_once(shared: LocalCluster) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        notebook.start("client.gather(client.map(submit_ten, range(100)))")
        own = client.gather(client.map(submit_ten, range(100)))
        assert own == notebook.answer() == [100 * number + 55 for number in range(100)]


def test_clients_that_come_and_go_leave_nothing(shared: LocalCluster) -> None:
    for _ in range(30):
        with Client(shared) as client:
            futures: list[Future] = client.map(inc, range(20), pure=False)
            endless = client.submit(time.sleep, 600, pure=False)
            wait(futures)
            assert not endless.done()
    with Client(shared) as client:
        until(lambda: not any(client.has_what().values()) and not any(client.processing().values()))


# -- views ------------------------------------------------------------------------------------------------------------


class Onlooker:
    """A listener that wants to see what others do, as dashboards do."""

    looks_on = True

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def run_updated(self, run: Any) -> None:
        if run.foreign and run not in self.seen:
            self.seen.append(run)

    run_finished = run_updated


def test_a_task_stream_shows_what_another_process_runs(shared: LocalCluster) -> None:
    with Client(shared) as client, opened(shared) as notebook:
        number = notebook.do("client._session.connection.number")
        notebook.do("client.gather(client.map(inc, range(5), pure=False))")
        with get_task_stream(client) as stream:
            notebook.do("client.gather(client.map(inc, range(10), pure=False))")
            assert client.submit(inc, 1, pure=False).result() == 2
        theirs = [row for row in stream.data if "client" in row]
        (own,) = [row for row in stream.data if "client" not in row]
        assert (len(theirs), {row["client"] for row in theirs}) == (10, {number})
        assert own["name"] == "inc"
        assert {row["name"] for row in theirs} == {f"inc (client {number})"}
        assert all(str(row["key"]).startswith("inc-") for row in theirs)
        assert {row["worker"] for row in theirs} <= {"worker-0", "worker-1"}
        for row in theirs:
            (stamp,) = row["startstops"]
            assert 0 <= stamp["stop"] - stamp["start"] < LIMIT
            assert abs(stamp["stop"] - time.time()) < LIMIT
        notebook.do("client.gather(client.map(inc, range(10), pure=False))")
        later = [row for row in client.get_task_stream() if row.get("client") == number]
        assert [row["key"] for row in later] == [row["key"] for row in theirs]  # nobody looks on any more


class Unheard:
    """A connection that says nothing."""

    def running(self) -> list[Any]:
        return []

    def send(self, kind: str, *fields: Any) -> None:
        pass


def test_tasks_of_others_that_are_heard_of_late_have_their_times() -> None:
    records = Records("distributed", Unheard(), lambda id: None)
    now = time.perf_counter()
    records.others(0, ["later"], [7], [now - 2, now - 1], [0.0])
    records.others(1, ["earlier"], [7], [now - 5, now - 3], [0.0])
    (run,) = records.open_runs()
    assert list(run.tasks.start) == pytest.approx([3, 0])
    assert list(run.tasks.stop) == pytest.approx([4, 2])
    assert run.started == pytest.approx(time.time() - 5 - (time.perf_counter() - now), abs=1)
    records.gone()


def test_whoever_looks_on_sees_others_and_the_rest_do_not(pair: tuple[Client, Client]) -> None:
    one, two = pair
    onlooker, other = Onlooker(), Onlooker()
    other.looks_on = False  # type: ignore[misc]
    runs_before = list(taskloom.runs)
    with taskloom.subscribe(onlooker), taskloom.subscribe(other):
        two._catch_up()
        one.gather(one.map(inc, range(10), pure=False))
        until(lambda: sum([run.n_done for run in onlooker.seen if run.status == "finished"]) == 10)
    # Of `two`, which sees `one`; more than one run if there was a pause between the tasks.
    assert {run.engine for run in onlooker.seen} == {"distributed, other clients"}
    assert not other.seen
    assert [run for run in taskloom.runs if run.foreign] == []
    assert len([run for run in taskloom.runs if run not in runs_before]) == 1


def test_nobody_is_told_of_others_unless_somebody_looks_on(cluster: Cluster, client: SimulatedClient) -> None:
    cluster.add_worker()
    other, late = cluster.add_client(), cluster.add_client()
    cluster.submit(client, [("a", SMALL, [])])
    finish(cluster)
    cluster.scheduler.watch(other.number, True)
    cluster.submit(client, [(("b", 0), SMALL, []), ("c", BIG, [0])])
    finish(cluster)
    cluster.scheduler.watch(other.number, False)
    cluster.submit(client, [("d", SMALL, [])])
    finish(cluster)
    seen = [message for message in other.heard if message[0] == "others"]
    assert [key for message in seen for key in message[2]] == [("b", 0), "c"]
    assert {number for message in seen for number in message[3]} == {client.number}
    assert not any(message[0] == "others" for each in (client, late) for message in each.heard)
    cluster.scheduler.watch(other.number, True)
    cluster.remove_client(other)
    assert not cluster.scheduler.watchers
