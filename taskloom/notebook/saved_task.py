"""A task in a folder of its own: a script and the pickled inputs, which run it again anywhere."""

from __future__ import annotations

import platform
from pathlib import Path

from taskloom import containers, graph
from taskloom.collections import delayed_call
from taskloom.notebook.replayed_task import ReplayedTask
from taskloom.views.labels import key_label

SCRIPT = '''\
"""Runs one task again, with the inputs it had. README.md says which, and how."""

import pickle
from pathlib import Path

print("Loading the task and its inputs from task.pkl ...")
with open(Path(__file__).with_name("task.pkl"), "rb") as file:
    key, function, inputs = pickle.load(file)  # needs cloudpickle; opens only what you trust

print(f"Running {key:.200} with {len(inputs)} inputs ...")
result = function(*inputs)
print(f"It succeeded and returned a value of type {type(result).__name__}.")
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
    contents = {"replay.py": SCRIPT.encode(), "README.md": readme.encode(), "task.pkl": pickled}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def _pickled(task: ReplayedTask) -> bytes:
    import cloudpickle

    ours = [
        module for module in (graph.recipe, graph.task, containers, delayed_call) if not _registered(module.__name__)
    ]
    for module in ours:  # our own wrappers travel along: the folder needs no taskloom
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps((key_label(task.key), task.function, task.inputs)))
    except Exception as error:
        raise ValueError(f"{_unpicklable_part(task)} cannot be pickled: {error}") from error
    finally:
        for module in ours:
            cloudpickle.unregister_pickle_by_value(module)


def _registered(module: str) -> bool:
    import cloudpickle

    return module in cloudpickle.list_registry_pickle_by_value()


def _unpicklable_part(task: ReplayedTask) -> str:
    import cloudpickle

    parts = {"The function of the task": task.function}
    parts.update((f"Input {number} of the task", value) for number, value in enumerate(task.inputs))
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception:
            return f"{name}, of type {type(part).__name__},"
    return "The task"
