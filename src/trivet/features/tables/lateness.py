"""How late the rows of a table are: the time from when each could be known (else happened) to when it reached us."""

from __future__ import annotations

import msgspec
import polars as pl

from trivet.features.tables.rules import ARRIVED, TableRules

__all__ = ["Lateness", "lateness"]


class Lateness(msgspec.Struct, frozen=True):
    """Of the rows that have a time and did not come as history, by the rows themselves and no estimate.

    Attributes:
        rows: how many there are.
        late: how many reached us after a row of a later time, one that was not still to come.
        median, most_of_all, worst: seconds from that time to the arrival: half of the rows, 95 % of them, and all arrived
            within; None without rows, or where the table knows no time but that of the arrival.
    """

    rows: int
    late: int = 0
    median: float | None = None
    most_of_all: float | None = None
    worst: float | None = None


def lateness(rows: pl.LazyFrame, rules: TableRules) -> Lateness:
    """The lateness of all ``rows`` of a table, corrections included. History counts as of its time, so it is left out.

    Example:
        >>> from datetime import UTC, datetime
        >>> moments = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(4)]
        >>> rows = pl.LazyFrame({"at": [moments[1], moments[0]], "created": [moments[2], moments[3]]})
        >>> lateness(rows, TableRules(event_time="at", created="created"))
        Lateness(rows=2, late=1, median=3600.0, most_of_all=10800.0, worst=10800.0)
    """
    if rules.arrival is None or rules.arrival not in rows.collect_schema():
        return Lateness(int(rows.select(pl.len()).collect().item()))
    rows = rows.filter(pl.col(ARRIVED).is_null()) if ARRIVED in rows.collect_schema() else rows
    event, created = (pl.col(name).to_physical() for name in (rules.arrival, rules.created))
    times = rows.select(event=event, created=created).drop_nulls().sort("created", "event")
    newest = (
        times.filter(pl.col("event") <= pl.col("created"))
        .group_by("created", maintain_order=True)
        .agg(pl.col("event").max().alias("newest"))
    )
    newest = newest.with_columns(pl.col("newest").cum_max(), (pl.col("created") + 1).alias("after")).drop("created")
    joined = times.join_asof(newest, left_on="created", right_on="after", check_sortedness=False)
    told = joined.select(
        rows=pl.len(),
        late=(pl.col("event") < pl.col("newest")).fill_null(value=False).sum(),
        delay=((pl.col("created") - pl.col("event")).clip(0).sort() / 1e6).implode(),
    ).collect()
    count, late, delays = told.row(0)
    if not count:
        return Lateness(0)
    quantiles = [delays[max(0, -(-count * level // 100) - 1)] for level in (50, 95, 100)]
    return Lateness(count, late, *quantiles)
