"""`%pdb on`: where the debugger opens, on each engine, and that nothing else moves meanwhile."""

import os
import sys
import threading
from typing import Any

import pytest

import taskloom

pytest.importorskip("IPython")

from IPython.core.error import StdinNotImplementedError

IN_PROCESS = ["sync", "threads"]
ENGINES = [*IN_PROCESS, "child"]

BUG = """
import taskloom
calls = []
def ratio(late, flown):
    calls.append(late)
    return late / flown
def share(late, flown=0):
    percent = 100
    return percent * ratio(late, flown)
"""

PATIENCE = 20.0


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, session: Any) -> str:
    """Each engine, with a bug to find and the debugger switched on."""
    session.run(BUG + "%pdb on")
    return str(request.param)


def compute(engine: str, value: str = "taskloom.delayed(share)(7, flown=0)") -> str:
    return f"taskloom.compute({value}, scheduler={engine!r})"


def test_it_opens_in_the_users_frame(session: Any, engine: str) -> None:
    output = session.run(compute(engine), "p late", "p calls", "up", "p percent", "q")
    assert "ratio()\n" in output
    assert "ipdb> p late\n7\n" in output
    assert "ipdb> p percent\n100\n" in output
    assert "ipdb> p calls\n[7]\n" in output, "in this process the task has run once"
    session.run("1 + 1")
    assert session.result == 2


@pytest.mark.parametrize("options", ["num_workers=2", "callbacks=taskloom.Callback()"])
def test_up_leads_from_the_task_to_the_cell(session: Any, options: str) -> None:
    session.run(BUG + "%pdb on")
    for name in IN_PROCESS:
        cell = (
            f"graph = {{'a': (share, (abs, -7), 0)}}; taskloom.compute(taskloom.delayed(share)(7), scheduler={name!r}"
        )
        output = session.run(f"{cell}, {options})", "up", "up", "p graph['a'][1][1]", "q")
        assert "ipdb> p graph['a'][1][1]\n-7\n" in output


def test_a_function_without_a_frame_opens_in_the_cell(session: Any) -> None:
    session.run("%pdb on")
    output = session.run(
        "import operator, taskloom\nx = 5; taskloom.get({'a': (operator.truediv, 1, 0)}, 'a')", "p x", "q"
    )
    assert "ipdb> p x\n5\n" in output
    assert "in_order.py" not in output.partition("ipdb>")[0].rpartition("ZeroDivisionError")[2]


def test_what_succeeds_here_is_reported_as_not_reproducible(session: Any) -> None:
    session.run(f"import os, taskloom\n%pdb on\ndef fussy():\n    if os.getpid() != {os.getpid()}: raise OSError('no')")
    output = session.run("taskloom.compute(taskloom.delayed(fussy)(), scheduler='child')")
    assert "Not reproducible: 'fussy-" in output
    assert "ipdb>" not in output
    assert isinstance(taskloom.last_run().failure.exception, OSError)


def test_another_exception_is_told(session: Any) -> None:
    session.run(
        f"import os, taskloom\n%pdb on\ndef fussy():\n    if os.getpid() != {os.getpid()}: raise OSError('no')\n"
        "    raise LookupError('here')"
    )
    output = session.run("taskloom.compute(taskloom.delayed(fussy)(), scheduler='child')", "q")
    assert "It raises something else here: LookupError: here" in output


HOSTILE = {
    "arguments": "class Bad(Exception):\n    def __init__(self, a, b): pass\nraise_it = lambda: Bad(1, 2)",
    "repr": (
        "class Bad(Exception):\n    def __repr__(self): raise ValueError('hah')\n    __str__ = __repr__\nraise_it = Bad"
    ),
    "base": "class Bad(BaseException): pass\nraise_it = Bad",
}


