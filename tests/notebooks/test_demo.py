"""What ``make demo`` promises, with the real script in a process of its own."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
DEADLINE = 120  # seconds, for a slow and busy machine


def start_demo(page: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, NOTEBOOKS / "demo.py", "--page", page, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(demo: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = demo.communicate(timeout=DEADLINE)
    finally:
        demo.kill()
    return demo.returncode, output


def write_notebook(path: Path, *sources: str) -> str:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return str(path)


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    pytest.fail(f"{path.name} was not written within {DEADLINE} s")


def test_demo_prints_the_answer_and_writes_a_page_that_needs_no_other_file(tmp_path):
    page = tmp_path / "new folder" / "quickstart.html"

    code, output = finish(start_demo(page))

    assert code == 0, output
    (answer,) = re.findall(r"^ANSWER: .*", output, re.MULTILINE)
    assert "ExpressJet" in answer
    assert "over 88 min late at 19:00 (59 on fine days) and over 10 at 6:00" in answer
    assert "bad weather explains 19% of late departures" in answer
    assert re.search(r"\[#+\] (\d+)/\1 ", output), "no run showed its progress"
    assert str(page) in output

    html = page.read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in html
    assert "taskloom-progress" in html
    assert "model not found" not in html.lower()
    assert "widget-view" not in html
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html), "the page asks the network for something"


def test_a_failing_cell_is_shown_with_its_traceback(tmp_path):
    failing = "def divide(x):\n    return 1 / x\n\ndivide(0)"
    notebook = write_notebook(tmp_path / "fails.ipynb", "print('fine')", failing)

    code, output = finish(start_demo(tmp_path / "page.html", "--notebook", notebook))

    assert code == 1
    assert f"\n{failing}\n" in output
    assert "ZeroDivisionError: division by zero" in output
    assert "\x1b" not in output
    assert not (tmp_path / "page.html").exists()


def test_a_kernel_that_dies_is_an_error(tmp_path):
    notebook = write_notebook(tmp_path / "dies.ipynb", "import os; os._exit(3)")

    code, output = finish(start_demo(tmp_path / "page.html", "--notebook", notebook))

    assert code == 1
    assert "died" in output
    assert "Interrupted" not in output


def test_an_interrupt_leaves_no_kernel(tmp_path):
    pid_file = tmp_path / "pid"
    announce = f"import os, pathlib, threading; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))"
    notebook = write_notebook(tmp_path / "waits.ipynb", announce, "threading.Event().wait()")

    demo = start_demo(tmp_path / "page.html", "--notebook", notebook)
    kernel = int(wait_for_text(pid_file))
    demo.send_signal(signal.SIGINT)
    code, output = finish(demo)

    assert code == 130, output
    assert "Interrupted" in output
    assert not psutil.pid_exists(kernel)


def test_the_kernel_is_the_python_that_runs_the_demo(tmp_path):
    notebook = write_notebook(tmp_path / "asks.ipynb", "import sys; print('ANSWER:', sys.executable)")

    code, output = finish(start_demo(tmp_path / "page.html", "--notebook", notebook))

    assert code == 0, output
    assert f"ANSWER: {sys.executable}\n" in output


def test_the_quickstart_is_saved_without_outputs():
    notebook = nbformat.read(NOTEBOOKS / "01_quickstart.ipynb", as_version=nbformat.NO_CONVERT)

    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source == "%load_ext taskloom"
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []
