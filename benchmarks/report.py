"""What a benchmark has to say: a table, notes, and how promises were kept; all as Markdown."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

import taskloom


@dataclass(frozen=True)
class Promise:
    """Something that taskloom promises, and what was measured."""

    what: str
    limit: str
    measured: str
    kept: bool


def at_least(what: str, measured: float, limit: float, unit: str = "×") -> Promise:
    return Promise(what, f"≥ {limit:g}{unit}", f"{measured:.1f}{unit}", measured >= limit)


def at_most(what: str, measured: float, limit: float, unit: str) -> Promise:
    return Promise(what, f"≤ {limit:g}{unit}", f"{measured:.3g}{unit}", measured <= limit)


@dataclass(frozen=True)
class Report:
    """The outcome of one benchmark."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str
    promises: list[Promise] = field(default_factory=list)

    def __str__(self) -> str:
        return f"### {self.title}\n\n{markdown_table(self.header, self.rows)}\n\n{self.notes}\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that is readable as text, too: columns are padded, and all but the first are flushed right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]
    lines = [
        [cell.ljust(width) if number == 0 else cell.rjust(width) for number, (cell, width) in enumerate(pairs)]
        for pairs in [list(zip(row, widths, strict=True)) for row in [cells[0], rule, *cells[1:]]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def promises_table(promises: Iterable[Promise]) -> str:
    rows = [(promise.what, promise.limit, promise.measured, "yes" if promise.kept else "no") for promise in promises]
    return f"### Promises\n\n{markdown_table(('promise', 'limit', 'measured', 'kept?'), rows)}\n"


def machine() -> str:
    """How large the machine is, and what runs on it."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("dask", "IPython", "ipykernel"))
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"taskloom {taskloom.__version__}, {packages}; {datetime.now(UTC):%Y-%m-%d}."
    )


def replace_tables(text: str, tables: str) -> str:
    """The text with `tables` in place of what stands between its two markers."""
    new, count = re.subn(r"(<!-- table -->\n).*(<!-- /table -->)", lambda m: f"{m[1]}{tables}{m[2]}", text, flags=re.S)
    if count != 1:
        raise ValueError("The text needs the lines '<!-- table -->' and '<!-- /table -->', once and in this order.")
    return new


def micro(seconds: float) -> str:
    """Seconds as microseconds with three figures."""
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(ratio: float) -> str:
    return f"{ratio:.1f}×"
