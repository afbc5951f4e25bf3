"""The scheduler, event by event, with simulated workers and clients."""

from taskloom.engines.cluster.scheduler.tasks import ERRED, READY, SENT, TRANSIT, WAITING, Options
from taskloom.errors import TaskloomError

from .simulation import BIG, LARGE, RAISES, SMALL, Boom, Client, Cluster, finish, task


def batch(cluster: Cluster, number: int) -> list[object]:
    """The keys of what a worker is to be sent, in order."""
    return [task.key for task in cluster.scheduler.workers[number].batch]


# -- order and place --------------------------------------------------------------------------------------------------


def test_tasks_are_sent_in_the_order_of_submission(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(5)])
    cluster.scheduler.seconds[client.codes[SMALL]] = 1e-6
    cluster.scheduler.assign()
    assert batch(cluster, 0) == ["t0", "t1", "t2", "t3", "t4"]


def test_a_call_goes_to_an_idle_worker_at_once_and_else_waits_its_turn(cluster: Cluster, client: Client) -> None:
    for _ in range(2):
        cluster.add_worker()
    cluster.submit(client, [("first", BIG, [])], named=True)  # the function is known from here on
    finish(cluster)
    (one,), (two,) = [cluster.submit(client, [(name, BIG, ["text"])], named=True) for name in "ab"]
    assert [task(cluster, id).state for id in (one, two)] == [SENT, SENT]  # before anything is assigned
    assert task(cluster, one).worker is not task(cluster, two).worker
    (three,) = cluster.submit(client, [("c", BIG, ["text"])], named=True)
    assert task(cluster, three).state == READY
    (again,) = cluster.submit(client, [("a", BIG, ["text"])], named=True)
    assert task(cluster, again) is task(cluster, one)
    finish(cluster)
    assert {client.status[id] for id in (one, two, three, again)} == {"finished"}


def test_a_call_waits_while_a_worker_is_full(cluster: Cluster, client: Client) -> None:
    cluster.add_worker(memory_limit=100)
    cluster.submit(client, [("first", BIG, [])], named=True)
    finish(cluster)
    (call,) = cluster.submit(client, [("a", BIG, ["text"])], named=True)
    assert task(cluster, call).state == READY


def test_higher_priorities_go_first(cluster: Cluster, client: Client) -> None:
    cluster.submit(client, [("low", SMALL, [])])
    cluster.submit(client, [("high", SMALL, [])], priority=1)
    cluster.add_worker()
    cluster.scheduler.assign()
    assert batch(cluster, 0)[0] == "high"


