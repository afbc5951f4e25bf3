"""What tasks print, warn of and log reaches the client that has submitted them, before their results do."""

import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from taskloom.distributed import Client, Event, LocalCluster, get_client, wait
from taskloom.engines.cluster.client.printing import KEPT, Printing

LIMIT = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=2) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def say(text: str, count: int = 1) -> None:
    for number in range(count):
        print(text, number)


def complain(text: str) -> None:
    print(text, file=sys.stderr)


Seen = pytest.CaptureFixture[str]


def test_what_is_printed_is_there_before_the_result(client: Client, capsys: Seen) -> None:
    for number in range(50):
        client.submit(say, f"round {number}", pure=False).result()
        assert capsys.readouterr().out == f"round {number} 0\n"


def test_the_lines_of_a_task_keep_their_order(client: Client, capsys: Seen) -> None:
    client.gather([client.submit(say, name, 500, pure=False) for name in "abcd"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * 500
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(500)]


def test_stderr_goes_to_stderr(client: Client, capsys: Seen) -> None:
    client.submit(complain, "oh").result()
    assert tuple(capsys.readouterr()) == ("", "oh\n")


def fail(text: str) -> None:
    print(text, end="")
    raise ValueError(text)


def test_what_was_printed_before_a_failure_is_there(client: Client, capsys: Seen) -> None:
    with pytest.raises(ValueError, match="so far"):
        client.submit(fail, "so far", pure=False).result()
    assert capsys.readouterr().out == "so far"


def print_and_die() -> None:
    for number in range(10):
        print("last words", number)
    os._exit(1)


def test_nothing_is_lost_when_a_worker_dies(capsys: Seen) -> None:
    with Client(n_workers=1, threads_per_worker=1) as client:
        assert type(client.submit(print_and_die).exception()).__name__ == "WorkerDied"
    tries = 4
    assert capsys.readouterr().out == tries * "".join(f"last words {number}\n" for number in range(10))


def wait_for_file(path: str) -> None:
    print("it has begun")
    while not os.path.exists(path):
        time.sleep(0.005)


def test_a_line_appears_while_its_task_runs(client: Client, capsys: Seen, tmp_path: Any) -> None:
    future = client.submit(wait_for_file, str(tmp_path / "gate"))
    seen = ""
    deadline = time.monotonic() + LIMIT
    while "it has begun\n" not in seen:
        assert time.monotonic() < deadline
        seen += capsys.readouterr().out
        time.sleep(0.01)
    assert not future.done()
    (tmp_path / "gate").touch()
    future.result()


def half_a_line() -> None:
    print("half", end="", flush=True)
    print(" and half")
    sys.stdout.writelines(["a\n", "b"])
    sys.stdout.flush()
    assert sys.stdout.fileno() == 1
    assert sys.stdout.encoding.lower() == "utf-8"
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]


def test_a_stream_of_a_task_is_a_stream(client: Client, capsys: Seen) -> None:
    client.submit(half_a_line).result()
    assert capsys.readouterr().out == "half and half\na\nb"


def outer(text: str) -> None:
    with get_client() as client:
        client.submit(say, text).result()
        client.submit(caution, text).result()


def caution(text: str) -> None:
    warnings.warn(text, stacklevel=1)
    logging.getLogger("taskloom-test.output").warning("log of %s", text)


def test_what_subtasks_print_their_task_has_printed(client: Client, capsys: Seen) -> None:
    with pytest.warns(UserWarning, match="from inside"):
        client.submit(outer, "from inside", pure=False).result()
    assert capsys.readouterr().out == "from inside 0\n"


def test_warnings_and_log_records_come_before_the_result(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(UserWarning, match="careful now"):
        client.submit(caution, "careful now", pure=False).result()
    assert [record.getMessage() for record in caplog.records] == ["log of careful now"]


def test_the_filters_of_now_hold_in_a_cluster_that_has_long_been_there(client: Client) -> None:
    with warnings.catch_warnings(record=True) as caught:
        for action, shown in (("ignore", 0), ("always", 1), ("ignore", 0), ("default", 1), ("once", 1)):
            warnings.simplefilter(action)  # type: ignore[arg-type]
            client.submit(caution, "said now", pure=False).result()
            assert len(caught) == shown, action
            caught.clear()
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="said now"):
            client.submit(caution, "said now", pure=False).result()


def test_a_worker_that_comes_later_has_the_filters_of_now() -> None:
    with Client(n_workers=1, threads_per_worker=1) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="said now"):
            client.submit(caution, "said now", pure=False).result()
        client.cluster.scale(2)
        client.wait_for_workers(2)
        for worker in client.scheduler_info()["workers"]:
            with pytest.raises(UserWarning, match="said now"):
                client.submit(caution, "said now", pure=False, workers=[worker]).result()


def filtering_itself(text: str, begun: Event, go_on: Event) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begun.set()
        go_on.wait(LIMIT)
        caution(text)
    caution("after that")
    return [str(each.message) for each in caught]


