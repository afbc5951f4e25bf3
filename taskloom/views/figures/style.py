"""How the figures of all views look. Their colours stand on light and on dark pages, and pages may change them."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import row
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Row
from bokeh.plotting import figure

INK = "#808080"  # readable on white and on black
FAINT = "rgba(128, 128, 128, 0.2)"
NARROWEST = 320  # pixels of a plot that shares a row; one that has the row to itself may be narrower
CPU_COLOR, MEMORY_COLOR, HELD_COLOR = "#0072B2", "#B26B00", "#8F6BFF"


def time_range() -> DataRange1d:
    """The time axis of a run, which grows with it; a mark at either end is not cut off."""
    return DataRange1d(range_padding=0.02)


def new_figure(title: str, **options: Any) -> figure:
    """An empty figure with the axes and tools that all share."""
    defaults: dict[str, Any] = {
        "title": title,
        "height": 220,
        "sizing_mode": "stretch_width",
        "min_border_left": 110,
        "min_border_right": 20,
        "tools": "xpan,xwheel_zoom,box_zoom,reset",
        "active_drag": "xpan",
        "background_fill_color": None,
        "border_fill_color": None,
        "outline_line_color": None,
        "output_backend": "canvas",
    }
    plot = figure(**{**defaults, **options})
    heading: Any = plot.title
    heading.update(text_color=INK, text_font_size="13px", text_font_style="bold")
    across: Any
    for across in plot.xaxis:  # of a run of microseconds, too, the labels stand apart on a narrow page
        across.ticker.desired_num_ticks = 4
        across.formatter.use_scientific = False
    for axis in plot.axis:
        axis.update(
            axis_line_color=INK,
            major_tick_line_color=INK,
            minor_tick_line_color=None,
            major_label_text_color=INK,
            axis_label_text_color=INK,
            axis_label_text_font_style="normal",
        )
    plot.grid.grid_line_color = FAINT
    plot.toolbar.update(logo=None, autohide=True)
    return plot


def place_legend(plot: figure) -> None:
    """Put the legend above the plot, in nobody's way."""
    for legend in list(plot.legend):
        plot.center.remove(legend)
        legend.update(
            orientation="horizontal",
            background_fill_color=None,
            border_line_color=None,
            label_text_color=INK,
            label_text_font_size="12px",
            glyph_width=12,
            glyph_height=12,
            padding=0,
            margin=2,
            spacing=12,
        )
        plot.add_layout(legend, "above")


def add_hover(plot: figure, renderers: list[Any], **fields: str) -> None:
    """Show these fields of what the mouse is on; Bokeh puts the values in as text, never as HTML."""
    plot.add_tools(HoverTool(renderers=renderers, tooltips=list(fields.items()), show_arrow=False))


def in_a_row(*plots: figure) -> Row:
    """Plots beside each other where they have room, else below each other."""
    for plot in plots:
        plot.update(styles={"flex": f"1 1 {NARROWEST}px", "min-width": "0"})
    return row(list(plots), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})


def replace(source: ColumnDataSource, columns: dict[str, Any]) -> None:
    """Give a source other data, unless they are the same."""
    if dict(source.data) != columns:
        source.data = columns
