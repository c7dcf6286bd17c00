"""Conditions over whole tables: a ``Predicate`` as a Polars expression, with the meaning that ``predicates.holds`` has.

Polars would bring both sides of a comparison to a common type, which for whole numbers may be a double. Here a
literal is brought to the column instead, exactly: for a column of whole numbers ``x < 2.5`` is ``x <= 2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.predicates import (
    Column,
    Compare,
    Either,
    Every,
    IsNull,
    IsTrue,
    Kind,
    Not,
    OneOf,
    Predicate,
    Value,
    check_kinds,
    kind_of,
)

__all__ = ["expression", "satisfied"]

Schema = Mapping[str, pl.DataType]
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_MOMENT = pl.Datetime("us", "UTC")


def satisfied(predicate: Predicate, frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows satisfy the condition; those of which it is unknown do not.

    Raises:
        Invalid: a column is of another kind than what it is compared with.

    Example:
        >>> from trivet.features.predicates import parse
        >>> satisfied(parse("x > 1 or s = 'a'"), pl.DataFrame({"x": [1, 2, None], "s": ["b", None, None]})).tolist()
        [False, True, False]
    """
    found = frame.lazy().select(expression(predicate, frame.schema).fill_null(value=False).alias("found"))
    return found.collect(engine="in-memory").to_series().to_numpy()


def expression(predicate: Predicate, schema: Schema) -> pl.Expr:
    """The condition for columns of these types: true, false or null.

    Raises:
        Invalid: a column is of another kind than what it is compared with.
    """
    match predicate:
        case Compare(left, operator, Column() as right):
            return _columns(predicate, left, operator, right, schema)
        case Compare(left, operator, Value() as right):
            return _literal(predicate, left, operator, right, schema)
        case OneOf(column, values):
            return _one_of(predicate, column, values, schema)
        case IsNull(column):
            return pl.col(column.name).is_null()
        case IsTrue(column):
            return _literal(predicate, column, "=", Value(True), schema)
        case Not(part):
            return ~expression(part, schema)
        case Every(parts):
            return pl.all_horizontal(expression(part, schema) for part in parts)
        case Either(parts):
            return pl.any_horizontal(expression(part, schema) for part in parts)
        case _:
            raise TypeError(type(predicate))


def _columns(predicate: Predicate, left: Column, operator: str, right: Column, schema: Schema) -> pl.Expr:
    types = schema[left.name], schema[right.name]
    kinds = [_kind(predicate, column, schema) for column in (left, right)]
    if kinds[0] is None or kinds[1] is None:
        return pl.lit(None, pl.Boolean)
    check_kinds(predicate, kinds[0], kinds[1])
    one, other = (_comparable(column, schema) for column in (left, right))
    if any(dtype.is_float() for dtype in types):
        one, other = one.cast(pl.Float64), other.cast(pl.Float64)
    elif all(dtype.is_integer() for dtype in types) and types[0] != types[1]:
        one, other = one.cast(pl.Int128), other.cast(pl.Int128)
    found: pl.Expr = _OPERATORS[operator](one, other)
    return found


def _literal(predicate: Predicate, column: Column, operator: str, literal: Value, schema: Schema) -> pl.Expr:
    kind, other = _kind(predicate, column, schema), kind_of(literal.value)
    if kind is None or other is None:
        return pl.lit(None, pl.Boolean)
    check_kinds(predicate, kind, other)
    dtype, value = schema[column.name], literal.value
    if kind == "numbers" and not dtype.is_float():
        return _exact(pl.col(column.name), operator, Fraction(value), dtype)  # type: ignore[arg-type]
    if kind == "numbers":
        value = float(value)  # type: ignore[arg-type, assignment]
    found: pl.Expr = _OPERATORS[operator](_comparable(column, schema), pl.lit(value, _TYPES[kind]))
    return found


