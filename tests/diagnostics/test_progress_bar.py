"""The progress bar in text: what stands on the line, when, and where it is written."""

import io
import re
import sys
import threading
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest

import taskloom
from taskloom.diagnostics import ProgressBar
from taskloom.diagnostics.progress_bar import bar_line
from taskloom.views.progress import progress_state

DEADLINE = 10.0  # seconds


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def drawn(out: io.StringIO) -> list[str]:
    """All that ever stood on the line, and the lines that stayed."""
    return [line.rstrip() for line in out.getvalue().replace("\n", "\r").split("\r") if line.strip()]


def stayed(out: io.StringIO) -> list[str]:
    assert out.getvalue().endswith("\n") or not out.getvalue()
    return [line.split("\r")[-1].rstrip() for line in out.getvalue().splitlines(keepends=True) if line.endswith("\n")]


def wait_for(condition: Any) -> None:
    """Return once the condition holds."""
    end = perf_counter() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert perf_counter() < end, "it did not happen in time"
        pause.wait(0.005)


def graph(name: str, n: int) -> dict[Any, Any]:
    return {name: (len, [(name, i) for i in range(n)])} | {(name, i): (abs, i) for i in range(n)}


def test_a_run_leaves_one_line() -> None:
    out = io.StringIO()
    with ProgressBar(width=10, out=out) as bar:
        assert bar.last_duration == 0
        taskloom.get(graph("a", 4), "a")
        lines = stayed(out)  # there before `get` returns
    (line,) = lines
    assert re.fullmatch(r"\[##########\] \| 100% Completed \| 5/5 · \d\.\d s", line)
    assert stayed(out) == lines
    run = taskloom.last_run()
    assert run is not None
    assert bar.last_duration == run.duration


@pytest.mark.parametrize("get", [taskloom.get, taskloom.threaded.get])
def test_the_line_moves_while_the_run_lasts(get: Any) -> None:
    out = io.StringIO()

    def wait_for_text(text: str) -> bool:
        wait_for(lambda: text in out.getvalue())
        return True

    dsk = {
        "a": (bool, 1),
        "b": (lambda _: wait_for_text(" 25% Completed | 1/4 · "), "a"),
        "c": (lambda _: wait_for_text("[#####     ] |  50% Completed | 2/4 · "), "b"),
        "d": (lambda _: wait_for_text(" s left"), "c"),
    }
    with ProgressBar(width=10, out=out):
        get(dsk, "d")
    assert len(stayed(out)) == 1
    assert out.getvalue().count("100% Completed") == 1
    lines = out.getvalue().rstrip("\n").split("\r")[1:]
    assert all(len(later) >= len(earlier.rstrip()) for earlier, later in pairwise(lines))


def test_a_failure_names_its_task() -> None:
    out = io.StringIO()
    with ProgressBar(out=out), pytest.raises(ZeroDivisionError):
        taskloom.get({"a": (abs, -1), ("b", 7): (divmod, "a", 0), "c": (str, ("b", 7))}, "c")
    (line,) = stayed(out)
    assert " 33% Completed | 1/3 " in line
    assert "failed at ('b', 7): ZeroDivisionError" in line


def test_a_cancelled_run_says_so() -> None:
    out = io.StringIO()

    def cancel() -> None:
        run = taskloom.last_run()
        assert run is not None
        run.cancel()

    with ProgressBar(out=out), pytest.raises(KeyboardInterrupt):
        taskloom.get({"a": (cancel,), "b": (str, "a")}, "b")
    assert stayed(out)[0].endswith("stopped")


def test_a_run_is_not_completed_before_it_ends() -> None:
    taskloom.get(graph("a", 4), "a")
    run = taskloom.last_run()
    assert run is not None
    state = progress_state(run)
    assert " 100% Completed" in bar_line(state, 10, 80)
    assert "  99% Completed" in bar_line({**state, "status": "running"}, 10, 80)


def test_nothing_is_shown_of_short_runs() -> None:
    out = io.StringIO()
    with ProgressBar(minimum=60, out=out) as bar:
        taskloom.get(graph("a", 4), "a")
    assert out.getvalue() == ""
    assert bar.last_duration > 0


