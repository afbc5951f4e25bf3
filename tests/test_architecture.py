"""Holds the architecture: which room of the package may import which, and where third-party libraries may appear.

A room is a module or a folder directly in taskloom/. The two tables below are its documentation: arrows point one way,

    errors, config  <-  graph  <-  bus  <-  engines  <-  scheduling  <-  collections  <-  notebook, adapters
                                                                                     <-  distributed
                                        <-  views  <-  diagnostics, scheduling

and nobody imports a room that is not in its row, at the top of a file, inside a function or for type checking.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import taskloom

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "taskloom"

_CORE = "errors config graph bus engines"
_DOORS = "threaded multiprocessing distributed"
_ALL = f"{_CORE} containers tokenize {_DOORS} scheduling collections views diagnostics notebook adapters"

#: room -> the rooms it may import (besides itself)
MAY_IMPORT = {
    "errors": "",
    "containers": "",
    "tokenize": "",
    "config": "errors",
    "graph": "errors",
    "bus": "errors config graph",
    "engines": "errors config graph bus containers tokenize",
    "threaded": _CORE,
    "multiprocessing": _CORE,
    "views": "graph bus",
    "scheduling": f"{_CORE} containers threaded views",  # views: `visualize` draws what it would run
    "collections": f"{_CORE} containers tokenize threaded views scheduling",
    "diagnostics": "errors config graph bus views",
    "notebook": f"taskloom {_ALL}",
    "distributed": f"{_CORE} scheduling collections views notebook",  # notebook: the dashboard that it serves
    "adapters": f"taskloom {_ALL}",
    "taskloom": _ALL,  # the package's own __init__: the public names
}

#: library outside the standard library -> the rooms that may import it
MAY_USE = {
    "IPython": "notebook",
    "anywidget": "notebook",
    "bokeh": "views diagnostics",
    "cloudpickle": "bus engines collections notebook",
    "dask": "adapters",
    "distributed": "adapters",
    "donfig": "config",
    "ipykernel": "notebook",
    "ipywidgets": "notebook",
    "jinja2": "views",
    "pandas": "bus views",
    "pyinstrument": "notebook",
    "psutil": "bus engines diagnostics",
    "tornado": "views",
    "traitlets": "notebook",
    "zict": "engines",
}

#: What `import taskloom` must not load, so that it stays quick.
HEAVY = "IPython anywidget asyncio bokeh dask distributed ipywidgets matplotlib numpy pandas psutil"

#: Names that say nothing about what is inside.
VAGUE = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

LONGEST_FILE = 400  # lines: a longer file is asking to be two

MODULES = sorted(PACKAGE.rglob("*.py"))


class Import(NamedTuple):
    """A module that a file imports: its absolute dotted name, and the line."""

    line: int
    module: str


def dotted_name(path: Path) -> str:
    """Return the module name of a file of the package."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room of a module: its first name below the package, or the package's own for its ``__init__``."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package


def is_ours(module: str) -> bool:
    """Say whether a dotted name lies in the package."""
    return module.partition(".")[0] == "taskloom"


def is_module(name: str) -> bool:
    """Say whether a dotted name of the package is a module, rather than a name inside one."""
    path = REPOSITORY.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(source: str, path: Path) -> Iterator[Import]:
    """Yield every import of a file, wherever in it it stands."""
    package = dotted_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(node.lineno, alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                start = package[: len(package) - level + 1] if level else []
                base = ".".join([*start, *([module] if module else [])])
                for alias in names:
                    inner = f"{base}.{alias.name}"
                    yield Import(node.lineno, inner if is_ours(base) and is_module(inner) else base)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str() as module), *_],
            ):
                yield Import(node.lineno, module)


def wrong_imports(source: str, path: Path) -> list[str]:
    """Return a sentence for each import of a file that the tables do not allow."""
    room = room_of(dotted_name(path))
    wrong = []
    for line, module in imports(source, path):
        library = module.partition(".")[0]
        if is_ours(module):
            allowed = room_of(module) in {room, *MAY_IMPORT[room].split()}
        elif library in sys.stdlib_module_names:
            allowed = True
        else:
            allowed = room in MAY_USE.get(library, "").split()
        if not allowed:
            wrong.append(f"{path.relative_to(REPOSITORY)}:{line}: {room} may not import {module}")
    return wrong


