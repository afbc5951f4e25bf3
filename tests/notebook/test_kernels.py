"""Live views, their Stop, and what tasks print, in every supported ipykernel: what a page would get, without a page.

The kernels below are the ends of the supported range and the first one with subshells. Each is only put in front of the
installed one, which takes a second or two where the package index answers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")

INSTALLED = "installed"
KERNELS = ("6.29.5", "7.0.1", INSTALLED)
NEEDED_BY_OLDER = "nest-asyncio"  # of what ipykernel needs, all that the newest does not need too
UPDATES = 3  # messages that show that a view moves
SECONDS = 60.0  # for whatever is waited for

SETUP = """
%load_ext taskloom
import time, taskloom
def sleep_all(count=4000):
    graph = {("nap", i): (time.sleep, 0.05) for i in range(count)}
    taskloom.threaded.get(graph, list(graph), num_workers=2)
import ipykernel
print(ipykernel.__version__)
"""

Message = dict[str, Any]


class Frontend:
    """What a page does with a kernel."""

    def __init__(self, packages: Path | None) -> None:
        path = [str(packages)] if packages else []
        path += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        self._manager = jupyter_client.KernelManager()
        self._manager.start_kernel(env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, stderr=subprocess.DEVNULL)
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=2 * SECONDS)
        self.received: list[Message] = []
        self._subshell = self._new_subshell()

    def _new_subshell(self) -> str | None:
        """Where pages send what is clicked, if the kernel has that."""
        info = self._client.kernel_info(reply=True, timeout=SECONDS)["content"]
        if "kernel subshells" not in info.get("supported_features", ()):
            return None
        session, control = self._client.session, self._client.control_channel
        control.send(session.msg("create_subshell_request", {}))
        return str(control.get_msg(timeout=SECONDS)["content"]["subshell_id"])

    @property
    def reads_clicks_while_busy(self) -> bool:
        return self._subshell is not None

    def start(self, code: str) -> str:
        """Run a cell, and return its id without waiting."""
        self.received.clear()
        return str(self._client.execute(code))

    def run(self, code: str) -> list[Message]:
        """Run a cell to its end, and return what it sent."""
        cell = self.start(code)
        self.wait(cell)
        return list(self.received)

    def click(self, comm: str, **content: Any) -> None:
        """Send a widget a message, as its script does."""
        message = self._client.session.msg(
            "comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}}
        )
        message["header"]["subshell_id"] = self._subshell
        self._client.shell_channel.send(message)

    def until(self, condition: Callable[[list[Message]], Any], what: str) -> Any:
        """Read until `condition(what the newest cell's views sent so far)` is true, and return what it returned."""
        return self._read(condition, SECONDS) or pytest.fail(f"waited {SECONDS:g} s for {what}")

    def _read(self, condition: Callable[[list[Message]], Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition(self.received)):
            try:
                self.received.append(self._client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic())))
            except Empty:
                break
        return value

    def wait(self, cell: str) -> None:
        """Wait until a cell is over, and its reply here: no page runs another before.

        ipykernel 7.0 to 7.3 never read a request that comes while they send a reply, whatever ran.
        """
        self.until(lambda received: is_over(received, cell), "the cell to end")
        while self._client.get_shell_msg(timeout=SECONDS)["parent_header"]["msg_id"] != cell:
            pass

    def stop(self, view: str, cell: str) -> None:
        """Press a view's Stop, and wait until the cell is over.

        Where the kernel does not read that while it is busy, the page interrupts it; more than once, because an
        interrupt that falls into a garbage collection is lost in the hook that ipykernel 6 has there.
        """
        self.click(view, type="stop")
        if not self.reads_clicks_while_busy:
            for _ in range(int(SECONDS)):
                self._manager.interrupt_kernel()
                if self._read(lambda received: is_over(received, cell), 1.0):
                    break
        self.wait(cell)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def is_over(received: list[Message], cell: str) -> bool:
    return any(
        message["msg_type"] == "status"
        and message["content"]["execution_state"] == "idle"
        and message["parent_header"].get("msg_id") == cell
        for message in received
    )


def opened(received: list[Message]) -> str | None:
    """The id of the newest view that was opened."""
    ids = [
        message["content"]["comm_id"]
        for message in received
        if message["msg_type"] == "comm_open" and "_esm" in message["content"]["data"]["state"]
    ]
    return ids[-1] if ids else None


def sent(received: list[Message], comm: str) -> list[Any]:
    """What a view was sent."""
    return [
        message["content"]["data"]
        for message in received
        if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == comm
    ]


def is_running(received: list[Message], comm: str) -> bool:
    """Whether a view was told of a run, which it can stop."""
    return any(data.get("state", {}).get("running") for data in sent(received, comm))


def errors(received: list[Message]) -> list[str]:
    return [message["content"]["ename"] for message in received if message["msg_type"] == "error"]


def pictures(received: list[Message]) -> str:
    """The texts of what stands where views were."""
    return "\n".join(
        message["content"]["data"]["text/plain"]
        for message in received
        if message["msg_type"] == "update_display_data" and "text/html" in message["content"]["data"]
    )


@pytest.fixture(scope="module", params=KERNELS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    packages = None
    if request.param != INSTALLED:
        packages = tmp_path_factory.mktemp("packages")
        fetched = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"),
                *("--no-deps", "--target", str(packages), f"ipykernel=={request.param}", NEEDED_BY_OLDER),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if fetched.returncode != 0:
            pytest.skip(f"the package index gives no ipykernel {request.param}: {fetched.stderr.strip()[-200:]}")
    page = Frontend(packages)
    try:
        (version,) = [message for message in page.run(SETUP) if message["msg_type"] == "stream"]
        assert request.param in (INSTALLED, version["content"]["text"].strip())
        yield page
    finally:
        page.close()


@pytest.mark.parametrize("magic", ["", "%%graph\n"])
def test_a_view_moves_while_the_cell_is_busy_and_stop_stops(page: Frontend, magic: str) -> None:
    page.run(f"%progress {'off' if magic else 'on'}")
    cell = page.start(f"{magic}sleep_all()")
    view = page.until(opened, "the view to appear")
    page.until(lambda received: len(sent(received, view)) >= UPDATES, "the view to move")
    assert not is_over(page.received, cell)
    page.stop(view, cell)
    assert errors(page.received) == ["KeyboardInterrupt"]
    page.until(lambda received: "stopped" in pictures(received), "the picture of the end")
    assert not errors(page.run("assert taskloom.last_run().status == 'cancelled'"))


def test_the_dashboard_moves_in_its_own_cell_and_its_stop_stops(page: Frontend) -> None:
    page.run("%progress off")
    view = opened(page.run("%dashboard"))
    assert view is not None
    page.click(view, type="ready")
    cell = page.start("sleep_all()")
    page.until(lambda received: is_running(received, view), "the dashboard to offer its Stop")
    page.until(lambda received: len(sent(received, view)) >= UPDATES, "the dashboard to move")
    assert not is_over(page.received, cell)
    page.stop(view, cell)
    assert errors(page.received) == ["KeyboardInterrupt"]


def test_the_selector_applies_at_once(page: Frontend) -> None:
    view = opened(page.run("%scheduler"))
    assert view is not None
    cell = page.start(
        "end = time.monotonic() + 50\n"
        "while taskloom.config.get('scheduler') != 'sync' and time.monotonic() < end: time.sleep(0.02)\n"
        "print(taskloom.config.get('scheduler'))"
        if page.reads_clicks_while_busy
        else "pass"
    )
    page.click(view, type="choose", engine="sync")
    chosen = page.until(
        lambda received: [data for data in sent(received, view) if "selector" in data.get("state", {})], "an answer"
    )
    assert chosen[-1]["state"]["selector"]["chosen"] == "sync"
    if page.reads_clicks_while_busy:
        page.wait(cell)
        assert printed(page.received, cell) == "sync\n"
    page.run("%scheduler undo")


def test_compare_counts_trials_and_stop_stops(page: Frontend) -> None:
    cell = page.start("%%compare -n 2 sync threads\nsleep_all()")
    view = page.until(opened, "the bar to appear")
    page.stop(view, cell)
    assert errors(page.received) == ["KeyboardInterrupt"]
    assert not errors(page.run("assert taskloom.config.get('scheduler') is None"))


# -- what tasks of a cluster print ------------------------------------------------------------------------------------

CLUSTER = """
import logging, os, sys, time, warnings
from taskloom.distributed import Client, get_client
client = Client(n_workers=1, threads_per_worker=2)
def wait_and_speak(gate):
    print("begun")
    while not os.path.exists(gate):
        time.sleep(0.005)
    print("from stdout")
    print("from stderr", file=sys.stderr)
    warnings.warn("from a warning")
    logging.getLogger("cells").warning("from a log record")
