"""`%replay --save`: a task in a folder, which plain Python runs again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import taskloom

pytest.importorskip("IPython")

GRAPH = """
import taskloom
def divide(x, by):
    quotient = x / by
    return quotient
"""


def run_outside(script: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script where there is no taskloom."""
    program = f"import sys, runpy; sys.modules['taskloom'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("task", ["(divide, (abs, -4), 0)", "(taskloom.graph.apply, divide, [4], {'by': 0})"])
def test_save_writes_what_runs_outside(session: Any, tmp_path: Path, task: str) -> None:
    session.run(GRAPH + f"taskloom.get({{'<b>\\n# a': {task}}}, '<b>\\n# a')")
    folder = tmp_path / "new" / "task"
    output = session.run(f"%replay --save {folder}")
    assert f"It runs with:  {sys.executable} {folder}/replay.py" in output
    done = run_outside(folder / "replay.py")
    assert done.returncode == 1
    assert "x / by" in done.stderr or "ZeroDivisionError" in done.stderr
    assert done.stdout.startswith("Loading the task and its inputs from task.pkl ...\nRunning '<b>\\n# a'")
    assert "python replay.py" in (folder / "README.md").read_text()
    before = (folder / "task.pkl").read_bytes()
    assert "exists already" in session.run(f"%replay --save {folder}")
    assert (folder / "task.pkl").read_bytes() == before


def test_save_of_a_delayed_call_that_succeeds(session: Any, tmp_path: Path) -> None:
    session.run(
        "import taskloom\ntaskloom.delayed(lambda x, y=1: x + y)([1], y=taskloom.delayed(list)((2,))).compute()"
    )
    (key,) = [key for key in taskloom.last_run().graph.keys if "lambda" in key]
    session.run(f"%replay --save '{tmp_path}/a folder' {key}")
    done = run_outside(tmp_path / "a folder" / "replay.py")
    assert "It succeeded and returned a value of type list." in done.stdout, done.stderr


def test_save_names_what_cannot_be_pickled(session: Any, tmp_path: Path) -> None:
    session.run("import taskloom, threading\ntaskloom.get({'a': (divmod, 1, threading.Lock())}, 'a')")
    output = session.run(f"%replay --save {tmp_path}/task")
    assert "Input 1, of type lock, cannot be pickled" in output
    assert not (tmp_path / "task").exists()


REPRODUCED = {
    "a lambda": "taskloom.delayed(lambda x: 1 / x)(0)",
    "a closure": "closure(0)",
    "a function with others": "taskloom.delayed(outer)(taskloom.delayed(abs)(0))",
    "a method": "taskloom.delayed(Ratio(7).of)(0)",
    "arrays": "taskloom.delayed(of_arrays)(taskloom.delayed(np.arange)(5), by=[np.zeros(3), 0])",
    "a module beside the notebook": "taskloom.delayed(beside.fail)(0)",
}


@pytest.mark.parametrize("value", REPRODUCED.values(), ids=REPRODUCED)
def test_the_script_reproduces(session: Any, tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside.py").write_text("def fail(x):\n    return 1 / x\n")
    monkeypatch.syspath_prepend(tmp_path)
    session.run(
        """
import numpy as np
import taskloom, beside
def closure(by):
    def inside(x):
        return x / by
    return taskloom.delayed(inside)(1)
def inner(x): return 1 / x
def outer(x): return inner(x)
class Ratio:
    def __init__(self, x): self.x = x
    def of(self, by): return self.x / by
def of_arrays(values, by):
    return int(values.sum()) / int(by[0].sum())
"""
    )
    assert "ZeroDivisionError" in session.run(f"{value}.compute(scheduler='sync')")
    output = session.run(f"%replay --save {tmp_path}/task")
    command = output.partition("It runs with:  ")[2].split()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n"), done.stderr
    sys.modules.pop("beside", None)


UNPICKLABLE = {
    "The variable 'lock' that with_global uses, of type lock": "with_global(1)",
    "The variable 'hidden' that with_closure uses, of type lock": "with_closure(1)",
    "Argument 0 of plain, of type lock": "plain(lock)",
    "Argument 'other' of plain, of type lock": "plain(1, other=lock)",
    "Input 0, the result of 'allocate_lock-": "plain(make_lock(), other=2)",
}


@pytest.mark.parametrize(("name", "call"), UNPICKLABLE.items())
def test_it_names_what_cannot_be_pickled(session: Any, tmp_path: Path, name: str, call: str) -> None:
    session.run(
        """
import taskloom, threading
lock = threading.Lock()
make_lock = taskloom.delayed(threading.Lock)
@taskloom.delayed
def with_global(x):
    with lock:
        return x / 0
def make():
    hidden = threading.Lock()
    @taskloom.delayed
    def with_closure(x):
        with hidden:
            return x / 0
    return with_closure
with_closure = make()
@taskloom.delayed
def plain(x, other=None):
    return 1 / 0
"""
    )
    assert "ZeroDivisionError" in session.run(f"{call}.compute(scheduler='sync')")
    for way in (f"--save {tmp_path}/task", "--apart"):
        assert f"{name}" in session.run(f"%replay {way}")
    assert not (tmp_path / "task").exists()