@pytest.mark.parametrize("name", IN_PROCESS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_exceptions(session: Any, name: str, kind: str) -> None:
    session.run(HOSTILE[kind] + "\nimport taskloom\n%pdb on\ndef task(x):\n    local = x + 1\n    raise raise_it()")
    key = "'<b>\\x1b[31m\\n' + 'x' * 100_000"
    get = {"sync": "taskloom.get", "threads": "taskloom.threaded.get"}[name]
    output = session.run(f"{get}({{{key}: (task, 1)}}, {key})", "p local", "q")
    assert "ipdb> p local\n2\n" in output


@pytest.mark.parametrize("name", ENGINES)
def test_endless_recursion(session: Any, name: str) -> None:
    session.run("import taskloom\n%pdb on\ndef deeper(n):\n    return deeper(n + 1)")
    output = session.run(compute(name, "taskloom.delayed(deeper)(0)"), "p n > 100", "up", "q")
    assert "ipdb> p n > 100\nTrue\n" in output


def test_without_somebody_to_ask_it_says_so_and_goes_on(session: Any, engine: str, monkeypatch: Any) -> None:
    def refuse(prompt: str = "") -> str:
        raise StdinNotImplementedError("no input here")

    monkeypatch.setattr("builtins.input", refuse)
    output = session.run(compute(engine))
    assert "return late / flown" in output
    assert output.count("No prompt: this front end takes no input") == 1
    assert "StdinNotImplementedError" not in output
    assert session.run("print('fine')") == "fine\n"


def test_an_interrupt_at_the_prompt_leaves_it(session: Any, monkeypatch: Any) -> None:
    def interrupt(prompt: str = "") -> str:
        raise KeyboardInterrupt

    session.run(BUG + "%pdb on")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.input", interrupt)
        assert "KeyboardInterrupt" in session.run(compute("sync"))
    assert "ipdb> p late\n7\n" in session.run(compute("sync"), "p late", "q")


def test_views_stand_still_while_the_prompt_is_open(session: Any, monkeypatch: Any) -> None:
    """A run in another thread goes on, and is sampled at each tick, but nobody is told of it."""
    goes_on, moved, ended = threading.Event(), threading.Event(), threading.Event()

    class View:
        def run_updated(self, run: taskloom.Run) -> None:
            if run.n_tasks == 2:
                moved.set()

        def run_finished(self, run: taskloom.Run) -> None:
            if run.n_tasks == 2:
                ended.set()

    seen: list[bool] = []

    def ask(prompt: str = "") -> str:
        (run,) = [run for run in taskloom.runs if run.status == "running"]
        moved.wait(0)  # one that was under way has ended: it was the ticker's before the hold
        ticked = len(run.samples) + 1
        while len(run.samples) < ticked and run.status == "running":
            pause.wait(0.01)
        moved.clear()
        while len(run.samples) < ticked + 3 and run.status == "running":
            pause.wait(0.01)
        seen.append(moved.is_set())
        return "q"

    pause = threading.Event()  # never set: what a loop waits with
    monkeypatch.setattr("builtins.input", ask)
    graph = {"a": (goes_on.wait, PATIENCE), "b": (bool, "a")}
    background = threading.Thread(target=taskloom.get, args=(graph, "b"))
    session.run(BUG + "%pdb on")
    with taskloom.subscribe(View()):
        background.start()
        assert moved.wait(PATIENCE), "views move before"
        session.run(compute("sync"))
        assert seen == [False]
        moved.clear()
        assert moved.wait(PATIENCE), "views move again"
        goes_on.set()
        background.join(PATIENCE)
        assert ended.is_set()


def test_debug_by_hand_opens_there_too(session: Any) -> None:
    session.run(BUG)
    session.run(compute("child"))
    assert "ipdb> p late\n7\n" in session.run("%debug", "p late", "q")


def test_unloading_gives_the_shell_its_own_debugger_back(session: Any) -> None:
    tracebacks = session.shell.InteractiveTB
    ours = tracebacks.debugger_cls
    session.run("%unload_ext taskloom")
    assert ours is not tracebacks.debugger_cls
    assert issubclass(ours, tracebacks.debugger_cls)
    session.run("%load_ext taskloom")


def test_the_note_names_the_magic_while_it_is_there(session: Any) -> None:
    def notes() -> str:
        with pytest.raises(ZeroDivisionError) as raised:
            taskloom.get({"a": (divmod, 1, 0)}, "a")
        return "\n".join(raised.value.__notes__)

    assert "with the inputs it had: %replay" in notes()
    session.run("%unload_ext taskloom")
    assert "with the inputs it had: taskloom.last_run().failure.replay()" in notes()
    session.run("%load_ext taskloom")


def test_the_trace_function_of_others_stays(session: Any) -> None:
    before = sys.gettrace()
    session.run(BUG)
    session.run(compute("sync"))
    session.run("%replay --step", "q")
    assert sys.gettrace() is before
