"""One suite for taskloom's clusters and those of dask.distributed: what people know carries over.

Each test runs against both. Where taskloom differs on purpose, the test asks `side.is_ours`, and its name is in
`DIFFERENCES` with the reason.
"""

# ruff: noqa: F811 - fixtures are imported

import asyncio
import concurrent.futures
import gc
import operator
import os
import pickle
from pathlib import Path
from typing import Any

import distributed
import pytest

import taskloom
import taskloom.distributed

from .sides import (  # noqa: F401
    QUIET,
    Side,
    add,
    asking,
    client,
    cluster,
    fail,
    gate,
    in_loop,
    inc,
    limit,
    note,
    shared,
    side,
    until,
    wait_for,
    workers,
)

pytestmark = QUIET

DIFFERENCES = {
    "test_a_cancelled_call_is_submitted_again": "it runs; dask gives the cancelled future while somebody has that",
    "test_a_cancelled_task_stops": "code that runs is stopped; dask lets it go on",
    "test_a_closed_client_says_so": "the client's RuntimeError; dask raises what it comes upon",
    "test_a_function_that_cannot_be_pickled": "the error names the task, and is a SerializationError",
    "test_a_future_goes_to_another_client_by_its_key": "the cluster is asked for it; dask does not ask",
    "test_a_key_list_of_another_length": "refused; dask leaves out the calls that have no key",
    "test_a_key_reused_with_another_function_is_noticed": "a warning; dask gives the old future without a word",
    "test_an_argument_that_cannot_be_pickled": "the error names the task, and is a SerializationError",
    "test_an_iterator_is_mapped": "it is consumed as its calls are submitted; dask refuses iterators",
    "test_an_option_of_more_machines_is_refused": "nothing listens on the network, so there is no host to choose",
    "test_keys_of_a_map_reused_with_another_function_are_noticed": "a warning; dask gives the old futures silently",
    "test_running_on_the_scheduler": "the coordinator runs no code of users, which could hold up everything",
    "test_the_address": "a Unix socket of its owner's; dask listens on TCP",
    "test_the_future_of_an_unknown_key": "cancelled, as it will never be there; dask has it pending for ever",
    "test_workers_go_by_names": "workers go by their names; dask's by network addresses",
}


# -- submit ------------------------------------------------------------------------------------------------------------


def test_a_call_gives_its_result(client: Any) -> None:
    assert client.submit(inc, 1).result() == 2


def test_a_call_with_keywords(client: Any) -> None:
    assert client.submit(add, 1, y=2).result() == 3


def test_a_lambda_and_a_closure(client: Any) -> None:
    n = 5
    assert client.submit(lambda x: x + n, 1).result() == 6


def test_a_class_is_called(client: Any) -> None:
    assert client.submit(complex, 1, 2).result() == 1 + 2j


def test_a_method_is_called(client: Any) -> None:
    assert client.submit("a-b".split, "-").result() == ["a", "b"]


def test_a_partial_is_called(client: Any) -> None:
    from functools import partial

    assert client.submit(partial(add, y=5), 1).result() == 6


def test_a_future_is_an_argument(client: Any) -> None:
    assert client.submit(inc, client.submit(inc, 1)).result() == 3


def test_a_future_is_a_keyword_argument(client: Any) -> None:
    assert client.submit(add, 1, y=client.submit(inc, 1)).result() == 3


def test_futures_in_a_list(client: Any) -> None:
    assert client.submit(sum, client.map(inc, range(3))).result() == 6


def test_futures_in_a_dictionary(client: Any) -> None:
    assert client.submit(dict, {"a": client.submit(inc, 1), "b": 2}).result() == {"a": 2, "b": 2}


def test_futures_deep_inside(client: Any) -> None:
    one = client.submit(inc, 0)
    assert client.submit(repr, [{"x": (one, [one])}]).result() == "[{'x': (1, [1])}]"


def test_a_future_of_a_failure_is_an_argument(client: Any) -> None:
    with pytest.raises(ValueError, match="cause"):
        client.submit(inc, client.submit(fail, "cause")).result()


def test_a_long_chain(client: Any) -> None:
    future = client.submit(inc, 0)
    for _ in range(200):
        future = client.submit(inc, future)
    assert future.result() == 201


def test_what_cannot_be_called_is_refused(client: Any) -> None:
    with pytest.raises(TypeError):
        client.submit(1, 2)


def test_equal_calls_share_a_key(client: Any) -> None:
    first, second = client.submit(add, 1, y=3), client.submit(add, 1, y=3)
    assert first.key == second.key
    assert second.result() == 4


def test_other_arguments_give_another_key(client: Any) -> None:
    assert client.submit(inc, 1).key != client.submit(inc, 2).key


def test_other_functions_give_another_key(client: Any) -> None:
    assert client.submit(lambda x: x, 1).key != client.submit(lambda x: -x, 1).key


def test_kinds_of_numbers_are_told_apart(client: Any) -> None:
    assert len({client.submit(repr, value).key for value in (1, 1.0, True)}) == 3


def test_impure_calls_have_keys_of_their_own(client: Any) -> None:
    first, second = client.submit(os.getpid, pure=False), client.submit(os.getpid, pure=False)
    assert first.key != second.key


def test_a_pure_call_runs_once(client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "notes")
    futures = [client.submit(note, path, "x") for _ in range(3)]
    client.gather(futures)
    assert Path(path).read_text() == "x"


def test_an_impure_call_runs_each_time(client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "notes")
    client.gather([client.submit(note, path, "x", pure=False) for _ in range(3)])
    assert Path(path).read_text() == "xxx"


def test_a_key_is_chosen(client: Any) -> None:
    future = client.submit(inc, 1, key="chosen-key")
    assert future.key == "chosen-key"
    assert future.result() == 2


def test_a_key_may_be_a_tuple(client: Any) -> None:
    future = client.submit(inc, 1, key=("chosen", 0))
    assert future.key == ("chosen", 0)
    assert future.result() == 2


def test_a_key_begins_with_the_functions_name(client: Any) -> None:
    assert client.submit(inc, 1).key.startswith("inc-")


def test_a_key_reused_with_another_function_is_noticed(side: Side, client: Any) -> None:
    first = client.submit(inc, 1, key="reused")
    if side.is_ours:
        with pytest.warns(UserWarning, match="another function"):
            second = client.submit(add, 1, key="reused")
    else:
        second = client.submit(add, 1, key="reused")
    assert first.result() == second.result() == 2


