"""Who hears of runs, when, and what happens to listeners that misbehave."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import Any

import pytest

import taskloom
from taskloom import Run, threaded
from taskloom.bus import EventBus, RunGraph
from taskloom.bus.ticker import INTERVAL, Clock
from tests.engines.cases import check_child, until

PATIENCE = 20.0  # seconds until a test gives up


class SteppedClock(Clock):
    """Tells a time that only the test moves; the ticker looks at it all the while."""

    def __init__(self) -> None:
        self.time = 0.0
        self.looked_at = threading.Event()  # by a ticker that waits for its next tick

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.looked_at.set()
        condition.wait(0.001)


class Listener:
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.threads: set[str] = set()
        self.changed = threading.Condition()

    def run_started(self, run: Run) -> None:
        self._note("started", run)

    def run_updated(self, run: Run) -> None:
        self._note("updated", run)

    def run_finished(self, run: Run) -> None:
        self._note("finished", run)

    def _note(self, event: str, run: Run) -> None:
        with self.changed:
            self.events.append((event, run.id))
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()

    def wait_for(self, event: str, count: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(event) >= count, PATIENCE), f"no {event}: {self.events}"

    def count(self, event: str) -> int:
        return [name for name, _ in self.events].count(event)

    def of(self, run: Run | int) -> list[str]:
        number = run.id if isinstance(run, Run) else run
        return [name for name, other in self.events if other == number]


def last_run() -> Run:
    run = taskloom.last_run()
    assert run is not None
    return run


def a_run() -> Run:
    return Run(RunGraph(["a"], ["abs"], [()]), "sync")


def well_formed(events: list[str]) -> bool:
    """started, then any number of updated, then finished."""
    return events[0] == "started" and events[-1] == "finished" and set(events[1:-1]) <= {"updated"}


def compute() -> int:
    return taskloom.get({"a": (abs, -1), "b": (abs, "a")}, "b")  # type: ignore[no-any-return]


def compute_until(event: threading.Event, get: Callable[..., Any] = taskloom.get) -> Any:
    """A run that lasts until `event`."""
    return get({"a": (event.wait, PATIENCE), "b": (bool, "a")}, "b")


# -- in which order, and how often ------------------------------------------------------------------------------------


def test_a_bus_with_its_own_clock_tells_of_a_run_in_order_and_ten_times_a_second() -> None:
    clock, listener = SteppedClock(), Listener()
    bus = EventBus(clock)
    run = a_run()
    with bus.subscribe(listener):
        bus.started(run)
        assert clock.looked_at.wait(PATIENCE)
        for count in range(1, 4):
            done = listener.count("updated")
            clock.time += INTERVAL
            listener.wait_for("updated", done + 1)
            assert listener.count("updated") == count
        run.end("finished")
        bus.finished(run)
    assert listener.of(run) == ["started", "updated", "updated", "updated", "finished"]
    assert listener.threads == {"taskloom-ticker"}
    assert list(bus.runs) == [run]
    assert bus.active == []


def test_a_run_shorter_than_a_tick_is_told_of_at_its_end() -> None:
    bus, listener, run = EventBus(SteppedClock()), Listener(), a_run()
    with bus.subscribe(listener):
        bus.started(run)
        assert listener.events == []
        run.end("finished")
        bus.finished(run)
    assert listener.of(run) == ["started", "finished"]


@pytest.mark.parametrize("get", [taskloom.get, partial(threaded.get, num_workers=2)], ids=["sync", "threads"])
@pytest.mark.parametrize("outcome", ["finished", "failed", "cancelled"])
def test_every_run_is_told_of_from_start_to_exactly_one_end(get: Any, outcome: str) -> None:
    listener = Listener()
    go_on = threading.Event()

    errors = {"failed": ZeroDivisionError, "cancelled": KeyboardInterrupt}

    def end() -> None:
        assert go_on.wait(PATIENCE)
        if outcome in errors:
            raise errors[outcome]

    class GoOn(Listener):
        def run_updated(self, run: Run) -> None:
            go_on.set()

    with taskloom.subscribe(listener), taskloom.subscribe(GoOn()):
        with pytest.raises(errors[outcome]) if outcome in errors else nullcontext():
            get({"a": (end,), "b": (str, "a")}, "b")
        # Already there: the call waits until listeners have heard of the end.
        assert well_formed(listener.of(last_run()))
    assert last_run().status == outcome
    assert "updated" in listener.of(last_run())


def test_progress_is_seen_while_the_run_goes_on() -> None:
    """Each task waits until a listener has seen the one before as done."""
    seen = [threading.Event() for _ in range(4)]

    class Follow:
        def run_updated(self, run: Run) -> None:
            for event in seen[: run.n_done + 1]:
                event.set()

    with taskloom.subscribe(Follow()):
        dsk = {i: (seen[i].wait, PATIENCE) for i in range(4)}
        assert taskloom.get(dsk, list(dsk)) == [True] * 4


def test_runs_that_overlap_are_each_told_of_from_start_to_end() -> None:
    listener = Listener()

    def many() -> None:
        for _ in range(20):
            compute()

    with taskloom.subscribe(listener):
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    runs = {run for _, run in listener.events}
    assert len(runs) == 80
    assert all(well_formed(listener.of(run)) for run in runs)


def test_a_run_inside_a_task_is_told_of_within_the_outer_one() -> None:
    listener = Listener()
    with taskloom.subscribe(listener):
        assert taskloom.get({"a": (compute,)}, "a") == 1
    outer = last_run()
    inner = outer.id + 1
    assert listener.of(inner)[-1] == "finished"
    assert listener.events.index(("finished", inner)) < listener.events.index(("finished", outer.id))


# -- subscriptions ----------------------------------------------------------------------------------------------------


def test_a_listener_has_only_the_methods_it_wants() -> None:
    ended: list[int] = []

    class Ends:
        def run_finished(self, run: Run) -> None:
            ended.append(run.id)

    with taskloom.subscribe(Ends()):
        assert compute() == 1
    assert len(ended) == 1


def test_a_listener_that_would_hear_nothing_is_refused() -> None:
    class Misspelt:
        def run_finishd(self, run: Run) -> None: ...

    with pytest.raises(TypeError, match="hears nothing"):
        taskloom.subscribe(Misspelt())


def test_a_closed_subscription_hears_nothing_more() -> None:
    listener = Listener()
    with taskloom.subscribe(listener) as subscription:
        compute()
        assert "closed" not in repr(subscription)
    count = len(listener.events)
    compute()
    subscription.close()  # twice does no harm
    assert len(listener.events) == count
    assert "closed" in repr(subscription)


def test_a_listener_may_close_its_own_subscription() -> None:
    class Once(Listener):
        def run_started(self, run: Run) -> None:
            super().run_started(run)
            subscription.close()

    listener = Once()
    subscription = taskloom.subscribe(listener)
    compute()
    compute()
    assert [event for event, _ in listener.events] == ["started"]


def test_who_subscribes_in_the_middle_of_a_run_hears_of_it() -> None:
    listener = Listener()
    running, go_on = threading.Event(), threading.Event()

    def task() -> bool:
        running.set()
        return go_on.wait(PATIENCE)

    thread = threading.Thread(target=taskloom.get, args=({"a": (task,)}, "a"))
    thread.start()
    assert running.wait(PATIENCE)
    with taskloom.subscribe(listener):
        listener.wait_for("updated", 2)
        go_on.set()
        thread.join()
    ids = {run for _, run in listener.events}
    assert len(ids) == 1
    assert well_formed(listener.of(*ids))


def test_listeners_come_and_go_on_many_threads() -> None:
    told: Counter[str] = Counter()
    lock = threading.Lock()

    class Count:
        def run_finished(self, run: Run) -> None:
            with lock:
                told["all"] += 1

    subscriptions: list[taskloom.Subscription] = []

    def attach() -> None:
        for _ in range(50):
            with taskloom.subscribe(Listener()):
                subscriptions.append(taskloom.subscribe(Count()))

    threads = [threading.Thread(target=attach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        compute()
        assert told["all"] == 400
    finally:
        for subscription in subscriptions:
            subscription.close()
    compute()
    assert told["all"] == 400


def test_a_subscription_remembers_no_run_that_has_ended() -> None:
    with taskloom.subscribe(Listener()) as subscription:
        for _ in range(30):
            compute()
        assert subscription.known == set()


def test_a_listener_that_is_closed_is_let_go() -> None:
    listener = Listener()
    alive = weakref.ref(listener)
    with taskloom.subscribe(listener):
        compute()
    del listener
    gc.collect()
    assert until(lambda: alive() is None)  # the ticker may be about to see that there is nothing to tell


# -- listeners that misbehave -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["run_started", "run_updated", "run_finished"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_listener_that_raises_is_dropped_and_the_run_goes_on(event: str, error: type[BaseException]) -> None:
    good = Listener()
    raised = threading.Event()
    calls: list[str] = []

    class Bad:
        def __getattr__(self, name: str) -> Callable[[Run], None]:
            if not name.startswith("run_"):
                raise AttributeError(name)
            return partial(self._told, name)

        def _told(self, name: str, run: Run) -> None:
            calls.append(name)
            if name == event:
                raised.set()
                raise error("no")

        def __repr__(self) -> str:
            raise ValueError("not even this works")

    run = compute if event == "run_finished" else partial(compute_until, raised)
    bad = taskloom.subscribe(Bad())
    with taskloom.subscribe(good):
        with pytest.warns(RuntimeWarning, match=rf"(?s)listener .*Bad object.*{event} raised.*{error.__name__}"):
            assert run() == 1
        assert compute() == 1
    assert calls[-1] == event, "nothing is called once it is dropped"
    assert calls.count(event) == 1
    assert good.count("finished") == 2
    bad.close()


def test_a_listener_whose_attributes_raise_is_dropped() -> None:
    class Bad:
        @property
        def run_finished(self) -> None:
            raise ZeroDivisionError

    with taskloom.subscribe(Bad()), pytest.warns(RuntimeWarning, match="ZeroDivisionError"):
        assert compute() == 1
    assert compute() == 1


def test_a_dropped_listener_does_no_harm_where_warnings_are_errors(capfd: pytest.CaptureFixture[str]) -> None:
    class Bad:
        def run_finished(self, run: Run) -> None:
            raise ZeroDivisionError

    good = Listener()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with taskloom.subscribe(Bad()), taskloom.subscribe(good):
            assert compute() == 1
            assert compute() == 1
    assert good.count("finished") == 2
    assert capfd.readouterr().err.count("drops the listener") == 1


def test_a_listener_slower_than_a_second_is_dropped() -> None:
    clock, good = SteppedClock(), Listener()
    bus = EventBus(clock)
    calls: list[int] = []

    class Slow:
        def run_finished(self, run: Run) -> None:
            calls.append(run.id)
            clock.time += 1.5

    bus.subscribe(Slow())
    bus.subscribe(good)
    first, second = a_run(), a_run()
    bus.started(first)
    with pytest.warns(RuntimeWarning, match="run_finished took over 1 s"):
        bus.finished(first)
    bus.started(second)
    bus.finished(second)
    assert calls == [first.id]
    assert good.of(second)[-1] == "finished"


def test_a_listener_hears_of_an_end_before_a_run_that_begins_lets_go_of_that_run() -> None:
    hears, go_on, kept = threading.Event(), threading.Event(), list[bool]()

    class Slow:
        def run_finished(self, run: Run) -> None:
            hears.set()
            go_on.wait(PATIENCE)
            kept.append(run.keeps_inputs)

    thread = threading.Thread(target=compute)
    with taskloom.subscribe(Slow()):
        thread.start()
        assert hears.wait(PATIENCE)
        first = last_run()
        begun = taskloom.Callback(pretask=lambda *_: go_on.set())
        with begun:
            compute()
        thread.join(PATIENCE)
    assert kept == [True, True]
    until(lambda: not first.keeps_inputs)


def test_a_listener_within_a_second_is_kept() -> None:
    clock = SteppedClock()
    bus = EventBus(clock)
    calls: list[int] = []

    class Leisurely:
        def run_finished(self, run: Run) -> None:
            calls.append(run.id)
            clock.time += 0.9

    bus.subscribe(Leisurely())
    for _ in range(3):
        run = a_run()
        bus.started(run)
        bus.finished(run)
    assert len(calls) == 3


def test_a_listener_that_never_returns_holds_a_run_up_for_a_second_only() -> None:
    release, good, hung = threading.Event(), Listener(), threading.Event()
    finished = threading.Event()

    class Hangs:
        def run_finished(self, run: Run) -> None:
            hung.set()
            release.wait(3 * PATIENCE)
            finished.set()

    bad = taskloom.subscribe(Hangs())
    try:
        with taskloom.subscribe(good):
            begun = monotonic()
            with pytest.warns(RuntimeWarning, match="not returned for over 1 s") as caught:
                assert compute() == 1
            took = monotonic() - begun
            assert 0.5 < took < PATIENCE
            assert "closed" in repr(bad)
            good.wait_for("finished", 1)  # behind the one that hangs
            begun = monotonic()
            assert compute() == 1
            assert good.count("finished") == 2, "the next run is told of as ever"
            release.set()
            assert finished.wait(PATIENCE)
            assert compute() == 1
            assert good.count("finished") == 3
            assert len(caught) == 1, "it is dropped once"
        assert all(well_formed(good.of(run)) for _, run in good.events)
    finally:
        release.set()
        bad.close()


def test_a_listener_that_hung_and_was_dropped_gets_no_second_warning() -> None:
    """It comes back late, to a bus that has gone on without it."""
    release, back = threading.Event(), threading.Event()

    class Hangs:
        def run_started(self, run: Run) -> None:
            release.wait(3 * PATIENCE)
            back.set()

        def run_finished(self, run: Run) -> None:
            pytest.fail("it was dropped")

    bus, run = EventBus(), a_run()
    bus.subscribe(Hangs())
    bus.started(run)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bus.finished(run)
        release.set()
        assert back.wait(PATIENCE)
        other, listener = a_run(), Listener()
        with bus.subscribe(listener):
            bus.started(other)
            bus.finished(other)
    assert listener.of(other) == ["started", "finished"]
    assert len(caught) == 1


def test_a_listener_that_hangs_in_an_update_leaves_others_a_whole_story() -> None:
    """The thread that it held goes on where it was, long after the run has ended."""
    release, held = threading.Event(), threading.Event()
    thread: list[threading.Thread] = []

    class Hangs:
        def run_updated(self, run: Run) -> None:
            thread.append(threading.current_thread())
            held.set()
            release.wait(3 * PATIENCE)

    good = Listener()
    with taskloom.subscribe(Hangs()), taskloom.subscribe(good):
        try:
            with pytest.warns(RuntimeWarning, match="not returned"):
                compute_until(held)
            good.wait_for("finished")
        finally:
            release.set()
        thread[0].join(PATIENCE)
        assert not thread[0].is_alive()
    assert well_formed(good.of(last_run()))


def test_one_that_hung_and_comes_back_does_not_hide_another_that_hangs() -> None:
    release = threading.Event()
    first: list[threading.Thread] = []

    class Hangs:
        def run_finished(self, run: Run) -> None:
            first.append(threading.current_thread())
            release.wait(3 * PATIENCE)

    class HangsLater:
        def run_finished(self, run: Run) -> None:
            if first:
                go_on.set()
                first[0].join(PATIENCE)
                over.wait(3 * PATIENCE)

    go_on, over = release, threading.Event()
    try:
        with taskloom.subscribe(HangsLater()) as later, taskloom.subscribe(Hangs()):
            with pytest.warns(RuntimeWarning, match=r"\.Hangs object.* not returned"):
                compute()
            with pytest.warns(RuntimeWarning, match=r"\.HangsLater object.* not returned"):
                compute()
            assert "closed" in repr(later)
    finally:
        release.set()
        over.set()


def test_a_listener_may_compute_something_itself() -> None:
    answers: list[Any] = []

    class Computes(Listener):
        def run_finished(self, run: Run) -> None:
            super().run_finished(run)
            if len(answers) < 2:
                answers.append(compute() + threaded.get({"a": (abs, -1), "b": (abs, -2), "c": (max, "a", "b")}, "c"))

    listener = Computes()
    with taskloom.subscribe(listener):
        begun = monotonic()
        assert compute() == 1
        listener.wait_for("finished", 5)  # ours, and two in each of the first two calls
        assert monotonic() - begun < PATIENCE
    assert answers == [3, 3]


def test_a_listener_that_waits_for_a_run_on_another_thread_ends_nothing_but_its_subscription() -> None:
    def compute_too() -> None:
        answers.append(compute())
        answered.set()

    class Waits:
        def run_finished(self, run: Run) -> None:
            if not answers:
                answers.append(0)
                thread = threading.Thread(target=compute_too)
                thread.start()
                thread.join()

    answers: list[int] = []
    answered = threading.Event()
    with taskloom.subscribe(Waits()), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert compute() == 1
        assert compute() == 1
    assert answered.wait(PATIENCE)
    assert answers == [0, 1]


# -- history and processes --------------------------------------------------------------------------------------------


def test_runs_are_the_last_twenty_newest_last() -> None:
    for _ in range(25):
        compute()
    newest = last_run()
    assert len(taskloom.runs) == 20
    assert [run.id for run in taskloom.runs] == list(range(newest.id - 19, newest.id + 1))
    assert taskloom.runs[-1] is newest
    assert list(taskloom.runs[-2:]) == [taskloom.runs[-2], newest]
    assert newest in taskloom.runs
    assert repr(newest) in repr(taskloom.runs)


def test_runs_inside_tasks_are_told_of_but_push_nothing_out_of_the_history() -> None:
    compute()
    before = last_run()
    listener = Listener()
    with taskloom.subscribe(listener):
        taskloom.get(dict.fromkeys(range(100, 130), (compute,)), list(range(100, 130)))
    assert listener.count("finished") == 31
    assert last_run().tasks.key == list(range(100, 130))
    assert list(taskloom.runs)[-2:] == [before, last_run()]


def in_a_new_process(code: str) -> str:
    """What a Python program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_the_child_of_a_fork_has_a_bus_of_its_own() -> None:
    out = in_a_new_process(
        """
        import os, sys, taskloom
        class Listener:
            def run_finished(self, run):
                print(who, run.status, len(taskloom.runs), flush=True)
        who = "parent"
        taskloom.subscribe(Listener())
        taskloom.get({"a": (abs, -1)}, "a")
        child = os.fork()
        if not child:
            who = "child"
            taskloom.get({"a": (abs, -1)}, "a")  # not told: the parent's listeners stay there
            taskloom.subscribe(Listener())
            taskloom.get({"a": (abs, -1)}, "a")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        taskloom.get({"a": (abs, -1)}, "a")
        """
    )
    assert out.split("\n") == ["parent finished 1", "child finished 2", "parent finished 2", ""]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_forked_inside_a_task_may_end_the_run_as_well() -> None:
    out = in_a_new_process(
        """
        import os, taskloom
        answer = taskloom.get({"a": (os.fork,), "b": (bool, "a")}, ["a", "b"])
        if not answer[0]:
            print("child", answer, flush=True)
            os._exit(0)
        assert os.waitpid(answer[0], 0)[1] == 0
        print("parent", answer[1])
        """
    )
    assert out.split("\n") == ["child [0, False]", "parent True", ""]


