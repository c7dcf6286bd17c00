"""Values over real time as SVG text: several lines on one axis of moments, thinned so that no extreme is lost.

A line is a sequence of moments (microseconds since 1970) and values; a missing or infinite value breaks it. Of more
points than a picture has room for, each column of the picture keeps its least and its greatest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TypeAlias

from trivet.server.drawing import text_size, tick

__all__ = ["Line", "draw_times"]

Line: TypeAlias = Sequence[tuple[int, float | None]]
"""Moments in order, each with the value there."""

_COLUMNS = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 30, 24
_MOST = 6


def draw_times(
    lines: Mapping[str, Line],
    *,
    title: str,
    steps: bool = False,
    dots: Line = (),
    width: int = 900,
    height: int = 250,
) -> str:
    """Lines by name over one axis of time, in UTC.

    Args:
        lines: up to six; a legend names them where there are several.
        title: what is drawn.
        steps: a value holds until the next one.
        dots: single points to be marked, such as corrections.
        width: in pixels of the picture's own.
        height: likewise.

    Example:
        >>> svg = draw_times({"price": [(0, 1.0), (60_000_000, None), (120_000_000, 2.0)]}, title="price")
        >>> svg.count("<path"), svg.count("<svg")
        (1, 1)
    """
    shown = dict(list(lines.items())[:_MOST])
    points = [(t, v) for line in (*shown.values(), dots) for t, v in line if _there(v)]
    if not points:
        return f'<p class="quiet">{escape(title)}: nothing to draw yet.</p>'
    scale = _Scale.of(points, width, height)
    parts = [f'<text class="title" x="12" y="17">{escape(title)}</text>', *_axes(scale)]
    for number, line in enumerate(shown.values()):
        parts.append(f'<path class="line of{number}" d="{_path(_thinned(line, scale), scale, steps)}"/>')
    for t, v in dots:
        if _there(v):
            parts.append(f'<circle cx="{scale.x(t):.1f}" cy="{scale.y(v):.1f}" r="2.6"/>')
    if len(shown) > 1:
        parts += _legend(list(shown), width, 12 + text_size(title))
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


class _Scale:
    """From moments and values to places in the picture."""

    def __init__(self, first: int, last: int, low: float, high: float, width: int, height: int) -> None:
        self.first, self.last, self.low, self.high = first, last, low, high
        self.left, self.right, self.top, self.bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM

    @classmethod
    def of(cls, points: Sequence[tuple[int, float | None]], width: int, height: int) -> _Scale:
        values = [float(v) for _, v in points if v is not None]
        low, high = min(values), max(values)
        pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        moments = [t for t, _ in points]
        floor = low - pad if low < 0 else max(low - pad, 0.0)  # what is never negative has no axis below zero
        return cls(min(moments), max(moments), floor, high + pad, width, height)

    def x(self, moment: int) -> float:
        span = self.last - self.first
        return self.left + (self.right - self.left) * ((moment - self.first) / span if span else 0.5)

    def y(self, value: float | None) -> float:
        assert value is not None
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * (share if math.isfinite(share) else 0.5)


def _there(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _axes(scale: _Scale) -> Iterator[str]:
    for share in (0.05, 0.5, 0.95):
        value = scale.low + (scale.high - scale.low) * share
        y = scale.y(value)
        yield f'<line class="grid" x1="{scale.left}" x2="{scale.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="axis" x="{scale.left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick(value)}</text>'
    places = [0, 1, 2, 3, 4] if scale.last > scale.first else [0]
    for place in places:
        moment = scale.first + (scale.last - scale.first) * place // max(1, len(places) - 1)
        anchor = "start" if place == 0 else "end" if place == places[-1] else "middle"
        label = _label(moment, scale.last - scale.first)
        yield f'<text class="axis" x="{scale.x(moment):.1f}" y="{scale.bottom + 18}" text-anchor="{anchor}">{label}</text>'


def _label(moment: int, span: int) -> str:
    """As much of a moment as tells it from its neighbours."""
    when = datetime.fromtimestamp(moment // 1_000_000, UTC)
    days = span / 86_400e6
    return f"{when:%Y-%m-%d}" if days > 12 else f"{when:%m-%d %H:%M}" if days > 0.5 else f"{when:%H:%M:%S}"


def _thinned(line: Line, scale: _Scale) -> Line:
    """The least and greatest of each column of the picture, where there are more points than columns."""
    if len(line) <= 2 * _COLUMNS:
        return line
    width = max(1, (scale.last - scale.first) // _COLUMNS)
    kept: list[tuple[int, float | None]] = []
    column: list[tuple[int, float | None]] = []
    for point in line:
        if column and (point[0] - scale.first) // width != (column[0][0] - scale.first) // width:
            kept += _extremes(column)
            column = []
        column.append(point)
    return [*kept, *_extremes(column)]


def _extremes(column: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    values = [(t, v) for t, v in column if v is not None and math.isfinite(v)]
    if not values:
        return column[:1]
    ends = {min(values, key=lambda point: point[1]), max(values, key=lambda point: point[1])}
    return sorted(ends)


def _path(line: Line, scale: _Scale, steps: bool) -> str:
    path, pen = [], False
    for moment, value in line:
        if not _there(value):
            pen = False
            continue
        x, y = scale.x(moment), scale.y(value)
        path.append(f"H{x:.1f} V{y:.1f}" if pen and steps else f"{'L' if pen else 'M'}{x:.1f},{y:.1f}")
        if not pen:
            path.append("h0.01")  # a point alone is seen, too
        pen = True
    return " ".join(path)


def _legend(names: Sequence[str], width: int, taken: float) -> Iterator[str]:
    sizes = [text_size(name) + 34 for name in names]
    x = max(taken + 20, width - _RIGHT - sum(sizes))
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        yield f'<path class="line of{number}" d="M{x:.0f},13 h16"/>'
        yield f'<text class="axis" x="{x + 21:.0f}" y="17">{escape(name)}</text>'
        x += size
