"""What a person wants to know of a dask dataframe and of its partitions, as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from itertools import islice
from reprlib import Repr
from typing import Any

from taskloom.bus import Layer
from taskloom.graph import Key
from taskloom.views.labels import one_line

MOST_COLUMNS = 8
VALUE_LENGTH = 30

_repr = Repr()  # cuts long ones, and bears objects that cannot say what they are
_repr.maxstring = _repr.maxother = VALUE_LENGTH
_repr.maxlist = _repr.maxtuple = 4


def frame_layer(label: str, divisions: Sequence[Any], meta: Any, notes: Sequence[str] = ()) -> Layer:
    """The layer of a dataframe, series or scalar: columns and divisions, and of a task the partition that it makes.

    Examples
    --------
    >>> layer = frame_layer("add", (0, 25, 50), None)
    >>> list(layer.lines)
    ['2 partitions', 'divisions 0 … 50']
    >>> list(layer.part(("add-1f", 1)))
    ['partition 1 of 2', 'division 25 … 50']
    """
    n = max(0, len(divisions) - 1)
    lines = [columns_text(meta), f"{n:,} partition{'s' if n != 1 else ''}"]
    if n > 1 or _known(divisions):
        span = f"{short(divisions[0])} … {short(divisions[-1])}" if _known(divisions) else "unknown"
        lines.append(f"divisions {span}")
    return Layer(label, [*filter(None, lines), *notes], partial(_partition, divisions))


def columns_text(meta: Any) -> str:
    """The columns of an empty frame like the one in question, with their types."""
    dtypes = getattr(meta, "dtypes", None)
    if hasattr(meta, "columns") and dtypes is not None:
        shown = [f"{short_name(name)} {dtype}" for name, dtype in islice(dtypes.items(), MOST_COLUMNS)]
        more = f" and {len(dtypes) - MOST_COLUMNS:,} more" if len(dtypes) > MOST_COLUMNS else ""
        return f"{len(dtypes):,} column{'s' if len(dtypes) != 1 else ''}: {', '.join(shown)}{more}"
    if hasattr(meta, "dtype") and hasattr(meta, "name"):
        name = "" if meta.name is None else f"{short_name(meta.name)} "
        return f"{type(meta).__name__.lower()} {name}{meta.dtype}"
    return ""


def short(value: Any) -> str:
    """A division or an operand, in a few characters."""
    plain = isinstance(value, date) or getattr(value, "ndim", None) == 0  # NumPy's scalars name their type as well
    return one_line(str(value) if plain else _repr.repr(value), VALUE_LENGTH)


def short_name(name: Any) -> str:
    """The name of a column, in a few characters."""
    return one_line(str(name), VALUE_LENGTH)


def _known(divisions: Sequence[Any]) -> bool:
    return bool(divisions) and divisions[0] is not None


def _partition(divisions: Sequence[Any], key: Key) -> list[str]:
    """What the task of a key makes; nothing where it makes no partition."""
    match key:
        case (_, int(number)) if 0 <= number < len(divisions) - 1:
            lines = [f"partition {number:,} of {len(divisions) - 1:,}"]
            if _known(divisions):
                lines.append(f"division {short(divisions[number])} … {short(divisions[number + 1])}")
            return lines
    return []
