"""Whoever looks on sees what other clients of a real scheduler do; nobody else is told."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import add
from typing import Any

import dask
import distributed
import pytest

import taskloom
from taskloom.bus import Run
from taskloom.distributed import Client, get_task_stream
from taskloom.engines.cluster.client import books
from tests.adapters.clusters.processes import DaskProcesses

Soon = Callable[[Callable[[], Any]], Any]


class Onlooker:
    """A listener that wants to see what others do, as dashboards do."""

    looks_on = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.since = time.time()

    def run_updated(self, run: Run) -> None:
        if run.foreign and run.started > self.since and run not in self.seen:
            self.seen.append(run)

    run_finished = run_updated

    def done(self) -> int:
        return sum(run.n_done for run in self.seen)

    def ended(self, tasks: int) -> bool:
        """Whether all of so many tasks were seen, and no run is left of which more may come."""
        return self.done() >= tasks and all(run.status == "finished" for run in self.seen)


@pytest.fixture
def onlooker() -> Iterator[Onlooker]:
    looking = Onlooker()
    with taskloom.subscribe(looking):
        yield looking


@pytest.fixture
def other(shared: DaskProcesses) -> Iterator[Any]:
    """A client that is not followed."""
    with distributed.Client(shared.address, set_as_default=False) as client:
        yield client


def told_to_look(client: Any) -> list[bool]:
    """Which plugins of ours tell of others."""
    return client.run_on_scheduler(
        lambda dask_scheduler: [
            plugin.looks_on for name, plugin in dask_scheduler.plugins.items() if name.startswith("taskloom")
        ]
    )


def test_what_others_run_is_a_run_of_its_own(
    client: Any, other: Any, onlooker: Onlooker, ends: list[Run], soon: Soon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUIET", 2.0)  # a worker that is slow begins no other run
    soon(lambda: told_to_look(other) == [True])
    (total,) = dask.compute(
        dask.delayed(sum)([dask.delayed(add, name="mine")(1, 1, dask_key_name=("mine", i)) for i in range(9)]),
        scheduler=other,
    )
    assert total == 18
    soon(lambda: onlooker.ended(10))
    (run,) = onlooker.seen
    assert run.engine == "dask.distributed, other clients"
    assert run.foreign
    assert (run.n_done, run.n_tasks) == (10, 10)
    names = set(run.tasks.name)
    assert len(names) == 2
    assert {name.partition(" ")[0] for name in names} == {"mine", "sum"}
    assert all(name.endswith(" (client 1)") for name in names)
    assert {worker.name for worker in run.workers} <= {"worker-0", "worker-1"}
    assert run.samples, "what the workers use is shown, too"
    assert all(0 <= start <= stop <= run.duration for start, stop in zip(run.tasks.start, run.tasks.stop, strict=True))
    assert not ends or all(each.foreign for each in ends)
    assert run not in taskloom.runs


def test_own_tasks_are_in_own_runs_only(
    client: Any, other: Any, onlooker: Onlooker, ends: list[Run], soon: Soon
) -> None:
    soon(lambda: told_to_look(other) == [True])
    futures = other.map(lambda i: time.sleep(0.05) or i, range(20), pure=False)
    assert client.get({"x": (add, 1, 2), "y": (add, "x", 1)}, "y") == 4
    other.gather(futures)
    soon(lambda: onlooker.ended(20))
    assert onlooker.done() == 20
    assert [run.n_done for run in ends if not run.foreign] == [2]


def test_nobody_is_told_unless_somebody_looks_on(client: Any, other: Any, soon: Soon) -> None:
    heard: list[Any] = []
    client.submit(add, 1, 2, pure=False).result()
    (topic,) = [topic for topic in client._event_handlers if topic.startswith("taskloom")]
    hear = client._event_handlers[topic]
    client._event_handlers[topic] = lambda event: (heard.append(event), hear(event))
    soon(lambda: told_to_look(other) == [False])  # the client of the test before may be leaving
    other.gather(other.map(lambda i: i, range(20), pure=False))
    for _ in range(2):
        with taskloom.subscribe(Onlooker()):
            soon(lambda: told_to_look(other) == [True])
        soon(lambda: told_to_look(other) == [False])
    other.gather(other.map(lambda i: i, range(20), pure=False))
    client.submit(add, 1, 2, pure=False).result()
    assert heard
    assert {kind for _, batch in heard for kind, *_ in batch if kind == 10} == set()


def test_clients_of_one_process_hear_of_each_other_and_of_others_once(
    shared: DaskProcesses, other: Any, onlooker: Onlooker, soon: Soon
) -> None:
    with Client(shared.address) as one:
        with Client(shared.address, set_as_default=False) as two:
            soon(lambda: told_to_look(other) == [True] * 2)
            one.gather(one.map(lambda i: i, range(5), pure=False))
            two.gather(two.map(lambda i: i, range(5), pure=False))
            other.gather(other.map(lambda i: i, range(7), pure=False))
            soon(lambda: onlooker.ended(7))
        assert onlooker.done() == 7
        other.gather(other.map(lambda i: i, range(3), pure=False))
        soon(lambda: onlooker.done() == 10)


def test_what_was_submitted_before_is_seen(client: Any, other: Any, soon: Soon) -> None:
    event = distributed.Event("go-on", client=other)
    first = other.submit(lambda: distributed.Event("go-on").wait(), pure=False)
    last = other.submit(lambda _: 1, first, pure=False)
    looking = Onlooker()
    with taskloom.subscribe(looking):
        soon(lambda: told_to_look(other) == [True])
        looking.since = 0.0  # the first has begun before
        event.set()
        assert last.result() == 1
        soon(lambda: any((run.status, run.n_done) == ("finished", 2) for run in looking.seen))
    event.clear()


def test_two_notebooks_see_each_other(client: Any, shared: DaskProcesses, onlooker: Onlooker, soon: Soon) -> None:
    program = f"""
