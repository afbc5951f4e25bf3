"""``%scheduler``: which engine runs what the cells compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from taskloom.config.keys import KEYS
from taskloom.engines import ENGINES
from taskloom.errors import ConfigError
from taskloom.notebook.selector import AUTO, Selection, advice, option_names, setting_named, value_of
from taskloom.notebook.selector_picture import in_force_text, selector_text

if TYPE_CHECKING:
    from taskloom.notebook.live_output import LiveOutputs

UNDO = "undo"
_NAME = "%scheduler"


class SchedulerMagic:
    """The magic of one shell.

    Parameters
    ----------
    shell : InteractiveShell
    outputs : LiveOutputs or None
        In a Jupyter kernel ``%scheduler`` shows a widget, elsewhere it prints.
    """

    def __init__(self, shell: InteractiveShell, outputs: LiveOutputs | None) -> None:
        self._shell = shell
        self._selection = Selection()
        self._selectors = None
        if outputs is not None:
            from taskloom.notebook.selector_widget import Selectors

            self._selectors = Selectors(self._selection, outputs)

        def scheduler(line: str) -> None:
            self._run(line)

        scheduler.__doc__ = explanation()
        register: Callable[..., None] = shell.register_magic_function  # whose annotations lack what it is a method of
        register(scheduler, "line", "scheduler")
        shell.set_hook("complete_command", complete, str_key=_NAME)  # type: ignore[no-untyped-call]
        shell.events.register("post_run_cell", self._after_cell)

    def close(self) -> None:
        """Take the magic and all choices made with it away."""
        self._shell.events.unregister("post_run_cell", self._after_cell)
        self._shell.strdispatchers["complete_command"].strs.pop(_NAME, None)
        self._shell.magics_manager.magics["line"].pop("scheduler", None)
        self._selection.close()
        if self._selectors is not None:
            self._selectors.close()

    def _after_cell(self, _result: object = None) -> None:
        """A cell may have called `config.set`."""
        if self._selectors is not None:
            self._selectors.update()

    def _run(self, line: str) -> None:
        words = line.split()
        if words == [UNDO]:
            if not self._selection.undo():
                raise UsageError("There is nothing to undo: %scheduler has not changed anything.")
        elif words:
            try:
                self._selection.choose(parse(words))
            except ConfigError as error:
                raise UsageError(f"{error} See %scheduler?") from None
        elif self._selectors is not None:
            self._selectors.open()
            return
        else:
            print(selector_text(self._selection.state()))
            return
        print(in_force_text(self._selection.state()))


def parse(words: list[str]) -> dict[str, Any]:
    """The settings that the words of a line mean.

    Raises
    ------
    ConfigError
        A word is neither an engine nor a setting.

    Examples
    --------
    >>> parse(["threads", "num_workers=4"])
    {'scheduler': 'threads', 'num_workers': 4}
    """
    values: dict[str, Any] = {}
    engine = next((word for word in words if "=" not in word), None)
    for word in words:
        option, equals, text = word.partition("=")
        if equals:
            values[setting_named(option, engine)] = value_of(text)
        elif "scheduler" in values:
            raise ConfigError(f"One engine at a time: {values['scheduler']!r} or {word!r}?")
        else:
            values["scheduler"] = word
    return values


def complete(_shell: object, event: Any) -> list[str]:
    """What may stand at the cursor: what follows an equals sign is a word of its own to IPython."""
    typed = event.text_until_cursor.split(" ")
    option, equals, _ = typed[-1].partition("=")
    options = option_names(typed[1] if len(typed) > 2 else None)
    if equals:
        return list(KEYS[options[option]].choices) if option in options else []
    names = [*ENGINES, AUTO, UNDO] if len(typed) == 2 else []
    return [*names, *(f"{name}=" for name in options)]


def explanation() -> str:
    """What ``%scheduler?`` shows."""
    return f"""Choose the engine that runs what the cells compute.

::

    %scheduler                        choose in a form (a terminal prints what is in force)
    %scheduler threads                from now on
    %scheduler threads num_workers=4  with settings: {", ".join(option_names())}
    %scheduler auto                   what each collection prefers
    %scheduler undo                   take the last choice back

A choice applies to the next computation. A call's own scheduler= comes before it; a later config.set
replaces it; environment and files come after both.

Which engine for which work::

{_table()}
"""


def _table() -> str:
    rows = [(row["work"], row["engine"], row["why"]) for row in advice()]
    rows.insert(0, ("work", "engine", "why"))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"    {work:{first}}  {engine:{second}}  {why}" for work, engine, why in rows)
