"""`Run.cancel` from any thread, in every phase of a run."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from time import sleep
from typing import Any

import pytest

import taskloom

from .cases import PATIENCE, in_thread, wait_for
from .conftest import Engine


def newest() -> taskloom.Run:
    run = taskloom.last_run()
    assert run is not None
    return run


@contextmanager
def cancelled() -> Iterator[None]:
    """The block's run is cancelled, and recorded so."""
    with pytest.raises(KeyboardInterrupt):
        yield
    assert newest().status == "cancelled"
    assert newest().failure is None


def check_next_run(get: Any) -> None:
    """The next run is fine, and nothing late hits it."""
    dsk = {("x", i): (abs, -i) for i in range(50)}
    for _ in range(3):
        assert get(dsk | {"sum": (sum, list(dsk))}, "sum") == sum(range(50))
        assert newest().status == "finished"


def test_from_inside_a_task(local: Engine, calls: list[Any]) -> None:
    def stop(x: int) -> int:
        newest().cancel()
        return x

    with cancelled():
        local.get({"a": (stop, 1), "b": (calls.append, "a")}, "b")
    assert calls == []
    check_next_run(local.get)


def test_from_inside_the_last_task(local: Engine) -> None:
    """The run has not ended, so the promise holds: the call raises."""
    with cancelled():
        local.get({"a": (lambda: newest().cancel(),)}, "a")
    check_next_run(local.get)


@pytest.mark.parametrize("how", ["wait", "sleep"])
@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_while_tasks_block_in_the_main_thread(local: Engine, how: str, observed: bool, calls: list[Any]) -> None:
    started, never = threading.Event(), threading.Event()
    if how == "sleep" and (not local.case.own_workers or (observed and local.case.parallel)):
        pytest.skip("the task sleeps on in its own thread, and nobody could wake it")

    def task(x: int) -> None:
        started.set()
        if how == "wait":
            never.wait(PATIENCE)
        else:
            sleep(PATIENCE)

    def cancel() -> None:
        wait_for(started)
        newest().cancel()

    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    canceller = in_thread(cancel)
    try:
        with cancelled():
            local.get({"a": (task, 1), "b": (calls.append, "a")}, "b", **callbacks)
    finally:
        never.set()
    canceller()
    assert newest().duration < PATIENCE / 2, "it did not wait for the task"
    assert calls == []
    check_next_run(local.get)


def test_while_tasks_block_in_another_thread(local: Engine, calls: list[Any]) -> None:
    """No task can be interrupted there: none starts any more, and the call raises when those that run are done."""
    started, go_on = threading.Event(), threading.Event()

    def task(x: int) -> int:
        started.set()
        wait_for(go_on)
        return x

    call = in_thread(local.get, {"a": (task, 1), "b": (calls.append, "a")}, "b")
    wait_for(started)
    newest().cancel()
    go_on.set()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert newest().status == "cancelled"
    assert calls == []
    check_next_run(local.get)


def test_what_a_task_makes_ready_after_the_cancel_does_not_start(parallel: Engine, calls: list[Any]) -> None:
    """One worker hangs on while the other ends its task, which several others wait for."""
    both = threading.Barrier(3)
    hang, go_on = threading.Event(), threading.Event()

    def long() -> None:
        both.wait(PATIENCE)
        wait_for(hang)

    def short() -> None:
        both.wait(PATIENCE)
        wait_for(go_on)

    dsk: dict[Any, Any] = {"long": (long,), "short": (short,)}
    dsk |= {("behind", i): (lambda *_: calls.append("behind"), "short") for i in range(5)}
    dsk |= {"end": (len, ["long", *[("behind", i) for i in range(5)]])}
    call = in_thread(parallel.get, dsk, "end")
    both.wait(PATIENCE)
    run = newest()
    run.cancel()
    go_on.set()
    sleep(0.03)  # a helper looks for work thirty times meanwhile, and must find none
    hang.set()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert calls == []
    check_next_run(parallel.get)


@pytest.mark.parametrize("hook", ["start_state", "pretask", "posttask", "finish"])
def test_from_a_callback(local: Engine, hook: str, calls: list[Any]) -> None:
    finished: list[bool] = []
    hooks: dict[str, Any] = {hook: lambda *_: newest().cancel()}
    callback = taskloom.Callback(**hooks)
    witness = taskloom.Callback(finish=lambda dsk, state, errored: finished.append(errored))
    dsk = {"x": (calls.append, "first"), "y": (lambda _: calls.append("second"), "x")}
    if hook == "finish":  # the run has ended
        local.get(dsk, "y", callbacks=[callback, witness])
        assert newest().status == "finished"
        assert finished == [False]
    else:
        with cancelled():
            local.get(dsk, "y", callbacks=[callback, witness])
        assert calls == (["first"] if hook == "posttask" else [])
        assert finished == [True]
    check_next_run(local.get)


def test_from_a_listener(local: Engine, calls: list[Any]) -> None:
    ready, never = threading.Event(), threading.Event()

    class Stopper:
        def run_updated(self, run: taskloom.Run) -> None:
            if ready.is_set():
                run.cancel()

    def task(x: int) -> None:
        ready.set()
        never.wait(PATIENCE)

    with taskloom.subscribe(Stopper()), cancelled():
        local.get({"a": (task, 1), "b": (calls.append, "a")}, "b")
    never.set()
    assert newest().duration < PATIENCE / 2
    assert calls == []
    check_next_run(local.get)


def test_before_the_first_task(calls: list[Any]) -> None:
    class Three(int):
        """A number of workers that cancels the run when the engine looks at it."""

        def __lt__(self, other: int) -> bool:
            newest().cancel()
            return False

    dsk = {("x", i): (calls.append, i) for i in range(5)}
    with cancelled():
        taskloom.threaded.get(dsk, list(dsk), num_workers=Three(3))
    assert calls == []


