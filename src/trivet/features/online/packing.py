"""Columns to rows: the bytes that ``encode_row`` would write for equal values, a hundred thousand rows at a time.

A MessagePack number may be written at full width, so the rows of one pattern of nulls have one layout and NumPy fills them
all at once; text is joined in between. What decodes a row cannot tell who wrote it, and nothing is versioned for it. Rows
of too many patterns are encoded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.features.online.contract import Row
from trivet.features.online.encoding import encode_row
from trivet.types import Micros

__all__ = ["TimesColumn", "pack_rows"]

Mask: TypeAlias = npt.NDArray[np.bool_]
TimesColumn: TypeAlias = "tuple[npt.NDArray[np.int64], Mask] | None"
"""The times of one column and where there is one; None where all are the moment of the rows."""

_MOST_PATTERNS = 64
_INT, _FLOAT = np.dtype(">i8"), np.dtype(">f8")
_MARKS = {_INT: 0xD3, _FLOAT: 0xCB}
_encode = msgspec.msgpack.Encoder().encode


def pack_rows(moment: Micros, values: Sequence[pl.Series], times: Sequence[TimesColumn]) -> list[bytes]:
    """A row for each place of ``values``, as of ``moment``.

    Args:
        moment: of all rows.
        values: one column per feature: numbers, text, booleans, or nothing but nulls.
        times: the event times of each.

    Raises:
        Invalid: a value has no MessagePack form.

    Example:
        >>> from trivet.features.online.encoding import decode_row
        >>> decode_row(pack_rows(9, [pl.Series([1.5, None])], [None])[1])
        Row(as_of=9, values=[None], times=[9])
    """
    size = len(values[0])
    columns = [_plain(column) for column in values]
    gaps = [_nulls(column) for column in columns]
    absent = [np.zeros(size, np.bool_) if each is None else ~each[1] for each in times]
    patterns, which = _patterns([*gaps, *absent])
    if len(patterns) > _MOST_PATTERNS or any(column.dtype == pl.UInt64 for column in columns):
        return _one_by_one(moment, columns, times)
    rows: list[bytes] = []
    order = np.empty(size, np.int64)
    for number, pattern in enumerate(patterns):
        places = np.flatnonzero(which == number) if len(patterns) > 1 else None
        order[slice(None) if places is None else places] = np.arange(
            len(rows), size if places is None else len(rows) + len(places)
        )
        rows += _of_pattern(moment, pattern, columns, times, places, size if places is None else len(places))
    return rows if len(patterns) == 1 else [rows[place] for place in order.tolist()]


class _Layout:
    """The parts of rows of one pattern: runs of fixed width, and lists of bytes between them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._fields: list[tuple[npt.NDArray[Any] | bytes, np.dtype[Any]]] = []
        self._parts: list[list[bytes]] = []

    def fixed(self, data: bytes) -> None:
        self._fields.append((data, np.dtype(f"V{len(data)}")))

    def numbers(self, data: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
        self._fields += [(bytes([_MARKS[dtype]]), np.dtype("V1")), (data, dtype)]

    def flags(self, data: npt.NDArray[np.bool_]) -> None:
        self._fields.append((data + np.uint8(0xC2), np.dtype("u1")))

    def texts(self, data: list[bytes]) -> None:
        self._close()
        self._parts.append(data)

    def rows(self) -> list[bytes]:
        self._close()
        return self._parts[0] if len(self._parts) == 1 else list(map(b"".join, zip(*self._parts, strict=True)))

    def _close(self) -> None:
        if not self._fields:
            return
        block = np.empty(self._size, [(f"f{place}", dtype) for place, (_, dtype) in enumerate(self._fields)])
        for place, (data, dtype) in enumerate(self._fields):
            block[f"f{place}"] = np.frombuffer(data, dtype)[0] if isinstance(data, bytes) else data
        self._parts.append(block.view(f"V{block.dtype.itemsize}").tolist())
        self._fields = []


def _of_pattern(
    moment: Micros,
    pattern: Sequence[bool],
    columns: Sequence[pl.Series],
    times: Sequence[TimesColumn],
    places: npt.NDArray[np.int64] | None,
    size: int,
) -> list[bytes]:
    layout, now = _Layout(size), _encode(moment)
    layout.fixed(b"\x93" + now + _array_of(len(columns)))
    for column, null in zip(columns, pattern[: len(columns)], strict=True):
        if null:
            layout.fixed(b"\xc0")
        else:
            _add(layout, column if places is None else column.gather(places))
    layout.fixed(_array_of(len(times)))
    for when, none in zip(times, pattern[len(columns) :], strict=True):
        if none or when is None:
            layout.fixed(b"\xc0" if none else now)
        else:
            layout.numbers(when[0] if places is None else when[0][places], _INT)
    return layout.rows()


def _add(layout: _Layout, column: pl.Series) -> None:
    if column.dtype == pl.Float64:
        layout.numbers(column.to_numpy(), _FLOAT)
    elif column.dtype == pl.Int64:
        layout.numbers(column.to_numpy(), _INT)
    elif column.dtype == pl.Boolean:
        layout.flags(column.to_numpy())
    else:
        layout.texts(_encoded_texts(column))


def _encoded_texts(column: pl.Series) -> list[bytes]:
    known: dict[str, bytes] = {}
    texts = column.to_list()
    for text in texts:
        if text not in known:
            known[text] = _encode(text)
    return [known[text] for text in texts]


def _plain(column: pl.Series) -> pl.Series:
    """As one of the types that ``_add`` knows, or UInt64."""
    dtype = column.dtype
    if dtype.is_float():
        return column.cast(pl.Float64)
    if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128):
        return column.cast(pl.Int64)
    return column.cast(pl.String) if isinstance(dtype, pl.Categorical | pl.Enum) else column


def _nulls(column: pl.Series) -> Mask:
    return column.is_null().to_numpy()


def _patterns(masks: Sequence[Mask]) -> tuple[list[tuple[bool, ...]], npt.NDArray[np.int64]]:
    """The different combinations of masks, and which one each row has."""
    size = len(masks[0])
    which = np.zeros(size, np.int64)
    for mask in masks:
        if mask.any():  # numbered anew after each, so that the numbers stay small
            which = np.unique(which * 2 + mask, return_inverse=True)[1]
        if len(which) and int(which.max()) > _MOST_PATTERNS:
            return [()] * (_MOST_PATTERNS + 1), which
    _, first = np.unique(which, return_index=True)
    return [tuple(bool(mask[place]) for mask in masks) for place in first.tolist()], which


def _one_by_one(moment: Micros, columns: Sequence[pl.Series], times: Sequence[TimesColumn]) -> list[bytes]:
    size = len(columns[0])
    when = [
        [moment] * size
        if each is None
        else [time if there else None for time, there in zip(each[0].tolist(), each[1].tolist(), strict=True)]
        for each in times
    ]
    values = zip(*(column.to_list() for column in columns), strict=True)
    return [
        encode_row(Row(moment, list(own), list(own_times)))
        for own, own_times in zip(values, zip(*when, strict=True), strict=True)
    ]


def _array_of(size: int) -> bytes:
    """The beginning of an array of so many values."""
    if size < 16:
        return bytes([0x90 | size])
    return b"\xdc" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xdd" + size.to_bytes(4, "big")