def test_chains_and_subtrees_are_sent_in_one_message(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    tasks = [("a", SMALL, []), ("b", SMALL, [0]), ("c", SMALL, [1]), ("d", SMALL, [0, 2])]
    *_, last = cluster.submit(client, tasks, [3])
    cluster.scheduler.seconds[client.codes[SMALL]] = 1e-6
    cluster.scheduler.assign()
    assert batch(cluster, 0) == ["a", "b", "c", "d"]
    finish(cluster)
    assert client.status[last] == "finished"


def test_a_task_is_not_sent_ahead_of_inputs_that_are_elsewhere(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.add_worker()
    *_, last = cluster.submit(client, [("a", SMALL, []), ("b", SMALL, []), ("c", SMALL, [0, 1])])
    cluster.scheduler.assign()
    assert task(cluster, last).state == WAITING
    finish(cluster)
    assert client.brought[last] == ("small", ("small",), ("small",))


def test_a_later_submission_is_sent_behind_its_input(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (first,) = cluster.submit(client, [("a", SMALL, [])])
    cluster.flush()
    (second,) = cluster.submit(client, [("b", SMALL, [first])])
    cluster.scheduler.assign()
    assert batch(cluster, 0) == ["b"]
    assert task(cluster, second).state == SENT


def test_tasks_go_to_their_data(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.add_worker()
    (data,) = cluster.scatter(client, {"data": ("large", 0)}, [1])
    cluster.submit(client, [("user", SMALL, [data])])
    cluster.scheduler.assign()
    assert batch(cluster, 1) == ["user"]


def test_who_is_idle_takes_what_would_wait_for_a_busy_worker(cluster: Cluster, client: Client) -> None:
    for _ in range(2):
        cluster.add_worker()
    (data,) = cluster.scatter(client, {"data": ("large", 0)}, [0])
    ids = cluster.submit(client, [(f"user{i}", SMALL, [data]) for i in range(4)])
    cluster.scheduler.seconds[client.codes[SMALL]] = 10.0
    cluster.scheduler.assign()
    assert {task(cluster, id).worker.number for id in ids if task(cluster, id).worker} == {0, 1}


def test_data_are_fetched_first(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.add_worker()
    one, two = cluster.scatter(client, {"one": ("large", 1)}, [0]) + cluster.scatter(client, {"two": ("large", 2)}, [1])
    cluster.flush()
    for worker in cluster.workers.values():
        worker.read()
    (id,) = cluster.submit(client, [("sum", SMALL, [one, two])])
    cluster.flush()
    assert task(cluster, id).state == TRANSIT
    finish(cluster)
    assert client.brought[id] == ("small", ("large", 1), ("large", 2))
    assert [kind for kind, *_ in client.heard].count("moved") == 1


def test_what_is_short_is_sent_many_at_a_time_and_what_is_long_is_not(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(1000)])
    code = client.codes[SMALL]
    cluster.scheduler.seconds[code] = 1e-5
    cluster.scheduler.assign()
    short = len(batch(cluster, 0))
    other = Cluster()
    user = other.add_client()
    other.add_worker()
    other.submit(user, [(f"t{i}", SMALL, []) for i in range(1000)])
    other.scheduler.seconds[user.codes[SMALL]] = 10.0
    other.scheduler.assign()
    assert short > 100
    assert len(batch(other, 0)) == 2


def test_what_makes_data_waits_while_a_worker_is_full(cluster: Cluster, client: Client) -> None:
    cluster.add_worker(memory_limit=LARGE)
    made = cluster.submit(client, [("root0", BIG, []), ("root1", SMALL, [])])
    cluster.submit(client, [(f"more{i}", BIG, []) for i in range(8)])
    (user,) = cluster.submit(client, [("user", SMALL, [made[0]])])
    cluster.scheduler.workers[0].held = 2.0 * LARGE
    cluster.scheduler.assign()
    assert batch(cluster, 0) == ["root0", "user"]  # so that something goes on
    cluster.scheduler.workers[0].held = 0.0
    finish(cluster)
    assert client.status[user] == "finished"


def test_a_blocked_task_is_no_reason_to_hold_back_what_it_waits_for(cluster: Cluster, client: Client) -> None:
    cluster.add_worker(memory_limit=1.0)
    cluster.submit(client, [("waits", SMALL, [])])
    cluster.flush()
    worker = cluster.workers[0]
    worker.read()
    worker.begin()
    worker.block()
    while worker.out:
        cluster.hear(0)
    cluster.scheduler.workers[0].held += 10.0
    (id,) = cluster.submit(client, [("awaited", SMALL, [])])
    cluster.scheduler.assign()
    assert task(cluster, id).state == SENT
    cluster.scheduler.workers[0].held -= 10.0


# -- stealing ---------------------------------------------------------------------------------------------------------


def test_an_idle_worker_gets_what_waits_at_the_busiest(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(8)])
    cluster.scheduler.seconds[client.codes[SMALL]] = 0.0004
    cluster.flush()
    cluster.add_worker()
    cluster.scheduler.assign()
    cluster.flush()
    assert [kind for kind, *_ in cluster.workers[0].questions] == ["take_back"]
    finish(cluster)
    assert set(client.status.values()) == {"finished"}
    assert sum(cluster.ran.values()) == 8


def test_who_has_begun_everything_is_not_asked_again(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [("a", SMALL, []), ("b", SMALL, [])])
    cluster.scheduler.seconds[client.codes[SMALL]] = 1.0
    cluster.flush()
    cluster.add_worker()
    cluster.flush()
    assert len(cluster.workers[0].questions) == 1
    cluster.scheduler.returned(0, [])
    cluster.flush()
    assert len(cluster.workers[0].questions) == 1


def test_share_gives_away_what_is_believed_to_be_short(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(4)])
    cluster.scheduler.seconds[client.codes[SMALL]] = 1e-6
    cluster.flush()
    cluster.add_worker()
    cluster.flush()
    assert not cluster.workers[0].questions
    cluster.scheduler.share()
    cluster.flush()
    assert len(cluster.workers[0].questions) == 1


# -- restrictions -----------------------------------------------------------------------------------------------------


def test_tasks_run_where_they_may(cluster: Cluster, client: Client) -> None:
    for _ in range(3):
        cluster.add_worker()
    ids = cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(3)], workers=frozenset({"worker-2"}))
    cluster.scheduler.assign()
    assert {task(cluster, id).worker.number for id in ids if task(cluster, id).worker} == {2}
    finish(cluster)
    assert set(client.status.values()) == {"finished"}