def _one_of(predicate: Predicate, column: Column, values: tuple[Value, ...], schema: Schema) -> pl.Expr:
    kind, other = _kind(predicate, column, schema), kind_of(values[0].value)
    if kind is None or other is None:
        return pl.lit(None, pl.Boolean)
    check_kinds(predicate, kind, other)
    dtype, found = schema[column.name], [each.value for each in values]
    if kind != "numbers" or dtype.is_float():
        wanted = pl.Series([float(x) for x in found] if kind == "numbers" else found, dtype=_TYPES[kind])  # type: ignore[arg-type]
        return _comparable(column, schema).is_in(wanted.implode())
    bounds = [_Bound.of(Fraction(number), dtype) for number in found]  # type: ignore[arg-type]
    wanted = pl.Series([each.value for each in bounds if each.exact and each.inside], dtype=dtype)
    return pl.col(column.name).is_in(wanted.implode())


_TYPES: dict[Kind, Any] = {
    "numbers": pl.Float64,
    "text": pl.String,
    "truth values": pl.Boolean,
    "times": _MOMENT,
    "dates": pl.Date,
}


def _exact(column: pl.Expr, operator: str, number: Fraction, dtype: pl.DataType) -> pl.Expr:
    """A column of integers or decimals beside any number."""
    bound = _Bound.of(number, dtype)
    if not bound.inside or (not bound.exact and operator in ("=", "!=")):
        always = operator in (("<", "<=", "!=") if bound.above else (">", ">=", "!="))
        return pl.when(column.is_not_null()).then(pl.lit(value=always))
    if not bound.exact:
        operator = "<=" if operator in ("<", "<=") else ">"
    found: pl.Expr = _OPERATORS[operator](column, pl.lit(bound.value).cast(dtype))
    return found


@dataclass(frozen=True)
class _Bound:
    """The greatest value of a column's type that is not above some number.

    Attributes:
        value: it, if the type has it.
        exact: whether it is the number itself; if not, no value of the type lies between the two.
        inside: whether the type has it.
        above: whether it is greater than the smallest value of the type.
    """

    value: int | Decimal
    exact: bool
    inside: bool
    above: bool

    @classmethod
    def of(cls, number: Fraction, dtype: pl.DataType) -> _Bound:
        scale = dtype.scale if isinstance(dtype, pl.Decimal) else 0
        units = math.floor(number * 10**scale)
        low, high = _limits(dtype)
        digits = Decimal(units).as_tuple()
        value = Decimal((digits.sign, digits.digits, -scale)) if isinstance(dtype, pl.Decimal) else units
        return cls(value, units == number * 10**scale, low <= units <= high, units >= low)


def _limits(dtype: pl.DataType) -> tuple[int, int]:
    if isinstance(dtype, pl.Decimal):
        most = 10**dtype.precision - 1
        return -most, most
    low, high = pl.select(low=dtype.min(), high=dtype.max()).row(0)  # type: ignore[attr-defined]
    return low, high


def _comparable(column: Column, schema: Schema) -> pl.Expr:
    """A column in the order that the kind has, whatever the type."""
    dtype, values = schema[column.name], pl.col(column.name)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return values.cast(pl.Float64) if dtype.is_float() else values


def _kind(predicate: Predicate, column: Column, schema: Schema) -> Kind | None:
    """What a column holds; None for nothing but nulls."""
    dtype = schema[column.name]
    if dtype == pl.Null:
        return None
    if dtype.is_numeric():
        return "numbers"
    for types, kind in _KINDS:
        if isinstance(dtype, types) and not (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
            return kind
    raise Invalid(
        f"The condition '{predicate}' takes column {column.name!r}, which has type {dtype}. Numbers, text, truth values, dates "
        "and times with a zone compare: convert the column in the source."
    )


_KINDS: list[tuple[Any, Kind]] = [
    (pl.String | pl.Categorical | pl.Enum, "text"),
    (pl.Boolean, "truth values"),
    (pl.Datetime, "times"),
    (pl.Date, "dates"),
]
