"""Pictures as SVG text: a lineage graph in layers, a line with its band over time, and bars.

All are pure functions of plain data, so that they are tested without a browser. Colours are CSS classes of
``static/trivet.css``; nothing here knows the ledger or a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "Box", "Point", "draw_bars", "draw_graph", "draw_line", "text_size", "tick"]

_HEIGHT, _GAP_X, _GAP_Y, _GAP_ROWS, _MARGIN, _ACROSS = 46, 18, 34, 20, 10, 5
_NARROWEST, _WIDEST, _TITLE_LETTER, _SUBTITLE_LETTER, _PADDING = 84, 202, 8.7, 6.9, 14


@dataclass(frozen=True)
class Box:
    """A node: two lines of text, a CSS class and where a click leads."""

    title: str
    subtitle: str = ""
    style: str = ""
    href: str = ""


@dataclass(frozen=True)
class Point:
    """A value at a place on the axis, with the bounds of the band where they are known."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bar:
    """How many there are of something, and how many of these are special where that is told apart."""

    label: str
    count: int
    part: int | None = None


def draw_graph(boxes: Mapping[str, Box], edges: Sequence[tuple[str, str]]) -> str:
    """A graph from top to bottom, every edge pointing down where the graph has no cycle.

    Example:
        >>> svg = draw_graph({"a": Box("file"), "b": Box("model")}, [("a", "b")])
        >>> svg.startswith("<svg"), svg.count("<path")
        (True, 1)
    """
    rows = [(row, first) for layer in _layers(boxes, edges) for row, first in _rows(layer)]
    wide = {id(row): max(_width(boxes[name]) for name in row) for row, _ in rows}
    across = {id(row): len(row) * (wide[id(row)] + _GAP_X) - _GAP_X for row, _ in rows}
    width = 2 * _MARGIN + max(across.values(), default=0)
    places: dict[str, _Place] = {}
    gaps: list[_Gaps] = []
    y = _MARGIN - _GAP_Y
    for number, (row, first) in enumerate(rows):
        y += _GAP_Y if first else _GAP_ROWS
        left, step = (width - across[id(row)]) / 2, wide[id(row)] + _GAP_X
        for place, name in enumerate(row):
            places[name] = _Place(left + place * step, y, wide[id(row)], number)
        gaps.append(_Gaps(y, [left + place * step - _GAP_X / 2 for place in range(len(row) + 1)]))
        y += _HEIGHT
    height = max(y, 0) + _MARGIN
    drawn = [_edge(places[a], places[b], gaps) for a, b in edges if a in places and b in places]
    drawn += [_box(boxes[name], place) for name, place in places.items()]
    return (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="lineage">{"".join(drawn)}</svg>'
    )


