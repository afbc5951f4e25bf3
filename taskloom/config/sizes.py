"""Amounts of memory, as people write them."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate("kmgtp", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("kmgtp", 1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgtp]i?)?(b?)\s*", re.IGNORECASE)


def parse_size(value: Any) -> float:
    """A number of bytes, or, up to 1.0 as a float or with a percent sign, a fraction of the memory.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> parse_size("1 GiB"), parse_size("2.5kB"), parse_size(1000), parse_size(0.5), parse_size("50%")
    (1073741824.0, 2500.0, 1000.0, 0.5, 0.5)
    """
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%"):
            fraction = float(text[:-1]) / 100
            if not 0 < fraction <= 1:
                raise ValueError(value)
            return fraction
        match = _SIZE.fullmatch(text)
        size = float(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0.0
        if size <= 1:
            raise ValueError(value)
        return size
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(value)
    return float(value)


def is_size(value: Any) -> bool:
    """Whether `parse_size` knows what to make of it."""
    try:
        parse_size(value)
    except ValueError:
        return False
    return True
