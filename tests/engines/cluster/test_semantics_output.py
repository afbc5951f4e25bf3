"""Logs, and several clients of one cluster, as in dask.distributed.

Where taskloom differs on purpose, the test asks `side.is_ours`, and its name is in `DIFFERENCES` with the reason.
"""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_semantics import Side, client, cluster, inc, limit, shared, side, workers  # noqa: F401

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:distributed"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*:ResourceWarning"),
]

DIFFERENCES = {
    "test_what_tasks_print_is_in_the_logs": "it is; dask's logs hold log records of its own only",
    "test_the_logs_of_the_cluster": "of workers; dask has those of the cluster and the scheduler, too",
    "test_logs_of_an_unknown_worker": "an error that lists the workers; dask says nothing of it",
}


@pytest.fixture
def other(side: Side, cluster: Any) -> Iterator[Any]:  # noqa: F811
    with side.Client(cluster, set_as_default=False) as client:  # noqa: F811
        yield client


def speak(text: str) -> None:
    logging.getLogger("distributed.worker").error(text)


def test_logs_are_by_worker(client: Any, workers: Any) -> None:  # noqa: F811
    assert set(workers) <= set(client.get_worker_logs())


def test_a_log_is_a_sequence_of_levels_and_lines(client: Any) -> None:  # noqa: F811
    client.submit(speak, "loud and clear", pure=False).result()
    lines = [line for log in client.get_worker_logs().values() for line in log]
    assert [level for level, text in lines if "loud and clear" in text] == ["ERROR"]


def test_a_log_has_the_newest_line_first(client: Any, workers: Any) -> None:  # noqa: F811
    for text in ("the first of two", "the second of two"):
        client.submit(speak, text, workers=[workers[0]], pure=False).result()
    log = client.get_worker_logs()[workers[0]]
    found = [text.rpartition(": ")[2] for _, text in log if "of two" in text]
    assert [text.rpartition(" - ")[2] for text in found] == ["the second of two", "the first of two"]


def test_some_lines_of_a_log(client: Any, workers: Any) -> None:  # noqa: F811
    for text in "abc":
        client.submit(speak, text, workers=[workers[0]], pure=False).result()
    assert len(client.get_worker_logs(n=2)[workers[0]]) == 2


def test_logs_of_some_workers(client: Any, workers: Any) -> None:  # noqa: F811
    assert list(client.get_worker_logs(workers=[workers[1]])) == [workers[1]]


def test_logs_of_an_unknown_worker(side: Side, client: Any) -> None:  # noqa: F811
    if side.is_ours:
        with pytest.raises(ValueError, match="no worker 'nobody'"):
            client.get_worker_logs(workers=["nobody"])


def test_what_tasks_print_is_in_the_logs(side: Side, client: Any) -> None:  # noqa: F811
    client.submit(print, "it is printed", pure=False).result()
    lines = [text for log in client.get_worker_logs().values() for _, text in log]
    assert ("it is printed" in lines) is side.is_ours


def test_the_logs_of_the_cluster(side: Side, cluster: Any, workers: Any) -> None:  # noqa: F811
    logs = cluster.get_logs()
    assert set(workers) <= set(logs)
    assert all(isinstance(text, str) for text in logs.values())
    assert (set(logs) == set(workers)) is side.is_ours


def test_the_logs_of_no_workers(side: Side, cluster: Any) -> None:  # noqa: F811
    assert not cluster.get_logs(cluster=False, scheduler=False, workers=False)


def test_equal_calls_of_two_clients_have_one_key(client: Any, other: Any) -> None:  # noqa: F811
    mine, theirs = client.submit(inc, 4711), other.submit(inc, 4711)
    assert mine.key == theirs.key
    assert mine.result() == theirs.result() == 4712


def test_a_client_sees_what_the_cluster_holds_for_others(client: Any, other: Any) -> None:  # noqa: F811
    future = other.submit(inc, 4712)
    future.result()
    assert future.key in {key for keys in client.has_what().values() for key in keys}


def test_who_has_of_another_clients_key(client: Any, other: Any) -> None:  # noqa: F811
    mine, theirs = client.submit(inc, 4713), other.submit(inc, 4713)
    mine.result()
    theirs.result()
    assert list(map(sorted, client.who_has([mine]).values())) == list(map(sorted, other.who_has([theirs]).values()))


def test_a_cancel_leaves_what_another_client_wants(client: Any, other: Any) -> None:  # noqa: F811
    mine, theirs = client.submit(inc, 4714), other.submit(inc, 4714)
    assert (mine.result(), theirs.result()) == (4715, 4715)
    client.cancel([mine])
    assert mine.cancelled()
    assert other.submit(inc, theirs).result() == 4716


def test_the_futures_of_a_client_are_its_own(client: Any, other: Any) -> None:  # noqa: F811
    future = other.submit(inc, 4715)
    assert future.key in other.futures
    assert future.key not in client.futures


def test_a_client_that_leaves_takes_nothing_from_others(side: Side, client: Any, cluster: Any) -> None:  # noqa: F811
    mine = client.submit(inc, 4716)
    with side.Client(cluster, set_as_default=False) as leaving:
        assert leaving.submit(inc, 4716).result() == 4717
    assert mine.result() == 4717
    assert client.submit(inc, mine).result() == 4718


def test_scattered_data_of_one_client_are_held_for_all(client: Any, other: Any) -> None:  # noqa: F811
    future = client.scatter({"scattered for both": 4717})["scattered for both"]
    assert "scattered for both" in {key for keys in other.has_what().values() for key in keys}
    del future


def test_differences_are_named() -> None:
    """What is named differs, and what differs is named."""
    functions = [node for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.FunctionDef)]
    tests = [function for function in functions if function.name.startswith("test_")]
    asked = {function.name for function in tests if "is_ours" in ast.unparse(function)}
    assert asked - {"test_differences_are_named"} == set(DIFFERENCES)