def test_keys_of_a_map_reused_with_another_function_are_noticed(side: Side, client: Any) -> None:
    first = client.map(inc, [1, 2], key=["one", "two"])
    if side.is_ours:
        with pytest.warns(UserWarning, match="another function"):
            second = client.map(abs, [1, 2], key=["one", "two"])
    else:
        second = client.map(abs, [1, 2], key=["one", "two"])
    assert client.gather(first) == client.gather(second) == [2, 3]


def test_an_array_goes_and_comes(client: Any) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(200_000.0)
    result = client.submit(operator.mul, array, 2).result()
    assert (result == 2 * array).all()


def test_arguments_are_as_they_were_at_the_call(client: Any, gate: Path) -> None:
    blockers = [client.submit(wait_for, str(gate), i) for i in range(2)]
    argument = [1]
    future = client.submit(list, argument)
    argument.append(2)
    gate.touch()
    assert future.result() == [1]
    client.gather(blockers)


def test_a_function_that_cannot_be_pickled(side: Side, client: Any) -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(taskloom.SerializationError if side.is_ours else Exception):
        client.submit(lambda: lock).result()


def test_an_argument_that_cannot_be_pickled(side: Side, client: Any) -> None:
    import threading

    with pytest.raises(taskloom.SerializationError if side.is_ours else Exception):
        client.submit(id, threading.Lock()).result()


def test_a_result_that_cannot_be_pickled(client: Any) -> None:
    import threading

    future = client.submit(threading.Lock)
    with pytest.raises(Exception, match="pickle"):
        future.result()


def test_a_result_that_cannot_be_pickled_is_used_where_it_is(client: Any, workers: list[str]) -> None:
    import threading

    lock = client.submit(threading.Lock, workers=workers[:1], pure=False)
    assert client.submit(lambda lock: lock.locked(), lock, workers=workers[:1]).result() is False


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_worker_is_chosen(client: Any, workers: list[str]) -> None:
    pids = client.run(os.getpid)
    futures = [client.submit(os.getpid, workers=[workers[1]], pure=False) for _ in range(4)]
    assert set(client.gather(futures)) == {pids[workers[1]]}


def test_a_worker_is_chosen_without_a_list(client: Any, workers: list[str]) -> None:
    pids = client.run(os.getpid)
    assert client.submit(os.getpid, workers=workers[0], pure=False).result() == pids[workers[0]]


def test_other_workers_are_allowed(client: Any) -> None:
    future = client.submit(inc, 71, workers=["nobody"], allow_other_workers=True)
    assert future.result(10) == 72


def test_allowing_others_without_saying_whom_is_refused(client: Any) -> None:
    with pytest.raises(ValueError, match="allow_other_workers"):
        client.submit(inc, 72, allow_other_workers=True)


def test_a_chosen_worker_for_each_call_of_a_map(client: Any, workers: list[str]) -> None:
    pids = client.run(os.getpid)
    futures = client.map(lambda _: os.getpid(), range(4), workers=[workers[0]], pure=False)
    assert set(client.gather(futures)) == {pids[workers[0]]}


def test_what_raises_is_tried_again(client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "tries")

    def flaky() -> str:
        note(path, "x")
        if len(Path(path).read_text()) < 3:
            raise ValueError("not yet")
        return "done"

    assert client.submit(flaky, retries=5).result() == "done"
    assert Path(path).read_text() == "xxx"


def test_retries_are_counted(client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "tries")

    def failing() -> None:
        note(path, "x")
        raise ValueError("never")

    with pytest.raises(ValueError, match="never"):
        client.submit(failing, retries=2).result()
    assert Path(path).read_text() == "xxx"


def test_a_higher_priority_goes_first(client: Any, workers: list[str], gate: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "order")
    options = {"workers": workers[:1], "pure": False}

    def put_down(text: str) -> None:  # nobody knows how long it takes: few are sent ahead
        note(path, text)

    blocker = client.submit(wait_for, str(gate), **options)
    low = [client.submit(put_down, "l", priority=-10, **options) for _ in range(10)]
    high = [client.submit(put_down, "h", priority=10, **options) for _ in range(3)]
    client.submit(inc, 1, workers=workers[1:], pure=False).result()  # dask's scheduler has heard of them by then
    gate.touch()
    client.gather([blocker, *low, *high])
    order = Path(path).read_text()
    assert sorted(order) == sorted("hhh" + 10 * "l")
    assert order.endswith("llllll"), order


# -- what becomes of a future ------------------------------------------------------------------------------------------


def test_a_future_is_pending_then_finished(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 5)
    assert future.status == "pending"
    assert not future.done()
    gate.touch()
    assert future.result() == 5
    assert future.status == "finished"
    assert future.done()


def test_an_exception_arrives_as_itself(client: Any) -> None:
    future = client.submit(fail, "as itself")
    with pytest.raises(ValueError, match="as itself") as caught:
        future.result()
    assert caught.value.args == ("as itself", 7)
    assert future.status == "error"


def test_an_exception_is_asked_for(client: Any) -> None:
    error = client.submit(fail, "asked").exception()
    assert isinstance(error, ValueError)
    assert error.args == ("asked", 7)


def test_there_is_no_exception_where_there_is_a_result(client: Any) -> None:
    assert client.submit(inc, 1).exception() is None


def test_a_traceback_leads_to_the_users_function(client: Any) -> None:
    trace = client.submit(fail, "trace").traceback()
    names = []
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names[-1] == "fail"


def test_there_is_no_traceback_where_there_is_a_result(client: Any) -> None:
    assert client.submit(inc, 1).traceback() is None


def test_an_exception_is_raised_again_and_again(client: Any) -> None:
    future = client.submit(fail, "again")
    for _ in range(3):
        with pytest.raises(ValueError, match="again"):
            future.result()


def test_a_timeout(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 6)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.05)
    gate.touch()
    assert future.result() == 6


def test_a_timeout_as_text(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 7)
    with pytest.raises(TimeoutError):
        future.result(timeout="50 ms")


def test_a_timeout_of_an_exception(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 8)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0.05)


def test_a_callback_gets_the_future(client: Any) -> None:
    called: list[Any] = []
    future = client.submit(inc, 100)
    future.add_done_callback(called.append)
    until(lambda: called)
    assert called == [future]


