"""Time series: all of them, and one with its picture, on a grid, as it was known before, and what was corrected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.server.plotting import Line, draw_times

if TYPE_CHECKING:
    from trivet.features.series.store import SeriesInfo
    from trivet.project import Project

__all__ = ["one_series", "series"]

_GRIDS = ("", "1m", "5m", "15m", "1h", "6h", "1d", "7d")
_FILLS = ("", "previous", "none", "linear", "zero")
_ROWS, _CORRECTIONS, _MEMBERS = 12, 20, 5
_DRAWN = 200_000
"""Values beyond which only the newest are drawn, unless a period is asked for."""


def series(project: Project) -> dict[str, Any]:
    """Every series as it is now, written and computed."""
    computed = project.series.transforms()
    return {
        "title": "Series",
        "series": [_row(info) for info in project.series.list()],
        "computed": [{"name": name, "inputs": _inputs(each.inputs)} for name, each in sorted(computed.items())],
    }


def one_series(
    project: Project,
    name: str,
    freq: str = "",
    fill: str = "",
    start: str = "",
    end: str = "",
    known: str = "",
    travel: str = "",
    member: str = "",
) -> dict[str, Any]:
    """One series: its values, the same on a grid, as known at a moment or so long before, and its corrections.

    Raises:
        NotFound: there is no such series or rule of filling.
        Invalid: an option makes no sense; the sentence says which.
    """
    computed = project.series.transforms().get(name)
    info = None if computed is not None else project.series.describe(name)
    asked = {"freq": freq, "fill": fill, "start": start, "end": end, "known": known, "travel": travel, "member": member}
    members = _members(project, name, info)
    of = _chosen(info, member, members)
    period: dict[str, Any] = {"start": start or _since(info), "end": end or None, "of": of}
    now = project.series.read(name, **period)
    then = _then(project, name, period, known, travel)
    rule: dict[str, Any] = {"freq": freq, "fill": fill or None}
    grid = project.series.read(name, **period, **rule, **_past(known, travel)) if freq else None
    corrected = None if info is None else project.series.revisions(name, of=of)
    return {
        "title": name,
        "past": _past_said(asked),
        "series": None if info is None else _row(info),
        "computed": None if computed is None else {"inputs": _inputs(computed.inputs), "text": computed.function.text},
        "asked": asked,
        "options": {"freq": _GRIDS, "fill": _FILLS, "member": members},
        "charts": _charts(name, now, then, grid, corrected, asked),
        "values": _values(now),
        "grid": None if grid is None else _values(grid),
        "then": None if then is None else _values(then),
        "corrections": None if corrected is None else _corrections(corrected),
        "corrections_count": 0 if corrected is None else corrected.height,
        "code": _code(name, {**period, "start": start or None}, asked),
        "read_by": [] if info is None else _readers(project, name),
    }


def _row(info: SeriesInfo) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(info)
    return data


def _inputs(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {parameter: str(each) for parameter, each in inputs.items()}


def _members(project: Project, name: str, info: SeriesInfo | None) -> list[str]:
    """The members of a panel with one key, so that one can be chosen."""
    if info is None or len(info.by) != 1:
        return []
    return [str(value) for value in project.series.last(name)[info.by[0]].head(200)]


def _chosen(info: SeriesInfo | None, member: str, members: list[str]) -> dict[str, str]:
    if not member:
        return {}
    if info is None or not members:
        raise Invalid(f"The series has no members, so member={member!r} has no meaning.")
    if member not in members:
        raise NotFound(f"{info.by[0]}", member, members)
    return {info.by[0]: member}


def _since(info: SeriesInfo | None) -> datetime | None:
    """Where to begin with a series that is too long for a picture."""
    if info is None or info.rows <= _DRAWN or info.first is None or info.last is None:
        return None
    return info.last - (info.last - info.first) * (_DRAWN / info.rows)


def _past(known: str, travel: str) -> dict[str, Any]:
    return {**({"as_known_at": known} if known else {}), **({"time_travel": travel} if travel else {})}


def _then(project: Project, name: str, period: Mapping[str, Any], known: str, travel: str) -> pl.DataFrame | None:
    past = _past(known, travel)
    return project.series.read(name, **period, **past) if past else None


def _charts(
    name: str,
    now: pl.DataFrame,
    then: pl.DataFrame | None,
    grid: pl.DataFrame | None,
    corrected: pl.DataFrame | None,
    asked: Mapping[str, str],
) -> list[str]:
    if not now[now.columns[-1]].dtype.is_numeric() or not now.height:
        return []
    several, when = _lines(now), _past_said(asked)
    dots = [] if corrected is None or len(several) > 1 else _line(corrected.sort("time"), "value")
    told = f", {len(dots)} corrected value{'s' * (len(dots) != 1)} marked" if dots else ""
    charts = [draw_times(several, title=f"{name}, as it is known now{told}", dots=dots)]
    if then is not None:
        both = {"known now": next(iter(several.values())), f"as known {when}": next(iter(_lines(then).values()), [])}
        lines = both if len(several) == 1 else _lines(then)
        charts.append(draw_times(lines, title=f"{name}, as known {when}"))
    if grid is not None:
        rule = asked["fill"] or "previous"
        title = f"{name} each {asked['freq']}, between values: {rule}"
        charts.append(draw_times(_lines(grid), title=title, steps=rule == "previous"))
    return charts


def _past_said(asked: Mapping[str, str]) -> str:
    """``at 2026-11-20T10:00Z``, ``1d before each time``."""
    travel, known = asked["travel"].strip(), asked["known"]
    side = "before" if travel.startswith("-") else "after"
    told = [f"at {known}"] if known else []
    return " and ".join([*told, *([f"{travel.lstrip('+-')} {side} each time"] if travel else [])])


def _lines(table: pl.DataFrame) -> dict[str, Line]:
    """A line for each member, the first few."""
    by, column = table.columns[: table.columns.index("time")], table.columns[-1]
    if not by:
        return {column: _line(table, column)}
    parts = table.partition_by(by, as_dict=True, maintain_order=True)
    return {", ".join(map(str, key)): _line(part, column) for key, part in list(parts.items())[:_MEMBERS]}


def _line(table: pl.DataFrame, column: str) -> Line:
    moments = table["time"].dt.epoch("us").to_list()
    return list(zip(moments, table[column].cast(pl.Float64).to_list(), strict=True))


def _values(table: pl.DataFrame) -> dict[str, Any]:
    """The newest rows of an answer."""
    rows = [[_cell(value) for value in row] for row in table.tail(_ROWS).rows()[::-1]]
    return {"count": table.height, "columns": table.columns, "rows": rows}


def _corrections(table: pl.DataFrame) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in table.head(_CORRECTIONS).rows()]
    return {"columns": table.columns, "rows": rows}


def _readers(project: Project, name: str) -> list[str]:
    """The feature views that read the series."""
    source = project.tables.source(name.replace(":", "."))
    return [
        each.name
        for each in project.feature_views()
        if any(leaf.data == source.data for leaf in each.view.source.leaves)
    ]


def _code(name: str, period: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    """The call that answers what the page shows."""
    options = {**period, "of": period["of"] or None, "freq": asked["freq"], "fill": asked["fill"]}
    options |= _past(asked["known"], asked["travel"])
    said = "".join(f", {option}={value!r}" for option, value in options.items() if value)
    return f"project.series.read({name!r}{said})"


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return value if value is None or isinstance(value, bool | int | float) else str(value)
