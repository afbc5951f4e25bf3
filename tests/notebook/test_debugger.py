"""`%pdb on`: where the debugger opens, on each engine, and that nothing else moves meanwhile."""

import os
import sys
import threading
from collections.abc import Iterator
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

PATIENCE = 60.0


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


@pytest.fixture
def workers() -> Iterator[None]:
    """Worker processes that end with the test."""
    from taskloom.engines.worker.pool import pool

    yield
    pool.close()


EVERY_ENGINE = [*ENGINES, "processes"]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_what_a_person_reads(session: Any, name: str) -> None:
    """The cell, the user's own lines, and what to do next: all of a notebook's functions are known by their lines."""
    session.run(BUG)
    output = session.run(compute(name, "taskloom.delayed(share)(7, flown=0, dask_key_name='the share')"))
    lines = [line for line in output.splitlines() if line.startswith("--")]
    assert [line.partition("> ")[2].split(maxsplit=1)[1] for line in lines[1:]] == [
        compute(name, "taskloom.delayed(share)(7, flown=0, dask_key_name='the share')"),
        "return percent * ratio(late, flown)",
        "return late / flown",
    ]
    assert f"task 'the share' failed in run {taskloom.last_run().id} on engine {name!r}, worker " in output
    assert output.count("Run it again in this thread, with the inputs it had: %replay") == 1


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_the_lines_of_a_function_of_the_notebook(session: Any, name: str) -> None:
    session.run(BUG + "%pdb on")
    output = session.run(compute(name), "up", "l", "q")
    assert "----> 8     return percent * ratio(late, flown)" in output.partition("ipdb> l\n")[2]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_a_run_inside_the_task(session: Any, name: str) -> None:
    session.run(
        BUG + "%pdb on\ndef outer(x):\n    local = x + 1\n"
        "    return taskloom.compute(taskloom.delayed(share)(x), scheduler='sync')"
    )
    output = session.run(compute(name, "taskloom.delayed(outer)(7)"), "p late", "up", "up", "p local", "q")
    assert "ipdb> p late\n7\n" in output
    assert "ipdb> p local\n8\n" in output
    assert output.count("Run it again in this thread") == 1, "the outer one"


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_groups_and_exceptions_with_arguments_of_their_own(session: Any, name: str) -> None:
    session.run(
        "import taskloom\n%pdb on\nclass Custom(Exception):\n    def __init__(self, a, *, b):\n"
        "        super().__init__(f'{a} and {b}')\n"
        "def custom(x):\n    local = x + 1\n    raise Custom(1, b=2)\n"
        "def group(x):\n    local = x + 2\n    raise ExceptionGroup('several', [ValueError(x), LookupError(x)])"
    )
    output = session.run(compute(name, "taskloom.delayed(custom)(7)"), "p local", "q")
    assert "Custom: 1 and 2" in output
    assert "ipdb> p local\n8\n" in output
    output = session.run(compute(name, "taskloom.delayed(group)(7)"), "p local", "q")
    assert "several (2 sub-exceptions)" in output
    assert "ipdb> p local\n9\n" in output


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_in_a_cell_that_awaits(session: Any, name: str) -> None:
    session.run(BUG + "import asyncio\n%pdb on")
    assert "ipdb> p late\n7\n" in session.run(f"await asyncio.sleep(0)\n{compute(name)}", "p late", "q")
    session.run("await asyncio.sleep(0, 5)")
    assert session.result == 5


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("name", EVERY_ENGINE)
def test_who_stops_a_run_gets_no_prompt(session: Any, name: str) -> None:
    session.run("import taskloom\n%pdb on\ndef stop(x):\n    raise KeyboardInterrupt")
    output = session.run(compute(name, "taskloom.delayed(stop)(1)"))
    assert "KeyboardInterrupt" in output
    assert not session.prompts
    session.run("%pdb off")
    assert "ipdb> q" in session.run("%debug", "q"), "who asks for one does"


def test_who_stops_a_replay_gets_none_either(session: Any) -> None:
    session.run(BUG)
    session.run(compute("sync"))
    session.run("%pdb on\ndef stop(*_, **__): raise KeyboardInterrupt\nshare.__code__ = stop.__code__")
    assert "KeyboardInterrupt" in session.run("%replay")
    assert not session.prompts


@pytest.mark.usefixtures("workers")
def test_a_task_that_ended_its_worker_is_left_alone(session: Any) -> None:
    session.run("import os, taskloom\n%pdb on\ndef crash(x):\n    os._exit(9)")
    session.run("x = 5; taskloom.multiprocessing.get({'crash': (crash, 1)}, 'crash', retries=0)", "p x", "q")
    session.run("1 + 1")
    assert session.result == 2


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
        assert ended.wait(PATIENCE)


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
