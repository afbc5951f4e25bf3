"""What `%scheduler` knows and does: the engines there are, what is in force and who said so, choosing, taking back."""

from __future__ import annotations

import os
import re
import sys
from ast import literal_eval
from collections import deque
from typing import Any, TypedDict

from taskloom import config
from taskloom.config.keys import KEYS, canonical
from taskloom.engines import ENGINES, Engine, engine_named, find_engine
from taskloom.engines.cpus import usable_cpus
from taskloom.errors import ConfigError
from taskloom.graph import did_you_mean
from taskloom.views.labels import key_label, name_label, one_line

SOURCE = "%scheduler"
AUTO = "auto"  # no choice: what each collection prefers
UNDOABLE = 50  # changes that can be taken back

_SOURCES = {
    "set": "config.set",
    "default": "the default",
}


_AUTOMATIC = {
    "multiprocessing.memory_limit": "70% of memory",
    "distributed.memory_limit": "a share of memory each",
}

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt])(i?)b", re.IGNORECASE)


class EngineChoice(TypedDict):
    """An engine as people see it: texts of one line, not yet escaped. `reason` says why it cannot be chosen."""

    name: str
    summary: str
    cost: str
    reason: str


class SettingField(TypedDict):
    """A setting of the engine in force; `value` is empty where nobody chose one, which means `automatic`."""

    name: str
    label: str
    value: str
    automatic: str
    choices: list[str]
    source: str
    summary: str


class Advice(TypedDict):
    """A row of the decision table."""

    work: str
    engine: str
    why: str


class SelectorState(TypedDict):
    """All that a selector shows: plain JSON."""

    engines: list[EngineChoice]
    chosen: str  # an engine's name, `AUTO`, or empty where something else was chosen
    force_text: str
    source_text: str  # and what it is not in force for
    settings: list[SettingField]
    advice: list[Advice]
    can_undo: bool


class Selection:
    """The choices made with ``%scheduler``, the newest last. What is in force is kept by `config` alone.

    Examples
    --------
    >>> selection = Selection()
    >>> selection.choose({"scheduler": "sync"})
    >>> selection.state()["force_text"], selection.state()["source_text"]
    ('sync', '%scheduler')
    >>> selection.undo()
    True
    """

    def __init__(self) -> None:
        self._made: deque[config.Assignment] = deque(maxlen=UNDOABLE)

    def choose(self, values: dict[str, Any]) -> None:
        """Set settings, all or none of them.

        Raises
        ------
        ConfigError
            There is no such engine or setting, it cannot be used here, or it does not take the value.
        """
        name = values.get("scheduler")
        if name == AUTO:
            values = {**values, "scheduler": None}
        elif isinstance(name, str):
            engine = find_engine(name)
            reason = engine.unavailable()
            if reason:
                raise ConfigError(f"The engine {engine.name!r} cannot be used here: {reason}")
            values = {**values, "scheduler": engine.name}
        self._made.append(config.Assignment(values, source=SOURCE))

    def undo(self) -> bool:
        """Take the newest choice back; False where there is none."""
        if not self._made:
            return False
        self._made.pop().undo()
        return True

    def close(self) -> None:
        """Take all choices back."""
        while self.undo():
            pass

    def state(self) -> SelectorState:
        """What is in force now."""
        setting = config.setting("scheduler")
        engine = _engine_of(setting.value)
        fields = [_field(name) for name in (engine.settings if engine else ())]
        return SelectorState(
            engines=[_AUTO_CHOICE, *map(_choice, known_engines())],
            chosen=AUTO if setting.value is None else engine.name if isinstance(setting.value, str) and engine else "",
            force_text=_force_text(setting.value, engine, fields),
            source_text=_source_text("scheduler", setting.source) + _except_for_dask(setting.value),
            settings=fields,
            advice=advice(),
            can_undo=bool(self._made),
        )


_AUTO_CHOICE = EngineChoice(
    name=AUTO, summary="What each collection prefers: delayed values run on threads.", cost="", reason=""
)


def known_engines() -> list[Engine]:
    """The engines of this build, each once."""
    return list(dict.fromkeys(ENGINES.values()))


def advice() -> list[Advice]:
    """The decision table: kind of work, engine, why."""
    return [Advice(work=work, engine=engine.name, why=why) for engine in known_engines() for work, why in engine.advice]


