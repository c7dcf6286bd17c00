"""Data over time: how many rows each period brought, and what each column looks like in it.

Pure functions of a frame and of the moments of its rows, microseconds since 1970; periods are whole lengths of UTC,
half-open, counted from 1970. Figures do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from trivet.features.definitions import Source
from trivet.features.times import Rules, to_micros
from trivet.types import Micros

__all__ = ["LEVELS", "counts", "in_utc", "known_at", "profile"]

LEVELS = (0.01, 0.25, 0.5, 0.75, 0.99)
_MOMENT = pl.Datetime("us", "UTC")


def in_utc(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the source's times, and others without a zone, as moments of UTC.

    Raises:
        Invalid: a column of times holds something else, or times without a zone and none is declared.
    """
    wanted = [
        column
        for column in frame
        if column.name in source.time_columns
        or (source.timezone and isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None)
    ]
    rules = Rules(
        f"source {source.name!r}",
        timezone=source.timezone,
        ambiguous=source.ambiguous,
        nonexistent=source.nonexistent,
    )
    return frame.with_columns(to_micros(column, rules).cast(_MOMENT).alias(column.name) for column in wanted)


def known_at(source: Source, frame: pl.DataFrame, at: Micros) -> pl.Series:
    """When each row could be known, in microseconds; null where that is not so yet at the moment ``at``.

    Args:
        source: a source with times.
        frame: its rows, as ``in_utc`` answers them.
        at: the moment of the question.
    """
    assert source.times is not None
    known = frame[source.times.known or source.times.event].to_physical() + source.times.after
    seen = known <= at
    if source.created is not None:
        seen = seen & (frame[source.created].to_physical() <= at)
    event = frame[source.times.event]
    visible = (seen & event.is_not_null()).fill_null(value=False)
    return pl.select(pl.when(visible).then(known).alias("known")).to_series()


def counts(moments: pl.Series, per: Micros) -> pl.DataFrame:
    """How many rows fell into each period that has any: ``period`` (its number since 1970) and ``rows``, in order.

    Example:
        >>> counts(pl.Series([0, 5, 25, None]), 10).rows()
        [(0, 2), (2, 1)]
    """
    numbered = pl.DataFrame({"period": moments.drop_nulls().cast(pl.Int64) // per})
    return numbered.group_by("period").agg(pl.len().cast(pl.Int64).alias("rows")).sort("period")


def profile(frame: pl.DataFrame, moments: pl.Series, per: Micros, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Each column in each period that has rows: rows, what is missing, mean, ends, quantiles, distinct values.

    Args:
        frame: the rows.
        moments: when each happened or became known, in microseconds; rows without are left out.
        per: the length of a period in microseconds.
        columns: which; all by default.

    Returns:
        One row for each period and column: ``period`` (where it begins), ``column``, ``rows``, ``nulls``, ``nans``,
        ``distinct``, ``mean``, ``low``, ``high`` and ``q01`` to ``q99`` of finite numbers (the value of a row, not
        between two), null for others.

    Example:
        >>> rows = pl.DataFrame({"delay": [1.0, 3.0, None]})
        >>> profile(rows, pl.Series([0, 1, 12]), 10).select("column", "rows", "nulls", "mean").rows()
        [('delay', 2, 0, 2.0), ('delay', 1, 1, None)]
    """
    wanted = frame.select(frame.columns if columns is None else columns)
    found = [each for start, part in _parts(wanted, moments, per) for each in _described(start, part)]
    return pl.DataFrame(found, schema=_SCHEMA)


_NUMBERS = ("mean", "low", "high", *(f"q{round(100 * level):02}" for level in LEVELS))
_SCHEMA: Any = {
    "period": _MOMENT,
    "column": pl.String,
    **dict.fromkeys(("rows", "nulls", "nans", "distinct"), pl.Int64),
    **dict.fromkeys(_NUMBERS, pl.Float64),
}


def _parts(frame: pl.DataFrame, moments: pl.Series, per: Micros) -> Iterator[tuple[Micros, pl.DataFrame]]:
    """The rows of each period, in the order that they have."""
    numbers = moments.cast(pl.Int64) // per
    order = numbers.arg_sort()[numbers.null_count() :]
    sorted_rows, start = frame[order], 0
    for period, rows in counts(moments, per).rows():
        yield period * per, sorted_rows[start : start + rows]
        start += rows


def _described(start: Micros, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for column in rows:
        plain = not column.dtype.is_nested() and column.dtype not in (pl.Object, pl.Null)
        yield {
            "period": start,
            "column": column.name,
            "rows": len(column),
            "nulls": column.null_count(),
            "nans": int(column.is_nan().sum()) if column.dtype.is_float() else 0,
            "distinct": column.drop_nulls().n_unique() if plain else None,
            **(_of_numbers(column) if column.dtype.is_numeric() else {}),
        }


def _of_numbers(column: pl.Series) -> dict[str, float | None]:
    numbers = column.cast(pl.Float64)
    values = numbers.filter(numbers.is_finite().fill_null(value=False)).rechunk()
    found = [values.mean(), values.min(), values.max(), *(values.quantile(q, "nearest") for q in LEVELS)]
    return dict(zip(_NUMBERS, found, strict=True))  # type: ignore[arg-type]
