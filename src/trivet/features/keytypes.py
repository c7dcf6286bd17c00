"""The declared types of key columns, asked where keys come in: from sources, spines and requests.

Without a declared type a key is taken as it comes. With one, a column or value of another type is refused with both
types named, because ``7`` and ``"7"`` would silently match nothing. Whole numbers that arrive as floats are whole
numbers: pandas makes them so where there are gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from trivet.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

    from trivet.features.definitions import Entity

__all__ = ["KEY_TYPES", "check_keys", "typed_key"]

KEY_TYPES = ("string", "int", "float", "bool", "date")


def check_keys(entity: Entity, frame: pl.DataFrame, owner: str, *, known: str = "declares") -> None:
    """Refuse a table whose key columns are of other types than ``entity`` declares; missing ones are not asked about.

    ``known`` says how the types are known.

    Raises:
        Invalid: a column is of another type. Column, owner and both types are named.
    """
    for column, declared in zip(entity.keys, entity.types, strict=True):
        if declared is None or column not in frame.columns:
            continue
        if not _column_fits(frame[column], declared):
            raise Invalid(
                f"Key column {column!r} of {owner} has type {frame.schema[column]}, and entity {entity.name!r} {known} "
                f"{declared!r}, so no row would match. Convert the column, or declare another type."
            )


def _column_fits(column: pl.Series, declared: str) -> bool:
    import polars as pl

    dtype = column.dtype
    if dtype == pl.Null:
        return True
    if declared == "int":
        whole = column.drop_nulls().drop_nans() if dtype.is_float() else None
        return dtype.is_integer() or (whole is not None and bool((whole == whole.floor()).all()))
    accepted: dict[str, tuple[Any, ...]] = {
        "string": (pl.String, pl.Categorical, pl.Enum),
        "bool": (pl.Boolean,),
        "date": (pl.Date,),
        "float": (pl.Float32, pl.Float64),
    }
    return isinstance(dtype, accepted[declared]) or (declared == "float" and dtype.is_integer())


def typed_key(entity: Entity, values: Sequence[Any], *, known: str = "is declared as") -> tuple[Any, ...]:
    """The key of a request, in the declared types; nulls stay. ``known`` says how they are known.

    Raises:
        Invalid: a value is of another type. The key and both types are named.

    Example:
        >>> from trivet.features import Entity
        >>> typed_key(Entity("flight", keys={"number": "int", "day": "date"}), (7.0, date(2013, 1, 1)))
        (7, '2013-01-01')
    """
    return tuple(
        value if value is None or declared is None else _typed(entity, name, declared, value, known)
        for name, declared, value in zip(entity.keys, entity.types, values, strict=True)
    )


def _typed(entity: Entity, name: str, declared: str, value: Any, known: str) -> Any:
    plain = value.item() if type(value).__module__ == "numpy" else value
    fitting = _CONVERTED[declared](plain)
    if fitting is None:
        raise Invalid(
            f"Key {name!r} of entity {entity.name!r} is {plain!r}, of type {type(plain).__name__}, and {known} "
            f"{declared!r}. Give {'an' if declared == 'int' else 'a'} {declared}, or nothing would be found."
        )
    return fitting


def _int(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> float | int | None:
    """Whole numbers are kept as integers, in the online store as in the engines."""
    whole = _int(value)
    return whole if whole is not None else value if isinstance(value, float) else None


def _date(value: Any) -> str | None:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            return None
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else None


_CONVERTED: Mapping[str, Any] = {
    "string": lambda value: value if isinstance(value, str) else None,
    "bool": lambda value: value if isinstance(value, bool) else None,
    "int": _int,
    "float": _float,
    "date": _date,
}
