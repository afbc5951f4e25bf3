"""What a cluster's client writes to the bus: graph runs, and records that grow with submitted futures."""

import gc
from collections.abc import Iterator, Sequence
from threading import Event, Thread
from time import perf_counter
from typing import Any

import pytest

from taskloom.bus import GrowingRun, Run, RunGraph, Transfer, begin_burst, last_run, runs, subscribe
from taskloom.bus.event_bus import bus
from taskloom.engines.cluster.client import books
from taskloom.engines.cluster.client.records import Records

SECONDS = 10  # that an event may take


class Connection:
    """A connection to nowhere, which notes what is sent."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, float]] = []
        self.sent: list[tuple[Any, ...]] = []

    def running(self) -> list[tuple[int, int, float]]:
        return self.runs

    def send(self, kind: str, *fields: Any) -> None:
        self.sent.append((kind, *fields))


class Listener:
    def __init__(self) -> None:
        self.started: list[Run] = []
        self.finished: list[Run] = []
        self.end = Event()

    def run_started(self, run: Run) -> None:
        self.started.append(run)

    def run_finished(self, run: Run) -> None:
        self.finished.append(run)
        self.end.set()


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def records(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    monkeypatch.setattr(books, "QUIET", 10 * SECONDS)  # none ends by itself but where a test wants it to
    records = Records("distributed", connection, recall=lambda number: None)
    for number in range(2):
        records.joined(number, f"worker-{number}", 1000 + number, 2)
    yield records
    records.gone()
    over = Event()
    bus._ticker.post(over.set)  # behind the end of what was open
    assert over.wait(SECONDS)


def submit(records: Records, first: int, *keys: Any, needs: Any = None) -> GrowingRun:
    records.submitted(first, keys, ["inc"] * len(keys), needs or [()] * len(keys))
    run = last_run()
    assert isinstance(run, GrowingRun)
    return run


def times(run: Run, *seconds: float) -> list[float]:
    return [run.zero + second for second in seconds]


def wait_for_end(run: Run) -> None:
    deadline = perf_counter() + SECONDS
    while run in bus.active and perf_counter() < deadline:
        Event().wait(0.01)
    assert run not in bus.active


def test_one_record_grows_with_what_is_submitted(records: Records) -> None:
    run = submit(records, 1, "a-1")
    assert run.status == "running"
    assert submit(records, 2, "b-1", "b-2", needs=[(1,), (1, 2, 2, -1)]) is run
    assert (run.n_tasks, run.tasks.key) == (3, ["a-1", "b-1", "b-2"])
    assert run.graph.dependencies == [(), (0,), (0, 1)]
    assert run.names == {"a": 1, "b": 2}
    assert run.tasks.status == ["ready", "waiting", "waiting"]


def test_reports_fill_the_columns_whatever_the_order(records: Records) -> None:
    run = submit(records, 1, "a", "b", "c")
    records.report(1, [3, 1], times(run, 0.1, 0.2, 0.3, 0.7), {3: 5}, {1: 800.0}, 0.1)
    assert list(run.done) == [2, 0]
    assert [round(time, 6) for time in run.tasks.start] == [0.3, 0.0, 0.1]
    assert [worker.name for worker in run.workers] == ["worker-1"]
    assert run.long[0][1] == 800.0
    records.report(0, [2], times(run, 0.1, 0.2), {}, {}, 0.05)
    assert run.long[1][0] == 0.05
    assert list(run.worker) == [0, 1, 0]
    assert run.tasks.status == ["finished"] * 3


def test_it_ends_by_itself_when_nothing_is_outstanding_and_nothing_is_new(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    with subscribe(listener):
        run = submit(records, 1, "a")
        records.report(0, [1], times(run, 0.0, 0.1), {}, {}, 0.0)
        passed = perf_counter() - run.zero
        monkeypatch.setattr(books, "QUIET", 0.3)
        assert listener.end.wait(SECONDS)
    assert listener.started == listener.finished == [run]
    assert run.status == "finished"
    assert run.duration < passed  # what came of it, not the wait
    assert run not in bus.active
    records.report(0, [1], times(run, 0.0, 0.1), {}, {}, 0.0)  # of a record that is over
    assert run.n_done == 1
    assert submit(records, 2, "b") is not run


def test_a_loop_of_submit_and_result_makes_one_record(records: Records) -> None:
    first = submit(records, 1, "x-1")
    for number in range(1, 200):
        assert submit(records, number, f"x-{number}") is first
        records.report(0, [number], times(first, 0.0, 0.1), {}, {}, 0.0)
        assert not first.ends_by_itself()


def test_what_is_outstanding_keeps_it_open(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "a", "b")
    records.report(0, [1], times(run, 0.0, 0.1), {}, {}, 0.0)
    assert not run.ends_by_itself()
    records.again([1])
    records.report(0, [2], times(run, 0.0, 0.1), {}, {}, 0.0)
    assert not run.ends_by_itself()
    records.report(1, [1], times(run, 0.3, 0.4), {}, {}, 0.0)
    assert run.n_done == 2
    wait_for_end(run)


def test_it_goes_on_after_a_failure_and_ends_failed(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "bad", "needs", "good", "worse", needs=[(), (1,), (), ()])
    records.failed(1, ValueError("no"), 1, *times(run, 0.1, 0.2), 1, [1, 2])
    assert (run.status, run.n_failed) == ("running", 2)
    records.failed(4, "OSError: gone", 0, *times(run, 0.1, 0.3))
    assert run.tasks.status == ["failed", "failed", "ready", "failed"]
    assert run.failure is not None
    assert (run.failure.key, run.failure.exception) == ("bad", "ValueError: no")
    assert run.failures[1] is run.failures[0]
    assert run.failures[3].key == "worse"
    assert not run.ends_by_itself()
    records.report(0, [3], times(run, 0.1, 0.2), {}, {}, 0.0)
    wait_for_end(run)
    assert (run.status, run.n_failed, run.n_done) == ("failed", 3, 1)
    assert round(run.tasks.stop[0], 6) == 0.2


def test_a_retry_takes_a_failure_back(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "a", "b", "c", needs=[(), (1,), ()])
    records.failed(1, ValueError("no"), 0, *times(run, 0.1, 0.2), 1, [1, 2])
    assert run.n_failed == 2
    records.again([1, 2])
    assert run.n_failed == 0
    records.report(0, [3], times(run, 0.3, 0.4), {}, {}, 0.0)
    assert not run.ends_by_itself()
    records.report(0, [1, 2], times(run, 0.3, 0.4, 0.4, 0.5), {}, {}, 0.0)
    wait_for_end(run)
    assert run.tasks.status == ["finished"] * 3
    assert (run.status, run.failure) == ("finished", None)


def test_what_is_cancelled_or_released_is_waited_for_no_longer(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "a", "b", "c", needs=[(), (1,), ()])
    records.released([1])
    records.cancelled([3])
    assert not run.ends_by_itself()
    records.report(0, [1, 2], times(run, 0.1, 0.2, 0.2, 0.3), {}, {}, 0.0)  # another one needed it
    assert run.tasks.status == ["finished", "finished", "cancelled"]
    wait_for_end(run)
    assert run.status == "cancelled", "not all that was submitted is done"


def test_cancel_asks_for_what_is_outstanding_and_ends_cancelled(records: Records, connection: Connection) -> None:
    run = submit(records, 1, "a", "b", "c")
    records.report(0, [2], times(run, 0.0, 0.1), {}, {}, 0.0)
    run.cancel()
    assert connection.sent == [("cancel", [1, 3], False)]
    assert submit(records, 4, "d") is not run
    records.cancelled([1, 3])
    wait_for_end(run)
    assert run.status == "cancelled"


def test_the_end_of_the_cluster_ends_it_without_waiting_for_listeners(records: Records) -> None:
    told, go_on = Event(), Event()

    class Slow:
        def run_finished(self, run: Run) -> None:
            told.set()
            assert go_on.wait(SECONDS)

    with subscribe(Slow()):
        run = submit(records, 1, "a")
        records.gone()
        assert run.status == "cancelled"
        assert told.wait(SECONDS)
        go_on.set()


def test_a_large_one_gives_way_to_another(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_ROWS", 10)
    run = submit(records, 1, *map(str, range(8)))
    other = submit(records, 9, *map(str, range(8)))
    assert (run.n_tasks, other.n_tasks) == (8, 8)
    records.report(0, list(range(6, 12)), times(run, *range(12)), {}, {}, 0.0)  # of both
    assert (list(run.done), list(other.done)) == ([5, 6, 7], [0, 1, 2])


def test_a_cell_of_a_notebook_begins_another(records: Records) -> None:
    run = submit(records, 1, "a")
    begin_burst()
    assert submit(records, 2, "b") is not run


def test_a_graph_run_is_written_by_its_ids(records: Records) -> None:
    futures = submit(records, 1, "a")
    run = Run(RunGraph(list("wxyz"), ["f"] * 4, [()] * 4), "distributed")
    records.begin_run(run, 2, 4)
    records.report(1, [2, 3], times(run, 0.1, 0.2, 0.2, 0.3), {}, {}, 0.0)
    records.report(0, [5, 1, 4], times(run, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4), {}, {}, 0.0)
    assert list(run.done) == [0, 1, 3, 2]
    assert list(futures.done) == [0]
    assert [run.workers[number].name for number in run.worker] == ["worker-1", "worker-1", "worker-0", "worker-0"]
    records.end_run(run)
    records.report(0, [2], times(run, 0.1, 0.2), {}, {}, 0.0)
    assert run.n_done == 4
    run.end("finished")


def test_what_runs_is_asked_of_the_connection(records: Records, connection: Connection) -> None:
    run = submit(records, 1, "a", "b")
    connection.runs = [(1, 2, run.zero + 0.5), (0, 77, run.zero)]
    ((worker, task, started),) = run.running
    assert (run.workers[worker].name, task, round(started, 6)) == ("worker-1", 1, 0.5)
    assert run.tasks.status == ["ready", "running"]


def test_a_worker_has_joined_when_it_was_there(records: Records) -> None:
    run = submit(records, 1, "a", "b")
    records.joined(7, "late", 1007, 1)
    records.report(0, [1], times(run, 0.1, 0.2), {}, {}, 0.0)
    records.report(7, [2], times(run, 0.1, 0.2), {}, {}, 0.0)
    early, late = run.workers
    assert early.joined == 0.0 < late.joined


def test_memory_and_transfers_of_workers(records: Records) -> None:
    records.held(0, 50, 900)  # before the run
    run = submit(records, 1, "a")
    records.report(0, [1], times(run, 0.1, 0.2), {}, {1: 100.0}, 0.0)
    records.held(0, 150, 900)
    records.moved(1, 0, 1, 100)
    records.held(0, 20, 1000)
    assert [(worker.held, worker.peak_held) for worker in run.workers] == [(20, 1000), (0, 0)]
    (move,) = run.transfers
    assert isinstance(move, Transfer)
    assert (move.task, move.source, move.target, move.nbytes) == (0, 0, 1, 100)
    records.left(1, "killed")
    assert run.workers[1].left is not None
    left = run.workers[1].left
    records.gone()
    assert run.workers[1].left == left


def test_many_threads_submit_to_one_record(records: Records) -> None:
    def work(number: int) -> None:
        for count in range(200):
            records.submitted(1 + 200 * number + count, [(f"t{number}", count)], ["f"], [()])

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = last_run()
    assert run is not None
    assert run.n_tasks == 1600
    ids = list(range(1, 1601))
    records.report(0, ids, [run.zero + number for number in ids for _ in range(2)], {}, {}, 0.0)
    keys = run.graph.keys
    for row, start in enumerate(run.start):
        name, count = keys[row]  # type: ignore[misc]
        assert round(start - run.zero) == 1 + 200 * int(str(name)[1:]) + int(count)  # type: ignore[arg-type]


def test_a_finalizer_may_release_while_its_thread_submits(records: Records) -> None:
    class Future:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            records.released([1])

    class Keys(list[Any]):
        def __len__(self) -> int:  # asked with the lock held
            Future()
            gc.collect()
            return super().__len__()

    records.submitted(1, Keys(["a"]), ["f"], [()])
    assert runs[-1].n_tasks == 1


def test_an_interrupt_in_the_middle_of_extend_leaves_no_trace() -> None:
    run = GrowingRun("distributed", lambda _: False)
    run.extend(["a"], ["f"], [()])

    def interrupted() -> Iterator[tuple[int, ...]]:
        yield ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.extend(["b", "c"], ["f", "f"], interrupted())
    assert run.extend(["d"], ["g"], [(0,)]) == 1
    assert (run.graph.keys, run.graph.functions, run.graph.dependencies) == (["a", "d"], ["f", "g"], [(), (0,)])
    assert len(run.start) == len(run.stop) == len(run.worker) == run.n_tasks == 2


def test_an_interrupt_between_futures_and_their_record_leaves_no_trace(records: Records) -> None:
    """The futures that go with it are released; nothing of another task is taken for theirs."""

    def interrupted() -> Iterator[Sequence[int]]:
        yield ()
        raise KeyboardInterrupt

    run = submit(records, 1, "a")
    with pytest.raises(KeyboardInterrupt):
        records.submitted(2, ["b", "c"], ["f", "f"], interrupted())  # type: ignore[arg-type]
    records.released([2, 3])
    assert not run.ends_by_itself()
    assert submit(records, 4, "d", "e") is run
    assert not run.ends_by_itself()
    assert (run.graph.keys, run.n_tasks, run.unfinished) == (["a", "d", "e"], 3, set())
    records.report(0, [1, 4, 5], times(run, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0), {}, {}, 0.0)
    assert run.n_done == 3


def test_what_was_to_be_done_for_others_only_is_given_up_with_them(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    names = ["a", "b", "c", "d", "e"]
    records.submitted(1, names, names, [(), (1,), (), (2, 3), (3,)], [4, 5])
    run = last_run()
    assert isinstance(run, GrowingRun)
    records.cancelled([4])
    assert not run.ends_by_itself()
    assert run.unfinished == {0, 1, 3}  # "c" is needed for "e"
    records.report(0, [3, 5], times(run, 1.0, 2.0, 2.0, 3.0), {}, {}, 0.0)
    wait_for_end(run)


def test_a_task_counts_once_however_often_it_is_done(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "a", "b")
    for _ in range(3):
        records.report(0, [1], times(run, 1.0, 2.0), {}, {}, 0.0)
        records.again([1])
    records.failed(1, "ValueError: lost", None, 0.0, 0.0, 1, [1], None)
    assert not run.ends_by_itself()
    records.again([1])
    records.report(0, [1, 2], times(run, 1.0, 2.0, 2.0, 3.0), {}, {}, 0.0)
    assert run.n_done == 2
    wait_for_end(run)


def test_what_was_done_and_is_lost_for_good_is_not_waited_for(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "QUIET", 0.0)
    run = submit(records, 1, "a", "b")
    records.report(0, [1], times(run, 1.0, 2.0), {}, {}, 0.0)
    records.failed(1, "TaskloomError: gone with its worker", None, 0.0, 0.0, 1, [1], None)
    assert not run.ends_by_itself()
    records.report(0, [2], times(run, 1.0, 2.0), {}, {}, 0.0)
    wait_for_end(run)
    assert run.status == "failed"


def test_what_is_to_be_done_again_for_what_nobody_wants_is_not_waited_for(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.submitted(1, ["a", "b"], ["a", "b"], [(), (1,)], [2])
    run = last_run()
    assert isinstance(run, GrowingRun)
    records.report(0, [1, 2], times(run, 1.0, 2.0, 2.0, 3.0), {}, {}, 0.0)
    records.again([1, 2])
    monkeypatch.setattr(books, "QUIET", 0.0)
    assert not run.ends_by_itself()
    records.released([2])
    wait_for_end(run)
