"""The text bar of plain IPython."""

from io import StringIO

from taskloom.bus import Run, RunGraph
from taskloom.graph import compile_plan
from taskloom.notebook.terminal_bar import CLEAR_LINE, TerminalLine
from taskloom.views.progress import progress_state


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def new_run(tasks: int) -> Run:
    graph = {f"x-{i}": (abs, i) for i in range(tasks)}
    return Run(RunGraph.of(compile_plan(graph, list(graph))), "sync")


def test_draws_over_its_line_and_leaves_one() -> None:
    terminal = Terminal()
    run = new_run(3)
    bar = TerminalLine(terminal).new_bar(run)
    bar.draw(progress_state(run))
    bar.draw(progress_state(run))
    assert terminal.getvalue().count(CLEAR_LINE) == 2
    assert "\n" not in terminal.getvalue()
    bar.finish(progress_state(run))
    assert terminal.getvalue().endswith("\n")
    assert "0/3" in terminal.getvalue().rpartition(CLEAR_LINE)[2]


def test_bars_take_turns() -> None:
    terminal = Terminal()
    line = TerminalLine(terminal)
    first, second = new_run(1), new_run(2)
    bars = [line.new_bar(first), line.new_bar(second)]
    bars[0].draw(progress_state(first))
    bars[1].draw(progress_state(second))
    assert "0/2" not in terminal.getvalue()
    bars[0].finish(progress_state(first))
    bars[1].draw(progress_state(second))
    assert "0/2" in terminal.getvalue().rpartition("\n")[2]


def test_silent_where_there_is_no_terminal() -> None:
    stream = StringIO()
    run = new_run(1)
    bar = TerminalLine(stream).new_bar(run)
    bar.draw(progress_state(run))
    bar.finish(progress_state(run))
    assert stream.getvalue() == ""
