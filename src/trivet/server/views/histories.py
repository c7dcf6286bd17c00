"""What became of a definition over time: its versions with what each changed, and statistics on record of a feature."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.ledger import Artifact, RunQuery
from trivet.server.drawing import Point, draw_line
from trivet.types import as_duration

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.features.changes import Change
    from trivet.features.usage import Users
    from trivet.project import Project

__all__ = ["charts_of", "history_of", "over_time", "statistics_of"]

_MOST_VERSIONS, _MOST_SETS = 50, 30
_MOST_BYTES = 64 * 2**20
_LENGTHS = ("1h", "6h", "1d", "7d", "30d", "365d")
_PERIODS_SHOWN = 60


def history_of(project: Project, current: Listed, feature: str = "") -> list[dict[str, Any]]:
    """The versions, the newest first, each with what differs from the one before; of one feature only what touches it."""
    from trivet.features.changes import differences

    versions = project.definition_versions(current.name)[-_MOST_VERSIONS:]
    rows: list[dict[str, Any]] = []
    before: Listed | None = None
    for each in versions:
        changes = [] if before is None else differences(before.definition, each.definition)
        kept = [change for change in changes if not feature or _touches(change, feature)]
        rows.append(
            {
                "version": each.version,
                "digest": each.digest,
                "at": each.applied.isoformat(),
                "by": each.by,
                "why": each.why,
                "current": each.digest == current.digest,
                "has": not feature or feature in getattr(each.definition, "features", ()),
                "changes": [{**msgspec.to_builtins(change), "diff": change.diff} for change in kept],
            }
        )
        before = each
    return rows[::-1]


def _touches(change: Change, feature: str) -> bool:
    return feature in change.features or (not change.features and change.effect != "safe")


def statistics_of(project: Project, users: Users, reference: str) -> list[dict[str, Any]]:
    """What is on record of a feature in the newest training sets, the oldest first.

    Rows and nulls were counted when a set was joined; the rest is there where someone asked for its statistics.
    """
    rows = []
    for use in users.of("training_set")[:_MOST_SETS]:
        found = project.context.ledger.artifact(use.id)
        column = next((each["name"] for each in found.spec["features"] if each["feature"] == reference), None)
        if column is None:
            continue
        report = found.spec["report"]
        count, nulls = report["rows"], (report.get("nulls") or {}).get(column, 0)
        rows.append(
            {
                "training_set": found.digest,
                "name": use.name,
                "at": use.at.isoformat() if use.at else None,
                "version": use.version,
                "rows": count,
                "nulls": nulls,
                "share": nulls / count if count else None,
                **_described(project, found, column),
            }
        )
    return rows[::-1]


def _described(project: Project, found: Artifact, column: str) -> dict[str, Any]:
    """The numbers of one column, where the statistics of the set were worked out."""
    names = ("distinct", "mean", "std", "low", "high")
    for run in project.context.ledger.runs(RunQuery(kind="statistics", input=found.digest, status="finished", limit=1)):
        answer = project.load(project.context.ledger.artifact(run.outputs["result"]))
        for each in answer["columns"]:
            if each["name"] == column:
                levels = each.get("quantiles") or {}
                return {name: each.get(name) for name in names} | {
                    "q05": levels.get("0.05"),
                    "q95": levels.get("0.95"),
                }
    return dict.fromkeys((*names, "q05", "q95"))


def over_time(project: Project, users: Users, reference: str) -> list[str]:
    """The values of a feature by the time at which the newest training set asks: mean, range and nulls of each period.

    Worked out for the page where the set is small enough, and kept while the server runs.
    """
    for use in users.of("training_set"):
        found = project.context.ledger.artifact(use.id)
        column = next((each["name"] for each in found.spec["features"] if each["feature"] == reference), None)
        if column is not None:
            return _periods(project, found.digest, column) if found.size <= _MOST_BYTES else []
    return []


@lru_cache(maxsize=128)
def _periods(project: Project, digest: str, column: str) -> list[str]:
    import polars as pl

    train = project.load(project.context.ledger.artifact(digest))
    table = train.to_lazy().select(pl.col(train.time).alias("__t"), pl.col(column).alias("__v")).collect()
    table = table.drop_nulls("__t").sort("__t")
    if table.height < 2 or not table["__t"].dtype.is_temporal():
        return []
    moments = table["__t"].dt.epoch("us")
    span = int(moments[-1]) - int(moments[0])
    length = next((each for each in _LENGTHS if span <= _PERIODS_SHOWN * as_duration(each)), _LENGTHS[-1])
    value, numeric = pl.col("__v"), table["__v"].dtype.is_numeric()
    finite = value.filter(value.is_finite()) if table["__v"].dtype.is_float() else value
    told = {"mean": finite.mean(), "low": finite.quantile(0.05), "high": finite.quantile(0.95)} if numeric else {}
    made = table.group_by_dynamic("__t", every=length).agg(nulls=100 * value.null_count() / pl.len(), **told)
    days = [f"{moment:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for moment in made["__t"]]
    charts = []
    if numeric:
        rows = zip(days, made["mean"], made["low"], made["high"], strict=True)
        title = f"mean each {length} of training rows, and the range of 90 % of the values"
        charts.append(draw_line([Point(*row) for row in rows], title=title))
    nulls = [Point(day, share) for day, share in zip(days, made["nulls"], strict=True)]
    return [*charts, draw_line(nulls, title=f"nulls each {length} of training rows, in %")]


def charts_of(rows: list[dict[str, Any]]) -> list[str]:
    """Nulls over time, and the mean with the range of nine in ten values where it is known."""
    if len(rows) < 2:
        return []
    charts = []
    if sum(row["mean"] is not None for row in rows) > 1:
        points = [Point((row["at"] or "")[:10], row["mean"], row["q05"], row["q95"]) for row in rows]
        charts.append(draw_line(points, title="mean in training sets, and the range of 90 % of the values"))
    shares = [Point((row["at"] or "")[:10], None if row["share"] is None else 100 * row["share"]) for row in rows]
    return [*charts, draw_line(shares, title="nulls in training sets, in %")]