def test_after_the_end_it_does_nothing(local: Engine) -> None:
    assert local.get({"a": (abs, -1)}, "a") == 1
    run = newest()
    run.cancel()
    in_thread(run.cancel)()
    assert run.status == "finished"
    check_next_run(local.get)


def test_several_cancels_of_one_run(local: Engine) -> None:
    started, never = threading.Event(), threading.Event()

    def task() -> None:
        started.set()
        never.wait(PATIENCE)

    def cancel() -> None:
        wait_for(started)
        newest().cancel()

    cancellers = [in_thread(cancel) for _ in range(4)]
    with cancelled():
        local.get({"a": (task,)}, "a")
    never.set()
    assert newest().duration < PATIENCE / 2
    for canceller in cancellers:
        canceller()
    check_next_run(local.get)


def test_at_any_moment_of_a_busy_run(local: Engine) -> None:
    """The interrupt that gets the main thread out of a task must hit nothing but its run."""
    dsk = {("x", i): (abs, i) for i in range(400)} | {"sum": (sum, [("x", i) for i in range(400)])}
    rounds = 40 if local.case.own_workers else 10
    ends = 0
    for n in range(rounds):
        go = threading.Event()

        def cancel(n: int = n, go: threading.Event = go) -> None:
            wait_for(go)
            for _ in range(n * 20):  # a little later each time
                pass
            if (run := taskloom.last_run()) is not None:
                run.cancel()

        canceller = in_thread(cancel)
        go.set()
        try:
            local.get(dsk, "sum")
        except KeyboardInterrupt:
            ends += 1
            assert newest().status == "cancelled"
        canceller()
        for _ in range(100):  # whatever is late hits here
            pass
        assert newest().status in ("cancelled", "finished")
    check_next_run(local.get)


def test_the_run_inside_a_task(local: Engine) -> None:
    """The task fails with the interrupt of its own run, so that the outer run is cancelled too."""

    def inner() -> Any:
        return local.get({"x": (lambda: taskloom.runs[-1].cancel(),), "y": (abs, -1), "z": (repr, ["x", "y"])}, "z")

    with cancelled():
        local.get({"a": (inner,), "b": (repr, "a")}, "b")
    check_next_run(local.get)


def test_what_a_task_computes_itself_is_cancelled_with_its_run(calls: list[Any]) -> None:
    begun, hang, ended = threading.Event(), threading.Event(), threading.Event()

    def inner() -> None:
        begun.set()
        hang.wait(PATIENCE)

    def outer(_: int) -> None:
        try:
            taskloom.threaded.get({"a": (inner,), "b": (calls.append, "a")}, "b", num_workers=2)
            calls.append("behind the run inside")
        finally:
            ended.set()

    cancel = in_thread(lambda: (begun.wait(PATIENCE), newest().cancel()))
    with cancelled():
        taskloom.threaded.get({"x": (outer, 1), "y": (calls.append, "x")}, "y", num_workers=2)
    cancel()
    hang.set()
    wait_for(ended)
    assert calls == []


def test_a_failure_leaves_what_other_tasks_compute_alone(calls: list[Any]) -> None:
    begun, failed, ended = threading.Event(), threading.Event(), threading.Event()

    def outer(_: int) -> None:
        taskloom.threaded.get(
            {"a": (begun.set,), "b": (lambda _: failed.wait(PATIENCE), "a"), "c": (calls.append, "b")}, "c"
        )
        ended.set()

    def fail(_: int) -> None:
        begun.wait(PATIENCE)
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        taskloom.threaded.get({"x": (outer, 1), "y": (fail, 1), "z": (repr, ["x", "y"])}, "z", num_workers=2)
    failed.set()
    wait_for(ended)
    assert calls == [True]


def test_a_thread_that_begins_in_a_task_is_not_cancelled_with_its_run() -> None:
    """It keeps the context of the task, and may serve others."""
    answers: SimpleQueue[Any] = SimpleQueue()
    asked: SimpleQueue[Any] = SimpleQueue()

    def serve() -> None:
        for graph in iter(asked.get, None):
            try:
                answers.put(taskloom.threaded.get(graph, "b", num_workers=2))
            except BaseException as error:
                answers.put(error)

    def start(_: int) -> None:
        threading.Thread(target=copy_context().run, args=(serve,), daemon=True).start()
        newest().cancel()

    with cancelled():
        taskloom.threaded.get({"x": (start, 1), "y": (repr, "x")}, "y", num_workers=2)
    asked.put({"a": (abs, -1), "b": (abs, "a")})
    assert answers.get(timeout=PATIENCE) == 1
    asked.put(None)


def test_a_task_that_outlives_its_run_takes_no_workers_place(calls: list[Any]) -> None:
    """A helper may hang in a task that cannot be interrupted; the next run has all its workers all the same."""
    both, hang = threading.Barrier(2), threading.Event()

    def hangs_or_cancels(hangs: bool) -> None:
        both.wait(PATIENCE)
        if hangs:
            hang.wait(PATIENCE)
        else:
            newest().cancel()

    try:
        with cancelled():
            taskloom.threaded.get(
                {"a": (hangs_or_cancels, True), "b": (hangs_or_cancels, False), "c": (repr, ["a", "b"])},
                "c",
                num_workers=2,
            )
        meeting = threading.Barrier(2)
        dsk = {("x", i): (meeting.wait, PATIENCE / 2) for i in range(2)}
        assert sorted(taskloom.threaded.get(dsk, list(dsk), num_workers=2)) == [0, 1]
    finally:
        hang.set()
