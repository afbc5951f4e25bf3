"""`%compare`: what it runs, what it leaves, and what it answers."""

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

import taskloom
from taskloom import config
from taskloom.engines import ENGINES
from taskloom.engines.cluster.shared import open_client
from taskloom.engines.worker.pool import pool
from taskloom.views.comparison import Comparison

IPython = pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("anywidget")

from IPython.core.error import UsageError  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402

from taskloom.notebook.cell_code import compile_cell  # noqa: E402
from taskloom.notebook.cell_trials import CellTrials  # noqa: E402
from taskloom.notebook.contenders import contenders  # noqa: E402


@pytest.fixture
def shell(shell: InteractiveShell) -> Iterator[InteractiveShell]:
    shell.user_ns.update(taskloom=taskloom, delayed=taskloom.delayed, seen=[], sleep=time.sleep)
    yield shell
    pool.close()  # of the processes engine, whose workers stay warm
    if any(run.engine == "distributed" for run in taskloom.runs):  # the cluster of graphs without a client stays, too
        open_client().close()


def compare(shell: InteractiveShell, line: str, cell: str) -> Comparison:
    comparison: Comparison = shell.run_cell_magic("compare", line, cell)
    return comparison


NOTE_ENGINE = "delayed(abs)(-1).compute()\nseen.append(taskloom.last_run().engine)"


def test_runs_the_cell_on_each_engine(shell: InteractiveShell) -> None:
    comparison = compare(shell, "-n 3", NOTE_ENGINE)
    seen = shell.user_ns["seen"]
    engines = {engine.name for engine in ENGINES.values()}
    n = len(engines)
    assert len(seen) == 3 * n
    assert all(set(seen[round * n : (round + 1) * n]) == engines for round in range(3))
    assert [len(row.trials) for row in comparison.engines] == [3] * n
    assert all(trial.tasks == 1 for row in comparison.engines for trial in row.trials)
    assert config.source("scheduler") == "default"


def test_chosen_engines_and_a_statement(shell: InteractiveShell) -> None:
    comparison = shell.run_line_magic("compare", "threading -n 1 delayed(abs)(-1).compute()")
    assert [row.engine for row in comparison.engines] == ["threads"]


def test_variables_are_as_if_the_cell_had_run_once(shell: InteractiveShell) -> None:
    shell.user_ns["x"] = 1
    compare(shell, "-n 2", "x = x + 1\nimport math\ndef f(): return x\nprint('hello')")
    assert shell.user_ns["x"] == 2
    assert shell.user_ns["math"].pi > 3
    shell.user_ns["x"] = 5
    assert shell.user_ns["f"]() == 5, "its globals are the user's"