def test_a_callback_of_a_future_that_is_done(client: Any) -> None:
    future = client.submit(inc, 101)
    future.result()
    called: list[Any] = []
    future.add_done_callback(called.append)
    until(lambda: called)
    assert called[0].result() == 102


def test_a_callback_of_a_failure(client: Any) -> None:
    called: list[Any] = []
    future = client.submit(fail, "callback")
    future.add_done_callback(lambda f: called.append(f.status))
    until(lambda: called)
    assert called == ["error"]


def test_a_callback_runs_on_another_thread(client: Any) -> None:
    import threading

    called: list[Any] = []
    future = client.submit(inc, 102)
    future.add_done_callback(lambda _: called.append(threading.get_ident()))
    until(lambda: called)
    assert called[0] != threading.get_ident()


def test_the_type_of_a_result(client: Any) -> None:
    future = client.submit(inc, 103)
    future.result()
    until(lambda: future.type is not None)
    assert future.type is int


def test_a_future_shows_its_status_and_key(client: Any) -> None:
    future = client.submit(inc, 1, key="shown-key")
    future.result()
    assert "finished" in repr(future)
    assert "shown-key" in repr(future)


def test_a_future_shows_itself_in_a_notebook(client: Any) -> None:
    future = client.submit(inc, 1, key="<b>bold</b>")
    html = future._repr_html_()
    assert "Future" in html
    assert "<b>bold</b>" not in html


def test_futures_are_told_apart(client: Any) -> None:
    first, second = client.submit(inc, 1), client.submit(inc, 2)
    assert {first: 1, second: 2}[second] == 2
    assert first != second


def test_the_client_of_a_future(client: Any) -> None:
    assert client.submit(inc, 1).client is client


def test_a_future_that_is_released_goes(client: Any) -> None:
    future = client.submit(inc, 1234, pure=False)
    future.result()
    key = future.key
    assert client.who_has(future)[key]
    future.release()
    until(lambda: not client.who_has().get(key))


def test_the_last_reference_releases(client: Any) -> None:
    future = client.submit(inc, 1235, pure=False)
    future.result()
    key = future.key
    del future
    gc.collect()
    until(lambda: all(key not in keys for keys in client.has_what().values()))


def test_another_future_of_the_key_keeps_it(client: Any) -> None:
    first = client.submit(inc, 1236)
    first.result()
    second = client.submit(inc, 1236)
    first.release()
    client.submit(inc, 1237).result()
    assert client.who_has(second)[second.key]
    assert second.result() == 1237


def test_what_a_pending_task_needs_is_kept(client: Any, gate: Path) -> None:
    source = client.submit(inc, 1240, pure=False)
    source.result()
    blocker = client.submit(wait_for, str(gate), 1)
    user = client.submit(add, source, blocker)
    del source
    gc.collect()
    gate.touch()
    assert user.result() == 1242


def test_a_future_of_a_key(side: Side, client: Any) -> None:
    first = client.submit(inc, 1, key="by-key")
    assert first.result() == 2
    assert side.Future("by-key", client).result() == 2


def test_the_future_of_an_unknown_key(side: Side, client: Any) -> None:
    future = side.Future("no-such-key", client)
    if side.is_ours:
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(timeout=10)
    else:
        assert future.status == "pending"


# -- cancel and retry --------------------------------------------------------------------------------------------------


def test_a_cancelled_future_says_so(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 20)
    future.cancel()
    assert future.cancelled()
    assert future.status == "cancelled"
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_several_are_cancelled(client: Any, gate: Path) -> None:
    futures = [client.submit(wait_for, str(gate), i, pure=False) for i in range(5)]
    client.cancel(futures)
    assert all(future.cancelled() for future in futures)


def test_what_builds_on_a_cancelled_task_is_cancelled(client: Any, gate: Path) -> None:
    source = client.submit(wait_for, str(gate), 21)
    user = client.submit(inc, source)
    client.cancel(source)
    until(user.cancelled)


def test_a_cancelled_task_that_waits_does_not_run(
    side: Side, client: Any, workers: list[str], gate: Path, tmp_path: Path
) -> None:
    def block(begun: str) -> None:
        note(begun, "begun")
        wait_for(str(gate))

    begun = [tmp_path / f"begun-{i}" for i in range(len(workers))]
    blockers = [client.submit(block, str(path), workers=[name]) for path, name in zip(begun, workers, strict=True)]
    until(lambda: all(path.exists() for path in begun))  # on threads that an earlier test may have held
    future = client.submit(note, str(tmp_path / "ran"), "x", pure=False)
    key = future.key

    def knows(dask_worker: Any) -> bool:  # ours do not tell, but what they are asked they are asked after that
        return hasattr(dask_worker, "state") and key in dask_worker.state.tasks

    until(lambda: any(key in keys for keys in client.processing().values()))
    if not side.is_ours:  # what workers are asked may overtake what they are sent
        until(lambda: any(client.run(knows).values()))
    client.cancel(future)
    until(lambda: all(key not in keys for keys in client.processing().values()))
    until(lambda: not any(client.run(knows).values()))
    gate.touch()
    client.gather(blockers)
    client.gather(client.map(inc, range(4), pure=False))
    assert not (tmp_path / "ran").exists()


def test_a_cancelled_task_stops(side: Side, client: Any, gate: Path, tmp_path: Path) -> None:
    begun, path = str(tmp_path / "begun"), str(tmp_path / "stopped")

    def endless() -> None:
        try:
            note(begun, "begun")
            wait_for(str(gate))
        except BaseException:
            note(path, "stopped")
            raise

    future = client.submit(endless, pure=False)
    until(lambda: os.path.exists(begun))
    future.cancel()
    if side.is_ours:
        until(lambda: os.path.exists(path))
    else:
        gate.touch()
        assert not os.path.exists(path)


def test_a_cancelled_call_is_submitted_again(side: Side, client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 22)
    future.cancel()
    gate.touch()
    again = client.submit(wait_for, str(gate), 22)
    assert again.key == future.key
    if side.is_ours:
        assert again.result(10) == 22


def test_an_argument_that_was_cancelled(client: Any, gate: Path) -> None:
    source = client.submit(wait_for, str(gate), 23)
    source.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        client.submit(inc, source).result(10)


def test_a_callback_of_a_cancelled_future(client: Any, gate: Path) -> None:
    called: list[Any] = []
    future = client.submit(wait_for, str(gate), 24)
    future.add_done_callback(lambda f: called.append(f.status))
    future.cancel()
    until(lambda: called)
    assert called == ["cancelled"]


