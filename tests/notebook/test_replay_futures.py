"""`%replay` and the debugger, for futures: their functions and inputs are on the cluster."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

import taskloom
from taskloom.bus import begin_burst
from taskloom.distributed import Client

pytest.importorskip("IPython")

PATIENCE = 60.0
SETUP = """
import os, taskloom
made = []
def load(x):
    made.append(x)
    return [x]
def take(rows, by=1):
    last = rows[-1]
    return last / by
"""


@pytest.fixture(scope="module", params=["processes", "threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(n_workers=1, threads_per_worker=2, processes=request.param == "processes") as client:
        yield client


@pytest.fixture
def futures(session: Any, cluster: Client) -> Iterator[Any]:
    session.shell.user_ns["client"] = cluster
    session.run(SETUP)
    begin_burst()
    yield session
    session.shell.user_ns.clear()


def is_processes(session: Any) -> bool:
    return bool(session.shell.user_ns["client"].cluster.processes)


FAILING = {
    "result": "client.submit(take, client.submit(load, 6), by=0).result()",
    "gather": "client.gather(client.map(take, [client.submit(load, 6)], by=0))",
    "behind": "client.submit(len, client.submit(take, client.submit(load, 6), by=0)).result()",
}


@pytest.mark.parametrize("cell", FAILING.values(), ids=FAILING)
def test_the_task_that_failed_runs_again_although_nobody_has_its_future(futures: Any, cell: str) -> None:
    output = futures.run(cell)
    assert "Run it again in this thread, with the inputs it had: %replay" in output
    output = futures.run("%replay", "p last", "q")
    assert "ipdb> p last\n6\n" in output
    assert "ipdb> p by\n0\n" in futures.run("%replay", "p by", "q"), "as often as one likes"


@pytest.mark.parametrize("cell", FAILING.values(), ids=FAILING)
def test_with_pdb_on_the_debugger_opens_in_the_frame_that_raised(futures: Any, cell: str) -> None:
    futures.run("%pdb on")
    output = futures.run(cell, "p last", "q")
    assert "ipdb> p last\n6\n" in output
    assert ("here it runs again" in output) is is_processes(futures)


def test_any_task_by_its_key_with_what_was_released_computed_first(futures: Any) -> None:
    futures.run("future = client.submit(take, client.submit(load, 8, key='load'), key='take'); _ = future.result()")
    output = futures.run("%replay take")
    assert "Computing the inputs of 'take' again first: 1 task." in output
    assert futures.result == 8.0
    assert "Did you mean 'take'?" in futures.run("%replay tale")
    assert "Nothing failed in run" in futures.run(f"%replay --run {taskloom.runs[-1].id}")


def test_fresh_computes_also_what_is_there(futures: Any) -> None:
    futures.run("rows = client.submit(load, 9, key='rows'); future = client.submit(take, rows, key='of'); made.clear()")
    futures.run("_ = future.result(); made.clear()")
    assert "again first" not in futures.run("%replay of")
    assert "again first: 1 task" in futures.run("%replay --fresh of")


def test_data_and_large_constants_are_inputs_too(futures: Any) -> None:
    futures.run("data = client.scatter([1, 2, 3]); big = list(range(5_000))")
    futures.run("future = client.submit(lambda one, two: one / (len(two) - 5_000), data[0], big); future.result()")
    assert "ipdb> p one, len(two)\n(1, 5000)\n" in futures.run("%replay", "p one, len(two)", "q")


def test_a_run_of_a_graph_after_it_lets_the_future_go(futures: Any) -> None:
    cluster = futures.shell.user_ns["client"]
    futures.run("client.submit(take, client.submit(load, 5, key='kept'), by=0).result()")
    assert "kept" in [key for keys in cluster.has_what().values() for key in keys]
    futures.run("taskloom.get({'a': (abs, -1)}, 'a')")
    wait_until(lambda: taskloom.runs[-2].status == "failed")
    futures.run("taskloom.get({'a': (abs, -1)}, 'a')")
    wait_until(lambda: "kept" not in [key for keys in cluster.has_what().values() for key in keys])
    assert "its functions and inputs are gone" in futures.run(f"%replay --run {taskloom.runs[-3].id}")


def test_what_ended_its_worker_does_not_run_here(session: Any) -> None:
    with Client(n_workers=1, threads_per_worker=1) as client:
        session.shell.user_ns["client"] = client
        begin_burst()
        with taskloom.config.set({"multiprocessing.retries": 0}):
            session.run("import os; future = client.submit(os._exit, 3, key='exit'); future.result()")
        output = session.run("%replay")
        assert "Task 'exit' ended its worker process, and would end this one" in output
        assert "exit code 3" in session.run("%replay --apart")
        session.shell.user_ns.clear()


def test_what_has_failed_is_run_again_when_it_is_submitted_again(futures: Any, tmp_path: Path) -> None:
    cell = f"client.submit(len, client.submit(os.listdir, {str(tmp_path / 'late')!r})).result()"
    assert "FileNotFoundError" in futures.run(cell)
    (tmp_path / "late").mkdir()
    assert "Error" not in futures.run(cell)
    assert futures.result == 0


def test_without_its_cluster_it_says_so(session: Any) -> None:
    session.run(SETUP + "from taskloom.distributed import Client")
    session.run(
        "with Client(n_workers=1, threads_per_worker=1, processes=False) as client:\n"
        "    client.submit(take, [1], by=0, key='late').result()"
    )
    output = session.run("%replay")
    assert "'late' cannot be run again." in output
    assert "the client that submitted it is closed" in output


def wait_until(condition: Any) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)
