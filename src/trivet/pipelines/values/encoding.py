"""Values to numbers by a signature, the same way in training and when answering: one definition, two speeds.

``encode_table`` turns columns into a matrix for training and batches; ``row_encoder`` compiles a signature into a
function from a dict to one row. Categories become their position, truth values 0 and 1, numbers float64; null,
NaN and a category that training has not seen become NaN. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from trivet.errors import Invalid, NotFound
from trivet.types import Digest

__all__ = ["Column", "Signature", "column_of", "encode_table", "row_encoder"]

Matrix: TypeAlias = NDArray[np.float64]
_NAN = float("nan")
_EXPECTED = {"number": "a number", "category": "text", "boolean": "true or false"}


class Column(msgspec.Struct, frozen=True):
    """One input of a model.

    Attributes:
        categories: of a ``category`` column, the values seen in training, sorted; a value is encoded by its place.
        feature: ``view:feature`` where it comes from a feature view, None for a value of the request.
        view: digest of the feature view's artifact.
    """

    name: str
    type: Literal["number", "category", "boolean"]
    categories: tuple[str, ...] | None = None
    feature: str | None = None
    view: Digest | None = None


class Signature(msgspec.Struct, frozen=True):
    """What a model takes, in order, and what it answers: one of ``classes``, or a number where that is None."""

    inputs: tuple[Column, ...]
    target: str
    classes: tuple[bool | int | float | str, ...] | None = None


def column_of(name: str, values: pa.ChunkedArray) -> Column:
    """The column that fits training data.

    Raises:
        Invalid: dates, times and nested values are no inputs of a model.
    """
    kind = values.type.value_type if pt.is_dictionary(values.type) else values.type
    if pt.is_boolean(kind):
        return Column(name, "boolean")
    if _is_number(kind) or pt.is_null(kind):
        return Column(name, "number")
    if _is_text(kind):
        seen = pc.unique(_decoded(values)).drop_null().to_pylist()
        return Column(name, "category", tuple(sorted(seen)))
    what = "a time" if pt.is_temporal(kind) else f"of type {kind}"
    raise Invalid(
        f"The column {name!r} is {what}, which no model takes as it is. Derive a number from it (hour, weekday, age) "
        "or leave it out with features=[...]."
    )


def encode_table(signature: Signature, table: pa.Table) -> Matrix:
    """The matrix of a table, one row for each row and one column for each input.

    Raises:
        NotFound: an input is no column of the table.
        Invalid: a column has values of another type than the signature says.
    """
    matrix = np.empty((table.num_rows, len(signature.inputs)), np.float64)
    for place, column in enumerate(signature.inputs):
        if column.name not in table.column_names:
            raise NotFound("column", column.name, table.column_names)
        matrix[:, place] = _encode_column(column, _decoded(table.column(column.name)))
    return matrix


def row_encoder(signature: Signature) -> Callable[[Mapping[str, Any]], list[float]]:
    """A function from a dict of values to the numbers of one row.

    It raises ``Invalid`` naming the column, the value and what is expected, where a value is missing or has
    another type. Extra keys are ignored. Integers pass as numbers; truth values do not.
    """
    plan = [(column.name, _places(column), column) for column in signature.inputs]

    def encode(values: Mapping[str, Any]) -> list[float]:
        row: list[float] = []
        add = row.append
        for name, places, column in plan:
            try:
                value = values[name]
            except KeyError:
                raise _missing(name, values) from None
            if places is None:
                add(value if value.__class__ is float else _number(column, value))
            elif value.__class__ is str or value.__class__ is bool:
                number = places.get(value)
                add(_unseen(column, value) if number is None else number)
            else:
                add(_other(column, value))
        return row

    return encode


def _places(column: Column) -> dict[str | bool, float] | None:
    """What each value becomes; None for numbers."""
    if column.type == "boolean":
        return {False: 0.0, True: 1.0}
    if column.type == "category":
        return {category: float(place) for place, category in enumerate(column.categories or ())}
    return None


def _number(column: Column, value: Any) -> float:
    if value is None:
        return _NAN
    if isinstance(value, int | float | Decimal | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    raise _mistyped(column, value)


def _unseen(column: Column, value: str | bool) -> float:
    if column.type == "category" and isinstance(value, str):
        return _NAN
    raise _mistyped(column, value)


def _other(column: Column, value: Any) -> float:
    """Nulls and NumPy's scalars for categories and truth values."""
    if value is None or (isinstance(value, float) and value != value):
        return _NAN
    if isinstance(value, np.bool_) and column.type == "boolean":
        return float(value)
    raise _mistyped(column, value)


def _mistyped(column: Column, value: object) -> Invalid:
    return Invalid(f"{column.name} is {value!r}, and {_EXPECTED[column.type]} is expected.")


def _missing(name: str, values: Mapping[str, Any]) -> Invalid:
    given = ", ".join(sorted(map(str, values))) or "nothing"
    return Invalid(f"{name} is missing; there is: {given}. Give null where the value is not known.")


def _encode_column(column: Column, values: pa.ChunkedArray) -> Matrix:
    if pt.is_null(values.type):
        return np.full(len(values), _NAN)
    fits = {"number": _is_number, "category": _is_text, "boolean": pt.is_boolean}[column.type]
    if not fits(values.type):
        first = next((value for value in values.to_pylist() if value is not None), None)
        if first is None:
            return np.full(len(values), _NAN)
        raise _mistyped(column, first)
    if column.type == "category":
        categories = pa.array(column.categories or (), values.type)
        values = pc.index_in(values, categories, skip_nulls=True)
    return _floats(values)


def _floats(values: pa.ChunkedArray) -> Matrix:
    if pt.is_boolean(values.type):
        values = values.cast(pa.uint8())
    elif pt.is_decimal(values.type):
        values = values.cast(pa.float64())
    found: Matrix = values.to_numpy().astype(np.float64)  # integers with nulls arrive as floats with NaN
    return found


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pt.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.large_string()) if _is_text(values.type) else values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))
