"""Pictures of several runs as SVG text: curves over steps, parallel coordinates, points of two columns, bars of shares.

Pure functions of plain data, like those of ``drawing``; colours are CSS classes. What is no finite number is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from trivet.server.drawing import tick

__all__ = ["draw_curves", "draw_parallel", "draw_points", "draw_shares"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 220, 58, 14, 28, 24
_COLOURS = 6
Pairs = Sequence[tuple[float, float]]


def draw_curves(lines: Mapping[str, Pairs], *, title: str, log: bool = False) -> str:
    """Lines by name over their steps, each with its name where one points at it; ``log`` leaves out what is not positive.

    Example:
        >>> svg = draw_curves({"a": [(0, 1.0), (1, 0.5)], "b": [(0, 2.0), (1, 0.1)]}, title="loss", log=True)
        >>> svg.count("<path"), svg.count("<title>")
        (2, 2)
    """
    kept = {name: [(x, v) for x, y in line if (v := _scaled(y, log)) is not None] for name, line in lines.items()}
    points = [point for line in kept.values() for point in line]
    if not points:
        return _nothing(title)
    across, down = _axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT), _axis([y for _, y in points], 196, _TOP)
    parts = _frame([x for x, _ in points], [y for _, y in points], across, down, log=log)
    for number, (name, line) in enumerate(kept.items()):
        path = " ".join(f"{'L' if place else 'M'}{across(x):.1f},{down(y):.1f}" for place, (x, y) in enumerate(line))
        parts.append(f'<path class="line of{number % _COLOURS}" d="{path}"><title>{escape(name)}</title></path>')
    return _svg(title, parts)


def draw_points(x: Sequence[Any], y: Sequence[Any], labels: Sequence[str], *, title: str) -> str:
    """A point for each run that has both numbers.

    Example:
        >>> draw_points([1, 2, None], [0.5, 0.7, 0.9], ["a", "b", "c"], title="depth, auc").count("<circle")
        2
    """
    found = [
        (a, b, name)
        for one, two, name in zip(x, y, labels, strict=True)
        if (a := _scaled(one, False)) is not None and (b := _scaled(two, False)) is not None
    ]
    if not found:
        return _nothing(title)
    xs, ys = [one[0] for one in found], [one[1] for one in found]
    across, down = _axis(xs, _LEFT + 8, _WIDTH - _RIGHT - 8), _axis(ys, 190, _TOP + 6)
    parts = _frame(xs, ys, across, down)
    parts += [
        f'<circle cx="{across(a):.1f}" cy="{down(b):.1f}" r="4"><title>{escape(f"{name}: {a:g}, {b:g}")}</title></circle>'
        for a, b, name in found
    ]
    return _svg(title, parts)


def draw_parallel(columns: Mapping[str, Sequence[Any]], labels: Sequence[str], *, title: str) -> str:
    """An axis for each column and a line for each run; texts stand at places in their order.

    Example:
        >>> svg = draw_parallel({"depth": [1, 2], "kind": ["a", "b"]}, ["one", "two"], title="parallel")
        >>> svg.count("<path"), svg.count('class="grid"')
        (2, 2)
    """
    if not columns or not labels:
        return _nothing(title)
    step = (_WIDTH - 2 * _LEFT) / max(1, len(columns) - 1)
    parts, places = [], []
    for number, (name, column) in enumerate(columns.items()):
        x = _LEFT + number * step
        values, ends = _placed(column)
        down = _axis([value for value in values if value is not None], 182, 48)
        places.append([(x, None if value is None else down(value)) for value in values])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="48" y2="182"/>')
        for y, text in ((40, ends[1]), (196, ends[0]), (212, name.partition(".")[2] or name)):
            parts.append(f'<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{escape(text[:14])}</text>')
    for number, label in enumerate(labels):
        stops = [f"{column[number][0]:.1f},{high:.1f}" for column in places if (high := column[number][1]) is not None]
        path = "M" + " L".join(stops) if stops else ""
        parts.append(f'<path class="line of{number % _COLOURS}" d="{path}"><title>{escape(label)}</title></path>')
    return _svg(title, parts)


def draw_shares(shares: Mapping[str, float], *, title: str) -> str:
    """A bar for each name, the longest first as they are given.

    Example:
        >>> draw_shares({"depth": 0.8, "rate": 0.2}, title="importance").count("<rect")
        2
    """
    shown = dict(list(shares.items())[:8])
    most = max(shown.values(), default=0.0)
    if not most > 0:
        return _nothing(title)
    parts = []
    for number, (name, share) in enumerate(shown.items()):
        y, wide = _TOP + 6 + number * 22, (_WIDTH - 210) * share / most
        parts.append(f'<text class="axis" x="142" y="{y + 11}" text-anchor="end">{escape(name[:22])}</text>')
        parts.append(f'<rect class="part" x="150" y="{y}" width="{wide:.1f}" height="14"/>')
        parts.append(f'<text class="axis" x="{156 + wide:.1f}" y="{y + 11}">{100 * share:.0f} %</text>')
    return _svg(title, parts)


def _scaled(value: Any, log: bool) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    if not log:
        return float(value)
    return math.log10(value) if value > 0 else None


def _placed(column: Sequence[Any]) -> tuple[list[float | None], tuple[str, str]]:
    """Values as numbers, and what stands at both ends of the axis."""
    numbers = [_scaled(value, False) for value in column]
    present = [number for number in numbers if number is not None]
    if present and all(value is None or number is not None for value, number in zip(column, numbers, strict=True)):
        return numbers, (tick(min(present)), tick(max(present)))
    texts = sorted({str(value) for value in column if value is not None}) or ["-"]
    return [None if value is None else float(texts.index(str(value))) for value in column], (texts[0], texts[-1])


def _axis(values: Sequence[float], begin: float, end: float) -> Callable[[float], float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = max(abs(low), abs(high)) or 1.0
    span = high / scale - low / scale  # of the halves, so that no span is infinite
    return lambda value: begin + (end - begin) * ((value / scale - low / scale) / span if span else 0.5)


def _frame(
    xs: Sequence[float],
    ys: Sequence[float],
    across: Callable[[float], float],
    down: Callable[[float], float],
    *,
    log: bool = False,
) -> list[str]:
    parts = []
    for value in dict.fromkeys((min(ys), max(ys))):
        y, text = down(value), tick(10**value if log else value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value, anchor in dict.fromkeys(((min(xs), "start"), (max(xs), "end"))):
        parts.append(f'<text class="axis" x="{across(value):.1f}" y="214" text-anchor="{anchor}">{tick(value)}</text>')
    return parts


def _nothing(title: str) -> str:
    return f'<p class="quiet">{escape(title)}: nothing to draw.</p>'


def _svg(title: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    head = f'<text class="title" x="12" y="17">{escape(title)}</text>'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(title)}">{head}{"".join(parts)}</svg>'
