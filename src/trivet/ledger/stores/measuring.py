"""Writing metrics in SQL: every point is kept, and a row of summary for each name goes along with them.

A batch of points that are all new is added to the summaries by a few comparisons in memory, so a long training costs the
same for each point from the first to the last. Where a point is told again, or a name comes back that the run's record
had given up, the summary is computed anew from the points.

Invariant: after a transaction the summaries are what ``trivet.ledger.records.Summary`` says of the points and the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection

from trivet.ledger.records import Run
from trivet.ledger.stores import rows
from trivet.ledger.stores.statements import Statements

__all__ = ["add_points", "state_metrics"]

Cells: TypeAlias = rows.Cells
_SINGLY = 10  # names of a run whose summaries are sooner read one by one than all at once


def add_points(statements: Statements, connection: Connection, points: Sequence[Cells]) -> None:
    """Record points of runs that exist and are locked; NaN is None already."""
    added = statements.add_metric.each(connection, points)
    all_new = added == len(points)
    if not all_new:
        statements.put_metric.each(connection, points)
    series: defaultdict[tuple[str, str], list[Cells]] = defaultdict(list)
    for point in points:
        series[point["run"], point["name"]].append(point)
    known = _known(statements, connection, series)
    changed = []
    for key, mine in series.items():
        before = known.get(key)
        if all_new and before is not None and before["count"]:
            changed.append(_grown(before, mine))
        elif (after := _anew(statements, connection, before, mine)) is not None:
            changed.append(after)
    statements.put_summary.each(connection, changed)


def state_metrics(statements: Statements, connection: Connection, run: Run, *, new: bool) -> None:
    """Make the summaries of a run be those of its record's metrics: no others, and with these values."""
    kept: dict[str, Any] = {}
    if not new:
        kept = {row["name"]: row for row in statements.summaries(connection, {"one": run.id}).mappings()}
    for name in kept.keys() - run.metrics.keys():
        statements.forget_summary(connection, {"one": run.id, "called": name})
    stated = []
    for name, number in run.metrics.items():
        value = rows.number_cell(number)
        before = kept.get(name)
        if before is None:
            stated.append(_stated(statements, connection, run.id, name, value, new=new))
        elif before["last"] != value:
            own = {} if before["count"] else {"min": value, "max": value}
            stated.append({**before, "last": value, **own})
    statements.put_summary.each(connection, stated)


def _known(
    statements: Statements, connection: Connection, series: Mapping[tuple[str, str], Any]
) -> dict[tuple[str, str], Any]:
    found: list[Any] = []
    names: dict[str, list[str]] = {}
    for run, name in series:
        names.setdefault(run, []).append(name)
    for run, called in names.items():
        if len(called) > _SINGLY:
            found += statements.summaries(connection, {"one": run}).mappings()
        else:
            for name in called:
                found += statements.summary(connection, {"one": run, "called": name}).mappings()
    return {(row["run"], row["name"]): row for row in found}


def _grown(before: Mapping[str, Any], points: Sequence[Cells]) -> Cells:
    """A summary with further points."""
    after = dict(before)
    numbers = [point["value"] for point in points if point["value"] is not None]
    after["min"] = min((*numbers, *_given(before["min"])), default=None)
    after["max"] = max((*numbers, *_given(before["max"])), default=None)
    after["count"] += len(points)
    latest = max(points, key=_place)
    if _place(latest) >= _place(before):
        after.update(last=latest["value"], step=latest["step"], at=latest["at"])
    return after


def _anew(
    statements: Statements, connection: Connection, before: Mapping[str, Any] | None, points: Sequence[Cells]
) -> Cells | None:
    """A summary from the points on record; None where the record gave the name up and these are not its latest."""
    first = points[-1]
    one = {"one": first["run"], "called": first["name"]}
    count, least, most = statements.spread(connection, one).one()
    step, at, value = statements.newest_point(connection, one).one()
    is_latest = (step, at) <= max(_place(point) for point in points)
    if before is None and not is_latest:
        return None
    last = value if before is None or is_latest else before["last"]
    here = {"run": first["run"], "name": first["name"], "last": last}
    return {**here, "step": step, "at": at, "min": least, "max": most, "count": count}


def _stated(
    statements: Statements, connection: Connection, run: str, name: str, value: float | None, *, new: bool
) -> Cells:
    """The summary of a value in the record, with what was measured before if anything was."""
    one = {"one": run, "called": name}
    row = {"run": run, "name": rows.plain(name), "last": value, "step": 0, "at": None}
    count, least, most = (0, value, value) if new else statements.spread(connection, one).one()
    if not count:
        return {**row, "min": value, "max": value, "count": 0}
    step, at, _ = statements.newest_point(connection, one).one()
    return {**row, "step": step, "at": at, "min": least, "max": most, "count": count}


def _place(point: Mapping[str, Any]) -> tuple[int, int]:
    return point["step"], point["at"]


def _given(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)