def test_others_do_if_they_are_allowed(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    options = {"workers": frozenset({"worker-7"}), "allow_other_workers": True}
    (id,) = cluster.submit(client, [("a", SMALL, [])], **options)
    finish(cluster)
    assert client.status[id] == "finished"


def test_resources_are_not_overdrawn(cluster: Cluster, client: Client) -> None:
    cluster.add_worker(4, GPU=2.0)
    ids = cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(4)], resources=(("GPU", 1.0),))
    cluster.scheduler.assign()
    assert [task(cluster, id).state for id in ids] == [SENT, SENT, READY, READY]
    finish(cluster)
    assert set(client.status.values()) == {"finished"}


def test_what_no_worker_can_do_expires(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (id,) = cluster.submit(client, [("a", SMALL, [])], resources=(("GPU", 1.0),))
    assert ("expire", id) in cluster.scheduler.orders
    finish(cluster)
    assert "needs a worker with 1 GPU, and there is none. There are: worker-0" in str(client.errors[id])


def test_what_no_worker_can_do_any_more_expires(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    ids = cluster.submit(client, [(f"t{i}", SMALL, []) for i in range(3)], workers=frozenset({"worker-0"}))
    cluster.flush()
    cluster.kill(0, [])
    assert {order for order in cluster.scheduler.orders if order[0] == "expire"} == {("expire", id) for id in ids}


def test_a_worker_that_comes_in_time_is_used(cluster: Cluster, client: Client) -> None:
    (id,) = cluster.submit(client, [("a", SMALL, [])], resources=(("GPU", 1.0),))
    cluster.flush()
    cluster.add_worker(GPU=1.0)
    cluster.scheduler.expire(id)
    finish(cluster)
    assert client.status[id] == "finished"


# -- several clients --------------------------------------------------------------------------------------------------


def test_a_name_is_computed_once(cluster: Cluster, client: Client) -> None:
    other = cluster.add_client()
    cluster.add_worker()
    (mine,) = cluster.submit(client, [("key", BIG, [])], named=True)
    (theirs,) = cluster.submit(other, [("key", BIG, [])], named=True)
    finish(cluster)
    (late,) = cluster.submit(other, [("key", BIG, [])], named=True)
    finish(cluster)
    assert client.status[mine] == other.status[theirs] == other.status[late] == "finished"
    assert sum(cluster.ran.values()) == 1
    cluster.gather(other, [theirs, late])
    cluster.release(client, [mine])
    cluster.release(other, [late])
    finish(cluster)
    assert other.brought[theirs] == ("large",)
    cluster.release(other, [theirs])
    assert not cluster.scheduler.tasks


def test_a_name_that_means_something_else_is_said(cluster: Cluster, client: Client) -> None:
    cluster.submit(client, [("key", SMALL, [])], named=True)
    cluster.submit(client, [("key", BIG, [])], named=True, chosen=True)
    cluster.flush()
    assert "'key' is in use for a task with another function" in client.said[0]


def test_an_automatic_name_is_of_one_call_however_its_function_was_pickled(cluster: Cluster, client: Client) -> None:
    cluster.submit(client, [("key", SMALL, [])], named=True)
    cluster.submit(client, [("key", BIG, [])], named=True)
    cluster.flush()
    assert not client.said


def test_a_key_is_adopted(cluster: Cluster, client: Client) -> None:
    other = cluster.add_client()
    cluster.add_worker()
    cluster.submit(client, [("key", SMALL, [])], named=True)
    (known,) = cluster.adopt(other, "key")
    (unknown,) = cluster.adopt(other, "nothing")
    finish(cluster)
    assert other.status[known] == "finished"
    assert other.status[unknown] == "cancelled"
    assert ("cancelled", [unknown], "The cluster knows no task with the key 'nothing'.") in other.heard
    assert not other.said


def test_clients_take_turns(cluster: Cluster, client: Client) -> None:
    other = cluster.add_client()
    cluster.submit(client, [(f"mine{i}", SMALL, []) for i in range(100)])
    cluster.submit(other, [(f"theirs{i}", SMALL, []) for i in range(100)])
    cluster.add_worker(10)
    cluster.scheduler.assign()
    keys = batch(cluster, 0)
    assert abs(sum(str(key).startswith("mine") for key in keys) - len(keys) / 2) <= 1


def test_the_tasks_of_who_leaves_go_unless_somebody_else_wants_them(cluster: Cluster, client: Client) -> None:
    other = cluster.add_client()
    cluster.add_worker()
    cluster.submit(client, [("a", SMALL, []), ("b", SMALL, []), ("c", SMALL, [])], named=True)
    (theirs,) = cluster.submit(other, [("c", SMALL, [])], named=True)
    cluster.scheduler.seconds[client.codes[SMALL]] = 10.0
    cluster.flush()
    cluster.remove_client(client)
    finish(cluster)
    assert other.status[theirs] == "finished"
    assert len([task for id, task in cluster.scheduler.tasks.items() if id == task.id]) == 1


# -- release and cancel -----------------------------------------------------------------------------------------------


def test_released_results_are_dropped(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b = cluster.submit(client, [("a", BIG, []), ("b", BIG, [0])])
    finish(cluster)
    cluster.release(client, [a])
    assert cluster.scheduler.workers[0].dropped == [a]
    cluster.release(client, [b])
    assert not cluster.scheduler.tasks
    assert cluster.scheduler.workers[0].held == 0.0


def test_what_is_released_before_it_ran_does_not_run(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b = cluster.submit(client, [("a", SMALL, []), ("b", SMALL, [0])], [1])
    cluster.release(client, [b])
    finish(cluster)
    assert not cluster.ran[a]
    assert not cluster.scheduler.tasks


def test_functions_live_as_long_as_they_may_be_used(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (a,) = cluster.submit(client, [("a", BIG, [])])
    (b,) = cluster.submit(client, [("b", SMALL, [a])])
    cluster.release(client, [a])
    finish(cluster)
    codes = [client.codes[BIG], client.codes[SMALL]]
    cluster.release(client, codes)
    assert sorted(cluster.scheduler.functions) == sorted(codes)  # b may have to be computed again
    cluster.release(client, [b])
    assert not cluster.scheduler.functions
    assert sorted(cluster.scheduler.workers[0].dropped_codes) == sorted(codes)
    finish(cluster)
    assert not cluster.workers[0].functions
    assert all(parcel.closed for parcel in cluster.parcels)


def test_cancelled_code_is_stopped_and_what_builds_on_it_goes(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b = cluster.submit(client, [("a", SMALL, []), ("b", SMALL, [0])])
    cluster.flush()
    cluster.workers[0].read()
    cluster.workers[0].begin()
    cluster.scheduler.cancel(client.number, [a])
    assert ("stop", 0, a) in cluster.scheduler.orders
    finish(cluster)
    assert client.status == {a: "cancelled", b: "cancelled"}
    assert not cluster.scheduler.tasks
    assert not cluster.scheduler.workers[0].strays


def test_cancel_leaves_what_others_want_unless_it_is_forced(cluster: Cluster, client: Client) -> None:
    other = cluster.add_client()
    (mine,) = cluster.submit(client, [("a", SMALL, [])], named=True)
    (theirs,) = cluster.submit(other, [("a", SMALL, [])], named=True)
    cluster.scheduler.cancel(client.number, [mine])
    cluster.flush()
    assert (client.status[mine], other.status[theirs]) == ("cancelled", "pending")
    cluster.scheduler.cancel(client.number, [theirs], force=True)
    cluster.flush()
    assert other.status[theirs] == "cancelled"
    assert other.heard[-1] == ("cancelled", [theirs], "Another client has cancelled it.")


# -- gather -----------------------------------------------------------------------------------------------------------


def test_gather_before_and_after(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (early,) = cluster.submit(client, [("a", BIG, [])])
    cluster.gather(client, [early])
    finish(cluster)
    assert client.brought.pop(early) == ("large",)
    cluster.gather(client, [early])
    finish(cluster)
    assert client.brought[early] == ("large",)


def test_gather_of_what_fails_or_is_unknown(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (id,) = cluster.submit(client, [("a", RAISES, [])])
    cluster.gather(client, [id, 12345])
    finish(cluster)
    cluster.gather(client, [id])
    cluster.flush()
    assert not client.asked
    errors = [fields[1] for kind, *fields in client.heard if kind == "no_data"]
    assert [type(error) for error in errors] == [TaskloomError, Boom, Boom]


def test_results_are_brought_without_a_question(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    *_, last = cluster.submit(client, [("a", SMALL, []), ("b", BIG, [0])], [1], bring=True)
    finish(cluster)
    assert client.brought[last] == ("large", ("small",))
    assert not client.asked


# -- retire -----------------------------------------------------------------------------------------------------------


def test_a_worker_that_retires_leaves_its_data_to_others(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (data,) = cluster.scatter(client, {"data": ("large", 0)})
    ids = cluster.submit(client, [(f"t{i}", BIG, []) for i in range(40)])
    finish(cluster)
    cluster.add_worker()
    cluster.scheduler.retire(0)
    finish(cluster)
    assert list(cluster.scheduler.workers) == [1]
    assert set(client.status.values()) == {"finished"}
    assert all(cluster.ran[id] == 1 for id in ids)
    cluster.gather(client, [data])
    finish(cluster)
    assert client.brought[data] == ("large", 0)


def test_a_worker_retires_when_what_it_runs_is_done(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b = cluster.submit(client, [("a", BIG, []), ("b", SMALL, [])])
    cluster.flush()
    cluster.workers[0].read()
    cluster.workers[0].begin()
    cluster.add_worker()
    cluster.scheduler.retire(0)
    cluster.flush()
    assert 0 in cluster.scheduler.workers
    finish(cluster)
    assert list(cluster.scheduler.workers) == [1]
    assert client.status == {a: "finished", b: "finished"}
    assert cluster.ran[a] == 1


def test_restart(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    ids = cluster.submit(client, [(f"t{i}", BIG, []) for i in range(10)])
    cluster.flush()
    cluster.scheduler.cancel(client.number, ids, force=True)
    cluster.kill(0, expected=True)
    cluster.add_worker()
    finish(cluster)
    assert set(client.status.values()) == {"cancelled"}
    (id,) = cluster.submit(client, [("again", SMALL, [])])
    finish(cluster)
    assert client.status[id] == "finished"


def test_heaps_are_cleared_of_what_is_cancelled(cluster: Cluster, client: Client) -> None:
    keep = cluster.submit(client, [("first", SMALL, [])])
    for i in range(20_000):
        ids = cluster.submit(client, [(f"t{i}", SMALL, [])])
        cluster.release(client, ids)
    assert len(cluster.scheduler.clients[client.number].roots) < 10_000
    assert list(cluster.scheduler.tasks) == keep


def test_may_end(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    assert cluster.scheduler.may_end(0)
    (id,) = cluster.submit(client, [("a", BIG, [])])
    cluster.flush()
    assert cluster.scheduler.may_end(0)  # it has not begun
    assert not cluster.scheduler.may_end(0, [id])
    assert cluster.scheduler.may_end(0, [id], force=True)
    finish(cluster)
    assert cluster.scheduler.may_end(0)
    cluster.scatter(client, {"data": ("large", 0)})
    assert not cluster.scheduler.may_end(0)


def test_options_say_what_is_required() -> None:
    assert Options().requirement is None
    text = str(Options(workers=frozenset({"a"}), resources=(("GPU", 1.0),)).requirement)
    assert text == "one of the workers a and a worker with 1 GPU"


# -- what is kept to be looked at -------------------------------------------------------------------------------------


def test_what_failed_and_is_hidden_is_run_again_under_its_name(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    first, behind = cluster.submit(client, [("a", RAISES, []), ("b", SMALL, [0])], [0, 1], named=True)
    finish(cluster)
    cluster.release(client, [first])
    cluster.scheduler.hide(client.number, [behind])
    assert not {"a", "b"} & set(cluster.scheduler.names)
    (again,) = cluster.submit(client, [("a", SMALL, [])], named=True)
    finish(cluster)
    assert client.status[again] == "finished"
    assert task(cluster, behind).state == ERRED


def test_what_somebody_else_wants_is_not_hidden(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    _, behind = cluster.submit(client, [("a", RAISES, []), ("b", SMALL, [0])], [0, 1], named=True)
    finish(cluster)
    cluster.scheduler.hide(client.number, [behind])
    assert set(cluster.scheduler.names) == {"a"}


def test_a_client_may_leave_before_some_of_its_tasks_are_done(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    kept, other = cluster.submit(client, [("a", SMALL, []), ("b", SMALL, [])], [0, 1])
    left = cluster.scheduler.unfinished(client.number, [kept])
    cluster.scheduler.client_left(client.number, but=left)
    assert list(cluster.scheduler.clients[client.number].futures) == [kept]
    assert other not in cluster.scheduler.tasks
    finish(cluster)
    cluster.scheduler.client_left(client.number)
    assert not cluster.scheduler.tasks
