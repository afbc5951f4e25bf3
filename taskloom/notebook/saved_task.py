"""A task in a folder of its own: a script and the pickled inputs, which run it again anywhere."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from functools import partial
from inspect import getclosurevars
from pathlib import Path
from typing import Any

from taskloom import containers, graph
from taskloom.collections import delayed_call
from taskloom.engines.worker.pickler import dumps_by_value
from taskloom.graph import function_name
from taskloom.notebook.replayed_task import ReplayedTask
from taskloom.views.labels import key_label, name_label

SCRIPT = '''\
"""Runs one task again, with the inputs it had. README.md says which, and how."""

import pickle
import sys
from pathlib import Path

sys.path += {places!r}  # where modules of its own were imported from

print("Loading the task and its inputs from task.pkl ...", flush=True)
with open(Path(__file__).with_name("task.pkl"), "rb") as file:
    key, function, inputs = pickle.load(file)  # needs cloudpickle; opens only what you trust

print(f"Running {{key:.200}} with {{len(inputs)}} inputs ...", flush=True)
result = function(*inputs)
print(f"It succeeded and returned a value of type {{type(result).__name__}}.")
'''

README = """\
# {key}

One task of a taskloom run, with its inputs. `python replay.py` runs it again (needs Python {python} and
`pip install cloudpickle`, plus whatever modules the task itself imports); `python -m pdb -c continue replay.py`
opens a debugger where it raises. task.pkl is a pickle: run it only if you trust where it came from.
"""


def save_task(task: ReplayedTask, folder: Path) -> list[Path]:
    """Write a task so that plain Python with cloudpickle runs it again.

    Raises
    ------
    FileExistsError
        Something is there already; nothing is written over.
    ValueError
        A part of the task cannot be pickled. The message says which.
    """
    pickled = _pickled(task)
    folder.mkdir(parents=True)
    readme = README.format(key=key_label(task.key), python=".".join(platform.python_version_tuple()[:2]))
    script = SCRIPT.format(places=_own_places())
    contents = {"replay.py": script.encode(), "README.md": readme.encode(), "task.pkl": pickled}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def _own_places() -> list[str]:
    """The folders that this process imports modules from, beyond those of the Python installation."""
    installed = (sys.prefix, sys.base_prefix)
    places = (os.path.abspath(place) for place in sys.path)
    return [place for place in dict.fromkeys(places) if not place.startswith(installed)]


def _pickled(task: ReplayedTask) -> bytes:
    import cloudpickle

    ours = [
        module for module in (graph.recipe, graph.task, containers, delayed_call) if not _registered(module.__name__)
    ]
    for module in ours:  # our own wrappers travel along: the folder needs no taskloom
        cloudpickle.register_pickle_by_value(module)
    try:
        return dumps_by_value((key_label(task.key), task.function, task.inputs))
    except Exception as error:
        raise ValueError(f"{_unpicklable_part(task)} cannot be pickled: {error}") from error
    finally:
        for module in ours:
            cloudpickle.unregister_pickle_by_value(module)


def _registered(module: str) -> bool:
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()


def _unpicklable_part(task: ReplayedTask) -> str:
    for name, part in _parts(task):
        try:
            dumps_by_value(part)
        except Exception:
            return f"{name}, of type {name_label(type(part).__name__)},"
    return f"The task {key_label(task.key)}"


def _parts(task: ReplayedTask) -> Iterator[tuple[str, Any]]:
    """What a task is made of, by names that a person knows; the smallest parts first."""
    for number, (slot, value) in enumerate(zip(task.plan.slots(task.number), task.inputs, strict=True)):
        source = f", the result of {key_label(task.plan.keys[slot])}" if slot >= 0 else ""
        yield f"Input {number}{source}", value
    yield from _parts_of(task.function)


def _parts_of(function: Any) -> Iterator[tuple[str, Any]]:
    name = name_label(function_name(function))
    while isinstance(function, partial | delayed_call.Call):
        call = function.given() if isinstance(function, delayed_call.Call) else function
        for number, value in enumerate(call.args):
            yield f"Argument {number} of {name}", value
        for keyword, value in call.keywords.items():
            yield f"Argument {keyword!r} of {name}", value
        function = function.func
    try:
        variables = getclosurevars(function)
    except TypeError:  # not written in Python
        pass
    else:
        for variable, value in {**variables.globals, **variables.nonlocals}.items():
            yield f"The variable {variable!r} that {name} uses", value
    yield f"The function {name}", function
