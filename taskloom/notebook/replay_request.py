"""What a line of ``%replay`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError

from taskloom.views.labels import one_line

WAYS = ("--step", "--profile", "--apart", "--save DIR")  # how the task runs: one at a time
OPTIONS = (*WAYS, "--fresh", "--run ID")

_PATH = r"""("[^"]+"|'[^']+'|\S+)"""
_OPTION = rf"--(step|profile|apart|fresh|run(?:\s+|=)(\d+)|save(?:\s+|=){_PATH})"
_FIRST, _LAST = re.compile(rf"{_OPTION}(?:\s+|$)"), re.compile(rf"(?:^|\s){_OPTION}$")


@dataclass(frozen=True)
class Request:
    """Which task to run again, and how."""

    key: str = ""
    step: bool = False
    profile: bool = False
    apart: bool = False
    save: Path | None = None
    fresh: bool = False
    run: int | None = None


def parse(line: str) -> Request:
    """Read the magic's line: options before or behind a key.

    Raises
    ------
    UsageError
        An option that there is not, or one without its folder or number; or several that exclude each other.

    Examples
    --------
    >>> request = parse("--step ('load', 3) --run 2")
    >>> request.key, request.step, request.run
    ("('load', 3)", True, 2)
    """
    request = Request()
    line = line.strip()
    while found := _FIRST.match(line) or _LAST.search(line):
        request = replace(request, **_meaning(*found.groups()))
        line = (line[: found.start()] + line[found.end() :]).strip()
    if line.startswith("--"):
        raise UsageError(f"%replay has no option {one_line(line, 80)!r}. There are: {', '.join(OPTIONS)}.")
    if (request.save is not None) + request.step + request.profile + request.apart > 1:
        raise UsageError(f"%replay takes one of {', '.join(WAYS)} at a time.")
    return replace(request, key=line)


def without_options(typed: str) -> str:
    """The text behind the options that a line begins with."""
    while found := _FIRST.match(typed):
        typed = typed[found.end() :]
    return typed


def _meaning(option: str, number: str | None, path: str | None) -> dict[str, Any]:
    if path is not None:
        return {"save": Path(path.strip("\"'")).expanduser()}
    if number is not None:
        return {"run": int(number)}
    return {option: True}
