"""Values of databases as columns of Arrow types, batch by batch, with one type for a column in all batches.

Decimals become floats of 64 bits; identifiers (UUID) become text; what has no column type of its own (JSON, arrays)
becomes JSON text. A column whose values are of several types, which SQLite allows, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow.parquet as pq
import sqlalchemy as sa

from trivet.errors import Invalid

__all__ = ["Cells"]

_TYPES: tuple[tuple[type[sa.types.TypeEngine[Any]], pl.DataType], ...] = (
    (sa.Boolean, pl.Boolean()),
    (sa.Integer, pl.Int64()),
    (sa.Numeric, pl.Float64()),
    (sa.Uuid, pl.String()),
    (sa.String, pl.String()),
    (sa.LargeBinary, pl.Binary()),
    (sa.Date, pl.Date()),
    (sa.Time, pl.Time()),
    (sa.Interval, pl.Duration("us")),
    (sa.JSON, pl.String()),
    (sa.ARRAY, pl.String()),
)
_NATURAL: tuple[tuple[type, pl.DataType], ...] = (
    (bool, pl.Boolean()),
    (int, pl.Int64()),
    (float, pl.Float64()),
    (str, pl.String()),
    (bytes, pl.Binary()),
    (datetime, pl.Datetime("us")),
    (date, pl.Date()),
    (time, pl.Time()),
    (timedelta, pl.Duration("us")),
)


class Cells:
    """The columns of one source.

    Args:
        source: its name, for errors.
        types: the types that the database declares, by column.
    """

    def __init__(self, source: str, types: Mapping[str, sa.types.TypeEngine[Any]]) -> None:
        self._source = source
        self._declared = {name: _declared(kind) for name, kind in types.items()}
        self._told = {name for name, kind in types.items() if isinstance(kind, sa.JSON)}  # whatever it is, as text

    def frame(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        """Some rows.

        Raises:
            Invalid: a column holds values of several types, or numbers beyond 64 bits.
        """
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return pl.DataFrame([self._column(name, list(map(_plain, v))) for name, v in zip(names, columns, strict=True)])

    def _column(self, name: str, values: list[Any]) -> pl.Series:
        dtype = self._declared[name]
        if name in self._told:
            values = [value if value is None else str(value) for value in values]
        if dtype is None:
            kinds = {type(value) for value in values if value is not None}
            dtype = pl.Float64() if kinds == {int, float} else _natural(values)
        if isinstance(dtype, pl.Float64):
            values = [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in values]
        try:
            return pl.Series(name, values, dtype=dtype, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as exc:
            found = sorted({type(value).__name__ for value in values if value is not None})
            raise Invalid(
                f"Column {name!r} of source {self._source!r} holds values that are no {dtype}: it has {', '.join(found)}. "
                "Convert it in the database, for example with query='SELECT CAST(...)'."
            ) from exc

    def write(self, frames: Iterator[pl.DataFrame], to: Path) -> None:
        """Write ``frames`` one after another as one Parquet file, each only once in memory.

        Raises:
            Invalid: as ``frame``; also where a column has another type in a later batch.
        """
        parts = to.with_suffix(".parts")
        parts.mkdir()
        schema: dict[Any, pl.DataType] = {name: dtype or pl.Null() for name, dtype in self._declared.items()}
        number = 0
        for number, frame in enumerate(frames, 1):
            frame.write_ipc(parts / f"{number:09}")
            schema = {name: self._common(name, schema[name], dtype) for name, dtype in frame.schema.items()}
        empty = pl.DataFrame(schema=schema)
        with pq.ParquetWriter(to, empty.to_arrow().schema) as writer:
            for part in range(1, number + 1):
                frame = pl.read_ipc(parts / f"{part:09}")
                writer.write_table(frame.cast(schema).to_arrow())
                (parts / f"{part:09}").unlink()
        parts.rmdir()

    def _common(self, name: str, one: pl.DataType, other: pl.DataType) -> pl.DataType:
        if one == other or other == pl.Null():
            return one
        if one == pl.Null():
            return other
        if one.is_numeric() and other.is_numeric():
            return pl.Float64()
        raise Invalid(
            f"Column {name!r} of source {self._source!r} holds values of several types: {one} and {other}. "
            "Convert it in the database, for example with query='SELECT CAST(...)'."
        )


def _declared(kind: sa.types.TypeEngine[Any]) -> pl.DataType | None:
    if isinstance(kind, sa.DateTime):
        return pl.Datetime("us", "UTC" if kind.timezone else None)
    return next((dtype for each, dtype in _TYPES if isinstance(kind, each)), None)


def _natural(values: Sequence[Any]) -> pl.DataType:
    first = next((value for value in values if value is not None), None)
    if first is None:
        return pl.Null()
    if isinstance(first, datetime) and first.tzinfo is not None:
        return pl.Datetime("us", "UTC")
    return next((dtype for kind, dtype in _NATURAL if isinstance(first, kind)), pl.String())


def _plain(value: Any) -> Any:
    convert = _CONVERT.get(type(value))
    return value if convert is None else convert(value)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC)


_CONVERT: Mapping[type, Callable[[Any], Any]] = {
    Decimal: float,
    UUID: str,
    memoryview: bytes,
    dict: _as_text,
    list: _as_text,
    datetime: _in_utc,
}