def option_names(engine_name: str | None = None) -> dict[str, str]:
    """What may stand before ``=`` in a line, and the setting it means: ``context`` is ``multiprocessing.context``.

    What several engines call the same is a setting of the engine that the line names, else of the one in force.
    """
    engine = ENGINES.get(engine_name) if engine_name else _engine_of(config.get("scheduler"))
    engines = [*known_engines(), *([engine] if engine else [])]
    return {name.rpartition(".")[2]: name for each in engines for name in each.settings}


def setting_named(option: str, engine_name: str | None = None) -> str:
    """The setting that an option of a line means, in which an engine may be named.

    Raises
    ------
    ConfigError
        No engine has it; the message names the nearest.
    """
    names = option_names(engine_name)
    if option in names:
        return names[option]
    if option in names.values():
        return option
    hint = did_you_mean(option, names)
    raise ConfigError(f"No engine has a setting {option!r}.{hint} There are: {', '.join(names) or 'none'}.")


def value_of(text: str) -> Any:
    """A setting's value from what somebody typed: a number or size where it is one, None where it is empty, else text.

    >>> value_of("4"), value_of("spawn"), value_of(""), value_of("2 GiB")
    (4, 'spawn', None, 2147483648)
    """
    stripped = text.strip()
    if not stripped or stripped == AUTO:
        return None
    size = _SIZE.fullmatch(stripped)
    if size:
        return int(float(size[1]) * (1024 if size[3] else 1000) ** ("kmgt".index(size[2].lower()) + 1))
    try:
        return literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return stripped


def _engine_of(scheduler: Any) -> Engine | None:
    """The engine whose settings count; None for what somebody else made."""
    return find_engine("threads" if scheduler is None else scheduler) if isinstance(scheduler, str | None) else None


def _choice(engine: Engine) -> EngineChoice:
    return EngineChoice(
        name=engine.name, summary=engine.summary, cost=engine.cost, reason=one_line(engine.unavailable(), 200)
    )


def _field(name: str) -> SettingField:
    key, setting = KEYS[name], config.setting(name)
    return SettingField(
        name=name,
        label=key.label or name,
        value="" if setting.value is None else one_line(_value_text(name, setting.value), 40),
        automatic=_automatic(name),
        choices=list(key.choices),
        source=_source_text(name, setting.source),
        summary=key.summary,
    )


def _automatic(name: str) -> str:
    """What an empty value means."""
    return _AUTOMATIC.get(name) or (f"{usable_cpus()}, one per core" if name == "num_workers" else "automatic")


def _value_text(name: str, value: Any) -> str:
    """A value as one types it: sizes in the largest unit that says them exactly."""
    if name.endswith("memory_limit"):
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("GB", 10**9), ("MB", 10**6)):
            if value >= factor and value % factor == 0:
                return f"{value // factor:.0f} {unit}"
    return str(value)


def _force_text(scheduler: Any, engine: Engine | None, fields: list[SettingField]) -> str:
    name = "what each collection prefers" if scheduler is None else _name_of(scheduler, engine)
    parts = [f"{field['label'].lower()} {field['value'] or field['automatic']}" for field in fields]
    return " · ".join([name, *parts])


def _name_of(scheduler: Any, engine: Engine | None) -> str:
    """What people call a scheduler, which may be an engine."""
    return engine.name if engine is not None else name_label(getattr(scheduler, "__name__", "")) or key_label(scheduler)


def _source_text(name: str, source: str) -> str:
    """Where a setting's value came from: which call, variable or file."""
    if source == "environment":
        return one_line(_variable_of(name), 120)
    return one_line(_SOURCES.get(source, source), 120)


def _except_for_dask(scheduler: Any) -> str:
    """What runs Dask's collections, where Dask's configuration or an open client of Dask's comes before the scheduler
    in force."""
    if "dask" not in sys.modules:
        return ""
    from taskloom.adapters.dask import choice

    configured, client = choice.configured(), choice.current_client()
    theirs = configured or choice.newest()
    engine = engine_named(theirs)
    if client is not None and (theirs is None or theirs is client or (engine and engine.name == "distributed")):
        on_client = f"; Dask's collections run on the client at {client.scheduler.address}"
        return "" if client is scheduler else one_line(on_client, 160)
    if not configured or theirs is scheduler or (engine is not None and engine is engine_named(scheduler)):
        return ""
    return one_line(f"; Dask's own compute runs on {_name_of(theirs, engine)}, as Dask's configuration says", 160)


def _variable_of(name: str) -> str:
    """The environment variable that holds a setting; a prefix, and the setting's name in one of its spellings."""
    prefix = "TASKLOOM_"
    variables = (variable for variable in os.environ if variable.startswith(prefix))
    return next((text for text in variables if canonical(text.removeprefix(prefix)) == name), "the environment")
