"""Where the boxes of a drawing stand, and how edges get from one to another without passing behind a third.

Columns follow each other from left to right. A tall column is folded into several side by side, and a long row of
columns is broken into bands, as lines of text are. Edges that leave or reach an inner fold run in the lanes between the
rows; edges from one band to another run in the gutters between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, sqrt
from typing import NamedTuple

ROW, COLUMN_GAP, FOLD_GAP, HEIGHT, MARGIN = 34, 56, 14, 24, 14  # all lengths are in pixels
LANE = 15  # from the middle of a box to the lane of its edges
GUTTER = 30  # between bands
WIDEST = 2400  # a drawing that is wider, and LONG times as wide as it is high, is broken into bands
PAGE = 1000  # a band that is narrower would leave room unused
LONG = 6
SHAPE = 2.2  # width by height of what is broken into bands
CORNER = 6  # radius

Point = tuple[float, float]


class _Column(NamedTuple):
    """One column, folded or not."""

    band: int
    left: int
    right: int


class _Place(NamedTuple):
    x: int
    y: int
    column: _Column


class Places:
    """The places of the boxes of some columns.

    Parameters
    ----------
    columns : per column the numbers of its boxes, from top to bottom.
    width : of each box.
    widest : a drawing that is wider is broken into bands, unless it is nearly as high.

    Attributes
    ----------
    width, height : of the whole drawing.

    Examples
    --------
    >>> places = Places([[0], [1, 2]], width=50)
    >>> places.corner(0), places.corner(2)
    ((14, 31), (120, 48))
    >>> places.edge(0, 2)
    'M64 43C92 43 92 60 120 60'
    """

    def __init__(self, columns: Sequence[Sequence[int]], width: int, widest: int = WIDEST) -> None:
        self._box_width = width
        self._widest = widest
        self._tallest = max(16, int(1.5 * sqrt(sum(map(len, columns)))))  # rows: so that no drawing is a thin line
        self._places: dict[int, _Place] = {}
        self._tops: list[int] = []  # of the bands
        self._bottoms: list[int] = []
        self.width = width + 2 * MARGIN
        bands = self._bands(columns)
        self._indent = MARGIN + (COLUMN_GAP // 2 if len(bands) > 1 else 0)
        top = MARGIN
        for band in bands:
            top = self._fill(band, top) + GUTTER
        self.height = max(top - GUTTER, MARGIN + HEIGHT) + MARGIN

    def corner(self, box: int) -> tuple[int, int]:
        """The upper left corner of a box."""
        return self._places[box][:2]

    def edge(self, start: int, end: int) -> str:
        """The path from a box to one that takes its result."""
        source, target = self._places[start], self._places[end]
        out, into = self._way_out(source), self._way_in(target)
        if source.column.band == target.column.band:
            return _curves([*out, *into])
        return _rounded([*out, *self._through_gutters(out[-1], into[0], source, target), *into])

    def _way_out(self, place: _Place) -> list[Point]:
        """From a box to the right side of its column."""
        right, middle = place.x + self._box_width, place.y + HEIGHT // 2
        if right == place.column.right:
            return [(right, middle)]
        lane = middle + LANE
        return [(right, middle), (right + FOLD_GAP, lane), (place.column.right, lane)]

    def _way_in(self, place: _Place) -> list[Point]:
        """From the left side of a box's column to the box."""
        left, middle = place.x, place.y + HEIGHT // 2
        if left == place.column.left:
            return [(left, middle)]
        lane = middle - LANE
        return [(place.column.left, lane), (left - FOLD_GAP, lane), (left, middle)]

    def _through_gutters(self, start: Point, end: Point, source: _Place, target: _Place) -> list[Point]:
        band, other = source.column.band, target.column.band
        below = self._bottoms[band] + GUTTER // 2
        above = self._tops[other] - GUTTER // 2
        right, left = start[0] + COLUMN_GAP // 2, end[0] - COLUMN_GAP // 2
        by_the_margin: list[Point] = [] if other == band + 1 else [(MARGIN, below), (MARGIN, above)]
        return [(right, start[1]), (right, below), *by_the_margin, (left, above), (left, end[1])]

    def _bands(self, columns: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
        """The columns of each band: one, but for drawings that would be too long to be seen."""
        widths = [self._folds(column) * (self._box_width + FOLD_GAP) - FOLD_GAP + COLUMN_GAP for column in columns]
        height = max([self._rows(column) for column in columns], default=1) * ROW
        if sum(widths) < max(self._widest, LONG * height):
            return [columns]
        shapely = sum(widths) / max(1, round(sqrt(sum(widths) / SHAPE / (height + GUTTER))))
        widest = max(*widths, min(shapely, self._widest), PAGE)
        bands: list[list[Sequence[int]]] = [[]]
        filled = 0
        for column, width in zip(columns, widths, strict=True):
            if filled + width > widest and bands[-1]:
                bands.append([])
                filled = 0
            bands[-1].append(column)
            filled += width
        return list(bands)

    def _folds(self, column: Sequence[int]) -> int:
        return -(-len(column) // self._tallest)

    def _rows(self, column: Sequence[int]) -> int:
        return -(-len(column) // self._folds(column))

    def _fill(self, columns: Sequence[Sequence[int]], top: int) -> int:
        """Give the boxes of a band their places; returns where it ends."""
        rows = max(map(self._rows, columns), default=1)
        band, x = len(self._tops), self._indent
        for column in columns:
            height = self._rows(column)
            right = x + self._folds(column) * (self._box_width + FOLD_GAP) - FOLD_GAP
            shared = _Column(band, x, right)
            for place, box in enumerate(column):
                fold, row = divmod(place, height)
                y = top + int((row + (rows - height) / 2) * ROW)
                self._places[box] = _Place(x + fold * (self._box_width + FOLD_GAP), y, shared)
            x = right + COLUMN_GAP
        self.width = max(self.width, x - COLUMN_GAP + self._indent)
        bottom = top + rows * ROW - (ROW - HEIGHT)
        self._tops.append(top)
        self._bottoms.append(bottom)
        return bottom


def _curves(points: list[Point]) -> str:
    """A path whose level parts are straight, and whose others are curves that leave and arrive level."""
    path = [_at("M", points[0])]
    for (x, y), (next_x, next_y) in pairwise(points):
        if y == next_y and x < next_x:
            path.append(f"H{next_x:g}")
        else:
            bend = max(FOLD_GAP // 2, (next_x - x) // 2) if next_x > x else 20
            path.append(f"C{x + bend:g} {y:g} {next_x - bend:g} {next_y:g} {next_x:g} {next_y:g}")
    return "".join(path)


def _rounded(points: list[Point]) -> str:
    """A path of straight lines with round corners."""
    path = [_at("M", points[0])]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        path += [_at("L", _towards(corner, before)), f"Q{corner[0]:g} {corner[1]:g} ", _at("", _towards(corner, after))]
    return "".join([*path, _at("L", points[-1])])


def _towards(corner: Point, other: Point) -> Point:
    """The point where a corner's curve begins."""
    (x, y), (other_x, other_y) = corner, other
    length = hypot(other_x - x, other_y - y)
    part = min(CORNER, length / 2) / length if length else 0
    return x + (other_x - x) * part, y + (other_y - y) * part


def _at(command: str, point: Point) -> str:
    return f"{command}{point[0]:g} {point[1]:g}"
