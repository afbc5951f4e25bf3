"""Runs the quickstart notebook in a real kernel, with progress in the terminal: what ``make demo`` does.

Prints the answer the notebook found and writes the executed notebook as one HTML page with its pictures inside.
Exits with 0, with 1 when a cell fails (its source and traceback are printed), with 130 when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

from taskloom.views.progress import text_line

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOK = CHECKOUT / "notebooks" / "01_quickstart.ipynb"
PAGE = CHECKOUT / "build" / "quickstart.html"
CELL_TIMEOUT = 300  # seconds
INDENT = 17  # characters: the cell's number and its time
ANSWER = re.compile(r"^ANSWER: .+$", re.MULTILINE)
ANSI_CODE = re.compile(r"\x1b\[[0-9;]*m")

# A page that can be read offline: the notebook needs none of the scripts that nbconvert links to.
SELF_CONTAINED = """
{%- extends "index.html.j2" -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
"""


class Screen:
    """Lines that stay and, on a terminal, below them one line that is written over."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()

    @property
    def width(self) -> int:
        """Characters that fit into a line."""
        return shutil.get_terminal_size().columns - 1 if self._live else 120

    def status(self, line: str) -> None:
        """Write over the last line; nothing where output is not a terminal."""
        if self._live:
            print(f"\r\x1b[2K{line[: self.width]}", end="", flush=True)

    def line(self, line: str = "") -> None:
        """Write a line that stays."""
        self.status("")
        print(line, flush=True)


class ThisPython(KernelSpecManager):
    """Whatever kernel is asked for: the Python that runs this file, and not one that is registered under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=command, display_name="this Python", language="python")


class Demo(NotebookClient):
    """Runs a notebook and says on the screen how far it is."""

    def __init__(self, notebook: nbformat.NotebookNode, screen: Screen) -> None:
        kernel = AsyncKernelManager(kernel_spec_manager=ThisPython())
        super().__init__(notebook, km=kernel, timeout=CELL_TIMEOUT, shutdown_kernel="immediate")
        self.on_cell_execute = self._cell_started
        self.on_cell_executed = self._cell_finished
        self.interrupted = False
        self._screen = screen
        self._sections = dict(enumerate(sections(notebook)))
        self._n_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        self._n_started = 0
        self._started = 0.0
        self._runs: list[str] = []  # last lines of the cell's runs

    async def run(self) -> None:
        """Run all cells; the kernel is gone when this returns or raises."""
        await self.async_execute(cleanup_kc=True, cwd=NOTEBOOK.parent)

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        # nbclient has just arranged that a signal kills the kernel, which would look like a crash of it.
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, task)
        await super().async_start_new_kernel(**kwargs)

    def _interrupt(self, task: asyncio.Task[Any]) -> None:
        self.interrupted = True
        task.cancel()

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        data = msg["content"].get("data")
        progress = data.get("state", {}).get("progress") if msg["msg_type"] in ("comm_open", "comm_msg") else None
        if progress:
            self._show_run(progress)
        return super().process_message(msg, cell, cell_index)

    def _show_run(self, progress: Any) -> None:
        line = text_line(progress, self._screen.width - INDENT)
        if progress["status"] == "running":
            self._screen.status(f"{self._label():{INDENT}}{line}")
        else:
            self._runs.append(line)

    def _label(self) -> str:
        return f"[{self._n_started:2}/{self._n_cells}]"

    def _cell_started(self, cell: Any, cell_index: int) -> None:
        self._n_started += 1
        self._started = time.perf_counter()
        self._runs.clear()
        self._screen.status(f"{self._label():{INDENT}}{self._sections[cell_index]}")

    def _cell_finished(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        if execute_reply["content"]["status"] != "ok":
            return
        seconds = time.perf_counter() - self._started
        self._screen.line(f"{self._label()} {seconds:5.1f} s  {self._sections[cell_index]}")
        for line in self._runs:
            self._screen.line(f"{'':{INDENT}}{line}")


def sections(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Give the heading that each cell stands under."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^#+ (.+)$", cell.source, re.MULTILINE)
            heading = found[1].replace("`", "") if found else heading
        yield heading


def answers(notebook: nbformat.NotebookNode) -> list[str]:
    """Give the lines that cells printed after ``ANSWER:``."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [line for output in outputs for line in ANSWER.findall(output.get("text", ""))]


def write_page(notebook: nbformat.NotebookNode, page: Path) -> None:
    """Write the executed notebook as one HTML file that needs no other."""
    exporter = HTMLExporter(raw_template=SELF_CONTAINED, embed_images=True)
    exporter.log.setLevel("ERROR")
    notebook.metadata.pop("widgets", None)  # live views have left their pictures; their state would need scripts
    html, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": "taskloom quickstart"}})
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")


def failed_cell(notebook: nbformat.NotebookNode) -> str:
    """Give the source of the cell that failed and what it printed as its error."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                traceback = ANSI_CODE.sub("", "\n".join(output.traceback))
                return f"This cell failed:\n\n{cell.source}\n\n{traceback}"
    return "A cell failed."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the quickstart notebook and say what it found.")
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK, help="run this notebook instead")
    parser.add_argument("--page", type=Path, default=PAGE, help="write the executed notebook here (HTML)")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may not know ■ or µ

    screen = Screen()
    notebook = nbformat.read(options.notebook, as_version=4)
    demo = Demo(notebook, screen)
    started = time.perf_counter()
    try:
        screen.status(f"Starting a kernel for {options.notebook.name} ...")
        asyncio.run(demo.run())
    except CellExecutionError:
        screen.line(failed_cell(notebook))
        return 1
    except (CellTimeoutError, DeadKernelError, asyncio.CancelledError, KeyboardInterrupt) as error:
        if demo.interrupted or isinstance(error, KeyboardInterrupt):
            screen.line("Interrupted; the kernel has been stopped.")
            return 130
        screen.line(f"The kernel gave up: {error}")
        return 1

    write_page(notebook, options.page)
    found = answers(notebook)
    screen.line(f"Done in {time.perf_counter() - started:.1f} s.")
    screen.line("\n".join(["", *found, ""]) if found else "The notebook printed no line that starts with 'ANSWER: '.")
    screen.line(f"The notebook with its pictures: {options.page}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