def test_filters_of_a_task_are_its_own_when_those_of_its_worker_change(client: Client) -> None:
    begun, go_on = Event(client=client), Event(client=client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = client.submit(filtering_itself, "to itself", begun, go_on, pure=False)
        assert begun.wait(LIMIT)
        warnings.simplefilter("error")
        client.gather(client.map(abs, range(8), pure=False))
        go_on.set()
        with pytest.raises(UserWarning, match="after that"):
            task.result()


def test_a_level_of_now_holds(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for level, count in ((logging.ERROR, 0), (logging.WARNING, 1), (logging.CRITICAL, 0)):
        with caplog.at_level(level, "taskloom-test.output"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client.submit(caution, "levels", pure=False).result()
        assert len(caplog.records) == count
        caplog.clear()


def test_odd_characters(client: Client, capsys: Seen) -> None:
    text = "\x1b[31mred\x00 \u2028 \U0001f600 \udc80"
    client.submit(sys_stdout_write, text + "\n").result()
    assert "red" in capsys.readouterr().out


def sys_stdout_write(text: str) -> None:
    sys.stdout.write(text)


def test_a_stdout_that_breaks_stops_nobody(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise OSError("it is full")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken())
        assert client.submit(say, "nobody hears").result() is None
    assert "printed" in caplog.text
    monkeypatch.setattr(sys, "stdout", None)
    assert client.submit(say, "nobody hears that either").result() is None


WITH_OTHER_FILTERS = """
import sys, warnings
from taskloom.distributed import Client
sys.stderr = sys.stdout
def caution(text):
    warnings.warn(text, stacklevel=1)
with Client(sys.argv[1]) as client:
    warnings.simplefilter(sys.argv[2])
    client.submit(caution, "of the other", pure=False).result()
    print("ready", flush=True)
    sys.stdin.readline()
    client.submit(caution, "of the other", pure=False).result()
"""


@pytest.mark.parametrize("theirs", ["ignore", "error"])
def test_filters_of_one_client_are_not_those_of_another(cluster: LocalCluster, client: Client, theirs: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client.submit(caution, "own", pure=False).result()
        command = [sys.executable, "-c", WITH_OTHER_FILTERS, cluster.scheduler_address, theirs]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            lines = [*iter(other.stdout.readline, "ready\n")]
            client.submit(caution, "own", pure=False).result()
            lines += other.communicate("\n", timeout=LIMIT)[0].splitlines()
    assert [str(each.message) for each in caught] == ["own", "own"]
    assert other.returncode == 0  # what is an error there is shown
    assert sum("of the other" in line for line in lines) == (2 if theirs == "error" else 0)


OTHER = """
import sys
from taskloom.distributed import Client
def say(text):
    print(text)
with Client(sys.argv[1]) as client:
    for number in range(20):
        client.submit(say, f"other {number}").result()
        print("got", number)
"""


def test_each_client_hears_its_own_tasks(cluster: LocalCluster, client: Client, capsys: Seen) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, cluster.scheduler_address], stdout=subprocess.PIPE, text=True
    )
    own = ""
    while other.poll() is None:
        client.submit(say, "own", pure=False).result()
        own += capsys.readouterr().out
    assert set(own.splitlines()) == {"own 0"}
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.read().splitlines() == [f"{what} {n}" for n in range(20) for what in ("other", "got")]
    assert other.returncode == 0


def test_a_task_of_two_clients_goes_on_to_print_for_the_other(
    cluster: LocalCluster, capsys: Seen, tmp_path: Any
) -> None:
    with Client(cluster) as other:
        with Client(cluster) as first:
            future = first.submit(wait_and_say, str(tmp_path), key="of both")
            same = other.submit(wait_and_say, str(tmp_path), key="of both")
            while not (tmp_path / "begun").exists():
                time.sleep(0.005)
            del future
        (tmp_path / "gate").touch()
        same.result()
        assert "it has ended 0\n" in capsys.readouterr().out


def wait_and_say(place: str) -> None:
    open(f"{place}/begun", "w").close()
    wait_for_file(f"{place}/gate")
    say("it has ended")


def test_output_is_bounded_by_who_takes_it(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    future = client.submit(say, "one of many", 100_000)
    wait(future)
    lines = capfd.readouterr().out.splitlines()
    assert lines == [f"one of many {number}" for number in range(100_000)]


# -- places -----------------------------------------------------------------------------------------------------------


class Cell:
    """A place that keeps what appears in it."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def run(self, function: Any, *args: Any) -> None:
        self.heard.append(args[-1])


def test_output_goes_to_the_place_of_its_submit(monkeypatch: pytest.MonkeyPatch, capsys: Seen) -> None:
    from taskloom.engines.cluster.client.higher import higher

    now: list[Cell | None] = [None]
    monkeypatch.setitem(higher, "cell", lambda: now[0])
    first, second = Cell(), Cell()
    printing = Printing()
    for id, cell in ((10, None), (20, first), (21, first), (30, second), (40, first), (50, None)):
        now[0] = cell
        printing.note(id)
    for id in (5, 10, 19, 20, 25, 30, 39, 40, 50):
        printing.printed(id, "stdout", [str(id), "\n"])
    assert first.heard == ["20\n", "25\n", "40\n"]
    assert second.heard == ["30\n", "39\n"]
    assert capsys.readouterr().out == "5\n10\n19\n50\n"


def test_places_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from taskloom.engines.cluster.client.higher import higher

    cells = [Cell(), Cell()]
    printing = Printing()
    for id in range(3 * KEPT):
        monkeypatch.setitem(higher, "cell", lambda cell=cells[id % 2]: cell)
        printing.note(id)
    assert len(printing._places) <= KEPT
    printing.printed(3 * KEPT - 1, "stdout", ["x"])
    assert (cells[0].heard, cells[1].heard) == ([], ["x"])


def test_cells_take_turns_while_threads_submit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskloom.engines.cluster.client.higher import higher

    here = threading.local()
    monkeypatch.setitem(higher, "cell", lambda: getattr(here, "cell", None))
    cells = [Cell() for _ in range(4)]

    def submit(number: int) -> None:
        here.cell = cells[number]
        client.gather([client.submit(say, f"of {number}", pure=False) for _ in range(20)])

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    for number, cell in enumerate(cells):
        assert "".join(cell.heard) == 20 * f"of {number} 0\n"