def test_output_is_not_shown(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    compare(shell, "-n 1", "print('hello')")
    assert "hello" not in capsys.readouterr().out


def test_a_failing_engine_is_a_row_and_leaves_no_variables(shell: InteractiveShell) -> None:
    comparison = compare(
        shell,
        "-n 2 sync threads",
        "x = 7\ndelayed(abs)(-1).compute()\nif taskloom.last_run().engine == 'threads': del delayed; 1 / 0",
    )
    sync, threads = comparison.engines
    assert sync.measured
    assert threads.problem == "failed: ZeroDivisionError: division by zero"
    assert comparison.recommendation == "sync: nothing else finished."
    assert shell.user_ns["x"] == 7
    assert "delayed" in shell.user_ns


def test_nothing_is_left_where_all_fail(shell: InteractiveShell) -> None:
    comparison = compare(shell, "", "x = 7\n1 / 0")
    assert "x" not in shell.user_ns
    assert comparison.best is None


def test_the_limit_stops_a_run(shell: InteractiveShell) -> None:
    comparison = compare(
        shell, "-n 1 --limit 0.3 sync threads", "delayed(list)([delayed(sleep)(0.05) for _ in range(2000)]).compute()"
    )
    assert [row.problem for row in comparison.engines] == ["took longer than the limit of 0.3 s"] * 2
    assert taskloom.last_run().status == "cancelled"


def test_the_limit_stops_an_engine_that_takes_longer_to_start(shell: InteractiveShell) -> None:
    comparison = compare(shell, "-n 1 --limit 0.001 sync", "seen.append(delayed(abs)(-1).compute())")
    assert [row.problem for row in comparison.engines] == ["took longer than the limit of 0.001 s"]
    assert shell.user_ns["seen"] == []


def test_the_limit_keeps_what_was_measured(shell: InteractiveShell) -> None:
    comparison = compare(
        shell,
        "-n 2 --limit 2 sync",
        "seen.append(1)\ndelayed(list)([delayed(sleep)(0.02) for _ in range(1 if len(seen) == 1 else 2000)]).compute()",
    )
    (row,) = comparison.engines
    assert len(row.trials) == 1
    assert row.note == "1 of 2 times: the limit of 2 s was over"


def test_an_interrupt_ends_it_and_shows_what_is_known(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["x"] = 1
    cell = "x = 2\nseen.append(1)\nif len(seen) > 1: raise KeyboardInterrupt\ndelayed(abs)(-1).compute()"
    with pytest.raises(KeyboardInterrupt):
        compare(shell, "-n 5 sync", cell)
    assert shell.user_ns["x"] == 1
    assert len(shell.user_ns["seen"]) == 2
    assert config.source("scheduler") == "default"
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_cell_that_chooses_itself_is_told_so(shell: InteractiveShell) -> None:
    comparison = compare(shell, "-n 1 sync threads", "delayed(abs)(-1).compute(scheduler='sync')")
    assert [row.note for row in comparison.engines] == ["", "ran on sync: the cell itself chose"]
    assert "the cell itself chose sync. Leave scheduler= out" in comparison.recommendation
    assert comparison.best is None


def test_a_cell_that_computes_nothing_is_told_so(shell: InteractiveShell) -> None:
    comparison = compare(shell, "-n 1 sync threads", "y = delayed(abs)(-1)")
    assert "computed nothing" in comparison.recommendation
    assert [row.note for row in comparison.engines] == ["computed nothing"] * 2


def test_views_hear_nothing_of_the_trials(shell: InteractiveShell) -> None:
    class View:
        heard: ClassVar[list[str]] = []

        def run_started(self, run: taskloom.Run) -> None:
            self.heard.append(f"{run.engine} started")

        def run_finished(self, run: taskloom.Run) -> None:
            self.heard.append(f"{run.engine} {run.status}")

    def until_sampled() -> None:
        run, deadline = taskloom.last_run(), time.monotonic() + 20
        while not run.samples and time.monotonic() < deadline:
            time.sleep(0.01)

    shell.user_ns["until_sampled"] = until_sampled
    with taskloom.subscribe(View()):
        comparison = compare(shell, "-n 2 sync threads", "delayed(until_sampled)().compute()")
        assert View.heard == []
        taskloom.get({"a": (abs, -1)}, "a")
    assert View.heard == ["sync started", "sync finished"]
    assert all(trial.peak_memory > 0 for row in comparison.engines for trial in row.trials), "still sampled"


def test_stop_between_two_trials_is_not_missed(shell: InteractiveShell) -> None:
    trials = CellTrials(compile_cell(shell, "seen.append(1)", "<cell>"), shell, contenders(["sync"]), 2, 60.0)
    with pytest.raises(KeyboardInterrupt):
        trials.run(lambda _engine: trials.cancel())
    assert shell.user_ns["seen"] == []


AWAIT = """
import asyncio
async def later(x):
    await asyncio.sleep(0)
    return delayed(abs)(x).compute()
total = await later(-3) + await later(-4)
"""


def test_a_cell_with_await(shell: InteractiveShell) -> None:
    comparison = compare(shell, "-n 2 sync threads", AWAIT)
    assert [row.note for row in comparison.engines] == ["", ""]
    assert shell.user_ns["total"] == 7
    assert all(trial.tasks == 2 for row in comparison.engines for trial in row.trials)


def test_the_limit_stops_a_run_in_a_cell_with_await(shell: InteractiveShell) -> None:
    cell = f"{AWAIT}\ndelayed(list)([delayed(sleep)(0.05) for _ in range(2000)]).compute()"
    comparison = compare(shell, "-n 1 --limit 0.3 sync threads", cell)
    assert [row.problem for row in comparison.engines] == ["took longer than the limit of 0.3 s"] * 2


def test_an_interrupt_ends_a_cell_with_await(shell: InteractiveShell) -> None:
    shell.user_ns.update(interrupt=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    cell = "import asyncio\ninterrupt()\nawait asyncio.sleep(1000)"
    with pytest.raises(KeyboardInterrupt):
        compare(shell, "-n 2 sync", cell)
    assert not [thread for thread in threading.enumerate() if "taskloom-await" in thread.name]


@pytest.mark.parametrize(
    ("line", "cell", "message"),
    [
        ("thread", "1", "Did you mean 'threads'"),
        ("-n 0", "1", "-n takes a whole number, at least 1, not '0'"),
        ("-n many", "1", "not 'many'"),
        ("--engines threads,sync", "1", "Engines are named bare"),
        ("--limit -1", "1", "--limit takes a number of seconds above 0"),
    ],
)
def test_errors(shell: InteractiveShell, line: str, cell: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(shell, line, cell)


def test_nothing_to_run(shell: InteractiveShell) -> None:
    with pytest.raises(UsageError, match="needs something to run"):
        shell.run_line_magic("compare", "-n 2 sync")


def test_unload_takes_it_away(shell: InteractiveShell) -> None:
    shell.extension_manager.unload_extension("taskloom")
    assert shell.find_line_magic("compare") is None
    assert shell.find_cell_magic("compare") is None
    shell.extension_manager.load_extension("taskloom")


def test_an_executed_notebook_shows_the_table() -> None:
    cells = [
        "%load_ext taskloom\nimport time, taskloom",
        "%%compare -n 1 sync threads\nprint('hidden'); display('hidden')\n"
        "total = taskloom.delayed(sum)([taskloom.delayed(abs)(i) for i in range(5)]).compute()",
        "print(total, _.best.engine in ('sync', 'threads'))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    bar, answer = notebook.cells[1].outputs
    assert set(bar.data) == {"text/html", "text/plain"}
    assert "2/2" in bar.data["text/plain"]
    assert answer.output_type == "execute_result"
    assert "taskloom-compare" in answer.data["text/html"]
    printed: Any = notebook.cells[2].outputs[0]
    assert printed.text == "10 True\n"
