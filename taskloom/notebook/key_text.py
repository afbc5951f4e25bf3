"""Keys as a person types them: a literal, or the bare text of a string."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Collection, Iterable
from typing import Any

from taskloom.graph import Key

LONGEST = 200  # characters of a key that is worth completing
MOST = 200  # completions


def find_key(text: str, keys: Collection[Key]) -> Key | None:
    """The key that `text` means, or None.

    >>> find_key("load", ["load", 3]), find_key("'load'", ["load", 3]), find_key("3", ["load", 3])
    ('load', 'load', 3)
    """
    for meant in (_literal(text), text):
        try:
            found = meant is not None and meant in keys
        except TypeError:  # cannot be hashed, so it is no key
            continue
        if found:
            return meant
    return None


def key_text(key: Key) -> str:
    """What to type for a key.

    >>> key_text("load"), key_text("3"), key_text(("load", 3))
    ('load', "'3'", "('load', 3)")
    """
    bare = isinstance(key, str) and key == key.strip() and key.isprintable() and not key.startswith(("-", "'", '"'))
    return str(key) if bare and " " not in str(key) and _literal(str(key)) is None else repr(key)


def begins(key: Key, text: str) -> bool:
    """Whether a key, or what is typed for it, begins like this.

    >>> begins("load-1a2b", "load"), begins(("load", 3), "('lo"), begins(("load", 3), "load"), begins("sum", "load")
    (True, True, True, False)
    """
    while isinstance(key, tuple) and key and not key_text(key).startswith(text):
        key = key[0]
    return key_text(key).startswith(text)


def completions(typed: str, keys: Iterable[Key]) -> list[str]:
    """What may be typed for a key that begins like this.

    >>> completions("l", ["load", "sum"])
    ['load']
    """
    found: list[str] = []
    for key in keys:
        if len(found) == MOST:
            break
        if not isinstance(key, str | bytes) or len(key) <= LONGEST:
            for text in (key_text(key), repr(key)):
                if text.startswith(typed) and len(text) <= LONGEST:
                    found.append(text)
                    break
    return found


def _literal(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
