"""`%replay`: one task of the last run once more."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import taskloom

pytest.importorskip("IPython")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

from IPython.core.completer import provisionalcompleter  # noqa: E402

REPOSITORY = Path(__file__).parents[2]

GRAPH = """
import taskloom
calls = []
def double(x):
    calls.append(("double", x))
    return 2 * x
def divide(x, by):
    calls.append(("divide", x))
    quotient = x / by
    return quotient
graph = {"one": 1, ("double", 0): (double, "one"), ("double", 1): (double, ("double", 0)), "b": (bool, 1),
         "fails": (divide, ("double", 1), 0)}
"""
FAIL = GRAPH + "taskloom.get(graph, ['fails', 'b'])"


@pytest.fixture
def failed(session: Any) -> Any:
    session.run(FAIL)
    session.run("calls.clear()")
    return session


def test_the_failed_task_runs_alone_under_the_debugger(failed: Any) -> None:
    output = failed.run("%replay", "p x", "p by", "p calls", "q")
    assert "ZeroDivisionError: division by zero" in output
    assert "ipdb> p x\n4\nipdb> p by\n0\nipdb> p calls\n[('divide', 4)]\n" in output
    assert "ipdb> p by\n0" in failed.run("%replay", "p by", "q"), "as often as one likes"


@pytest.mark.parametrize("engine", ["sync", "threads", "child"])
def test_each_engine(session: Any, engine: str) -> None:
    session.run(GRAPH + f"from taskloom.engines import find_engine; find_engine({engine!r}).get(graph, 'fails')")
    assert "ipdb> p x\n4\n" in session.run("%replay", "p x", "q")


def test_with_pdb_on_it_asks_once(failed: Any) -> None:
    failed.run("%pdb on")
    assert "ipdb> p x\n4\n" in failed.run("%replay", "p x", "q")


@pytest.mark.parametrize("key", ["('double', 1)", '("double",1)', "  ('double', 1) "])
def test_any_task_with_its_inputs_computed_first(failed: Any, key: str) -> None:
    output = failed.run(f"%replay {key}")
    assert "Computing the inputs of ('double', 1) again first: 1 task." in output
    assert failed.result == 4
    failed.run("calls")
    assert failed.result == [("double", 1), ("double", 2)]


def test_a_finished_run(session: Any) -> None:
    session.run(GRAPH + "graph['fails'] = (divide, ('double', 1), 2); taskloom.get(graph, 'fails')")
    assert "Nothing failed in run" in session.run("%replay")
    assert "again first: 2 tasks." in session.run("%replay fails")
    assert session.result == 2


def test_what_it_says_of_keys(failed: Any) -> None:
    assert "has no task 'falls'. Did you mean 'fails'?" in failed.run("%replay falls")
    assert "has no task 'nokey'. Its tasks are " in failed.run("%replay nokey")
    assert "'one' is data that the graph holds" in failed.run("%replay one")
    assert "has no task '[1, 2]'" in failed.run("%replay [1, 2]")
    assert len(failed.run("%replay " + "<b>" * 1000)) < 500
    options = "--step, --profile, --apart, --save DIR, --fresh, --run ID."
    assert f"no option '--stop'. There are: {options}" in failed.run("%replay --stop")
    assert "one of --step" in failed.run("%replay --step --profile")


TAKE = """
import taskloom
made = []
def load():
    made.append("load")
    return [1, 2, 3]
def take(rows, n=0):
    last = rows.pop()
    return last / n
rows = taskloom.delayed(load)()
"""


@pytest.mark.parametrize("engine", ["sync", "threads", "child"])
def test_fresh_computes_again_what_the_task_has_changed(session: Any, engine: str) -> None:
    session.run(TAKE + f"taskloom.compute(taskloom.delayed(take)(rows), scheduler={engine!r})")
    output = session.run("%replay", "p last", "q")
    assert "Its inputs are as it left them: --fresh computes them again first, 1 task." in output
    for _ in range(2):
        output = session.run("%replay --fresh", "p last", "q")
        assert "Computing the inputs of 'take-" in output
        assert "ipdb> p last\n3\n" in output
        assert "as it left them" not in output


def test_what_cannot_change_needs_no_word(session: Any) -> None:
    session.run("import taskloom\ntaskloom.get({'a': (divmod, 1, 'b'), 'b': (abs, 0)}, 'a')")
    output = session.run("%replay", "q")
    assert "as it left them" not in output


def test_inputs_that_do_not_come_from_the_worker_are_computed_again(session: Any) -> None:
    from taskloom.engines.worker.pool import pool

    try:
        session.run(
            "import taskloom, threading\ndef lock(x):\n    return threading.Lock()\n"
            "taskloom.multiprocessing.get({'x': (abs, -1), 'lock': (lock, 'x')}, 'lock')"
        )
    finally:
        pool.close()
    output = session.run("%replay")
    assert "Computing the inputs of 'lock' again first: 1 task." in output
    assert "succeeds in this process, where its result need not travel" in output


def test_a_failure_among_the_inputs_is_shown(session: Any) -> None:
    session.run("import taskloom\ntaskloom.get({'a': (divmod, 1, 0), 'b': (abs, 'a')}, 'b')")
    assert "ZeroDivisionError" in session.run("%replay b")


KILL = """
import os, taskloom
def load():
    return [1, 2]
def crash(rows):
    here = rows
    os.abort()
crashing = taskloom.delayed(crash)(taskloom.delayed(load)(), dask_key_name="crash")
graph = {"load": (load,), "crash": (crash, "load"), "behind": (len, "crash")}
"""


@pytest.fixture
def killed(session: Any) -> Any:
    from taskloom.engines.worker.pool import pool

    try:
        output = session.run(
            KILL.replace("crashing = ", "# ") + "taskloom.multiprocessing.get(graph, 'behind', retries=0)"
        )
    finally:
        pool.close()
    assert "Run it again in a process of its own, and see where that ends: %replay --apart" in output
    return session


@pytest.mark.parametrize("line", ["", "crash", "--step", "--profile", "--fresh crash"])
def test_a_task_that_killed_its_worker_is_not_run_here(killed: Any, line: str) -> None:
    output = killed.run(f"%replay {line}")
    assert "Task 'crash' ended its worker process, and would end this one with all it holds." in output
    assert "%replay --apart runs it in a process of its own" in output


def test_nor_for_the_sake_of_another(killed: Any) -> None:
    assert "'behind' needs its result, and cannot be run." in killed.run("%replay --apart behind")
    assert killed.run("%replay load").startswith("Running 'load'")
    assert killed.result == [1, 2]


def test_apart_shows_where_a_process_died(killed: Any) -> None:
    output = killed.run("%replay --apart")
    assert "Computing the inputs of 'crash' again first: 1 task." in output
    assert "Fatal Python error: Aborted" in output
    assert "in crash\n    os.abort()\n" in output
    assert "runpy" not in output
    assert "Its process was killed by SIGABRT. Python was at the lines above, the newest first." in output


def test_apart_of_what_raises_and_of_what_succeeds(failed: Any) -> None:
    output = failed.run("%replay --apart")
    assert "in divide\n    quotient = x / by\n" in output
    assert output.endswith("ZeroDivisionError: division by zero\nIts process ended with exit code 1.\n")
    output = failed.run("%replay --apart ('double', 0)")
    assert output.endswith("It succeeded and returned a value of type int.\n")
    failed.run("calls")
    assert [call for call in failed.result if call[0] == "divide"] == [], "nothing ran here"


def test_apart_of_the_failed_task_that_now_succeeds(failed: Any) -> None:
    failed.run("divide.__code__ = (lambda x, by: x).__code__")
    assert failed.run("%replay --apart").endswith(
        "Not reproducible: 'fails' succeeds there. Its first failure stands.\n"
    )


def test_apart_can_be_interrupted(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.run(
        "import os, time, taskloom\ndef task(x): 1 / x\n"
        "def hang(x):\n    print('begun', os.getpid(), flush=True)\n    time.sleep(600)\n"
        "taskloom.get({'a': (task, 0)}, 'a')"
    )
    session.run("task.__code__ = hang.__code__")
    begun: list[int] = []

    def interrupt_at(line: str) -> str:
        if line.startswith("begun"):
            begun.append(int(line.split()[1]))
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("taskloom.notebook.apart._with_source", interrupt_at)
    assert "KeyboardInterrupt" in session.run("%replay --apart")
    assert not Path(f"/proc/{begun[0]}").exists()


def test_an_older_run(failed: Any) -> None:
    number = taskloom.last_run().id
    assert "ipdb> p x\n4\n" in failed.run(f"%replay --run {number}", "p x", "q")
    failed.run("taskloom.get({'good': (abs, -1)}, 'good')")
    output = failed.run("%replay")
    assert f"Nothing failed in run {number + 1}, which is finished." in output
    assert "such as  %replay good" in output
    assert f"Run {number} failed at 'fails', but its functions and inputs are gone" in output
    assert f"Run {number} is over, and its functions and inputs are gone" in failed.run(f"%replay --run {number} fails")
    assert "There is no run 123456." in failed.run("%replay --run 123456")
    assert "no option '--run'" in failed.run("%replay --run")


@contextmanager
def a_run_goes_on() -> Iterator[int]:
    """A run in another thread, until the end of the block: its number."""
    begun, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        goes_on.wait(20)

    background = threading.Thread(target=taskloom.get, args=({"wait": (wait,)}, "wait"))
    background.start()
    try:
        assert begun.wait(20)
        yield taskloom.last_run().id
    finally:
        goes_on.set()
        background.join(20)


def test_a_run_that_goes_on_does_not_hide_the_one_that_failed_since(session: Any) -> None:
    with a_run_goes_on() as number:
        session.run(FAIL)
        assert f"Run {number} has not ended yet." in session.run(f"%replay --run {number}")
        assert "ipdb> p x\n4\n" in session.run("%replay", "p x", "q")


def test_once_another_run_has_begun_it_says_what_is_gone(failed: Any) -> None:
    number = taskloom.last_run().id
    with a_run_goes_on():
        assert f"Run {number} is over, and its functions and inputs are gone" in failed.run("%replay")


def test_after_a_run_that_was_cut_off_before_its_first_task(failed: Any) -> None:
    number = taskloom.last_run().id
    failed.run("""
