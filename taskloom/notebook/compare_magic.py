"""``%compare`` and ``%%compare``: the same work on each engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from taskloom.engines import ENGINES, find_engine
from taskloom.errors import ConfigError
from taskloom.notebook.cell_code import compile_cell
from taskloom.notebook.cell_trials import CellTrials
from taskloom.notebook.contenders import CLUSTER_OF_DASK, contender_names, contenders
from taskloom.notebook.progress_magic import bar_drawing
from taskloom.views.comparison import Comparison

if TYPE_CHECKING:
    from taskloom.notebook.live_output import LiveOutputs

REPETITIONS = 3
LIMIT = 60.0  # seconds per engine

_OPTION = re.compile(r"(-n|--limit)(?:\s+|=)(\S+)\s*")
_WORD = re.compile(r"(\S+)\s*")


class CompareMagic:
    """The magic of one shell.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs or None
        Where a bar shows how far it is, see `bar_drawing`.
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs | None) -> None:
        self._shell = shell
        self._new_bar = bar_drawing(outputs)
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(self.compare, "line_cell", "compare")

    def close(self) -> None:
        """Take the magic away."""
        for kind in ("line", "cell"):
            self._shell.magics_manager.magics[kind].pop("compare", None)

    def compare(self, line: str, cell: str | None = None) -> Comparison:
        """Run the same work on each engine, and say which one to prefer.

        ::

            %compare total.compute()            a statement
            %%compare                           or the cell below
            %%compare -n 5 sync threads         five times on each of these engines
            %%compare --limit 10                no engine may take longer than 10 s in all

        The order is shuffled. Output of the work is not shown, nor are its runs: open views would be measured too. Each
        time it finds the variables that were there before; afterwards they are as if it had run once. What it changes
        in place (appending to a list, writing a file) happens each time. When an engine's limit is over, its
        computation is stopped; code between computations is not. A cell with ``await`` has an event loop of its own.
        Where a client of ``dask.distributed`` is open, its cluster is compared too: a row ``dask.distributed``, beside
        ``distributed``, which is taskloom's own. What Dask's configuration says of schedulers does not count meanwhile.

        The answer shows the time (the median and the spread), CPU time and cores busy, the most memory that a sample
        showed, and the share of the workers' time that was not in tasks. It has ``best``, ``recommendation`` and
        ``to_frame()``: ``comparison = _``.
        """
        request = parse(line)
        if cell is None and not request.statement:
            raise UsageError("%compare needs something to run: %compare total.compute(), or %%compare above a cell.")
        if cell is not None and request.statement:
            raise UsageError(_no_engine(request.statement.split()[0]))
        code = compile_cell(self._shell, request.statement if cell is None else cell, "<%compare>")
        trials = CellTrials(code, self._shell, contenders(request.engines), request.repetitions, request.limit)
        bar = self._new_bar(trials)
        try:
            trials.run(lambda engine: bar.draw(trials.state(engine)))
        except KeyboardInterrupt:
            if trials.comparison.measured:
                display(trials.comparison)  # type: ignore[no-untyped-call]
            raise
        finally:
            bar.finish(trials.state())
        return trials.comparison


class Request(NamedTuple):
    """What a line asks for."""

    engines: list[str]
    repetitions: int
    limit: float
    statement: str


def parse(line: str) -> Request:
    """Options and engines, then a statement.

    Raises
    ------
    UsageError
        An option's value is no number above 0.

    Examples
    --------
    >>> parse("-n 5 sync total.compute()")
    Request(engines=['sync'], repetitions=5, limit=60.0, statement='total.compute()')
    """
    rest, engines = line.strip(), []
    repetitions, limit = REPETITIONS, LIMIT
    while rest:
        option, word = _OPTION.match(rest), _WORD.match(rest)
        if option and option[1] == "-n":
            repetitions = int(_positive(option, int))
        elif option:
            limit = _positive(option, float)
        elif word and word[1].lower() == CLUSTER_OF_DASK:
            engines.append(CLUSTER_OF_DASK)
        elif word and word[1].lower() in ENGINES:
            engines.append(find_engine(word[1]).name)
        else:
            break
        rest = rest[(option or word).end() :]  # type: ignore[union-attr]
    chosen = list(dict.fromkeys(engines)) or contender_names()
    return Request(chosen, repetitions, limit, rest)


def _positive(option: re.Match[str], kind: type[int] | type[float]) -> float:
    try:
        value = kind(option[2])
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        what = "a whole number, at least 1" if kind is int else "a number of seconds above 0"
        raise UsageError(f"{option[1]} takes {what}, not {option[2]!r}.")
    return value


def _no_engine(name: str) -> str:
    """A word on the line above a cell that is no engine."""
    if name.startswith("-"):
        return f"%%compare has no option {name!r}: -n and --limit only. Engines are named bare: %%compare sync threads."
    try:
        find_engine(name)
    except ConfigError as error:
        return str(error)
    return f"%%compare takes engines and options only, not {name!r}."