def outer(gate):
    get_client().submit(wait_and_speak, gate).result()
handler = logging.StreamHandler()
logging.getLogger("cells").addHandler(handler)
logging.getLogger("cells").propagate = False
"""
SPOKEN = ("begun", "from stdout", "from stderr", "from a warning", "from a log record")


@pytest.fixture(scope="module")
def with_cluster(page: Frontend) -> Iterator[Frontend]:
    assert not errors(page.run(CLUSTER))
    yield page
    assert not errors(page.run("client.close()"))


def printed(received: list[Message], cell: str) -> str:
    """What has appeared in a cell so far."""
    return "".join(
        message["content"]["text"]
        for message in received
        if message["msg_type"] == "stream" and message["parent_header"].get("msg_id") == cell
    )


@pytest.mark.parametrize("submit", ["client.submit(wait_and_speak, gate)", "client.submit(outer, gate)"])
def test_tasks_print_in_the_cell_that_submitted_them(with_cluster: Frontend, tmp_path: Path, submit: str) -> None:
    page = with_cluster
    first = page.start(f"gate = {str(tmp_path / 'gate')!r}\nfuture = {submit}\nprint('submitted')")
    page.until(lambda received: "begun" in printed(received, first), "the task to begin")
    page.wait(first)
    before = list(page.received)
    second = page.start("print('another cell'); open(gate, 'w').close(); future.result(); print('over')")
    page.wait(second)
    received = [*before, *page.received]
    page.until(lambda more: SPOKEN[-1] in printed([*before, *more], first), "the last of its words")
    received = [*before, *page.received]
    assert all(text in printed(received, first) for text in SPOKEN)
    assert printed(received, second) == "another cell\nover\n"


def test_a_cell_that_captures_its_output_captures_that_of_its_tasks(with_cluster: Frontend, tmp_path: Path) -> None:
    page = with_cluster
    (tmp_path / "gate").touch()
    assert not errors(page.run(f"%%capture kept\nclient.submit(wait_and_speak, {str(tmp_path / 'gate')!r}).result()"))
    shown = [message for message in page.run("print(kept.stdout)") if message["msg_type"] == "stream"]
    assert "".join([message["content"]["text"] for message in shown]) == "begun\nfrom stdout\n\n"


def test_the_output_of_a_cell_is_in_order(with_cluster: Frontend) -> None:
    page = with_cluster
    cell = page.start(
        "for i in range(20):\n"
        "    print('before', i)\n    client.submit(print, 'task', i).result()\n    print('after', i)"
    )
    page.wait(cell)
    expected = "".join(f"before {i}\ntask {i}\nafter {i}\n" for i in range(20))
    assert printed(page.received, cell) == expected


def test_a_graph_prints_in_its_cell(with_cluster: Frontend) -> None:
    page = with_cluster
    cell = page.start(
        "_ = client.get({('p', i): (print, 'task', i) for i in range(10)}, [('p', i) for i in range(10)])"
    )
    page.wait(cell)
    assert sorted(printed(page.received, cell).split("\n")[:-1]) == sorted(f"task {i}" for i in range(10))
