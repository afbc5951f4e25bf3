"""Notebooks in JupyterLab, as a person uses them."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 1000  # Playwright counts milliseconds
EMPTY = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@dataclass
class Lab:
    """The server, and the notebooks that a test has open."""

    url: str
    token: str
    folder: Path
    home: Path
    browser: Any = None
    opened: "list[Notebook]" = field(default_factory=list)

    def open(self, file: Path | None = None, theme: str = "JupyterLab Light", **page_options: Any) -> "Notebook":
        """Open a notebook file of `folder`, or a new one."""
        if file is None:
            file = self.folder / f"test{len(list(self.folder.iterdir()))}.ipynb"
            file.write_text(json.dumps({**EMPTY, "metadata": PYTHON}))
        setting = self.home / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
        setting.write_text(json.dumps({"theme": theme}))
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
        self.page.set_default_timeout(20 * SECONDS)
        self.page.on("console", self._check_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._check_request)
        self.page.goto(f"{lab.url}doc/tree/{file.name}?token={lab.token}")
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

    def save(self) -> None:
        """Write the file."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def close(self) -> None:
        """Stop the kernel and close the page."""
        self._closing = True
        if not self.page.is_closed():
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self._context.close()
