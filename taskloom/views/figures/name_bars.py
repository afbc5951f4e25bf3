"""Bars with a name each: what progress and the profile draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from taskloom.views.figures.style import FAINT, INK, add_hover, new_figure, replace
from taskloom.views.labels import one_line

NAME_LENGTH = 17  # characters beside the bars; the whole name shows where the mouse is
ROW, FRAME = 28, 40  # pixels
BAR, BELOW = 0.22, 0.3  # height of a bar, and how far below the middle of its row it is, in rows


class NameBars:
    """A row for each name, with a text and a bar below it, so that both are there to see however short the bar is.

    Parameters
    ----------
    title : str
    hover : the columns that show where the mouse is, by what they are called there.

    Attributes
    ----------
    root : the figure.
    """

    def __init__(self, title: str, **hover: str) -> None:
        self._rows = Range1d(start=0.5, end=-0.5)  # the first name on top
        self._ticks = FixedTicker(ticks=[])
        self.root: figure = new_figure(
            title, x_range=Range1d(start=0, end=1), y_range=self._rows, height=FRAME + ROW, tools="", active_drag=None
        )
        columns: dict[str, Any] = {name: [] for name in ("row", "bar", "share", "color", "text", *hover)}
        self._source = ColumnDataSource(columns)
        whole = self.root.hbar("bar", left=0, right=1, height=BAR, source=self._source, fill_color=FAINT,
                               line_color=None)  # fmt: skip
        self.root.hbar("bar", left=0, right="share", height=BAR, source=self._source, fill_color="color",
                       line_color=None)  # fmt: skip
        self.root.text(0, "row", "text", source=self._source, text_baseline="middle", text_color=INK,
                       text_font_size="12px", y_offset=-4)  # fmt: skip
        add_hover(self.root, [whole], **{title: f"@{column}" for column, title in hover.items()})
        self.root.xaxis.visible = self.root.grid.visible = False
        self.root.yaxis[0].update(ticker=self._ticks, major_tick_line_color=None, axis_line_color=None)

    def draw(self, names: Sequence[str], least: int = 1, **columns: list[Any]) -> None:
        """Show these names, and for each its share (0 to 1), color, text and what else there is."""
        rows = list(range(len(names)))
        labels: dict[Any, Any] = {row: one_line(name, NAME_LENGTH) for row, name in enumerate(names)}
        axis = self.root.yaxis[0]
        if axis.major_label_overrides != labels:
            self._ticks.ticks = rows
            axis.major_label_overrides = labels
            height = max(least, len(names))
            self._rows.update(start=height - 0.5, reset_start=height - 0.5)
            self.root.height = FRAME + ROW * height
        replace(self._source, {"row": rows, "bar": [row + BELOW for row in rows], **columns})
