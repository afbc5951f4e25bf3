"""What a person wants to know of a dask array and of its chunks, as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from math import isnan, prod
from typing import Any

from taskloom.bus import Layer
from taskloom.graph import Key, task_name
from taskloom.views.labels import byte_count

Chunks = Sequence[Sequence[float]]  # per axis the lengths of its chunks; nan where unknown


def array_layer(name: str, chunks: Chunks, dtype: Any, notes: Sequence[str] = ()) -> Layer:
    """The layer of an array: its shape, type and chunks, and of a task the chunk that it makes.

    Examples
    --------
    >>> layer = array_layer("add-1f", ((500, 500), (300,)), "float64")
    >>> list(layer.lines)
    ['array 1,000 × 300 float64', '2 × 1 chunks of 500 × 300']
    >>> list(layer.part(("add-1f", 1, 0)))
    ['chunk (1, 0) of 2 × 1: 500 × 300 float64', 'elements [500:1000, 0:300]']
    """
    shape = [sum(lengths) for lengths in chunks]
    largest = [max(lengths, default=0) for lengths in chunks]
    uneven = any(set(lengths[:-1]) - {lengths[0]} or lengths[-1] > lengths[0] for lengths in chunks if lengths)
    size = f", {text}" if (text := _bytes(shape, dtype)) else ""
    chunk_size = f", {text}" if (text := _bytes(largest, dtype)) else ""
    grid = _times([len(lengths) for lengths in chunks])
    lines = [f"array {_times(shape)} {dtype}{size}" if chunks else f"scalar {dtype}"]
    if chunks:
        lines.append(f"{grid} chunks of {'up to ' if uneven else ''}{_times(largest)}{chunk_size}")
    return Layer(task_name(name), [*lines, *notes], partial(_chunk, chunks, dtype))


def _chunk(chunks: Chunks, dtype: Any, key: Key) -> list[str]:
    """What the task of a key makes; nothing where it makes no chunk of the array, as steps of a reduction do not."""
    place = key[1:] if isinstance(key, tuple) else ()
    if not chunks or len(place) != len(chunks):
        return []
    if not all(isinstance(i, int) and 0 <= i < len(lengths) for i, lengths in zip(place, chunks, strict=True)):
        return []
    shape = [lengths[i] for i, lengths in zip(place, chunks, strict=True)]
    grid = _times([len(lengths) for lengths in chunks])
    size = f", {text}" if (text := _bytes(shape, dtype)) else ""
    stops = [list(accumulate(lengths[: i + 1]))[-1] for i, lengths in zip(place, chunks, strict=True)]
    lines = [f"chunk {_place(place)} of {grid}: {_times(shape)} {dtype}{size}"]
    if not any(map(isnan, stops)):
        spans = [f"{stop - length}:{stop}" for stop, length in zip(stops, shape, strict=True)]
        lines.append(f"elements [{', '.join(spans)}]")
    return lines


def _place(place: Sequence[Any]) -> str:
    return f"({', '.join(map(str, place))}{',' if len(place) == 1 else ''})"


def _times(lengths: Sequence[float]) -> str:
    return " × ".join(["?" if isnan(length) else f"{length:,}" for length in lengths])


def _bytes(shape: Sequence[float], dtype: Any) -> str:
    """How much memory that takes; empty where it is not known."""
    itemsize = getattr(dtype, "itemsize", 0)
    count = prod(shape) * itemsize
    return "" if not itemsize or getattr(dtype, "hasobject", False) or isnan(count) else byte_count(count)
