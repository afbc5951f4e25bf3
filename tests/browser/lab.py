"""JupyterLab in a browser, as a person uses it.

The server is a real one on the loopback interface, with an empty home folder of its own.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SECONDS = 1000  # Playwright counts milliseconds
STARTUP_SECONDS = 120
PATIENCE = 60  # seconds for what a person sees at once on an idle machine
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
EMPTY = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


class NoChromium(Exception):
    """This machine has none."""


@contextmanager
def start_browser() -> Iterator[Any]:
    """Start the machine's own Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        raise NoChromium(f"needs one of {', '.join(CHROMIUM_NAMES)}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=CHROMIUM_OPTIONS, timeout=STARTUP_SECONDS * SECONDS
        )
        yield browser
        browser.close()


class Application(NamedTuple):
    """A Jupyter application: its module, and where in it a notebook is open."""

    module: str
    path: str


JUPYTERLAB = Application("jupyterlab", "doc/tree")
NOTEBOOK = Application("notebook", "notebooks")


@contextmanager
def start_lab(home: Path, application: Application = JUPYTERLAB) -> "Iterator[Lab]":
    """Start a JupyterLab, or another application, that keeps all its files in `home`."""
    notebooks = home / "notebooks"
    notebooks.mkdir()
    token = secrets.token_hex(16)
    environment = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    _set(home, "apputils-extension/notification", {"checkForUpdates": False, "fetchNews": "false"})
    _set(home, "notebook-extension/tracker", {"windowingMode": "none"})  # all cells are in the document
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", application.module),
                *("--no-browser", "--allow-root", "--expose-app-in-browser"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={notebooks}"),
                *(f"--IdentityProvider.token={token}", "--LabApp.news_url=None"),
            ],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Lab(_address(server, home), token, notebooks, home, application)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _set(home: Path, plugin: str, settings: dict[str, object]) -> None:
    file = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings))


def _address(server: "subprocess.Popen[bytes]", home: Path) -> str:
    """Wait until the server says where it is."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        for file in (home / "runtime").glob("jpserver-*.json"):
            try:
                return str(json.loads(file.read_text())["url"])
            except ValueError:
                pass  # being written
        time.sleep(0.05)
    raise RuntimeError("JupyterLab did not start:\n" + (home / "server.log").read_text())


@dataclass
class Lab:
    """The server, and the notebooks that a test has open."""

    url: str
    token: str
    folder: Path
    home: Path
    application: Application = JUPYTERLAB
    browser: Any = None
    opened: "list[Notebook]" = field(default_factory=list)

    def open(self, file: Path | None = None, theme: str = "JupyterLab Light", **page_options: Any) -> "Notebook":
        """Open a notebook file of `folder`, or a new one."""
        if file is None:
            file = self.folder / f"test{len(list(self.folder.iterdir()))}.ipynb"
            file.write_text(json.dumps({**EMPTY, "metadata": PYTHON}))
        _set(self.home, "apputils-extension/themes", {"theme": theme})
        notebook = Notebook(self, file, page_options)
        self.opened.append(notebook)
        return notebook


class Notebook:
    """A page with one notebook. Cells are numbered from 0."""

    def __init__(self, lab: Lab, file: Path, page_options: dict[str, Any]) -> None:
        self.file = file
        self.problems: list[str] = []
        self._host = urlsplit(lab.url).netloc
        self._cells = 0
        self._closing = False  # a kernel that goes away makes Lab complain, rightly
        self._context = lab.browser.new_context(**{"viewport": {"width": 1000, "height": 700}, **page_options})
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE * SECONDS)
        self.page.on("console", self._check_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._check_request)
        self.page.goto(f"{lab.url}{lab.application.path}/{file.name}?token={lab.token}")
        self.page.wait_for_selector(".jp-Notebook")

    def _check_console(self, message: Any) -> None:
        if message.type == "error" and not self._closing:
            self.problems.append(f"console: {message.text}")

    def _check_request(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != self._host:
            self.problems.append(f"a request to {request.url}")

    def start(self, code: str) -> Any:
        """Add a cell at the end, run it, and return its locator without waiting."""
        self.page.evaluate(
            """async (code) => {
                const app = window.jupyterapp;
                const panel = app.shell.currentWidget;
                await panel.sessionContext.ready;
                const notebook = panel.content;
                if (notebook.model.sharedModel.cells.length) {
                    notebook.activeCellIndex = notebook.model.sharedModel.cells.length - 1;
                    if (notebook.activeCell.model.sharedModel.getSource()) {
                        await app.commands.execute("notebook:insert-cell-below");
                    }
                } else {
                    await app.commands.execute("notebook:insert-cell-below");
                }
                notebook.activeCell.model.sharedModel.setSource(code);
                app.commands.execute("notebook:run-cell");
            }""",
            code,
        )
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(self._cells)
        self._cells += 1
        return cell

    def run(self, code: str) -> Any:
        """Add a cell at the end, run it to its end, and return its locator."""
        cell = self.start(code)
        self.wait(cell)
        return cell

    def wait(self, cell: Any) -> None:
        """Wait until the cell has ended."""
        cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for()
        # The kernel says that it is idle after all output of the cell.
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        )

    def is_busy(self, cell: Any) -> bool:
        """Whether the cell is running: its prompt is ``[*]``."""
        return "*" in cell.locator(".jp-InputPrompt").inner_text()

    def interrupt(self) -> None:
        """Stop whatever a test left running."""
        busy = self.page.locator(".jp-InputPrompt", has_text="[*]")
        if busy.count():
            self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
            busy.wait_for(state="detached")

    def restart(self) -> None:
        """Start the kernel again."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        idle = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        self.page.wait_for_function(idle)

    def save(self) -> None:
        """Write the file."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def reload(self) -> None:
        """Load the page again, and with it what `save` wrote last."""
        self.page.reload()
        self.page.wait_for_selector(".jp-Notebook")

    def close(self) -> None:
        """Stop the kernel and close the page."""
        self._closing = True
        if not self.page.is_closed():
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self._context.close()