import time, taskloom
from taskloom.distributed import Client, get_task_stream

class Onlooker:
    looks_on = True
    seen, runs = 0, {{}}
    def run_updated(self, run):
        if run.foreign and run.n_done:
            self.runs[run.id] = run.n_done
            self.seen = sum(self.runs.values())
    run_finished = run_updated

onlooker = Onlooker()
with taskloom.subscribe(onlooker), Client({shared.address!r}) as client:
    client.gather(client.map(lambda i: i, range(8), pure=False))
    print("ready", flush=True)
    deadline = time.monotonic() + 30
    while onlooker.seen < 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""
    soon(lambda: told_to_look(client) == [True])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as notebook:
        try:
            assert notebook.stdout is not None
            assert notebook.stdout.readline() == "ready\n"
            soon(lambda: onlooker.done() == 8)
            client.gather(client.map(lambda i: i, range(6), pure=False))
            assert notebook.wait(60) == 0
        finally:
            notebook.kill()


def test_others_are_seen_after_the_connection_broke(own: DaskProcesses, onlooker: Onlooker, soon: Soon) -> None:
    with Client(own.address) as client, distributed.Client(own.address, set_as_default=False) as other:
        soon(lambda: told_to_look(other) == [True])
        comm = client.scheduler_comm
        client.loop.add_callback(comm.comm.abort)
        soon(lambda: client.scheduler_comm not in (None, comm) and told_to_look(other) == [True])
        other.gather(other.map(lambda i: i, range(5), pure=False))
        soon(lambda: onlooker.ended(5))
    assert onlooker.done() == 5


def test_the_task_stream_of_a_client_of_our_own_has_no_tasks_of_a_cluster_of_dasks(
    client: Any, other: Any, soon: Soon
) -> None:
    looking = Onlooker()
    with (
        Client(n_workers=1, threads_per_worker=1, processes=False) as ours,
        get_task_stream(ours) as stream,
        taskloom.subscribe(looking),
    ):
        soon(lambda: told_to_look(other) == [True])
        other.gather(other.map(lambda i: i, range(5), pure=False))
        assert ours.submit(add, 1, 2).result() == 3
        soon(lambda: looking.ended(5))
    assert [row["name"] for row in stream.data] == ["add"]
