"""Columns that say when, as whole microseconds since 1970 in UTC, the only form of time inside the engines.

Accepted are datetimes of any unit with a zone, and dates, datetimes and ISO 8601 text without one where a zone is
declared. Finer units are cut to whole microseconds. A null stays null: never known. Numbers are refused, because
nothing says what they count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from trivet.errors import Invalid

__all__ = ["Rules", "to_micros"]


@dataclass(frozen=True)
class Rules:
    """How to read the times of one table.

    Attributes:
        owner: whose columns they are, for errors: ``source 'flights'``, ``the spine``.
        remedy: what to do about a time without a zone.
        timezone: the zone of times that have none.
        ambiguous, nonexistent: what to do about local times that happen twice or never.
        advice: what to do about such a time.
    """

    owner: str
    remedy: str = "Declare it with timezone='America/New_York' or whatever zone it is."
    timezone: str | None = None
    ambiguous: str = "raise"
    nonexistent: str = "raise"
    advice: str = "Give times in UTC, or declare {rule}={options}."


def to_micros(column: pl.Series, rules: Rules) -> pl.Series:
    """Microseconds since 1970 of each time in ``column``, as Int64.

    Raises:
        Invalid: the column holds no times, lacks a zone, or has local times that happen twice or never and no
            rule says what to do.

    Example:
        >>> local = pl.Series("t", ["2013-07-01T05:00:00"])
        >>> to_micros(local, Rules("source 'flights'", timezone="America/New_York"))[0]
        1372669200000000
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Null):
        return column.cast(pl.Int64)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _from_text(column.cast(pl.String), rules)
    if isinstance(dtype, pl.Date):
        return _localised(column.cast(pl.Datetime("us")), rules)
    if not isinstance(dtype, pl.Datetime):
        raise Invalid(
            f"Column {column.name!r} of {rules.owner} has type {dtype}, which is no time. "
            "Make it a datetime or ISO 8601 text such as 2013-11-03T01:30:00Z."
        )
    if dtype.time_zone is None:
        return _localised(column.cast(pl.Datetime("us")), rules)
    return column.cast(pl.Datetime("us", dtype.time_zone)).to_physical()


def _localised(column: pl.Series, rules: Rules) -> pl.Series:
    """Naive datetimes as instants of the declared zone."""
    if rules.timezone is None:
        if column.null_count() == len(column):
            return column.to_physical()
        raise Invalid(f"Column {column.name!r} of {rules.owner} has times without a zone. {rules.remedy}")
    earliest = column.dt.replace_time_zone(rules.timezone, ambiguous="earliest", non_existent="null")
    latest = column.dt.replace_time_zone(rules.timezone, ambiguous="latest", non_existent="null")
    _refuse(column, rules, column.is_not_null() & earliest.is_null(), "nonexistent", "never happened")
    twice = (earliest != latest).fill_null(value=False)
    _refuse(column, rules, twice, "ambiguous", "happened twice")
    chosen = latest if rules.ambiguous == "latest" else earliest
    if rules.ambiguous == "null":
        chosen = chosen.set(twice, None)
    return chosen.to_physical()


def _refuse(column: pl.Series, rules: Rules, hit: pl.Series, rule: str, what: str) -> None:
    number = int(hit.sum())
    if number and getattr(rules, rule) == "raise":
        options = "'earliest', 'latest' or 'null'" if rule == "ambiguous" else "'null'"
        raise Invalid(
            f"{number} of {len(column)} times in column {column.name!r} of {rules.owner} {what} in {rules.timezone}, "
            f"first {column.filter(hit)[0].isoformat()}. {rules.advice.format(rule=rule, options=options)}"
        )


def _from_text(column: pl.Series, rules: Rules) -> pl.Series:
    """ISO 8601 text, with or without zones, each different text parsed once."""
    different = column.drop_nulls().unique()
    parsed = [_parse(text, column.name, rules) for text in different]
    zoned = [each if each.tzinfo is not None else None for each in parsed]
    naive = [each if each.tzinfo is None else None for each in parsed]
    instants = pl.Series(column.name, [each and each.astimezone(UTC) for each in zoned], pl.Datetime("us", "UTC"))
    wall = _localised(pl.Series(column.name, naive, pl.Datetime("us")), rules)
    micros = instants.to_physical().zip_with(instants.is_not_null(), wall)
    return column.replace_strict(different, micros, default=None, return_dtype=pl.Int64)


def _parse(text: str, column: str, rules: Rules) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise Invalid(
            f"Column {column!r} of {rules.owner} holds {text!r}, which is no time. Write it as 2013-11-03T01:30:00Z."
        ) from exc