def test_every_room_has_a_row() -> None:
    assert {room_of(dotted_name(path)) for path in MODULES} <= set(MAY_IMPORT)


def test_the_table_has_no_way_round() -> None:
    """The rows in order are layers: each names only rooms above it."""
    order = list(MAY_IMPORT)
    upwards = [
        f"{room} -> {other}"
        for room, row in MAY_IMPORT.items()
        if room not in ("notebook", "adapters")  # the top layers, which may use each other and the public names
        for other in row.split()
        if order.index(other) > order.index(room)
    ]
    assert not upwards


@pytest.mark.parametrize("path", MODULES, ids=dotted_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    wrong = wrong_imports(path.read_text(), path)
    assert not wrong


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("graph/plan.py", "import psutil"),
        ("graph/plan.py", "from taskloom.bus import Run"),
        ("graph/plan.py", "from ..bus.run import Run"),
        ("graph/plan.py", "from .. import bus"),
        ("graph/plan.py", "def f():\n    from taskloom import bus"),
        ("graph/__init__.py", "from ..engines import get"),
        ("bus/run.py", "from taskloom import get"),
        ("bus/run.py", "import taskloom"),
        ("bus/run.py", "if TYPE_CHECKING:\n    from taskloom.engines import Engine"),
        ("engines/sync.py", "from IPython import get_ipython"),
        ("views/progress.py", "import taskloom.config"),
        ("views/progress.py", "import ipywidgets"),
        ("collections/delayed.py", "import importlib\nimportlib.import_module('dask.base')"),
        ("notebook/magics.py", "from bokeh.plotting import figure"),
    ],
)
def test_a_wrong_import_is_found(file: str, source: str) -> None:
    assert wrong_imports(source, PACKAGE / file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("graph/plan.py", "import heapq\nfrom taskloom.errors import GraphError\nfrom .task import is_task"),
        ("views/progress.py", "from taskloom import bus\nfrom bokeh.plotting import figure"),
        ("notebook/magics.py", "import taskloom\nfrom IPython.core.magic import Magics"),
        ("__init__.py", "from .graph import Plan"),
    ],
)
def test_a_right_import_is_allowed(file: str, source: str) -> None:
    assert not wrong_imports(source, PACKAGE / file)


def test_core_dependencies_are_those_the_package_imports() -> None:
    """pyproject.toml lists a library as a core dependency exactly if some room imports it and no extra brings it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {requirement.partition(">=")[0].partition("[")[0] for requirement in requirements}

    optional = {name for extra in project["optional-dependencies"].values() for name in names(extra)}
    used = {
        module.partition(".")[0] for path in MODULES for _, module in imports(path.read_text(), path)
    } - sys.stdlib_module_names
    of_extras = {  # come with these
        "IPython": "ipykernel",
        "traitlets": "ipywidgets",
        "distributed": "dask",
        "jinja2": "bokeh",
        "tornado": "bokeh",
    }
    needed = {of_extras.get(name, name) for name in used - {"taskloom"}} - optional
    assert names(project["dependencies"]) == needed, "pyproject.toml left, imports right"


@pytest.mark.parametrize("path", MODULES, ids=dotted_name)
def test_a_module_says_what_it_holds(path: Path) -> None:
    assert not VAGUE & set(path.stem.split("_")), "a name that says nothing about what is inside"
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, "a long file is asking to be two"


def test_no_module_shares_its_name_with_a_public_function() -> None:
    """Else `taskloom.name` would be the one or the other, by the order of imports."""
    rooms = {room_of(dotted_name(path)) for path in MODULES} - {"taskloom"}
    assert not [room for room in rooms if callable(getattr(taskloom, room, None))]


def test_importing_taskloom_loads_nothing_heavy() -> None:
    program = f"import sys, taskloom; print(*(set('{HEAVY}'.split()) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert loaded.stdout.split() == []