def test_cancelling_what_is_done_gives_it_up(client: Any) -> None:
    future = client.submit(inc, 2000, pure=False)
    future.result()
    client.cancel(future)
    assert future.cancelled()


def test_a_failed_task_is_tried_again(client: Any, gate: Path) -> None:
    path = str(gate)

    def needs_file() -> str:
        with open(path) as file:
            return file.read()

    future = client.submit(needs_file)
    with pytest.raises(FileNotFoundError):
        future.result()
    gate.write_text("there")
    future.retry()
    assert future.result(10) == "there"


def test_a_client_tries_failed_tasks_again(client: Any, gate: Path) -> None:
    path = str(gate)

    def needs_file(x: int) -> str:
        with open(path) as file:
            return file.read() + str(x)

    futures = client.map(needs_file, range(3))
    assert all(isinstance(future.exception(), FileNotFoundError) for future in futures)
    gate.write_text("there")
    client.retry(futures)
    assert [future.result(10) for future in futures] == ["there0", "there1", "there2"]


# -- map ---------------------------------------------------------------------------------------------------------------


def test_a_map(client: Any) -> None:
    futures = client.map(inc, [1, 2, 3])
    assert isinstance(futures, list)
    assert client.gather(futures) == [2, 3, 4]


def test_a_map_over_several(client: Any) -> None:
    assert client.gather(client.map(add, [1, 2], [10, 20])) == [11, 22]


def test_a_map_ends_with_the_shortest(client: Any) -> None:
    assert client.gather(client.map(add, [1, 2, 3], [10, 20])) == [11, 22]


def test_a_map_with_keywords(client: Any) -> None:
    assert client.gather(client.map(add, [1, 2], y=5)) == [6, 7]


def test_a_map_with_a_future_as_keyword(client: Any) -> None:
    assert client.gather(client.map(add, [1, 2], y=client.submit(inc, 4))) == [6, 7]


def test_a_map_over_futures(client: Any) -> None:
    assert client.gather(client.map(inc, client.map(inc, range(3)))) == [2, 3, 4]


def test_a_map_over_a_range_and_a_dictionary(client: Any) -> None:
    assert client.gather(client.map(inc, range(2))) == [1, 2]
    assert client.gather(client.map(str.upper, {"a": 1, "b": 2})) == ["A", "B"]


def test_an_iterator_is_mapped(side: Side, client: Any) -> None:
    if side.is_ours:
        assert client.gather(client.map(inc, iter(range(2500)))) == list(range(1, 2501))
    else:
        with pytest.raises(TypeError):
            client.map(inc, iter(range(3)))


def test_an_empty_map(client: Any) -> None:
    assert client.map(inc, []) == []


def test_a_map_of_what_cannot_be_called(client: Any) -> None:
    with pytest.raises(TypeError):
        client.map(1, [2])


def test_equal_items_of_a_map_share_a_key(client: Any) -> None:
    first, second = client.map(inc, [7, 7])
    assert first.key == second.key
    assert client.gather([first, second]) == [8, 8]


def test_equal_items_of_an_impure_map_do_not(client: Any) -> None:
    first, second = client.map(inc, [7, 7], pure=False)
    assert first.key != second.key


def test_the_keys_of_a_map_begin_as_chosen(client: Any) -> None:
    assert all(future.key.startswith("chosen-") for future in client.map(inc, range(3), key="chosen"))


def test_the_keys_of_a_map_are_chosen(client: Any) -> None:
    futures = client.map(inc, [1, 2], key=["map-a", "map-b"])
    assert [future.key for future in futures] == ["map-a", "map-b"]
    assert client.gather(futures) == [2, 3]


def test_a_key_list_of_another_length(side: Side, client: Any) -> None:
    if side.is_ours:
        with pytest.raises(ValueError, match="a key for each"):
            client.map(inc, [1, 2], key=["only-one"])
    else:
        assert len(client.map(inc, [1, 2], key=["only-one"])) < 2


def test_a_map_in_batches(client: Any) -> None:
    assert client.gather(client.map(inc, range(10), batch_size=3)) == list(range(1, 11))


def test_a_map_and_a_submit_share_a_key(client: Any) -> None:
    (mapped,) = client.map(inc, [5555])
    assert client.submit(inc, 5555).result() == mapped.result()


# -- gather ------------------------------------------------------------------------------------------------------------


def test_a_future_is_gathered(client: Any) -> None:
    assert client.gather(client.submit(inc, 1)) == 2


def test_results_are_gathered_in_order(client: Any) -> None:
    futures = client.map(inc, range(50))
    assert client.gather(futures[::-1]) == list(range(50, 0, -1))


def test_containers_are_gathered(client: Any) -> None:
    one, two = client.map(inc, [0, 1])
    assert client.gather({"a": one, "b": [two, (one,)]}) == {"a": 1, "b": [2, (1,)]}


def test_a_set_is_gathered(client: Any) -> None:
    assert client.gather(set(client.map(inc, range(3)))) == {1, 2, 3}


def test_a_tuple_is_gathered(client: Any) -> None:
    assert client.gather(tuple(client.map(inc, range(2)))) == (1, 2)


def test_a_future_is_gathered_twice(client: Any) -> None:
    future = client.submit(inc, 1)
    assert client.gather([future, future]) == [2, 2]


def test_what_is_no_future_is_gathered_as_it_is(client: Any) -> None:
    assert client.gather([1, client.submit(inc, 1), "text"]) == [1, 2, "text"]


def test_nothing_is_gathered(client: Any) -> None:
    assert client.gather([]) == []


def test_gathering_raises_what_a_task_raised(client: Any) -> None:
    with pytest.raises(ValueError, match="gathered"):
        client.gather([client.submit(inc, 1), client.submit(fail, "gathered")])


def test_gathering_skips_failures(client: Any) -> None:
    futures = [client.submit(inc, 1), client.submit(fail, "skipped"), client.submit(inc, 2)]
    assert client.gather(futures, errors="skip") == [2, 3]


def test_gathering_fails_early(client: Any, gate: Path) -> None:
    slow = client.submit(wait_for, str(gate), 30)
    with pytest.raises(ValueError, match="early"):
        client.gather([slow, client.submit(fail, "early")])


def test_gathering_what_was_cancelled(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 31)
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        client.gather([future])


def test_many_arrays_are_gathered(client: Any) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = client.gather(client.map(numpy.full, [1000] * 10, range(10)))
    assert [array[0] for array in arrays] == list(range(10))


# -- scatter -----------------------------------------------------------------------------------------------------------


def test_a_list_is_scattered(client: Any) -> None:
    futures = client.scatter([1, 2, 3])
    assert isinstance(futures, list)
    assert client.gather(futures) == [1, 2, 3]


def test_a_tuple_is_scattered(client: Any) -> None:
    futures = client.scatter((4, 5))
    assert isinstance(futures, tuple)
    assert client.gather(futures) == (4, 5)


def test_a_set_is_scattered(client: Any) -> None:
    futures = client.scatter({6, 7})
    assert isinstance(futures, set)
    assert client.gather(futures) == {6, 7}


def test_a_dictionary_is_scattered(client: Any) -> None:
    futures = client.scatter({"scattered-x": 1, "scattered-y": 2})
    assert futures["scattered-x"].key == "scattered-x"
    assert client.gather(futures) == {"scattered-x": 1, "scattered-y": 2}


def test_a_single_value_is_scattered(client: Any) -> None:
    assert client.scatter("text").result() == "text"


def test_an_array_is_scattered(client: Any) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000.0)
    assert client.submit(numpy.sum, client.scatter(array)).result() == array.sum()


def test_scattered_data_are_finished(client: Any) -> None:
    (future,) = client.scatter([b"finished"])
    assert future.status == "finished"


def test_scattered_data_are_an_argument(client: Any) -> None:
    assert client.submit(sum, client.scatter([10, 20])).result() == 30


def test_equal_data_have_equal_keys(client: Any) -> None:
    first, second = client.scatter("equal data"), client.scatter("equal data")
    assert first.key == second.key


def test_equal_data_may_be_told_apart(client: Any) -> None:
    first, second = client.scatter("equal", hash=False), client.scatter("equal", hash=False)
    assert first.key != second.key


def test_the_same_data_scattered_twice_is_one_future(client: Any) -> None:
    first = client.scatter("twice")
    second = client.scatter("twice")
    first.release()
    assert second.result() == "twice"


def test_data_are_broadcast(client: Any) -> None:
    future = client.scatter("to everybody", broadcast=True)
    until(lambda: len(client.who_has(future)[future.key]) == 2)


def test_data_go_to_a_chosen_worker(client: Any, workers: list[str]) -> None:
    future = client.scatter("to one", workers=[workers[1]])
    assert list(client.who_has(future)[future.key]) == [workers[1]]


def test_tasks_go_to_their_data(client: Any, workers: list[str]) -> None:
    numpy = pytest.importorskip("numpy")
    pids = client.run(os.getpid)
    data = client.scatter(numpy.zeros(5_000_000), workers=[workers[1]])
    pid = client.submit(lambda _: os.getpid(), data, pure=False).result()
    assert pid == pids[workers[1]]


# -- wait and as_completed ---------------------------------------------------------------------------------------------


def test_waiting_for_all(side: Side, client: Any) -> None:
    futures = client.map(inc, range(200, 203))
    done, not_done = side.wait(futures)
    assert done == set(futures)
    assert not_done == set()


def test_waiting_for_the_first(side: Side, client: Any, gate: Path) -> None:
    slow, fast = client.submit(wait_for, str(gate), 40), client.submit(inc, 210)
    done, not_done = side.wait([slow, fast], return_when="FIRST_COMPLETED")
    assert done == {fast}
    assert not_done == {slow}


def test_waiting_with_a_timeout(side: Side, client: Any, gate: Path) -> None:
    with pytest.raises(TimeoutError):
        side.wait([client.submit(wait_for, str(gate), 41)], timeout=0.05)


def test_waiting_for_one(side: Side, client: Any) -> None:
    future = client.submit(inc, 211)
    assert side.wait(future).done == {future}


def test_waiting_raises_no_failure(side: Side, client: Any) -> None:
    future = client.submit(fail, "waited for")
    assert side.wait([future]).done == {future}
    assert future.status == "error"


def test_waiting_for_what_was_cancelled(side: Side, client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 42)
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        side.wait([future])


def test_a_future_in_the_place_of_a_timeout(side: Side, client: Any) -> None:
    first, second = client.map(inc, [1, 2])
    with pytest.raises(TypeError):
        side.wait(first, second)


def test_futures_come_as_they_complete(side: Side, client: Any, gate: Path) -> None:
    slow, fast = client.submit(wait_for, str(gate), 43), client.submit(inc, 220)
    completed = side.as_completed([slow, fast])
    assert next(completed) is fast
    gate.touch()
    assert next(completed) is slow
    with pytest.raises(StopIteration):
        next(completed)


def test_results_come_as_they_complete(side: Side, client: Any) -> None:
    futures = client.map(inc, range(230, 233))
    pairs = dict(side.as_completed(futures, with_results=True))
    assert pairs == dict(zip(futures, range(231, 234), strict=True))


def test_a_failure_comes_with_the_results(side: Side, client: Any) -> None:
    with pytest.raises(ValueError, match="completed"):
        list(side.as_completed([client.submit(fail, "completed")], with_results=True))


def test_failures_are_given_without_results(side: Side, client: Any) -> None:
    (future,) = list(side.as_completed([client.submit(fail, "given")]))
    assert future.status == "error"


def test_failures_are_not_raised_if_not_wanted(side: Side, client: Any) -> None:
    future = client.submit(fail, "not raised")
    ((given, outcome),) = list(side.as_completed([future], with_results=True, raise_errors=False))
    assert given is future
    assert outcome is not None


def test_futures_are_added(side: Side, client: Any) -> None:
    completed = side.as_completed(client.map(inc, range(240, 242)))
    results, added = [], False
    for future in completed:
        results.append(future.result())
        if not added:
            completed.add(client.submit(inc, 300))
            added = True
    assert sorted(results) == [241, 242, 301]


def test_many_futures_are_added(side: Side, client: Any) -> None:
    completed = side.as_completed()
    completed.update(client.map(inc, range(250, 253)))
    assert sorted(future.result() for future in completed) == [251, 252, 253]


def test_what_is_left_is_counted(side: Side, client: Any) -> None:
    completed = side.as_completed(client.map(inc, range(260, 263)))
    assert completed.count() == 3
    next(completed)
    assert completed.count() == 2
    assert not completed.is_empty()
    list(completed)
    assert completed.is_empty()


