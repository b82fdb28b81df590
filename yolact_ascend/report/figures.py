"""The curves of report.html: SVG by leather, with few words; the page's style sheet has the colours."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

import leather

WIDTH, HEIGHT = 480, 320  # of a figure in its own units; the page scales it
COLOURS = 4  # of lines: --line0 … in the page's style sheet
_LONG = re.compile(r"\d+\.\d{2,}(?=[^<>]*>)")  # coordinates of up to 28 digits, in tags only: ticks are text


class Line(NamedTuple):
    """One line of a figure: its name in the figure's legend, and its points."""

    name: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


def draw_lines(
    lines: Sequence[Line],
    x_name: str,
    y_name: str | None,
    alt: str,
    y_most: float | None = None,
    x_ticks: Sequence[int] | None = None,
) -> str:
    """Return lines over numbers as inline SVG; y begins at 0 and ends at `y_most`, or a bit above the largest value.

    `x_ticks` are for an axis on which only these numbers mean something. `alt` describes the figure for those who
    do not see it.
    """
    _take_style()
    chart = leather.Chart()
    xs = [x for line in lines for x, _ in line.points]
    largest = y_most or 1.05 * max(y for line in lines for _, y in line.points)
    chart.add_x_scale(min(xs), max(max(xs), min(xs) + 1))
    chart.add_y_scale(0, largest)
    chart.add_x_axis(ticks=x_ticks, name=x_name, tick_formatter=_format_tick)
    chart.add_y_axis(name=y_name, tick_formatter=_format_tick)
    for n, line in enumerate(lines):
        dashes = "6 4" if line.is_dashed else None
        colour = f"var(--line{n % COLOURS})"
        chart.add_line(list(line.points), name=line.name, stroke_color=colour, stroke_dasharray=dashes)
    svg = _LONG.sub(lambda found: f"{float(found[0]):.1f}", str(chart.to_svg(width=WIDTH, height=HEIGHT)))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return svg.replace(
        f"<svg {size}", f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(alt)}"', 1
    )


def _format_tick(value: float, _index: int, _count: int) -> str:
    return f"{float(value):g}"


def _take_style() -> None:
    """Have leather leave fonts and colours to the page."""
    theme = leather.theme
    theme.background_color = "none"
    theme.margin = 0.03
    theme.tick_color, theme.zero_color = "var(--rule)", "var(--muted)"
    theme.label_color = theme.legend_color = theme.axis_title_color = "var(--muted)"
    theme.tick_font_family = theme.legend_font_family = theme.axis_title_font_family = "inherit"
    theme.axis_title_gap = 10