def test_runs_inside_tasks_have_no_line() -> None:
    out = io.StringIO()
    with ProgressBar(out=out) as bar:
        taskloom.get({"outer": (lambda: taskloom.get(graph("inner", 9), "inner"),), "end": (str, "outer")}, "end")
    assert len(stayed(out)) == 1
    assert "2/2" in stayed(out)[0]
    run = taskloom.last_run()
    assert run is not None
    assert bar.last_duration == run.duration


def test_a_bar_inside_a_task_shows_the_runs_inside() -> None:
    out = io.StringIO()

    def outer() -> None:
        with ProgressBar(out=out):
            taskloom.get(graph("inner", 9), "inner")

    taskloom.threaded.get({"outer": (outer,), "end": (str, "outer")}, "end")
    assert len(stayed(out)) == 1
    assert "10/10" in stayed(out)[0]


def test_runs_at_the_same_time_take_turns() -> None:
    out = io.StringIO()
    first_ends, second_ends = threading.Event(), threading.Event()

    def compute(n: int, end: threading.Event) -> None:
        dsk = graph("a", n) | {"end": (lambda _: end.wait(DEADLINE), "a")}
        taskloom.threaded.get(dsk, "end")

    first = threading.Thread(target=compute, args=(3, first_ends))
    second = threading.Thread(target=compute, args=(7, second_ends))
    with ProgressBar(out=out, dt=0):
        first.start()
        wait_for(lambda: "4/5" in out.getvalue())
        second.start()
        seen = len(drawn(out))
        wait_for(lambda: len(drawn(out)) > seen + 3)
        assert "/9" not in out.getvalue()  # the line is taken
        first_ends.set()
        wait_for(lambda: "8/9" in out.getvalue())
        second_ends.set()
        first.join()
        second.join()
    assert [line.split(" | ")[2].split(" ")[0] for line in stayed(out)] == ["5/5", "9/9"]


def test_register_and_unregister() -> None:
    out = io.StringIO()
    bar = ProgressBar(out=out)
    taskloom.get(graph("a", 1), "a")
    bar.register()
    taskloom.get(graph("a", 2), "a")
    bar.register()
    taskloom.get(graph("a", 3), "a")
    bar.unregister()
    taskloom.get(graph("a", 4), "a")
    assert ["3/3" in line for line in stayed(out)] == [True, False]
    assert len(stayed(out)) == 2
    with pytest.raises(KeyError, match="ProgressBar is not registered"):
        bar.unregister()


def test_a_bar_closed_in_the_middle_of_a_run_ends_its_line() -> None:
    out = io.StringIO()
    bar = ProgressBar(out=out)
    bar.register()

    def close() -> None:
        wait_for(out.getvalue)
        bar.unregister()

    taskloom.get({"a": (close,), "b": (str, "a")}, "b")
    assert len(stayed(out)) == 1
    assert " 0% Completed | 0/2" in stayed(out)[0]


def test_without_a_terminal_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        taskloom.get(graph("a", 4), "a")
    assert capsys.readouterr() == ("", "")
    assert bar.last_duration > 0


def test_on_a_terminal_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for width in (40, 5):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        with ProgressBar(width=width), pytest.raises(ValueError, match="long"):
            taskloom.get({"a": (int, "long" * 100)}, "a")
        (line,) = stayed(terminal)
        assert len(line) == 59
        assert line.startswith(f"[{' ' * min(width, 10)}] |   0% Completed | 0/1")


def test_a_notebook_is_no_terminal_but_shows_text(monkeypatch: pytest.MonkeyPatch) -> None:
    output = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", output)
    with ProgressBar():
        taskloom.get(graph("a", 4), "a")
    assert len(stayed(output)) == 1


def test_without_standard_output_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with ProgressBar() as bar:
        taskloom.get(graph("a", 4), "a")
    assert bar.last_duration > 0


def test_a_stream_that_is_closed_disturbs_nobody() -> None:
    out = io.StringIO()
    with ProgressBar(out=out) as bar:
        taskloom.get(graph("a", 4), "a")
        out.close()
        taskloom.get({"a": (abs, -1)}, "a")
        run = taskloom.last_run()
        assert run is not None
        assert bar.last_duration == run.duration


def test_dt_is_the_time_between_drawings() -> None:
    often, seldom = io.StringIO(), io.StringIO()
    with ProgressBar(out=often), ProgressBar(out=seldom, dt=60):
        taskloom.get({"a": (lambda: wait_for(lambda: len(drawn(often)) >= 4),)}, "a")
    assert len(drawn(seldom)) == 2  # when it began, and at its end