def test_nothing_completes_of_nothing(side: Side, client: Any) -> None:
    assert list(side.as_completed([])) == []


def test_what_is_ready_comes_in_batches(side: Side, client: Any) -> None:
    futures = client.map(inc, range(270, 290))
    batches = list(side.as_completed(futures).batches())
    assert all(batches)
    assert sorted(future.result() for batch in batches for future in batch) == list(range(271, 291))


def test_a_batch_without_waiting(side: Side, client: Any, gate: Path) -> None:
    completed = side.as_completed([client.submit(wait_for, str(gate), 44)])
    assert completed.next_batch(block=False) == []
    gate.touch()
    assert len(completed.next_batch()) == 1


def test_a_timeout_of_completion(side: Side, client: Any, gate: Path) -> None:
    completed = side.as_completed([client.submit(wait_for, str(gate), 45)], timeout=0.1)
    with pytest.raises(TimeoutError):
        next(completed)


def test_what_completes_is_forgotten(side: Side, client: Any, gate: Path) -> None:
    completed = side.as_completed([client.submit(wait_for, str(gate), 46)])
    completed.clear()
    assert completed.is_empty()
    assert list(completed) == []


def test_only_futures_complete(side: Side, client: Any) -> None:
    with pytest.raises(TypeError):
        side.as_completed([1])


def test_work_goes_on_although_its_future_is_gone(side: Side, client: Any, tmp_path: Path) -> None:
    path = tmp_path / "fired"
    future = client.submit(note, str(path), "x", pure=False)
    side.fire_and_forget(future)
    del future
    gc.collect()
    until(path.exists)


def test_futures_are_found_in_containers(side: Side, client: Any) -> None:
    futures = client.map(inc, range(3))
    assert set(side.futures_of([futures[0], {"a": futures[1:]}])) == set(futures)


# -- graphs and collections --------------------------------------------------------------------------------------------


def test_a_graph(client: Any) -> None:
    assert client.get({"a": 1, "b": (inc, "a"), "c": (add, "a", "b")}, "c") == 3


def test_several_keys_of_a_graph(client: Any) -> None:
    assert list(client.get({"a": 1, "b": (inc, "a")}, ["a", "b"])) == [1, 2]


def test_nested_keys_of_a_graph(client: Any) -> None:
    answer = client.get({"a": 1, "b": (inc, "a")}, [["a"], ["b", "a"]])
    assert [list(part) for part in answer] == [[1], [2, 1]]


def test_a_failing_graph(client: Any) -> None:
    with pytest.raises(ValueError, match="graph"):
        client.get({"a": (fail, "graph"), "b": (inc, "a")}, "b")


def test_futures_of_a_graph(client: Any) -> None:
    future = client.get({"graph-x": (inc, 1)}, "graph-x", sync=False)
    assert future.result() == 2


def test_a_delayed_value_becomes_a_future(side: Side, client: Any) -> None:
    future = client.compute(side.delayed(inc)(1))
    assert isinstance(future, side.Future)
    assert future.result() == 2


def test_the_key_of_a_delayed_value_is_the_futures(side: Side, client: Any) -> None:
    value = side.delayed(inc)(1)
    assert client.compute(value).key == value.key


def test_several_delayed_values_become_futures(side: Side, client: Any) -> None:
    values = [side.delayed(inc)(i) for i in range(3)]
    assert client.gather(client.compute(values)) == [1, 2, 3]


def test_what_is_no_collection_is_computed_as_it_is(side: Side, client: Any) -> None:
    first, second = client.compute([side.delayed(inc)(1), "text"])
    assert first.result() == 2
    assert second == "text"


def test_a_delayed_value_is_computed_at_once(side: Side, client: Any) -> None:
    assert client.compute(side.delayed(inc)(1), sync=True) == 2


def test_a_delayed_value_is_persisted(side: Side, client: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "persisted")
    value = client.persist(side.delayed(note)(path, "x"))
    side.wait(value)
    value.compute()
    value.compute()
    assert Path(path).read_text() == "x"


def test_persisted_values_are_built_upon(side: Side, client: Any) -> None:
    value = client.persist(side.delayed(inc)(1))
    assert (value + 1).compute() == 3


def test_the_public_persist_uses_the_client(side: Side, client: Any) -> None:
    (value,) = side.persist(side.delayed(inc)(41))
    assert side.futures_of(value)
    assert value.compute() == 42


def test_the_public_compute_uses_the_client(side: Side, client: Any) -> None:
    (pid,) = side.compute(side.delayed(os.getpid)())
    assert pid != os.getpid()


def test_a_collection_computes_on_the_client(side: Side, client: Any) -> None:
    assert side.delayed(os.getpid)().compute() in client.run(os.getpid).values()


def test_a_future_in_a_delayed_call(side: Side, client: Any) -> None:
    future = client.submit(inc, 1)
    assert side.delayed(add)(future, 1).compute() == 3


def test_futures_in_a_list_of_a_delayed_call(side: Side, client: Any) -> None:
    assert side.delayed(sum)(client.map(inc, range(3))).compute() == 6


# -- what a client can tell --------------------------------------------------------------------------------------------


def test_threads_of_workers(client: Any, workers: list[str]) -> None:
    assert client.nthreads() == dict.fromkeys(workers, 1) == client.ncores()


def test_workers_go_by_names(side: Side, workers: list[str]) -> None:
    assert all(name.startswith("worker-" if side.is_ours else "tcp://") for name in workers)


def test_who_has_a_result(client: Any, workers: list[str]) -> None:
    future = client.submit(inc, 400, workers=[workers[0]])
    future.result()
    assert list(client.who_has(future)[future.key]) == [workers[0]]


def test_what_a_worker_has(client: Any, workers: list[str]) -> None:
    future = client.submit(inc, 401, workers=[workers[0]])
    future.result()
    assert future.key in client.has_what()[workers[0]]


def test_what_a_worker_is_processing(client: Any, workers: list[str], gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 50, workers=[workers[0]])
    until(lambda: future.key in client.processing()[workers[0]])
    assert future.key not in client.processing()[workers[1]]


def test_where_a_task_is(client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 51)
    until(lambda: future.key in str(client.processing()))  # an earlier test's call may stand in the stacks still
    until(lambda: "wait_for" in str(client.call_stack(future)))


def test_what_a_cluster_is_made_of(client: Any) -> None:
    info = client.scheduler_info()
    assert info["type"] == "Scheduler"
    assert len(info["workers"]) == 2
    worker = next(iter(info["workers"].values()))
    assert worker["nthreads"] == 1
    assert worker["memory_limit"] > 0


