"""Where no page can show a widget: plain IPython in a terminal, and notebooks that a program executes."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")
pytest.importorskip("anywidget")
pexpect = pytest.importorskip("pexpect", reason="a terminal needs pexpect, which IPython brings where there are any")

SETUP = """
import time, taskloom
from taskloom import delayed
def nap(i): return 1
def total(naps):
    run = taskloom.last_run()
    while run.duration < 0.4: time.sleep(0.01)
    ticks = len(run.samples) + 2
    while len(run.samples) < ticks: time.sleep(0.01)  # by then a view that waits for a run to last has drawn it
    return sum(naps)
def work(): return delayed(total)([delayed(nap)(i) for i in range(20)])
"""

#: what a cell is, and what of its output is text
CELLS = {
    "bar": ("work().compute()", "21/21"),
    "graph": ("%%graph\nwork().compute()", "Graph of 21/21 tasks"),
    "dashboard": ("%dashboard", "21/21 tasks"),
    "scheduler": ("%scheduler", "● auto"),
    "compare": ("%%compare -n 1 sync threads\nwork().compute()", "not in tasks"),
    "progress": ("%progress", "Progress bars are on"),
    "run": ("taskloom.last_run()", "<Run "),
}


def notebook() -> Any:
    sources = [f"%load_ext taskloom\n{SETUP}", *(source for source, _ in CELLS.values())]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources], metadata=metadata)


def check(executed: Any) -> None:
    """Each view is there as text and as a picture that needs no widget, and nothing went wrong."""
    for cell, (name, (_, text)) in zip(executed.cells[1:], CELLS.items(), strict=True):
        outputs = [output for output in cell.outputs if output.output_type != "stream"]
        assert not [output for output in outputs if output.output_type == "error"], name
        kinds = {kind for output in outputs for kind in output.data}
        assert not [kind for kind in kinds if "widget" in kind], name
        shown = [output.data["text/plain"] for output in outputs]
        shown += [output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
        assert text in "\n".join(shown), name
        assert not [output.text for output in cell.outputs if output.get("name") == "stderr"], name


def test_nbclient() -> None:
    executed = notebook()
    nbclient.NotebookClient(executed, kernel_name="python3", timeout=300).execute()
    check(executed)


def nbconvert(folder: Path, *options: str) -> None:
    nbformat.write(notebook(), folder / "views.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--execute", *options, "views.ipynb"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_nbconvert_to_a_notebook(tmp_path: Path) -> None:
    nbconvert(tmp_path, "--to", "notebook", "--output", "executed.ipynb")
    text = (tmp_path / "executed.ipynb").read_text()
    check(nbformat.reads(text, as_version=4))
    assert len(text) < 300_000 * len(CELLS)


def test_nbconvert_to_html(tmp_path: Path) -> None:
    nbconvert(tmp_path, "--to", "html", "--embed-images")
    page = (tmp_path / "views.html").read_text()
    for view in ("taskloom-progress", "taskloom-graph", "taskloom-dashboard", "taskloom-scheduler", "taskloom-compare"):
        assert re.search(f"class=[\"']{view}", page), view
    assert "model not found" not in page


PROMPT = r"In \[\d+\]: "
SECONDS = 120


@pytest.fixture
def terminal(tmp_path: Path) -> Any:
    """IPython as a person has it in a terminal."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"}
    command = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", "--no-confirm-exit"]
    child = pexpect.spawn(
        sys.executable, command, env=environment, encoding="utf-8", timeout=SECONDS, dimensions=(50, 160), echo=False
    )
    child.expect(PROMPT)
    yield child
    child.sendline("exit()")
    child.expect(pexpect.EOF)
    child.close(force=True)


def typed(terminal: Any, line: str) -> str:
    """Run a line, and return what it shows."""
    terminal.sendline(line)
    terminal.expect(PROMPT)
    return str(terminal.before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_plain_ipython(terminal: Any) -> None:
    typed(terminal, "%load_ext taskloom")
    typed(terminal, f"exec({SETUP!r})")
    for name, (source, text) in CELLS.items():
        magic, _, cell = source.partition("\n")
        if cell:
            name, _, options = magic.lstrip("%").partition(" ")
            source = f"get_ipython().run_cell_magic({name!r}, {options!r}, {cell!r})"
        shown = typed(terminal, source)
        assert text in shown, name
        assert "Error" not in shown, name
    assert re.search(r"\r\x1b\[2K\[[#.]+\]", typed(terminal, "work().compute()")), "a line that is written over"
    bad = typed(terminal, "delayed(lambda x: 1 / x)(0).compute()")
    assert "ZeroDivisionError" in bad
    assert "%replay" in bad
    typed(terminal, "%unload_ext taskloom")
    assert "not found" in typed(terminal, "%dashboard")
