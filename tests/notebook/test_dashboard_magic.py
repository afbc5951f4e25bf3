"""`%dashboard` in IPython, and in a kernel without a page."""

from typing import Any

import pytest

import taskloom

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")
pytest.importorskip("bokeh")

from IPython.core.error import UsageError  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402


def test_in_a_terminal_it_is_a_line(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    taskloom.get({"a": (abs, -1)}, "a")
    shell.run_line_magic("dashboard", "")
    assert "sync · 1/1 tasks · finished" in capsys.readouterr().out
    with pytest.raises(UsageError, match="'now'"):
        shell.run_line_magic("dashboard", "now")


def test_unload_takes_the_magic_away(shell: InteractiveShell) -> None:
    shell.extension_manager.unload_extension("taskloom")
    assert shell.find_line_magic("dashboard") is None


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    cells = {
        "load": "%load_ext taskloom\nimport taskloom",
        "dashboard": "%dashboard",
        "run": "_ = taskloom.get({('load', i): (abs, -i) for i in range(7)}, ('load', 6))",
        "many": "for _ in range(12): get_ipython().run_line_magic('dashboard', '')",
        "comms": (
            "from comm import get_comm_manager\nfrom taskloom.bus.event_bus import bus\n"
            "%unload_ext taskloom\nprint(len(get_comm_manager().comms), len(bus.subscriptions))"
        ),
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=300).execute()
    return {name: cell.outputs for name, cell in zip(cells, notebook.cells, strict=True)}


def test_an_executed_notebook_keeps_a_picture(outputs: dict[str, Any]) -> None:
    (output,) = outputs["dashboard"]
    assert set(output.data) == {"text/html", "text/plain"}
    assert "sync · 1/1 tasks · finished" in output.data["text/plain"]
    assert "data:image/svg+xml;base64," in output.data["text/html"]


def test_a_notebook_that_ends_with_the_extension_loaded_keeps_a_picture_too() -> None:
    cells = ["%load_ext taskloom\nimport taskloom", "%dashboard", "_ = taskloom.get({'a': (abs, -1)}, 'a')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    (output,) = notebook.cells[1].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert "sync · 1/1 tasks · finished" in output.data["text/plain"]


def test_nothing_stays_open(outputs: dict[str, Any]) -> None:
    (output,) = outputs["comms"]
    assert output.text.split() == ["0", "0"]
    assert not [output for output in outputs["many"] if output.output_type == "error"]
