"""One task in a process of its own, which it may bring down: where was it then?"""

from __future__ import annotations

import linecache
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from taskloom.notebook.replayed_task import ReplayedTask
from taskloom.notebook.saved_task import save_task
from taskloom.views.labels import key_label

# The script of `save_task`, in a process that ends with this one.
_PROGRAM = """
import os, runpy, sys
script, parent = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG
if os.getppid() == int(parent):
    runpy.run_path(script, run_name="__main__")
"""

_BELOW = re.compile(r'\s+File "<(frozen runpy>|string>", line \d+,? in <module>)')  # frames of that program
_FRAME = re.compile(r'\s+File "(.+)", line (\d+),? in ')


def run_apart(task: ReplayedTask) -> None:
    """Run a task in a process of its own, copy what that prints, and say how it ended.

    Raises
    ------
    ValueError
        A part of the task cannot be pickled. The message says which.
    """
    print(f"Running {key_label(task.key)} of run {task.run.id} again, in a process of its own.")
    with TemporaryDirectory(prefix="taskloom-") as folder:
        script = save_task(task, Path(folder) / "task")[0]
        command = [sys.executable, "-u", "-X", "faulthandler", "-c", _PROGRAM, str(script), str(os.getpid())]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            try:
                for line in process.stdout or ():
                    if not _BELOW.match(line):
                        print(_with_source(line), end="")
                process.wait()
            finally:
                process.kill()
    print(_ending(task, process.returncode), end="")


def _with_source(line: str) -> str:
    """A frame with its line of code where that is a cell's, which the other process could not know."""
    frame = _FRAME.match(line)
    if frame is None or os.path.exists(frame[1]):
        return line
    source = linecache.getline(frame[1], int(frame[2])).strip()
    return f"{line.rstrip()}\n    {source}\n" if source else line


def _ending(task: ReplayedTask, code: int) -> str:
    """How the process ended, as far as the output does not tell."""
    if code == 0 and task.number in task.run.failures:
        return f"Not reproducible: {key_label(task.key)} succeeds there. Its first failure stands.\n"
    if code == 0:
        return ""
    if code > 0:
        return f"Its process ended with exit code {code}.\n"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    where = " Was the memory full?" if name == "SIGKILL" else " Python was at the lines above, the newest first."
    return f"Its process was killed by {name}.{where}\n"
