"""What loading taskloom costs, in Python and in IPython, each time in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.report import Report, at_most
from benchmarks.rounds import Effort, interleave

REPOSITORY = Path(__file__).parents[1]
IMPORT = 100  # milliseconds, at most
EXTENSION = 500

LOAD_EXTENSION = """
from time import perf_counter
from {module} import {shell}
shell = {shell}.instance()
begun = perf_counter()
shell.run_line_magic("load_ext", "taskloom")
print(perf_counter() - begun)
"""
SHELLS = {
    "IPython": ("IPython.core.interactiveshell", "InteractiveShell"),
    "a Jupyter kernel": ("ipykernel.zmqshell", "ZMQInteractiveShell"),
}


def measure(effort: Effort) -> Report:
    measured = interleave(
        {"python": partial(_run, "pass"), "import": partial(_run, "import taskloom")},
        effort.rounds,
    )
    milliseconds = 1000 * measured.without("python").median("import")
    rows = [["import taskloom", f"{milliseconds:.0f}"]]
    promises = [at_most("import taskloom", milliseconds, IMPORT, " ms")]
    for name, (module, shell) in SHELLS.items():
        program = LOAD_EXTENSION.format(module=module, shell=shell)
        milliseconds = 1000 * median(float(_run(program)) for _ in range(effort.rounds))
        rows.append([f"%load_ext taskloom in {name}", f"{milliseconds:.0f}"])
        promises.append(at_most(f"%load_ext taskloom in {name}", milliseconds, EXTENSION, " ms"))
    notes = (
        "Milliseconds, in fresh processes with warm files. The import is the time of `python -c 'import taskloom'` "
        "less that of `python -c pass`; the extension is timed inside a shell that is up. In a kernel it also loads "
        "ipywidgets and anywidget, in a notebook that has not loaded them before."
    )
    return Report("Imports", ("what", "ms"), rows, notes, promises)


def _run(program: str) -> str:
    """Run a program in a new interpreter, with IPython's files in a temporary place; returns what it prints."""
    with TemporaryDirectory() as folder:
        environment = os.environ | {"IPYTHONDIR": folder}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout
