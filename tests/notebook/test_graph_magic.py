"""`%%graph`, in IPython and in a kernel without a page."""

import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

import taskloom
from taskloom import bus

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")

from IPython.core.completer import provisionalcompleter  # noqa: E402
from IPython.core.error import UsageError  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

RUN = """
import taskloom
graph = {("load", i): (abs, -i) for i in range(3)} | {"total": (sum, [("load", i) for i in range(3)])}
taskloom.threaded.get(graph, "total")
"""


def subscriptions() -> int:
    return len(bus.event_bus.bus.subscriptions)


def test_a_run_is_a_line_in_a_terminal_and_its_value_stays(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    before = subscriptions()
    value = shell.run_cell_magic("graph", "", RUN)
    assert value == 3
    assert re.fullmatch(r"Graph of 4/4 tasks · finished · .*threads\n", capsys.readouterr().out)
    assert subscriptions() == before
    assert shell.user_ns["graph"]["total"][0] is sum


def test_nested_runs_are_not_drawn_and_many_runs_not_all(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell_magic(
        "graph",
        "",
        """
        import taskloom
        def outer():
            return taskloom.get({"a": (abs, -1)}, "a")
        for _ in range(12):
            taskloom.get({"outer": (outer,)}, "outer")
        """,
    )
    out = capsys.readouterr().out
    assert out.count("Graph of 1/1 tasks") == 10
    assert "2 more runs are not drawn" in out


def test_errors_arrive_as_themselves(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    before = subscriptions()
    with pytest.raises(ZeroDivisionError):
        shell.run_cell_magic("graph", "", "import taskloom\ntaskloom.get({'bad': (lambda: 1 // 0,)}, 'bad')")
    assert "bad failed: ZeroDivisionError" in capsys.readouterr().out
    with pytest.raises(SyntaxError):
        shell.run_cell_magic("graph", "", "1 +")
    assert subscriptions() == before


def test_a_collection_is_drawn_and_not_run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    runs = len(taskloom.runs), taskloom.last_run()
    cell = "from taskloom import delayed\ndelayed(sum)([delayed(abs)(-i) for i in range(3)])"
    assert shell.run_cell_magic("graph", "", cell) is None
    assert (len(taskloom.runs), taskloom.last_run()) == runs
    assert capsys.readouterr().out.splitlines() == [
        "Graph of Before optimisation · 4 tasks",
        "Graph of After optimisation · 4 tasks",
    ]
    shell.run_cell_magic("graph", "--optimized", cell)
    assert capsys.readouterr().out == "Graph of After optimisation · 4 tasks\n"
    shell.run_cell_magic("graph", "", "{'a': (abs, 1)}")
    assert capsys.readouterr().out == "Graph of Not run · 1 tasks\n"


def test_no_run_draws_what_would_run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    runs = taskloom.last_run()
    cell = "from taskloom import delayed\ntry:\n    delayed(abs)(-1).compute()\nexcept Exception:\n    pass\ndone = 1"
    shell.run_cell_magic("graph", "--no-run", cell)
    assert capsys.readouterr().out == "Graph of Not run · 1 tasks\n"
    assert "done" not in shell.user_ns
    assert taskloom.last_run() is runs
    for option in ("--no-run", ""):
        assert shell.run_cell_magic("graph", option, "x = 1\nx") == 1
        assert "no graph to draw" in capsys.readouterr().out
    shell.run_cell_magic("graph", "", "import taskloom\ntaskloom.get({}, [])")
    assert "the graph is empty" in capsys.readouterr().out
    assert shell.run_cell_magic("graph", "", "from taskloom import delayed\ndelayed(abs)(-1).compute()") == 1


AWAITING = """
import asyncio, taskloom
await asyncio.sleep(0)
x = taskloom.get({"a": (abs, -1)}, "a")
x + 1
"""


def test_a_cell_that_awaits_is_drawn_too(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    before = subscriptions(), len(shell.events.callbacks["post_run_cell"])
    assert shell.run_cell(f"%%graph --layers\n{AWAITING}").result == 2
    assert re.match(r"Graph of 1/1 tasks · finished", capsys.readouterr().out)
    shell.run_cell("%%graph\nawait asyncio.sleep(0)\nfrom taskloom import delayed\ndelayed(abs)(-1)")
    assert "Graph of Before optimisation" in capsys.readouterr().out
    shell.run_cell("%%graph\nawait asyncio.sleep(0)")
    assert "no graph to draw" in capsys.readouterr().out
    failed = shell.run_cell("%%graph\nawait asyncio.sleep(0)\n1 / 0")
    assert isinstance(failed.error_in_exec, ZeroDivisionError)
    assert failed.error_in_exec.__traceback__.tb_next.tb_lineno == 3
    assert "no graph" not in capsys.readouterr().out
    assert (subscriptions(), len(shell.events.callbacks["post_run_cell"])) == before


def test_a_cell_that_awaits_cannot_be_left_undone(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    result = shell.run_cell("%%graph --no-run\nawait asyncio.sleep(0)\nran = True")
    assert "--no-run: not for a cell that awaits" in capsys.readouterr().err
    assert not result.success
    assert "ran" not in shell.user_ns


def test_save(shell: InteractiveShell, tmp_path: Path) -> None:
    shell.run_cell_magic("graph", f"--save {tmp_path}/run.svg --layers", RUN)
    text = (tmp_path / "run.svg").read_text()
    assert text.startswith("<svg")
    assert 'data-key="load" data-state="finished"' in text
    shell.run_cell_magic("graph", f"--save {tmp_path}/two", "from taskloom import delayed\ndelayed(abs)(-1)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.svg", "two-2.svg", "two.svg"]


def test_a_failed_run_is_saved_too(shell: InteractiveShell, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        shell.run_cell_magic(
            "graph", f"--save {tmp_path}/x", "import taskloom\ntaskloom.get({'a': (lambda: 1 // 0,)}, 'a')"
        )
    assert 'data-key="a" data-state="failed"' in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--save x.png", "SVG"),
        ("--save /nowhere/x.svg", "no folder '/nowhere'"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_a_wrong_option_is_named_before_anything_runs(shell: InteractiveShell, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        shell.run_cell_magic("graph", line, "ran = True")
    assert "ran" not in shell.user_ns


def completions(shell: InteractiveShell, line: str) -> list[str]:
    with provisionalcompleter():
        return [completion.text for completion in shell.Completer.completions(line, len(line))]


def test_help_and_completions(shell: InteractiveShell) -> None:
    text = shell.object_inspect_text("%%graph")
    for part in ("draw the graph of every run", "--no-run", "--optimized", "--layers", "--save"):
        assert part in text
    assert "--layers" in completions(shell, "%%graph --la")


def test_unload(shell: InteractiveShell) -> None:
    shell.extension_manager.unload_extension("taskloom")
    assert shell.find_cell_magic("graph") is None
    assert shell.find_line_magic("graph") is None
    assert shell.transform_cell("%%graph\nawait x").startswith("get_ipython().run_cell_magic")
    assert "--layers" not in completions(shell, "%%graph --la")
    shell.extension_manager.load_extension("taskloom")


def test_a_run_that_outlives_its_cell_is_drawn_to_its_end(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    before = subscriptions()
    shell.run_cell_magic(
        "graph",
        "",
        """
        import taskloom, threading
        begun, go_on = threading.Event(), threading.Event()
        def hold():
            begun.set()
            assert go_on.wait(20)
        thread = threading.Thread(target=taskloom.get, args=({"held": (hold,)}, "held"))
        thread.start()
        _ = begun.wait(20)
        """,
    )
    try:
        assert subscriptions() == before + 1
        taskloom.get({"later": (abs, 1)}, "later")  # no run of that cell
    finally:
        shell.user_ns["go_on"].set()
        shell.user_ns["thread"].join()
    assert capsys.readouterr().out.count("Graph of 1/1 tasks · finished") == 1
    assert subscriptions() == before


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What each cell of a notebook shows that is run by nbclient."""
    cells = {
        "load": "%load_ext taskloom\n%progress off",
        "run": f"%%graph\n{RUN}",
        "collection": "%%graph\nfrom taskloom import delayed\ndelayed(sum)([delayed(abs)(1)])",
        "awaiting": f"%%graph\n{AWAITING}",
        "hostile": "%%graph\ntaskloom.get({'<img src=x onerror=alert(1)>\\n' * 50_000: (abs, 1)}, [])\n"
        "taskloom.get({'<img src=x onerror=alert(1)>\\n' * 50_000: (lambda: 1 // 0,)}, "
        "'<img src=x onerror=alert(1)>\\n' * 50_000)",
        "large": "%%graph\nn = 25_000\nbig = {('load', i): (abs, i) for i in range(n)}\n"
        "big |= {('clean', i): (abs, ('load', i)) for i in range(n)}\n"
        "_ = taskloom.threaded.get(big, [('clean', i) for i in range(n)])",
        "many": "from comm import get_comm_manager\n"
        "ip = get_ipython()\n"
        "for _ in range(100): ip.run_cell_magic('graph', '', 'taskloom.get({0: (abs, 1)}, 0)')\n"
        "print(len(get_comm_manager().comms), len(taskloom.bus.event_bus.bus.subscriptions))",
        "unload": "%unload_ext taskloom\nprint(len(get_comm_manager().comms))",
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=300).execute()
    return {name: cell.outputs for name, cell in zip(cells, notebook.cells, strict=True)}


def svgs(output: Any) -> list[str]:
    """The pictures of an output, which has no widget."""
    assert set(output.data) == {"text/html", "text/plain"}
    images = re.findall(r"base64,([^\"]+)", output.data["text/html"])
    return [b64decode(image).decode() for image in images]


def test_an_executed_notebook_keeps_a_picture(outputs: dict[str, Any]) -> None:
    drawn, value = outputs["run"]
    (picture,) = svgs(drawn)
    assert picture.count('data-state="finished"') == 4
    assert drawn.data["text/plain"].startswith("Graph of 4/4 tasks")
    assert value.data["text/plain"] == "3"


def test_a_collection_keeps_two_pictures(outputs: dict[str, Any]) -> None:
    (drawn,) = outputs["collection"]
    assert [picture.count("data-key") for picture in svgs(drawn)] == [2, 2]


def test_a_cell_that_awaits_keeps_a_picture(outputs: dict[str, Any]) -> None:
    drawn, value = outputs["awaiting"]
    (picture,) = svgs(drawn)
    assert 'data-key="a" data-state="finished"' in picture
    assert value.data["text/plain"] == "2"


def test_hostile_keys_are_harmless_and_short(outputs: dict[str, Any]) -> None:
    *drawn, error = outputs["hostile"]
    assert error.ename == "ZeroDivisionError"
    (picture,) = svgs(drawn[-1])
    assert "<img" not in picture
    assert "onerror" not in re.sub(r"alt=\"[^\"]*\"", "", drawn[-1].data["text/html"])
    assert "<img src=x" not in drawn[-1].data["text/html"]
    assert len(drawn[-1].data["text/html"]) < 20_000


def test_a_large_run_keeps_a_small_picture(outputs: dict[str, Any]) -> None:
    (drawn,) = outputs["large"]
    (picture,) = svgs(drawn)
    assert "25,000/25,000" in picture
    assert len(drawn.data["text/html"]) < 300_000


def test_widgets_of_older_graphs_are_closed(outputs: dict[str, Any]) -> None:
    *drawn, printed = outputs["many"]
    comms, subscriptions = map(int, printed.text.split())
    assert len([output for output in drawn if output.output_type == "display_data"]) == 100
    assert comms < 20
    assert subscriptions == 1
    assert [output.text.strip() for output in outputs["unload"]] == ["0"]
