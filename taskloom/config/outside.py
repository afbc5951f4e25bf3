"""What the environment and the configuration files say."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from taskloom.config.keys import checked, flat
from taskloom.errors import ConfigError

_PREFIX = "TASKLOOM_"
_LOCATIONS = ("TASKLOOM_CONFIG", "TASKLOOM_ROOT_CONFIG")  # variables that say where files are, and set no key
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False, "none": None, "null": None}

Found = dict[str, tuple[Any, str]]  # key -> value, source


def read_outside() -> Found:
    """What files say, then what the environment says: later ones win."""
    found: Found = {}
    for path in _files():
        found |= _from_file(path)
    for variable in sorted(os.environ):
        if variable.startswith(_PREFIX) and variable not in _LOCATIONS and os.environ[variable].strip():
            found |= _from_variable(variable, os.environ[variable])
    return found


#: Variables that leave out the section.
_SHORT = {"TASKLOOM_THREADS_PER_WORKER": "TASKLOOM_DISTRIBUTED__THREADS_PER_WORKER"}


def _files() -> Iterator[str]:
    """The files that there are, most general first. What TASKLOOM_CONFIG names must exist."""
    places = [
        os.environ.get("TASKLOOM_ROOT_CONFIG", "/etc/taskloom"),
        os.path.join(sys.prefix, "etc", "taskloom"),
        os.path.join(os.path.expanduser("~"), ".config", "taskloom"),
    ]
    chosen = os.environ.get("TASKLOOM_CONFIG")
    if chosen:
        if not os.path.exists(chosen):
            raise ConfigError(f"TASKLOOM_CONFIG names {chosen!r}, and there is no such file or folder.")
        places.append(chosen)
    for place in dict.fromkeys(places):
        if os.path.isdir(place):
            names = sorted(name for name in os.listdir(place) if name.lower().endswith((".yaml", ".yml", ".json")))
            yield from (os.path.join(place, name) for name in names)
        elif os.path.isfile(place):
            yield place


def _from_file(path: str) -> Found:
    from donfig.config_obj import collect_yaml

    try:
        contents = collect_yaml([path])
    except ValueError as error:  # donfig's message names the file
        raise ConfigError(str(error)) from None
    return {k: v for content in contents for k, v in _accepted(content, f"file {path}", f"In {path}: ").items()}


def _from_variable(variable: str, text: str) -> Found:
    from donfig.config_obj import collect_env

    word = text.strip().lower()
    text = repr(_WORDS[word]) if word in _WORDS else text
    name = _SHORT.get(variable, variable)
    return _accepted(collect_env(_PREFIX, {name: text}), "environment", f"Environment variable {variable}: ")


def _accepted(values: Mapping[str, Any], source: str, where: str) -> Found:
    """The settings among `values`. Unknown names are warned of: they may be meant for another version."""
    found: Found = {}
    for key, value in values.items():
        try:
            pairs = list(flat({key: value}, where=where))
        except ConfigError as error:
            warnings.warn(f"{error} It is ignored.", stacklevel=2)
            continue
        for name, given in pairs:
            if given is not None:
                found[name] = (checked(name, given, where), source)
    return found