def test_a_function_runs_on_all_workers(client: Any, workers: list[str]) -> None:
    pids = client.run(os.getpid)
    assert set(pids) == set(workers)
    assert len({*pids.values(), os.getpid()}) == 3


def test_a_function_runs_on_some_workers(client: Any, workers: list[str]) -> None:
    assert client.run(inc, 1, workers=[workers[0]]) == {workers[0]: 2}


def test_a_function_runs_with_keywords(client: Any, workers: list[str]) -> None:
    assert client.run(add, 1, y=1) == dict.fromkeys(workers, 2)


def test_a_coroutine_function_runs(client: Any, workers: list[str]) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert client.run(answer) == dict.fromkeys(workers, 42)


def test_what_a_function_raises_on_workers(client: Any) -> None:
    with pytest.raises(ValueError, match="run"):
        client.run(fail, "run")


def test_what_a_function_raises_is_returned(client: Any, workers: list[str]) -> None:
    outcomes = client.run(fail, "returned", on_error="return")
    assert [type(outcomes[worker]) for worker in workers] == [ValueError, ValueError]


def test_what_a_function_raises_is_ignored(client: Any) -> None:
    assert client.run(fail, "ignored", on_error="ignore") == {}


def test_running_on_the_scheduler(side: Side, client: Any) -> None:
    if side.is_ours:
        with pytest.raises(NotImplementedError, match="on the workers"):
            client.run_on_scheduler(os.getpid)
    else:
        assert client.run_on_scheduler(os.getpid) == os.getpid()


def test_waiting_for_workers(client: Any) -> None:
    client.wait_for_workers(2)
    with pytest.raises(TimeoutError) as caught:
        client.wait_for_workers(3, timeout=0.1)
    if type(client).__module__.startswith("taskloom"):
        assert str(caught.value) == "After 0.1 s there are 2 of the 3 workers waited for."


def test_a_client_shows_itself(client: Any) -> None:
    assert repr(client).startswith("<Client: '")
    assert "processes=2 threads=2, memory=" in repr(client)


def test_a_client_shows_itself_in_a_notebook(client: Any) -> None:
    assert "<" in client._repr_html_()


def test_a_cluster_shows_itself(cluster: Any) -> None:
    assert repr(cluster).startswith("LocalCluster(")
    assert "workers=2, threads=2, memory=" in repr(cluster)


def test_the_address(side: Side, cluster: Any) -> None:
    assert cluster.scheduler_address.startswith("unix:///" if side.is_ours else "tcp://")


def test_the_workers_of_a_cluster(cluster: Any) -> None:
    assert len(cluster.workers) == 2


# -- clients -----------------------------------------------------------------------------------------------------------


def test_the_default_client(side: Side, client: Any) -> None:
    assert side.default_client() is client
    assert side.Client.current() is client
    assert side.get_client() is client


def test_a_client_for_a_block(side: Side, client: Any, cluster: Any) -> None:
    with side.Client(cluster, set_as_default=False) as other:
        with other.as_current():
            assert side.Client.current() is other
        assert side.Client.current() is client


def test_a_client_of_an_address(side: Side, client: Any, cluster: Any) -> None:
    with side.Client(cluster.scheduler_address, set_as_default=False) as other:
        assert other.submit(inc, 1).result() == 2


def test_clients_share_keys(side: Side, client: Any, cluster: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "shared")
    first = client.submit(note, path, "x")
    first.result()
    with side.Client(cluster, set_as_default=False) as other:
        second = other.submit(note, path, "x")
        assert second.key == first.key
        assert second.result() is None
    assert Path(path).read_text() == "x"


def test_what_another_client_needs_is_kept(side: Side, client: Any, cluster: Any) -> None:
    with side.Client(cluster, set_as_default=False) as other:
        first = client.submit(inc, 600)
        first.result()
        second = other.submit(inc, 600)
        second.result()
        first.release()
        client.submit(inc, 601).result()
        assert other.who_has(second)[second.key]


def test_a_future_goes_to_another_client_by_its_key(side: Side, client: Any, cluster: Any) -> None:
    future = client.submit(inc, 1, key="for-another")
    future.result()
    with side.Client(cluster, set_as_default=False) as other:
        copy = side.Future("for-another", other)
        if side.is_ours:
            assert copy.result() == 2


def test_a_future_is_pickled(side: Side, client: Any) -> None:
    future = client.submit(inc, 610)
    copy = pickle.loads(pickle.dumps(future))
    assert copy.key == future.key


def test_another_clients_future_is_refused(side: Side, client: Any, cluster: Any) -> None:
    with side.Client(cluster, set_as_default=False) as other:
        future = other.submit(inc, 620)
        with pytest.raises(ValueError, match="another client"):
            client.gather([future])


def test_a_closed_client_says_so(side: Side, cluster: Any) -> None:
    other = side.Client(cluster, set_as_default=False)
    other.close()
    with pytest.raises(RuntimeError if side.is_ours else Exception):
        other.submit(inc, 1).result()


def test_closing_twice(side: Side, cluster: Any) -> None:
    other = side.Client(cluster, set_as_default=False)
    other.close()
    other.close()


def test_closing_cancels_what_is_pending(side: Side, cluster: Any, gate: Path) -> None:
    other = side.Client(cluster, set_as_default=False)
    future = other.submit(wait_for, str(gate), 60)
    other.close()
    assert future.status == "cancelled"


def test_a_client_is_no_longer_current_once_closed(side: Side, client: Any, cluster: Any) -> None:
    with side.Client(cluster) as other:
        assert side.default_client() is other
    assert side.default_client() is client


def test_a_task_has_a_client(side: Side, client: Any) -> None:
    assert client.submit(_with_inner, side.is_ours, 5).result(20) == 7


def _with_inner(is_ours: bool, x: int) -> int:
    if is_ours:
        from taskloom.distributed import get_client
    else:
        from distributed import get_client
    inner = get_client()
    return int(inner.submit(operator.add, x, 1).result()) + 1


def _with_many_inner(is_ours: bool, x: int) -> int:
    if is_ours:
        from taskloom.distributed import get_client

        inner = get_client()
        return sum(inner.gather(inner.map(operator.neg, range(x, x + 5))))
    from distributed import worker_client

    with worker_client() as inner:
        return sum(inner.gather(inner.map(operator.neg, range(x, x + 5))))


