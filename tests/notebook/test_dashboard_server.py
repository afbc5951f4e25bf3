"""`%dashboard --serve`: who gets an answer, what it holds, and that nothing is left of it."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

import taskloom
from taskloom import config

pytest.importorskip("IPython")
pytest.importorskip("bokeh")

from IPython.core.interactiveshell import InteractiveShell
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from taskloom.errors import ConfigError
from taskloom.notebook.dashboard_server import dashboard_link

DEADLINE = 60  # seconds


@pytest.fixture
def link(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> str:
    return served(shell, capsys)


def served(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> str:
    shell.run_line_magic("dashboard", "--serve")
    found = re.search(r"^Dashboard: (\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert found
    return found[1]


def get(address: str, **headers: str) -> tuple[int, str]:
    async def answer() -> tuple[int, str]:
        client = AsyncHTTPClient(force_instance=True)
        try:
            response = await client.fetch(HTTPRequest(address, headers=headers, request_timeout=DEADLINE), False)
            return response.code, response.body.decode()
        finally:
            client.close()

    return asyncio.run(answer())


def socket_address(link: str) -> str:
    return link.replace("http:", "ws:").replace("/?", "/ws?")


@asynccontextmanager
async def opened(link: str, **headers: str) -> AsyncIterator[WebSocketClientConnection]:
    page = await websocket_connect(HTTPRequest(socket_address(link), headers=headers))
    try:
        yield page
    finally:
        page.close()
        while await asyncio.wait_for(asyncio.ensure_future(page.read_message()), DEADLINE) is not None:
            pass


async def next_message(socket: WebSocketClientConnection) -> dict[str, Any]:
    text = await asyncio.wait_for(asyncio.ensure_future(socket.read_message()), DEADLINE)
    assert isinstance(text, str)
    content: dict[str, Any] = json.loads(text)
    content["received"] = [await socket.read_message() for _ in range(content["n_buffers"])]
    return content


def refusal(address: str, **headers: str) -> int:
    async def connect() -> int:
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(HTTPRequest(address, headers=headers))
        return refused.value.code

    return asyncio.run(connect())


def test_the_link_opens_the_page(link: str) -> None:
    code, page = get(link)
    assert code == 200
    assert "<title>taskloom dashboard</title>" in page
    assert "://" not in page.replace('partition("://")', "")


def test_a_second_call_prints_the_same_link(
    link: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served(shell, capsys) == link


@pytest.mark.parametrize("path", ["/", "/ws", "/nowhere"])
@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%E2%82%AC"])
def test_nobody_is_answered_without_the_token(link: str, path: str, query: str) -> None:
    code, text = get(f"http://{urlsplit(link).netloc}{path}{query}")
    assert code == 403
    assert "needs its token" in text


def test_there_is_nothing_else(link: str) -> None:
    assert get(link.replace("/?", "/static/../../etc/passwd?"))[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "["])
def test_another_host_is_refused(link: str, host: str) -> None:
    code, text = get(link, Host=host)
    assert code == 403
    assert "under the name" in text
    assert refusal(socket_address(link), Host=host) == 403


def test_a_tunnel_may_have_another_port(link: str) -> None:
    assert get(link, Host="localhost:9000")[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://["])
def test_other_pages_are_refused(link: str, origin: str) -> None:
    assert refusal(socket_address(link), Origin=origin) == 403


def test_the_socket_wants_the_token(link: str) -> None:
    assert refusal(f"ws://{urlsplit(link).netloc}/ws") == 403


def test_it_listens_on_this_computer_only(link: str) -> None:
    port = urlsplit(link).port
    addresses = {c.laddr.ip for c in psutil.Process().net_connections() if c.laddr.port == port}
    assert addresses == {"127.0.0.1"}


def test_pages_follow_runs(link: str) -> None:
    """Two pages, one with BokehJS of its own, get the document, then what changes, to the end of a run."""

    async def follow() -> None:
        origin = f"http://{urlsplit(link).netloc}"
        async with opened(link, Origin=origin) as first, opened(link, Origin=origin) as second:
            for page, library in ((first, True), (second, False)):
                await page.write_message(json.dumps({"type": "ready", "library": library}))
                message = await next_message(page)
                assert message["type"] == "document"
                assert json.loads(message["document"])["roots"]
                assert [b"Bokeh" in buffer for buffer in message["received"]] == [True] * library
            graph = {("<img src=x onerror=alert(1)>", i): (abs, -i) for i in range(5)}
            await asyncio.to_thread(taskloom.get, graph, list(graph))
            for page in (first, second):
                while "5/5 tasks · finished" not in (message := await next_message(page))["headline"]:
                    assert message["type"] == "patch"
                assert not message["state"]["running"]

    asyncio.run(follow())


def test_a_page_stops_a_run(link: str) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        begun.set()
        assert stopped.wait(DEADLINE)

    def compute() -> None:
        with pytest.raises(KeyboardInterrupt):
            taskloom.get({"a": (wait, 1), "b": (abs, "a")}, "b")

    async def stop() -> None:
        async with opened(link) as page:
            computing = asyncio.create_task(asyncio.to_thread(compute))
            assert await asyncio.to_thread(begun.wait, DEADLINE)
            await page.write_message(json.dumps({"type": "ready", "library": False}))
            while not (await next_message(page))["state"]["running"]:
                pass
            await page.write_message("no JSON")
            await page.write_message(json.dumps({"type": "stop"}))
            run = taskloom.last_run()
            assert run is not None
            async with asyncio.timeout(DEADLINE):
                while not run.stopped:
                    await asyncio.sleep(0.01)
            stopped.set()
            await computing

    asyncio.run(stop())


def test_nothing_is_left(link: str, shell: InteractiveShell) -> None:
    from taskloom.bus.event_bus import bus

    async def leave_open() -> int | None:
        async with opened(link) as page:
            await page.write_message(json.dumps({"type": "ready", "library": False}))
            await next_message(page)
            await asyncio.to_thread(shell.extension_manager.unload_extension, "taskloom")
        return page.close_code

    port = urlsplit(link).port
    assert asyncio.run(leave_open()) == 1001  # the page is told
    assert "taskloom-dashboard" not in {thread.name for thread in threading.enumerate()}
    assert not [c for c in psutil.Process().net_connections() if c.laddr.port == port and c.status == "LISTEN"]
    assert "ServedDashboard" not in {type(each.listener).__name__ for each in bus.subscriptions}
    with pytest.raises(ConnectionRefusedError):
        get(link)


def test_the_link_of_a_proxy(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    with config.set({"notebook.dashboard_link": "https://lab.example/proxy/{port}/?token={token}"}):
        link = urlsplit(served(shell, capsys))
    port = link.path.split("/")[2]
    assert link.netloc == "lab.example"
    direct = f"http://127.0.0.1:{port}/?{link.query}"
    assert get(direct, Host="lab.example", Origin="https://lab.example")[0] == 200
    assert get(direct, Origin="https://lab.example")[0] == 200  # a proxy that asks under the port's own name
    assert get(direct, Host="evil.example")[0] == 403


def test_the_link_in_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    assert dashboard_link(8787, "secret") == "/user/ada/proxy/8787/?token=secret"
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", "https://hub.example/user/ada/")
    assert dashboard_link(8787, "secret") == "https://hub.example/user/ada/proxy/8787/?token=secret"


@pytest.mark.parametrize("wrong", ["", "https://x/{port}", "/{token}", "javascript:{port}{token}", 3])
def test_a_link_without_its_parts_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"has \{port\} and \{token\} in it"):
        config.set({"notebook.dashboard_link": wrong})