class Late:
    def __del__(self):
        raise_at_start()
def raise_at_start():
    taskloom.last_run().cancel()
""")
    failed.run("taskloom.get({'data': Late(), 'good': (type, 'data')}, 'good')")
    failed.run("taskloom.get({'good': (abs, -1)}, 'good')")
    assert taskloom.last_run().status == "cancelled"
    output = failed.run("%replay")
    assert f"Nothing failed in run {number + 2}, which is cancelled." in output
    assert "such as  %replay good" in output


def test_the_beginning_of_a_key_will_do(session: Any) -> None:
    session.run(
        "import taskloom\ndef load(i): return i\n"
        "taskloom.get({**{f'load-{i:032x}': (load, i) for i in range(5)}, ('sum-12ab34cd56', 0): (abs, 7)},"
        "[f'load-{i:032x}' for i in range(5)] + [('sum-12ab34cd56', 0)])"
    )
    session.run("%replay sum")
    assert session.result == 7
    session.run(f"%replay load-{3:032x}")
    assert session.result == 3
    output = session.run("%replay load")
    assert "5 tasks of run " in output
    assert f"begin like that: 'load-{0:032x}', 'load-{1:032x}', 'load-{2:032x}' and 2 more." in output
    assert f"Did you mean 'load-{0:032x}'" in session.run("%replay lod")


def test_step_stops_at_the_first_line(failed: Any) -> None:
    output = failed.run("%replay --step fails", "p calls", "n", "p calls", "q")
    assert "ipdb> p calls\n[]\nipdb> n\n" in output
    assert "ipdb> p calls\n[('divide', 4)]\n" in output
    assert failed.run("print('fine')") == "fine\n"
    output = failed.run("%replay ('double', 1) --step", "p x", "c")
    assert "ipdb> p x\n2\n" in output
    assert failed.result == 4


def test_step_ends_with_the_task(failed: Any) -> None:
    output = failed.run("%replay --step ('double', 0)", "n", "n", "n")
    assert "--Return--" in output
    assert failed.result == 2


@pytest.mark.parametrize(
    "task",
    [
        "(taskloom.delayed(divide)(4, by=0)).compute(scheduler='sync')",
        "taskloom.get({'a': (divide, (abs, -4), (min, 0, 1))}, 'a')",
        "taskloom.get({'a': (taskloom.graph.apply, divide, [4], {'by': 0})}, 'a')",
        "taskloom.get({'a': (functools.wraps(divide)(lambda x: divide(x, 0)), 4)}, 'a')",
    ],
)
def test_step_finds_the_users_function(session: Any, task: str) -> None:
    session.run(GRAPH + "import functools\n" + task)
    assert "ipdb> p (x, by)\n(4, 0)\n" in session.run("%replay --step", "p (x, by)", "q")


def test_what_has_no_python_code(session: Any) -> None:
    session.run("import operator, taskloom\ntaskloom.get({'a': (operator.truediv, 1, 0)}, 'a')")
    output = session.run("%replay --step", "p inputs", "q")
    assert "is not written in Python" in output
    assert "ipdb> p inputs\n(1, 0)\n" in output


def test_commands_from_the_cell(failed: Any) -> None:
    output = failed.run("%%replay\np x + 100\n\np by\n")
    assert "ipdb> p x + 100\n104\nipdb> p by\n0\nipdb> quit\n" in output
    output = failed.run("%%replay --step\np calls\nn\np calls")
    assert "ipdb> p calls\n[('divide', 4)]\n" in output or "[('divide', 4), ('divide', 4)]" in output
    assert not failed.prompts


@pytest.mark.parametrize("cell", ["%%replay\np x\nq", "%%replay --step\nq", "%%replay ('double', 0)\np x"])
def test_commands_left_over_are_not_for_the_next_prompt(failed: Any, cell: str) -> None:
    failed.run(cell)
    failed.run("def half(zz):\n    return zz / 0\nhalf(5)")
    assert failed.run("%debug", "p zz", "q").endswith("ipdb> p zz\n5\nipdb> q\n")
    failed.run("%pdb on")
    failed.run(cell)
    assert "ipdb> p x\n4\n" in failed.run("taskloom.get(graph, 'fails')", "p x", "q")


def test_a_success_is_reported_as_not_reproducible(failed: Any) -> None:
    failed.run("failing, divide.__code__ = divide.__code__, (lambda x, by: x).__code__")
    output = failed.run("%replay")
    assert "Not reproducible: 'fails' succeeds here and now. Its first exception stands." in output
    assert failed.result == 4
    assert isinstance(taskloom.last_run().failure.exception, ZeroDivisionError)


def test_runs_inside_the_task_do_not_take_its_place(session: Any) -> None:
    session.run(
        "import taskloom\n"
        "def outer():\n    inner = taskloom.get({'a': (abs, -5)}, 'a')\n    raise ValueError(inner)\n"
        "taskloom.get({'outer': (outer,)}, 'outer')"
    )
    for _ in range(2):
        assert "ipdb> p inner\n5\n" in session.run("%replay", "p inner", "q")


def test_inputs_that_are_no_longer_kept(failed: Any) -> None:
    failed.run("taskloom.get({'a': (abs, -1)}, 'a')")
    assert "Nothing failed in run" in failed.run("%replay")


@pytest.mark.parametrize("exception", ["SystemExit(3)", "BaseException('x')", "Bad(1, 2)"])
def test_hostile_exceptions(session: Any, exception: str) -> None:
    session.run(
        "import taskloom\nclass Bad(Exception):\n    def __init__(self, a, b): pass\n    def __repr__(self): 1 / 0\n"
        "    __str__ = __repr__\n"
        f"def task(x):\n    raise {exception}\n"
        "try:\n    taskloom.get({'<img>': (task, 1)}, '<img>')\nexcept BaseException:\n    pass"
    )
    assert "ipdb> p x\n1\n" in session.run("%replay", "p x", "q")


@pytest.mark.parametrize("installed", [True, False])
def test_profile(failed: Any, installed: bool, monkeypatch: Any) -> None:
    if installed:
        pytest.importorskip("pyinstrument")
    else:
        monkeypatch.setitem(sys.modules, "pyinstrument", None)
    output = failed.run("%replay --profile ('double', 0)")
    assert ("Duration:" if installed else "function calls") in output
    assert "ZeroDivisionError" in failed.run("%replay --profile")


def test_completion_of_keys(failed: Any) -> None:
    def complete(line: str) -> list[str]:
        with provisionalcompleter():
            return [line[: found.start] + found.text for found in failed.shell.Completer.completions(line, len(line))]

    assert "%replay fails" in complete("%replay fa")
    assert "%replay --step ('double', 0)" in complete("%replay --step ('dou")
    assert "%replay --profile" in complete("%replay --pro")
    failed.run("%unload_ext taskloom")
    assert complete("%replay fa") == []
    assert failed.shell.find_line_magic("replay") is None
    failed.run("%load_ext taskloom")


def test_it_explains_itself(session: Any) -> None:
    assert "%replay --step [KEY]" in session.shell.find_line_magic("replay").__doc__


def in_terminal(*lines: str) -> str:
    """What plain IPython prints when these lines are typed."""
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=NoColor", "--no-banner", "--quick"]
    typed = "\n".join(["%load_ext taskloom", *lines, "exit"]) + "\n"
    environment = {**os.environ, "IPYTHON_TEST": "", "IPY_TEST_SIMPLE_PROMPT": "1"}
    done = subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, env=environment, cwd=REPOSITORY, check=False
    )
    return done.stdout + done.stderr


ONE_LINE = "taskloom.get({'a': (lambda x: 1 / x, 0)}, 'a')"


def test_plain_ipython() -> None:
    output = in_terminal("import taskloom", "%replay", ONE_LINE, "%replay", "p ('x is', x)", "q", "print('fine')")
    assert "There is no run yet: compute something first." in output
    assert "('x is', 0)" in output
    assert "fine" in output


def test_plain_ipython_pdb() -> None:
    output = in_terminal("import taskloom", "%pdb on", ONE_LINE, "p ('x is', x)", "q", "print('fine')")
    assert "('x is', 0)" in output
    assert "fine" in output


def test_executed_without_anybody_it_says_so_and_ends() -> None:
    cells = [
        "%load_ext taskloom\nimport taskloom",
        f"%pdb on\n{ONE_LINE}",
        "%replay",
        "%replay --step",
        "%%replay\np x + 41",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in [*cells, "print('fine')"]]
    )
    nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=300).execute()
    printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    for text in printed[1:4]:
        assert "No prompt: this front end takes no input" in text
    assert "ipdb> p x + 41\n41\n" in printed[4]
    assert printed[5] == "fine\n"
