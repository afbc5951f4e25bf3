"""`%load_ext taskloom` and `%progress`, in IPython and in a kernel without a page."""

import gc
import json
import time
from typing import Any

import pytest

import taskloom
from taskloom import config

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")

from IPython.core.error import UsageError  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

LONG_RUN = """
import time, taskloom
def last(seconds):
    run = taskloom.last_run()
    while run.duration < seconds:
        time.sleep(0.01)
    ticks = len(run.samples) + 2
    while len(run.samples) < ticks:  # by then the bar of a run that has lasted so long is drawn
        time.sleep(0.01)
graph = {("load", i): (abs, i) for i in range(11)} | {("load", 11): (last, 0.4)}
_ = taskloom.get(graph, list(graph))
"""


def test_progress_switches_and_tells(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("progress", "")
    shell.run_line_magic("progress", "off")
    assert config.get("notebook.progress") is False
    assert config.source("notebook.progress") == "%progress"
    shell.run_line_magic("progress", "")
    shell.run_line_magic("progress", "on")
    assert config.get("notebook.progress") is True
    assert capsys.readouterr().out == "Progress bars are on.\nProgress bars are off.\n"
    with pytest.raises(UsageError, match="on or off, not 'maybe'"):
        shell.run_line_magic("progress", "maybe")
    with pytest.raises(UsageError, match="Did you mean 'off'"):
        shell.run_line_magic("progress", "of")


def test_unload_undoes_everything(shell: InteractiveShell) -> None:
    before = config.source("notebook.progress")
    shell.run_line_magic("progress", "off")
    shell.extension_manager.unload_extension("taskloom")
    assert shell.find_line_magic("progress") is None
    assert config.source("notebook.progress") == before
    shell.extension_manager.load_extension("taskloom")
    assert shell.find_line_magic("progress") is not None


def test_silent_without_a_terminal(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    with config.set({"notebook.progress_delay": 0}):
        taskloom.get(dict.fromkeys(range(3), (time.sleep, 0.1)), [0, 1, 2])
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    cells = {
        "load": "%load_ext taskloom",
        "long": LONG_RUN,
        "short": "taskloom.get({'a': (abs, -1)}, 'a');",
        "thread": f"import threading as th\nt = th.Thread(target=exec, args=({LONG_RUN!r}, {{}})); t.start(); t.join()",
        "asked": "import taskloom.diagnostics\nwith taskloom.diagnostics.ProgressBar():\n"
        "    _ = taskloom.get({i: (time.sleep, 0.3) for i in range(2)}, [0, 1])",
        "failing": "taskloom.get({('load', 0): (last, 0.4), 'bad': (lambda _: 1 / 0, ('load', 0))}, 'bad')",
        "many": (
            "from comm import get_comm_manager\n"
            "taskloom.config.set(notebook__progress_delay=0)\n"
            "for _ in range(12): taskloom.get({'a': (last, 0)}, 'a')\n"
            "print(len(get_comm_manager().comms))"
        ),
        "unload": "%unload_ext taskloom\nimport gc; gc.collect()\nprint(len(get_comm_manager().comms))",
        "after": LONG_RUN,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=300).execute()
    gc.collect()
    return {name: cell.outputs for name, cell in zip(cells, notebook.cells, strict=True)}


def test_an_executed_notebook_keeps_a_picture(outputs: dict[str, Any]) -> None:
    (output,) = outputs["long"]
    assert set(output.data) == {"text/html", "text/plain"}
    assert "12/12" in output.data["text/html"]
    assert "12/12" in output.data["text/plain"]
    assert len(json.dumps(output)) < 3000


def test_a_short_run_leaves_no_output(outputs: dict[str, Any]) -> None:
    assert [output for output in outputs["short"] if output.output_type == "display_data"] == []
    assert outputs["load"] == []


def test_a_run_in_a_thread_shows_in_the_cell(outputs: dict[str, Any]) -> None:
    (output,) = outputs["thread"]
    assert "12/12" in output.data["text/html"]


def test_a_bar_gives_way_to_one_that_was_asked_for(outputs: dict[str, Any]) -> None:
    assert {output.output_type for output in outputs["asked"]} == {"stream"}
    assert "100% Completed" in "".join(output.text for output in outputs["asked"])


def test_a_failed_run_names_its_key_above_the_traceback(outputs: dict[str, Any]) -> None:
    bar, error = outputs["failing"]
    assert "failed at" in bar.data["text/plain"]
    assert "ZeroDivisionError" in bar.data["text/plain"]
    assert error.ename == "ZeroDivisionError"


def test_widgets_of_older_runs_are_closed(outputs: dict[str, Any]) -> None:
    *bars, printed = outputs["many"]
    assert len(bars) == 12
    assert 0 < int(printed.text) < 12
    assert [output.text.strip() for output in outputs["unload"]] == ["0"]


def test_after_unloading_runs_show_nothing(outputs: dict[str, Any]) -> None:
    assert outputs["after"] == []
