"""The dashboard as a web page, for whoever has the link: one document, which all open pages show."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import warnings
from collections.abc import Callable
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from taskloom.views.figures.dashboard import Dashboard
from taskloom.views.figures.page import Page, library
from taskloom.views.figures.painter import PaintedRun, can_be_stopped
from taskloom.views.headline import headline

if TYPE_CHECKING:
    from taskloom.bus import Run

ADDRESS = "127.0.0.1"
LOCAL = {"127.0.0.1", "localhost"}
MOST_UNSENT = 50  # messages to a page that does not take them, such as one on a line that is down: then it is let go
LONGEST_REQUEST = 10_000  # bytes: pages ask for little
PING = 30  # seconds, after which a page that is gone without a word is noticed

Message = tuple[str, list[bytes]]


class ServedDashboard(PaintedRun):
    """A listener on the bus, and the web server of its dashboard, with a thread and an event loop of its own.

    It costs a run nothing while no page is open.

    Parameters
    ----------
    run : Run or None
        What to show until the next run starts.
    script, style : str
        What a page is made of; the script has a function ``serve``.
    link : function (port, token) -> str
        Makes the address that people open, which may lead through a proxy. A request must be for this computer or for
        the address's host; any host does where it names none, since then only the proxy knows by what name it is asked.
    port : 0 for any. Where another program has it, that is warned of, and any will do.

    Attributes
    ----------
    link : the address, with the token that every request must have.
    port : where it is.
    """

    def __init__(
        self, run: Run | None, script: str, style: str, link: Callable[[int, str], str], port: int = 0
    ) -> None:
        self._lock = threading.Lock()  # of the document: the painter changes it in one thread, pages ask in another
        self._pages: set[_Socket] = set()  # changed in the server's thread only
        listening = _listening(port)
        self.port: int = listening.getsockname()[1]
        token = secrets.token_urlsafe(32)
        self.link = link(self.port, token)
        application = Application(
            [("/", _Document, {"script": script, "style": style}), ("/ws", _Socket, {"served": self})],
            default_handler_class=_Missing,
            token=token.encode(),
            host=urlsplit(self.link).netloc.lower(),
            log_function=lambda _: None,  # the addresses have the token in them
            websocket_ping_interval=PING,
            websocket_max_message_size=LONGEST_REQUEST,
        )
        self._loop = asyncio.new_event_loop()
        self._server = HTTPServer(application, max_body_size=LONGEST_REQUEST)
        self._loop.call_soon(self._server.add_socket, listening)
        self._thread = threading.Thread(target=self._serve, name="taskloom-dashboard", daemon=True)
        self._thread.start()
        super().__init__(run)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def close(self) -> None:
        """Close all pages and the port. Safe to call twice."""
        self._painter.close()
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            self._thread.join()

    async def _close(self) -> None:
        self._server.stop()
        pages, self._pages = self._pages, set()
        for page in pages:
            page.close(1001, "closed")
        await self._server.close_all_connections()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop.call_soon(self._loop.stop)

    # -- the painter's thread -------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Send the pages what happened: one message."""
        with self._lock:
            if self._pages:
                self._dashboard.show(self._run)
                self._send_changes()

    def _send_changes(self) -> None:
        changes = self._page.patch()
        patch, ids, buffers = changes or ('{"events": []}', [], [])  # the headline and the state change without it
        message = self._message(buffers, type="patch", patch=patch, buffers=ids)
        self._loop.call_soon_threadsafe(self._send, message)

    def _message(self, attached: list[bytes], **content: object) -> Message:
        run = self._run
        about = {
            "headline": headline(run),
            "run": None if run is None else run.id,
            "state": {"running": can_be_stopped(run)},
        }
        return json.dumps({**content, **about, "n_buffers": len(attached)}), attached

    # -- the server's thread --------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        for page in list(self._pages):
            page.tell(message)

    def add(self, page: _Socket, wants_library: bool) -> None:
        """Give a page the document, and the changes from then on."""
        with self._lock:
            if not self._pages:  # nobody looked, and so nothing was drawn
                self._dashboard = Dashboard()
                self._page = Page(self._dashboard.root)
                self._dashboard.show(self._run)
                self._page.patch()
            else:
                self._send_changes()  # other pages have the document already, and it will hold them
            buffers = [library()] if wants_library else []
            content = {"type": "document", "library": wants_library, "document": self._page.document()}
            # Through the loop, behind the changes that were made before: the page joins when it has the document.
            self._loop.call_soon(self._join, page, self._message(buffers, **content))
            self._pages.add(page)

    def _join(self, page: _Socket, document: Message) -> None:
        page.ready = True
        page.tell(document)

    def remove(self, page: _Socket) -> None:
        """Tell a page no more."""
        with self._lock:
            self._pages.discard(page)


def _listening(port: int) -> socket.socket:
    """A socket at a port, or at any where that one is taken."""
    try:
        listening = socket.create_server((ADDRESS, port))
    except OSError as error:
        if not port:
            raise
        listening = socket.create_server((ADDRESS, 0))
        warnings.warn(
            f"The dashboard cannot be at port {port} ({error.strerror or error}): it is at port "
            f"{listening.getsockname()[1]}.",
            UserWarning,
            stacklevel=2,
        )
    listening.setblocking(False)
    return listening


class _Guarded(RequestHandler):
    """Answers those who have the token, and ask by a name that is ours: not a page that had its own name lead here."""

    def prepare(self) -> None:
        if not self._is_for_us():
            self._refuse("This dashboard is not served under the name that was asked for.")
        elif not self._is_from_us(self.request.headers.get("Origin")):
            self._refuse("This dashboard may not be used by other pages.")
        elif not compare_digest(self.get_query_argument("token", "").encode(), self.settings["token"]):
            self._refuse("This dashboard needs its token: open the link that %dashboard --serve has printed.")

    def _is_for_us(self) -> bool:
        asked = self.request.host.lower()
        return self.settings["host"] in ("", asked) or asked.partition(":")[0] in LOCAL

    def _is_from_us(self, origin: str | None) -> bool:
        ours = {self.request.host.lower(), self.settings["host"]} - {""}
        return origin is None or origin.lower().partition("://")[2] in ours

    def _refuse(self, why: str) -> None:
        self.set_status(HTTPStatus.FORBIDDEN)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{why}\n")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")


class _Missing(_Guarded):
    def get(self) -> None:
        self.set_status(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("There is only the dashboard here.\n")


class _Document(_Guarded):
    def initialize(self, script: str, style: str) -> None:
        self._script, self._style = script, style

    def get(self) -> None:
        nonce = secrets.token_urlsafe(16)
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'nonce-{nonce}' blob:; style-src 'unsafe-inline'; "
            "img-src data: blob:; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'self'",
        )
        self.finish(_PAGE.format(nonce=nonce, script=self._script, style=self._style))


class _Socket(_Guarded, WebSocketHandler):
    def initialize(self, served: ServedDashboard) -> None:
        self._served = served
        self._unsent = 0
        self.ready = False

    def check_origin(self, origin: str) -> bool:
        return self._is_from_us(origin)

    def on_message(self, message: str | bytes) -> None:
        try:
            content = json.loads(message)
        except ValueError:
            content = None
        match content:
            case {"type": "ready"} if not self.ready:
                self._served.add(self, bool(content.get("library")))
            case {"type": "stop"}:
                self._served.stop()

    def on_close(self) -> None:
        self._served.remove(self)

    def tell(self, message: Message) -> None:
        """Send a message, without waiting for it to arrive."""
        if not self.ready:
            return
        if self._unsent > MOST_UNSENT:
            self.close(1013, "too slow")
            return
        text, buffers = message
        self._write(text)
        for buffer in buffers:
            self._write(buffer)

    def _write(self, data: str | bytes) -> None:
        try:
            written: asyncio.Future[None] = asyncio.ensure_future(self.write_message(data, isinstance(data, bytes)))
        except WebSocketClosedError:
            return
        self._unsent += 1
        written.add_done_callback(self._wrote)

    def _wrote(self, written: asyncio.Future[Any]) -> None:
        self._unsent -= 1
        if not written.cancelled():
            written.exception()  # the page is gone, which `on_close` is told


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>taskloom dashboard</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<script type="module" nonce="{nonce}">{script}
serve();
</script>
</body>
</html>
"""
