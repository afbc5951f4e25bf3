"""Short, safe, one-line texts for what users made: keys, names, errors; and for lengths of time."""

from __future__ import annotations

from math import ceil, floor
from reprlib import Repr
from typing import Any

KEY_LENGTH = 80
NAME_LENGTH = 40
MESSAGE_LENGTH = 200

_repr = Repr()
_repr.maxstring = _repr.maxother = KEY_LENGTH
_repr.maxtuple = 8


def key_label(key: Any) -> str:
    """A key as one printable line of at most 80 characters.

    >>> key_label(("load", 3))
    "('load', 3)"
    >>> len(key_label("x" * 1_000_000))
    80
    """
    return one_line(_repr.repr(key), KEY_LENGTH)


def name_label(name: str) -> str:
    """A task's or run's name as one printable line of at most 40 characters.

    >>> name_label("load")
    'load'
    """
    return one_line(name, NAME_LENGTH)


def error_label(error: BaseException | str) -> str:
    """An exception's type and the first line of its message, in at most 200 characters.

    A string is an exception that could not be kept, as text.

    >>> error_label(ValueError("no such file"))
    'ValueError: no such file'
    """
    if isinstance(error, str):
        return one_line(error, MESSAGE_LENGTH)
    try:
        message = str(error)
    except Exception:  # a user's __str__ may do anything
        message = "(its message cannot be shown)"
    first = message[: 4 * MESSAGE_LENGTH].strip().partition("\n")[0]
    return one_line(f"{type(error).__name__}: {first}" if first else type(error).__name__, MESSAGE_LENGTH)


def one_line(text: str, length: int) -> str:
    """Cut to `length` characters and replace whatever does not print, such as line ends and terminal codes.

    >>> one_line("two\\nlines", 20)
    'two lines'
    """
    cut = text[: length + 1]
    clean = "".join(character if character.isprintable() else " " for character in cut)
    return clean if len(cut) <= length else clean[: length - 1] + "…"


def duration(seconds: float) -> str:
    """A length of time, as precise as a reader cares.

    >>> duration(0.42), duration(42), duration(125), duration(7500)
    ('0.4 s', '42 s', '2 min 05 s', '2 h 05 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_time(seconds: float) -> str:
    """A length of time that may be very short: below a second three digits, else as `duration`.

    >>> short_time(43.21e-6), short_time(0.285), short_time(42)
    ('43.2 µs', '285 ms', '42 s')
    """
    for limit, unit, scale in ((1e-3, "µs", 1e6), (1.0, "ms", 1e3)):
        if seconds < limit:
            return f"{max(0.0, seconds) * scale:.3g} {unit}"
    return duration(seconds)


def duration_range(low: float, high: float) -> str:
    """A length of time that is only known roughly, as whole seconds, minutes or hours around both ends.

    >>> duration_range(10.2, 13.5), duration_range(100, 170), duration_range(7000, 7100), duration_range(0.2, 0.3)
    ('10–14 s', '1–3 min', '116–119 min', '0–1 s')
    """
    unit, name = next((unit, name) for limit, unit, name in _UNITS if high < limit)
    first, last = floor(low / unit), ceil(high / unit)
    return f"{first}–{last} {name}" if first < last else f"{last} {name}"


_UNITS = ((120, 1, "s"), (7200, 60, "min"), (float("inf"), 3600, "h"))


def rate(count: float, seconds: float) -> str:
    """Tasks in a time, as a speed that people can picture.

    >>> rate(50_000, 2), rate(9, 2), rate(3, 10)
    ('25,000 tasks/s', '4.5 tasks/s', '18 tasks/min')
    """
    speed = count / seconds
    if speed < 1:
        return f"{60 * speed:.2g} tasks/min"
    return f"{speed:,.0f} tasks/s" if speed >= 10 else f"{speed:.1f} tasks/s"


def byte_count(nbytes: float) -> str:
    """A number of bytes as people read it.

    >>> byte_count(999), byte_count(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    for unit in ("bytes", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} GB"
