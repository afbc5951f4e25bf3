"""The scheduler when tasks raise, workers die and results are lost, with simulated workers and clients."""

from taskloom.engines.cluster.scheduler.tasks import ERRED
from taskloom.errors import SerializationError, WorkerDied

from .simulation import BIG, MOVES, RAISES, RAISES_ONCE, SMALL, STAYS, Boom, Client, Cluster, finish, task

# -- failures ---------------------------------------------------------------------------------------------------------


def test_an_exception_reaches_all_that_build_on_it(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b, c = cluster.submit(client, [("a", RAISES, []), ("b", SMALL, [0]), ("c", SMALL, [1])])
    finish(cluster)
    assert [client.status[id] for id in (a, b, c)] == ["error"] * 3
    (erred,) = [fields for kind, *fields in client.heard if kind == "erred"]
    assert erred[0] == a
    assert sorted(erred[6]) == [a, b, c]
    assert erred[5] == 1  # attempt


def test_retries(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (once,) = cluster.submit(client, [("once", RAISES_ONCE, [])], retries=1)
    (always,) = cluster.submit(client, [("always", RAISES, [])], retries=2)
    finish(cluster)
    assert client.status[once] == "finished"
    assert client.status[always] == "error"
    assert cluster.raised[always] == 3


def test_retry_runs_what_failed_and_what_failed_because_of_it(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    a, b = cluster.submit(client, [("a", RAISES_ONCE, []), ("b", SMALL, [0])])
    finish(cluster)
    cluster.scheduler.retry(client.number, [b])
    finish(cluster)
    assert client.status == {a: "finished", b: "finished"}


def test_what_takes_an_unknown_result_fails_and_cannot_be_retried(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (id,) = cluster.submit(client, [("a", SMALL, [999_999])])
    finish(cluster)
    assert "future was released" in str(client.errors[id])
    cluster.scheduler.retry(client.number, [id])
    finish(cluster)
    assert client.status[id] == "error"


def test_what_is_built_on_a_failure_fails(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (a,) = cluster.submit(client, [("a", RAISES, [])])
    finish(cluster)
    (b,) = cluster.submit(client, [("b", SMALL, [a, a])])
    assert task(cluster, b).state == ERRED
    finish(cluster)
    assert isinstance(client.errors[b], Boom)


def test_a_task_that_kills_its_workers_is_given_up(cluster: Cluster, client: Client) -> None:
    (id,) = cluster.submit(client, [("killer", SMALL, [])], deaths=1)
    for _ in range(2):
        number = cluster.add_worker()
        cluster.flush()
        cluster.kill(number, [id])
    cluster.flush()
    assert isinstance(client.errors[id], WorkerDied)
    assert "2 times" in str(client.errors[id])


def test_an_expected_end_counts_for_nothing(cluster: Cluster, client: Client) -> None:
    (id,) = cluster.submit(client, [("a", SMALL, [])], deaths=0)
    number = cluster.add_worker()
    cluster.flush()
    cluster.kill(number, [id], expected=True)
    cluster.add_worker()
    finish(cluster)
    assert client.status[id] == "finished"


def test_what_runs_out_of_memory_is_not_tried_again(cluster: Cluster, client: Client) -> None:
    number = cluster.add_worker()
    (id,) = cluster.submit(client, [("a", SMALL, [])])
    cluster.flush()
    cluster.kill(number, [id], out_of_memory=True)
    cluster.flush()
    assert "ran out of memory" in str(client.errors[id])


def test_a_result_whose_pickling_kills_workers_is_given_up(cluster: Cluster, client: Client) -> None:
    (id,) = cluster.submit(client, [("a", BIG, [])], deaths=1)
    for _ in range(2):
        number = cluster.add_worker()
        finish(cluster)
        cluster.kill(number, [id])
    cluster.flush()
    assert isinstance(client.errors[id], WorkerDied)


def test_no_worker_lives(cluster: Cluster, client: Client) -> None:
    a, b = cluster.submit(client, [("a", SMALL, []), ("b", SMALL, [0])])
    cluster.scheduler.no_worker_lives("was killed by SIGSEGV", [])
    cluster.flush()
    assert isinstance(client.errors[a], WorkerDied)
    assert isinstance(client.errors[b], WorkerDied)


# -- losses -----------------------------------------------------------------------------------------------------------


def test_lost_results_are_computed_again_with_what_they_need(cluster: Cluster, client: Client) -> None:
    number = cluster.add_worker()
    *_, last = cluster.submit(client, [("a", BIG, ["x"]), ("b", BIG, [0, -1]), ("c", BIG, [1])], [2], constants=["k"])
    finish(cluster)
    assert set(cluster.scheduler.tasks) == {last}  # a and b are released
    cluster.kill(number, [])
    cluster.flush()
    assert client.status[last] == "pending"
    cluster.add_worker()
    cluster.gather(client, [last])
    finish(cluster)
    assert client.brought[last] == ("large", ("large", ("large", "x"), "k"))


def test_small_results_outlive_their_worker(cluster: Cluster, client: Client) -> None:
    number = cluster.add_worker()
    (id,) = cluster.submit(client, [("a", SMALL, [])])
    finish(cluster)
    cluster.kill(number, [])
    cluster.flush()
    assert client.status[id] == "finished"


def test_lost_data_fail_what_needs_them_and_are_named(cluster: Cluster, client: Client) -> None:
    number = cluster.add_worker()
    (data,) = cluster.scatter(client, {"my data": ("large", 0)})
    (user,) = cluster.submit(client, [("user", SMALL, [data])], workers=frozenset({"nobody"}))
    finish_without_timers(cluster)
    cluster.kill(number, [])
    cluster.flush()
    assert client.status == {data: "error", user: "error"}
    assert "'my data' are gone with worker 'worker-0'" in str(client.errors[user])


def finish_without_timers(cluster: Cluster) -> None:
    cluster.flush()
    for worker in cluster.workers.values():
        while steps := worker.steps():
            steps[0]()


def test_broadcast_data_survive(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.add_worker()
    (data,) = cluster.scatter(client, {"data": ("large", 0)}, broadcast=True)
    finish(cluster)
    cluster.kill(0, [])
    (user,) = cluster.submit(client, [("user", SMALL, [data])])
    finish(cluster)
    assert client.status == {data: "finished", user: "finished"}


def test_data_wait_for_the_first_worker(cluster: Cluster, client: Client) -> None:
    (data,) = cluster.scatter(client, {"data": ("large", 0)})
    (user,) = cluster.submit(client, [("user", SMALL, [data])])
    cluster.add_worker()
    finish(cluster)
    assert client.brought[user] == ("small", ("large", 0))


def test_gone_is_computed_again(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (id,) = cluster.submit(client, [("a", BIG, [])])
    finish(cluster)
    cluster.workers[0].store.clear()
    cluster.gather(client, [id])
    finish(cluster)
    assert client.brought[id] == ("large",)
    assert cluster.ran[id] == 2


def test_missing_is_computed_again(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (a,) = cluster.submit(client, [("a", BIG, [])])
    finish(cluster)
    cluster.workers[0].store.clear()
    (b,) = cluster.submit(client, [("b", SMALL, [a])])
    finish(cluster)
    assert client.brought[b] == ("small", ("large",))


def test_what_cannot_travel_is_used_where_it_is(cluster: Cluster, client: Client) -> None:
    for _ in range(2):
        cluster.add_worker()
    (a,) = cluster.submit(client, [("a", STAYS, [])], workers=frozenset({"worker-0"}))
    finish(cluster)
    cluster.scheduler.seconds.clear()
    task(cluster, a).nbytes = 0.0  # nothing draws its users to it
    cluster.scheduler.workers[0].held = 0.0
    ids = cluster.submit(client, [(f"b{i}", SMALL, [a]) for i in range(4)])
    cluster.gather(client, [a])
    finish(cluster)
    assert {client.status[id] for id in ids} == {"finished"}
    assert not client.asked


def test_two_that_cannot_travel_do_not_meet(cluster: Cluster, client: Client) -> None:
    for _ in range(2):
        cluster.add_worker()
    (a,) = cluster.submit(client, [("a", STAYS, [])], workers=frozenset({"worker-0"}))
    (b,) = cluster.submit(client, [("b", STAYS, [])], workers=frozenset({"worker-1"}))
    finish(cluster)
    (c,) = cluster.submit(client, [("c", SMALL, [a, b])])
    finish(cluster)
    assert isinstance(client.errors[c], SerializationError)


# -- tasks that stay where they are, or do not ------------------------------------------------------------------------


def test_a_task_that_wants_to_run_elsewhere_does(cluster: Cluster, client: Client) -> None:
    places = [cluster.add_worker(), cluster.add_worker()]
    (id,) = cluster.submit(client, [("a", MOVES, [])])
    cluster.flush()
    (first,) = [number for number in places if cluster.scheduler.workers[number].outstanding]
    finish(cluster)
    assert client.status[id] == "finished"
    assert first not in task(cluster, id).holders


def test_a_task_that_wants_to_run_elsewhere_does_so_where_it_may(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.add_worker()
    (alone,) = cluster.submit(client, [("a", MOVES, [])], workers=frozenset({"worker-1"}))
    finish(cluster)
    assert task(cluster, alone).holders == (1,)


def test_an_actor_is_lost_with_the_worker_that_has_made_it(cluster: Cluster, client: Client) -> None:
    """Copies of its result elsewhere are proxies: neither do they help, nor is it made again."""
    cluster.add_worker()
    (actor,) = cluster.submit(client, [("actor", BIG, [])], actor=True)
    finish(cluster)
    cluster.add_worker()
    (user,) = cluster.submit(client, [("user", SMALL, [actor])], workers=frozenset({"worker-1"}))
    finish(cluster)
    assert task(cluster, actor).holders == (0, 1)
    cluster.kill(0)
    finish(cluster)
    assert client.status == {actor: "error", user: "finished"}
    assert isinstance(client.errors[actor], WorkerDied)
    assert "'actor' is gone with worker 'worker-0'" in str(client.errors[actor])
    assert cluster.ran[actor] == 1


def test_what_needs_a_lost_actor_fails_for_it(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    actor, user = cluster.submit(client, [("actor", BIG, []), ("user", BIG, [0])], [1], actor=True)
    finish(cluster)
    cluster.kill(0)
    cluster.add_worker()
    finish(cluster)
    assert client.status[user] == "error"
    assert cluster.ran[actor] == 1


def test_an_actor_is_made_again_when_it_is_retried(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    (actor,) = cluster.submit(client, [("actor", BIG, [])], actor=True)
    finish(cluster)
    cluster.kill(0)
    finish(cluster)
    cluster.add_worker()
    cluster.scheduler.retry(client.number, [actor])
    finish(cluster)
    assert client.status[actor] == "finished"
    assert task(cluster, actor).holders == (1,)


def test_a_worker_with_an_actor_is_not_replaced_for_a_task_that_goes_on(cluster: Cluster, client: Client) -> None:
    cluster.add_worker()
    cluster.submit(client, [("actor", BIG, [])], actor=True)
    finish(cluster)
    assert not cluster.scheduler.may_end(0)
