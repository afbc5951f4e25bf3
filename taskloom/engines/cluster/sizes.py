"""Amounts of memory as text."""

from __future__ import annotations


def size_text(nbytes: float) -> str:
    """Bytes in the unit that suits them.

    >>> size_text(33_700_000_000), size_text(2048), size_text(5)
    ('31.39 GiB', '2.00 kiB', '5 B')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("kiB", 10)):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.2f} {unit}"
    return f"{nbytes:.0f} B"