def draw_line(
    points: Sequence[Point],
    *,
    title: str,
    guides: Mapping[str, float] | None = None,
    width: int = 560,
    height: int = 180,
) -> str:
    """Values from left to right with their band, and dashed guide lines (a threshold, a reference).

    Example:
        >>> draw_line([Point("Oct", 0.7, 0.6, 0.8), Point("Nov", 0.72, 0.65, 0.79)], title="AUC").count("<circle")
        2
    """
    guides = guides or {}
    seen = [value for p in points for value in (p.value, p.low, p.high) if value is not None] + list(guides.values())
    if not seen:
        return f'<p class="quiet">{escape(title)}: nothing to draw yet.</p>'
    low, high = min(seen), max(seen)
    pad = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad
    left, right, top, bottom = 54, width - 12, 26, height - 24

    def x(index: int) -> float:
        return left + (right - left) * (index / (len(points) - 1) if len(points) > 1 else 0.5)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts = [f'<text class="title" x="12" y="15">{escape(title)}</text>']
    for value in (low + pad, high - pad):
        parts.append(f'<text class="axis" x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{tick(value)}</text>')
    for name, value in guides.items():
        parts.append(f'<line class="guide" x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="axis" x="{right}" y="{y(value) - 4:.1f}" text-anchor="end">{escape(name)}</text>')
    banded = [(i, p.low, p.high) for i, p in enumerate(points) if p.low is not None and p.high is not None]
    if len(banded) > 1:
        outline = [f"{x(i):.1f},{y(h):.1f}" for i, _, h in banded] + [
            f"{x(i):.1f},{y(lo):.1f}" for i, lo, _ in reversed(banded)
        ]
        parts.append(f'<polygon class="band" points="{" ".join(outline)}"/>')
    known = [(i, p.value) for i, p in enumerate(points) if p.value is not None]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in known)}"/>')
    for i, v in known:
        parts.append(
            f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="3"><title>{escape(points[i].label)}: {v:.4g}</title></circle>'
        )
    for i in {0, len(points) // 2, len(points) - 1}:
        anchor = "start" if i == 0 else "end" if i == len(points) - 1 else "middle"
        label = escape(points[i].label)
        parts.append(f'<text class="axis" x="{x(i):.1f}" y="{height - 6}" text-anchor="{anchor}">{label}</text>')
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def draw_bars(bars: Sequence[Bar], *, title: str, width: int = 560, height: int = 180) -> str:
    """Bars side by side, what is special of each in a stronger colour from below.

    Example:
        >>> draw_bars([Bar("AA", 30, 10), Bar("UA", 20, 5)], title="carrier").count("<rect")
        4
    """
    most = max((bar.count for bar in bars), default=0)
    if not most:
        return f'<p class="quiet">{escape(title)}: nothing to draw yet.</p>'
    left, right, top, bottom = 54, width - 12, 26, height - 24
    step = (right - left) / len(bars)
    gap = min(2.0, step * 0.2)
    parts = [f'<text class="title" x="12" y="15">{escape(title)}</text>']
    parts += [f'<text class="axis" x="{left - 6}" y="{top + 9}" text-anchor="end">{most:,}</text>']
    for place, bar in enumerate(bars):
        x, told = left + place * step, "" if bar.part is None else f", {bar.part:,} positive"
        parts.append(f"<g><title>{escape(bar.label)}: {bar.count:,}{told}</title>")
        for style, number in (("bar", bar.count), ("part", bar.part)):
            if number is not None:
                tall = (bottom - top) * number / most
                parts.append(
                    f'<rect class="{style}" x="{x:.1f}" y="{bottom - tall:.1f}" width="{step - gap:.1f}" height="{tall:.1f}"/>'
                )
        parts.append("</g>")
    room = max(int(step / 6.5), 4)
    shown = range(len(bars)) if room >= 6 else sorted({0, len(bars) // 2, len(bars) - 1})
    for place in shown:
        label = escape(_short(bars[place].label, room if room >= 6 else 22))
        anchor = "middle" if room >= 6 else "start" if place == 0 else "end" if place == len(bars) - 1 else "middle"
        x = left + place * step + (step / 2 if anchor == "middle" else 0 if anchor == "start" else step)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{label}</text>')
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _rows(layer: Sequence[str]) -> list[tuple[list[str], bool]]:
    """A layer in rows of much the same length, and whether a row is the first of its layer."""
    count = -(-len(layer) // _ACROSS)
    length = -(-len(layer) // count)
    return [(list(layer[start : start + length]), start == 0) for start in range(0, len(layer), length)]


def _layers(boxes: Mapping[str, Box], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Each node one layer below its lowest source; in a layer by the mean place of the sources, then by name."""
    sources: dict[str, list[str]] = {name: [] for name in boxes}
    for a, b in edges:
        if a in sources and b in sources:
            sources[b].append(a)
    depth: dict[str, int] = {}

    def reach(name: str, path: frozenset[str]) -> int:
        if name not in depth:
            before = [reach(source, path | {name}) for source in sources[name] if source not in path]
            depth[name] = 1 + max(before, default=-1)
        return depth[name]

    for name in boxes:
        reach(name, frozenset({name}))
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    row: dict[str, float] = {}
    for level in range(len(layers)):
        names = [name for name in boxes if depth[name] == level]
        centre = {
            name: sum(row.get(s, 0.0) for s in sources[name]) / len(sources[name]) if sources[name] else 0.0
            for name in names
        }
        layers[level] = sorted(names, key=lambda name: (centre[name], boxes[name].title, name))
        row |= {name: float(index) for index, name in enumerate(layers[level])}
    return layers


@dataclass(frozen=True)
class _Place:
    """Where a box stands: its upper left corner, and how wide it is."""

    x: float
    y: float
    width: int
    row: int


@dataclass(frozen=True)
class _Gaps:
    """The upper edge of a row of boxes, and where an arrow can pass through it: between boxes and beside them."""

    y: float
    xs: list[float]


def _width(box: Box) -> int:
    """Room for both lines; letters are counted, because nothing here can measure a font."""
    text = max(_TITLE_LETTER * len(box.title), _SUBTITLE_LETTER * len(box.subtitle))
    return round(min(_WIDEST, max(_NARROWEST, _PADDING + text)))


def _edge(a: _Place, b: _Place, gaps: Sequence[_Gaps]) -> str:
    """From one box to another, through the gaps of the rows in between and never behind a box."""
    x, y, end, bottom = a.x + a.width / 2, a.y + _HEIGHT, b.x + b.width / 2, b.y
    path = f"M{x:.1f},{y}"
    for row in gaps[a.row + 1 : b.row]:
        straight = x + (end - x) * (row.y - y) / (bottom - y)
        gap = min(row.xs, key=lambda each: abs(each - straight))
        path += f"{_curve(x, y, gap, row.y)} V{row.y + _HEIGHT}"
        x, y = gap, row.y + _HEIGHT
    return f'<path class="edge" d="{path}{_curve(x, y, end, bottom)}"/>'


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = max(10.0, (to_y - y) / 2)
    return f" C{x:.1f},{y + bend} {to_x:.1f},{to_y - bend} {to_x:.1f},{to_y}"


def _box(box: Box, place: _Place) -> str:
    x, y, room = round(place.x, 1), place.y, place.width - _PADDING + 1
    title = escape(_short(box.title, int(room / _TITLE_LETTER)))
    subtitle = escape(_short(box.subtitle, int(room / _SUBTITLE_LETTER)))
    inside = (
        f'<rect x="{x}" y="{y}" width="{place.width}" height="{_HEIGHT}" rx="6"/>'
        f'<text class="title" x="{x + _PADDING / 2:.1f}" y="{y + 19}">{title}</text>'
        f'<text class="quiet" x="{x + _PADDING / 2:.1f}" y="{y + 36}">{subtitle}</text>'
        f"<title>{escape(box.title)} {escape(box.subtitle)}</title>"
    )
    group = f'<g class="box {escape(box.style)}">{inside}</g>'
    return f'<a href="{escape(box.href)}">{group}</a>' if box.href else group


def tick(value: float) -> str:
    """A number beside an axis, in at most six letters.

    Example:
        >>> [tick(value) for value in (0.0312, -4.84, 143.0, 4_740.0, 337_000.0, 1.2e7, 3e15)]
        ['0.0312', '-4.84', '143', '4,740', '337k', '12M', '3e+15']
    """
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if 10 * scale <= abs(value) < 1000 * scale or (unit == "M" and scale <= abs(value) < 1000 * scale):
            return f"{value / scale:.3g}{unit}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 10_000 else f"{value:.3g}"


def text_size(text: str) -> float:
    """About how wide a text is in pixels; nothing here can measure a font."""
    return _SUBTITLE_LETTER * len(text)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