def test_a_witness_alone_hears_of_runs_that_start_meanwhile() -> None:
    class Witness:
        def __init__(self) -> None:
            self.heard: list[tuple[str, int, int]] = []

        def run_started(self, run: Run) -> None:
            self.heard.append(("started", run.n_done, threading.get_ident()))

        def run_finished(self, run: Run) -> None:
            self.heard.append((run.status, run.n_done, threading.get_ident()))

    witness, listener = Witness(), Listener()
    with taskloom.subscribe(listener):
        with taskloom.bus.witnessed_by(witness), pytest.raises(ZeroDivisionError):
            taskloom.get({"a": (abs, -1), "b": (lambda x: x / 0, "a")}, "b")
        assert listener.events == []
        here = threading.get_ident()
        assert witness.heard == [("started", 0, here), ("failed", 1, here)]
        taskloom.get({"a": (abs, -1)}, "a")
        assert [event for event, _ in listener.events] == ["started", "finished"]
        assert len(witness.heard) == 2


def test_a_process_is_read_once_a_tick_however_many_runs_and_workers_it_has() -> None:
    ticks = EventBus()
    first, second = (Run(RunGraph(["a"], ["f"], [()]), "distributed") for _ in range(2))
    for run in (first, second):
        run.join("worker-0")
        run.join("worker-1")
        run.workers[0].held, run.workers[1].held = 3, 4
    ticks._sample([first, second])
    assert [(sample.worker, sample.held) for sample in first.samples] == [(0, 7)]
    assert [(sample.cpu, sample.rss) for sample in first.samples] == [(s.cpu, s.rss) for s in second.samples]


def test_a_listener_is_not_blamed_for_a_task_that_holds_the_interpreters_lock() -> None:
    program = """
import ctypes, threading, time, taskloom
class Listener:
    updates = 0
    def run_updated(self, run):
        self.updates += 1
        sum(range(10_000))
        while self.updates == 1 and not holding.is_set():  # until the task has the lock
            holding.wait(0.01)
holding = threading.Event()
sleep = ctypes.PyDLL(None).usleep  # which keeps the lock
def hold():
    time.sleep(0.3)
    holding.set()
    for _ in range(2):
        sleep(900_000)
def wait_for_updates():
    deadline = time.monotonic() + 20
    while listener.updates < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
listener = Listener()
with taskloom.subscribe(listener) as subscription:
    taskloom.threaded.get({"a": (hold,), "b": (wait_for_updates,)}, ["a", "b"], num_workers=2)
    from taskloom.bus.event_bus import bus
    print(subscription in bus.subscriptions, listener.updates > 2)
"""
    assert check_child(program) == "True True\n"
