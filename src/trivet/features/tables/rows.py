"""Rows as a table keeps them: few types, times in UTC, and every row that breaks a rule set aside with its reason.

Numbers are kept as int64 or float64, so that a batch whose column happens to be narrower fits; times are whole
microseconds. A conversion that would change a value is refused, with one exception: declared times are cut to
microseconds, as everywhere in Trivet. Nothing is dropped: what is not accepted is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.tables.rules import ARRIVED, TableRules
from trivet.features.times import Rules, to_micros

__all__ = ["Check", "Sorted", "fit", "sort_out", "stored_type"]

Check: TypeAlias = "Callable[[pl.DataFrame], pl.Series | None]"
"""Answers for each row why it is refused, as text, or null where it is not; None accepts all."""

EXACT = 2**53
"""Up to here float64 holds every whole number."""
TIME = pl.Datetime("us", "UTC")
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


@dataclass(frozen=True)
class Sorted:
    """A batch, sorted out.

    Attributes:
        accepted: the rows that keep all rules, as the table keeps them.
        reasons: why each other row is refused.
        refused: those rows as JSON, as they came.
    """

    accepted: pl.DataFrame
    reasons: list[str]
    refused: list[str]


def sort_out(table: str, batch: pl.DataFrame, rules: TableRules, checks: Check | None = None) -> Sorted:
    """Convert a batch and part the rows that break rules from the others.

    Raises:
        Invalid: a column has a type that tables do not keep, or the name that Trivet uses.
        NotFound: a declared column is missing.
    """
    _check_columns(table, batch, rules)
    rows = batch.with_columns(_stored(table, column) for column in batch if column.name not in rules.times)
    reasons = pl.Series("reason", [None] * batch.height, pl.String)
    for name in rules.times:
        moments, trouble = _moments(table, batch[name], rules)
        rows = rows.with_columns(moments)
        reasons = _first(reasons, trouble)
    if rules.event_time is not None:
        missing = rows[rules.event_time].is_null()
        reasons = _first(reasons, _where(missing, f"there is no event time in {rules.event_time!r}"))
    for name in rules.key:
        empty = rows[name].is_null() | (rows[name].is_nan() if rows[name].dtype == pl.Float64 else False)
        reasons = _first(reasons, _where(empty, f"the key {name!r} is empty"))
    if checks is not None:
        reasons = _first(reasons, _checked(rows, reasons, checks))
    accepted = rows.filter(reasons.is_null()).drop(name for name, kind in rows.schema.items() if kind == pl.Null)
    broken = reasons.is_not_null()
    return Sorted(accepted, reasons.filter(broken).to_list(), [as_json(row) for row in batch.filter(broken).to_dicts()])


def fit(table: str, rows: pl.DataFrame, schema: pl.Schema, fixed: Sequence[str]) -> tuple[pl.DataFrame, pl.Schema]:
    """Rows and stored columns brought together: the rows with all columns, and the schema that holds both.

    New columns are added. Whole numbers go into a column of float64 where they are exact, whole floats into one of
    int64; a column of int64 that meets fractions becomes float64, unless it is ``fixed``.

    Raises:
        Invalid: a column has another type than the table.
    """
    wanted = dict(schema)
    for column in rows:
        known = wanted.setdefault(column.name, column.dtype)
        if known == column.dtype:
            continue
        if known == pl.Int64 and column.dtype == pl.Float64 and column.name not in fixed and not _whole(column):
            wanted[column.name] = pl.Float64()
        elif not _fits(column, known):
            raise Invalid(
                f"The column {column.name!r} of table {table!r} holds {known}, and the new rows hold {column.dtype}. "
                "Nothing was written. Convert it before, or give it another name."
            )
    whole = pl.Schema(wanted)
    missing = [pl.lit(None, kind).alias(name) for name, kind in whole.items() if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in whole.items()), whole


def stored_type(kind: pl.DataType) -> pl.DataType | None:
    """The type under which a table keeps a column, or None where it has none.

    Example:
        >>> stored_type(pl.Int8()), stored_type(pl.Categorical()), stored_type(pl.Time())
        (Int64, String, None)
    """
    if isinstance(kind, _INTEGERS):
        return pl.Int64()
    if isinstance(kind, pl.Float32 | pl.Float64):
        return pl.Float64()
    if isinstance(kind, pl.Categorical | pl.Enum | pl.String):
        return pl.String()
    if isinstance(kind, pl.Datetime):
        return pl.Datetime("us", "UTC" if kind.time_zone else None)
    if isinstance(kind, pl.Boolean | pl.Date | pl.Binary | pl.Decimal | pl.Null | pl.List | pl.Struct):
        return kind
    return None


def as_json(row: dict[str, Any]) -> str:
    """A row as JSON text, as readable as its types allow."""
    return msgspec.json.encode(row, enc_hook=str).decode()


def _check_columns(table: str, batch: pl.DataFrame, rules: TableRules) -> None:
    for name in (*rules.key, *rules.times):
        if name not in batch.columns:
            raise NotFound(f"column in the rows for table {table!r} called", name, batch.columns)
    if rules.created in batch.columns:
        raise Invalid(
            f"The rows for table {table!r} have a column {rules.created!r}, in which Trivet keeps when a row reached "
            "it. Make the table with created='reached_us' or the like."
        )
    if ARRIVED in batch.columns:
        raise Invalid(f"The rows for table {table!r} have a column {ARRIVED!r}, which Trivet fills. Name it otherwise.")


def _stored(table: str, column: pl.Series) -> pl.Series:
    kind = stored_type(column.dtype)
    if kind is None:
        raise Invalid(
            f"The column {column.name!r} of the rows for table {table!r} is of type {column.dtype}, which tables do not "
            "keep. Make it a number, text, a time or a date."
        )
    converted = column.cast(kind, strict=False)
    changed = converted.null_count() != column.null_count()
    if isinstance(column.dtype, pl.Datetime):
        changed = changed or not converted.cast(column.dtype).equals(column)
    if changed:
        raise Invalid(
            f"The column {column.name!r} of the rows for table {table!r} holds values that {kind} cannot: numbers from "
            "2**63 or fractions of a microsecond. Nothing was written. Convert it before."
        )
    return converted


def _moments(table: str, column: pl.Series, rules: TableRules) -> tuple[pl.Series, pl.Series]:
    """The times of a column in UTC, and for each row what is wrong with its own."""
    trouble = pl.Series("reason", [None] * len(column), pl.String)
    if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
        wrong = [text for text in column.drop_nulls().unique() if not _is_time(text)]
        hit = column.is_in(wrong) & column.is_not_null()
        told = pl.format("{} in {} is no time", column, pl.lit(repr(column.name)))
        trouble = pl.select(pl.when(hit).then(told)).to_series()
        column = pl.select(pl.when(~hit).then(column).alias(column.name)).to_series()
    remedy = "Write them as 2026-11-20T10:00:00Z, or make the table with a timezone."
    micros = to_micros(
        column, Rules(f"the rows for table {table!r}", remedy, timezone=rules.timezone, advice="Give times in UTC.")
    )
    return micros.cast(TIME).alias(column.name), trouble


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _checked(rows: pl.DataFrame, reasons: pl.Series, checks: Check) -> pl.Series:
    found: object = checks(rows)
    if found is None:
        return reasons
    if not isinstance(found, pl.Series) or len(found) != rows.height or found.dtype not in (pl.String, pl.Null):
        raise Invalid(f"A check must answer a Series of reasons, one text or null for each of the {rows.height} rows.")
    return found.cast(pl.String)


def _where(hit: pl.Series, reason: str) -> pl.Series:
    return pl.select(pl.when(hit).then(pl.lit(reason))).to_series()


def _first(reasons: pl.Series, more: pl.Series) -> pl.Series:
    return reasons.zip_with(reasons.is_not_null(), more)


def _whole(column: pl.Series) -> bool:
    """Whether floats are whole numbers that int64 and float64 hold alike."""
    return bool(((column == column.floor()) & (column.abs() <= EXACT)).all())


def _fits(column: pl.Series, kind: pl.DataType) -> bool:
    """Whether every value goes into ``kind`` unchanged."""
    if kind == pl.Float64 and column.dtype == pl.Int64:
        return bool((column.abs() <= EXACT).all())
    if kind == pl.Int64 and column.dtype == pl.Float64:
        return _whole(column)
    return column.null_count() == len(column)