def test_tasks_that_wait_for_tasks_do_not_hang(side: Side, client: Any) -> None:
    futures = [client.submit(_with_many_inner, side.is_ours, 10 * i) for i in range(6)]
    assert client.gather(futures) == [-sum(range(10 * i, 10 * i + 5)) for i in range(6)]


def test_an_option_of_more_machines_is_refused(side: Side) -> None:
    if side.is_ours:
        with pytest.raises(TypeError, match="network"):
            side.LocalCluster(n_workers=1, host="0.0.0.0")


# -- executor ----------------------------------------------------------------------------------------------------------


def test_an_executor_runs_calls(client: Any) -> None:
    with client.get_executor() as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.submit(add, 1, y=2).result() == 3


def test_an_executor_maps(client: Any) -> None:
    with client.get_executor() as executor:
        assert list(executor.map(add, [1, 2], [3, 4])) == [4, 6]


def test_an_executor_raises(client: Any) -> None:
    with client.get_executor() as executor:
        future = executor.submit(fail, "executor")
        with pytest.raises(ValueError, match="executor"):
            future.result()


def test_an_executors_futures_work_with_the_standard_library(client: Any) -> None:
    with client.get_executor() as executor:
        futures = [executor.submit(inc, i) for i in range(3)]
        done = [future.result() for future in concurrent.futures.as_completed(futures)]
        assert sorted(done) == [1, 2, 3]


def test_an_executor_that_was_shut_down(client: Any) -> None:
    executor = client.get_executor()
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(inc, 1)


def test_an_executors_future_is_cancelled(client: Any, gate: Path) -> None:
    executor = client.get_executor()
    future = executor.submit(wait_for, str(gate), 70)
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    gate.touch()
    executor.shutdown()


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_name_that_only_dask_has_is_explained() -> None:
    ours = taskloom.distributed
    for name in {*distributed.__all__, "Pub", "Sub"} - {"dask", "widgets"}:
        if name not in ours.__all__:
            with pytest.raises(ImportError, match=rf"taskloom.distributed has no {name}, unlike dask.distributed\. \w"):
                getattr(ours, name)
    with pytest.raises(ImportError, match="WorkerDied"):
        exec("from taskloom.distributed import KilledWorker")
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        ours.nothing_of_the_kind  # noqa: B018


def test_the_names_that_are_offered_are_public() -> None:
    assert sorted(dir(taskloom.distributed)) == sorted(taskloom.distributed.__all__)
    assert not [name for name in dir(taskloom.distributed) if not hasattr(taskloom.distributed, name)]


def test_errors_go_by_the_names_they_are_imported_by(side: Side, client: Any, gate: Path) -> None:
    future = client.submit(wait_for, str(gate), 8)
    with pytest.raises(side.TimeoutError):
        future.result(timeout=0.01)
    future.cancel()
    with pytest.raises(side.CancelledError):
        future.result()


# -- coroutine functions -----------------------------------------------------------------------------------------------


async def later(x: Any, more: Any = 1) -> Any:
    await asyncio.sleep(0.001)
    return x + more


def test_a_coroutine_function_is_run(client: Any) -> None:
    future = client.submit(later, 1)
    assert future.result() == 2
    assert future.key.startswith("later-")


def test_a_coroutine_function_takes_futures_and_keywords(client: Any) -> None:
    assert client.submit(later, client.submit(later, 1), more=client.submit(inc, 4)).result() == 7


def test_a_coroutine_function_is_mapped(client: Any) -> None:
    assert client.gather(client.map(later, range(3))) == [1, 2, 3]


def test_a_coroutine_function_in_a_graph(client: Any) -> None:
    assert client.get({"x": (later, 1), "y": (inc, "x")}, "y") == 3


# -- asyncio -----------------------------------------------------------------------------------------------------------


def test_a_future_is_awaited(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        return await client.submit(inc, 1)

    assert in_loop(side, cluster, steps) == 2


def test_results_are_gathered_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        return await client.gather(client.map(inc, range(3)))

    assert in_loop(side, cluster, steps) == [1, 2, 3]


def test_a_result_is_awaited(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        return await client.submit(inc, 5).result()

    assert in_loop(side, cluster, steps) == 6


def test_a_failure_is_awaited(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        return await client.submit(fail, "awaited")

    with pytest.raises(ValueError, match="awaited"):
        in_loop(side, cluster, steps)


def test_data_are_scattered_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        futures = await client.scatter([8, 9])
        return await client.gather(futures)

    assert in_loop(side, cluster, steps) == [8, 9]


def test_futures_complete_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        with client.as_current():
            return sorted([await future async for future in side.as_completed(client.map(inc, range(3)))])

    assert in_loop(side, cluster, steps) == [1, 2, 3]


def test_waiting_in_a_loop(side: Side, client: Any, cluster: Any) -> None:
    async def steps(client: Any) -> Any:
        futures = client.map(inc, range(3))
        with client.as_current():
            done, _ = await side.wait(futures)
        return len(done)

    assert in_loop(side, cluster, steps) == 3


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_lost_result_is_computed_again(side: Side) -> None:
    with (
        side.LocalCluster(n_workers=1, threads_per_worker=1, **side.quiet) as cluster,
        side.Client(cluster, set_as_default=False) as client,
    ):
        numpy = pytest.importorskip("numpy")
        future = client.submit(numpy.ones, 100_000)
        side.wait(future)
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, 9)
        assert client.submit(numpy.sum, future).result(30) == 100_000


def test_a_restart_cancels_everything(side: Side) -> None:
    with (
        side.LocalCluster(n_workers=1, threads_per_worker=1, **side.quiet) as cluster,
        side.Client(cluster, set_as_default=False) as client,
    ):
        future = client.submit(inc, 1)
        future.result()
        before = set(client.run(os.getpid).values())
        client.restart()
        assert future.status == "cancelled"
        assert client.submit(inc, 1).result(20) == 2
        assert not before & set(client.run(os.getpid).values())


def test_a_cluster_of_threads(side: Side) -> None:
    with side.Client(n_workers=1, threads_per_worker=2, processes=False, set_as_default=False, **side.quiet) as client:
        assert client.submit(os.getpid).result() == os.getpid()


def test_the_differences_are_listed() -> None:
    """Each test that asks which side it is on is in the table, and no other."""
    assert asking(__file__) == set(DIFFERENCES)
