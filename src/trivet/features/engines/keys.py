"""Keys of entities as small whole numbers, so that rows of a key can be found by counting.

Keys never collide: ``("1", "12")`` and ``("11", "2")`` are different, and text never equals a number: keys of
different kinds are refused rather than converted. A key with a null in it belongs to no one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid, NotFound

__all__ = ["NULL", "UNKNOWN", "KeyIndex", "key_columns"]

UNKNOWN, NULL = -1, -2
_CODE = "__code"


def key_columns(frame: pl.DataFrame, keys: Sequence[str], owner: str) -> pl.DataFrame:
    """The key columns of ``frame`` in one of the kinds Int64, String, Boolean and Date.

    Raises:
        NotFound: a key column is missing.
        Invalid: a key column is of another kind, or a number with a fraction.
    """
    for key in keys:
        if key not in frame.columns:
            raise NotFound(f"key column in {owner} called", key, frame.columns)
    return pl.DataFrame([_normal(frame[key], owner) for key in keys])


def _normal(column: pl.Series, owner: str) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.String | pl.Boolean | pl.Date | pl.Null):
        return column
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    try:
        if dtype.is_integer():
            return column.cast(pl.Int64)
        if dtype.is_float():  # pandas turns whole numbers with gaps into floats
            whole = column.fill_nan(None).cast(pl.Int64)
            if (whole.cast(dtype) == column.fill_nan(None)).all():
                return whole
    except pl.exceptions.InvalidOperationError as exc:
        raise Invalid(f"Key column {column.name!r} of {owner} has numbers beyond 64 bits. Use text.") from exc
    raise Invalid(
        f"Key column {column.name!r} of {owner} has type {dtype}. Keys are text, whole numbers, booleans or dates."
    )


class KeyIndex:
    """The different keys of a source.

    Attributes:
        codes: for each row of the source its key's code, ``NULL`` where the key has a null; 32 bits where those do.
        size: one more than the greatest code.
    """

    codes: npt.NDArray[Any]
    size: int

    def __init__(self, keys: pl.DataFrame, owner: str) -> None:
        self._owner = owner
        self._schema = keys.schema
        self._base = _dense_base(keys)
        if self._base is not None:
            column = keys.to_series()
            self.size = int(column.max() or 0) - self._base + 1  # type: ignore[arg-type]
            self.codes = _small((column - self._base).fill_null(NULL), self.size)
            return
        self._known = keys.drop_nulls().unique(maintain_order=True).with_row_index(_CODE)
        self.size = len(self._known)
        self.codes = _small(pl.Series(self._join(keys)), self.size)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows each code has; the last two places, found by ``UNKNOWN`` and ``NULL``, hold 0."""
        codes = self.codes if not len(self.codes) or self.codes.min() >= 0 else self.codes[self.codes >= 0]
        return np.bincount(codes, minlength=self.size + 2)

    def lookup(self, keys: pl.DataFrame, owner: str) -> npt.NDArray[np.int64]:
        """The code of each key, ``UNKNOWN`` or ``NULL`` where it has none.

        Raises:
            Invalid: the keys are of another kind than the source's.
        """
        for name, dtype in keys.schema.items():
            own = self._schema[name]
            if dtype != own and pl.Null not in (dtype, own):
                raise Invalid(
                    f"Key {name!r} is {dtype} in {owner} and {own} in {self._owner}, so no row would match. "
                    "Convert one of them."
                )
        if any(own == pl.Null for own in self._schema.values()):
            return np.where(_has_null(keys), NULL, UNKNOWN)
        keys = keys.cast(self._schema)  # a column of nothing but nulls has no type of its own
        if self._base is None:
            return self._join(keys)
        column = keys.to_series()
        known = column.is_between(self._base, self._base + self.size - 1)
        return (
            (column - self._base).zip_with(known.fill_null(value=True), pl.Series([UNKNOWN])).fill_null(NULL).to_numpy()
        )

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of each key column."""
        return self._schema

    def tuples(self, codes: npt.NDArray[np.int64]) -> list[tuple[Any, ...]]:
        """The keys of ``codes`` as the online store wants them."""
        if self._base is not None:
            return [(code + self._base,) for code in codes.tolist()]
        places = pl.Series(codes)
        # column by column: taking rows of the frame wakes all threads for what are mostly a few keys
        return list(zip(*(self._known[name][places].to_list() for name in self._schema), strict=True))

    def _join(self, keys: pl.DataFrame) -> npt.NDArray[np.int64]:
        found = keys.join(self._known, on=keys.columns, how="left", maintain_order="left")[_CODE].cast(pl.Int64)
        codes = found.fill_null(UNKNOWN).to_numpy()
        return np.where(_has_null(keys), NULL, codes) if found.null_count() else codes


def _small(codes: pl.Series, size: int) -> npt.NDArray[Any]:
    return codes.cast(pl.Int32 if size < 1 << 31 else pl.Int64).to_numpy()


def _has_null(keys: pl.DataFrame) -> npt.NDArray[np.bool_]:
    return keys.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()


def _dense_base(keys: pl.DataFrame) -> int | None:
    """The smallest key, where keys are whole numbers so close together that they can be codes by themselves."""
    if keys.width != 1 or keys.dtypes[0] != pl.Int64 or keys.height == keys.null_count().row(0)[0]:
        return None
    column = keys.to_series()
    low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]
    return low if high - low < 4 * keys.height + 1024 else None
