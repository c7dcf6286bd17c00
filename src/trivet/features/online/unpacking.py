"""Rows to columns: what ``decode_row`` would answer for many rows, a column at a time. The way back from ``packing``.

NumPy walks along all rows together: what a cell is and where it ends is in its first byte, for whichever of MessagePack's
forms it was written in. Only rows that hold something else than numbers, text, booleans and nothing, or that are not all of
one view, are decoded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.online.contract import Row
from trivet.features.online.encoding import decode_row

__all__ = ["NEVER", "UnpackedRows", "columns_of", "unpack_rows"]

Ints: TypeAlias = npt.NDArray[np.int64]

NEVER = -(2**63)
"""The time of what was never seen."""

_NIL, _FALSE, _TRUE = 0xC0, 0xC2, 0xC3
_NUMBERS = {0xCA: ">f4", 0xCB: ">f8"}  # the mark, and what follows it
_NUMBERS |= {0xCC: ">u1", 0xCD: ">u2", 0xCE: ">u4", 0xCF: ">u8", 0xD0: ">i1", 0xD1: ">i2", 0xD2: ">i4", 0xD3: ">i8"}
_LENGTHS = {0xD9: ">u1", 0xDA: ">u2", 0xDB: ">u4"}  # of text
_ARRAYS = {0xDC: ">u2", 0xDD: ">u4"}
_WIDEST = 9
_FIXED = np.zeros(256, np.int64)
"""How many bytes a cell has that begins so, without the text after it; 0 where that is not known."""
_FIXED[[*range(0x80), *range(0xA0, 0xC0), *range(0xE0, 0x100), _NIL, _FALSE, _TRUE]] = 1
for _mark, _dtype in (_NUMBERS | _LENGTHS).items():
    _FIXED[_mark] = 1 + np.dtype(_dtype).itemsize
_decode = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True)
class UnpackedRows:
    """Some rows, column by column.

    Attributes:
        as_of: of each row.
        values: one column for each feature.
        times: for each feature the time of each row, ``NEVER`` where there is none.
    """

    as_of: Ints
    values: list[pl.Series]
    times: list[Ints]


def unpack_rows(rows: Sequence[bytes]) -> UnpackedRows:
    """The columns of encoded rows.

    Raises:
        Corrupt: some bytes are no row.
        Invalid: the values of one feature are of kinds that no column has together, such as text and numbers.

    Example:
        >>> from trivet.features.online.contract import Row
        >>> from trivet.features.online.encoding import encode_row
        >>> found = unpack_rows([encode_row(Row(5, [1.5, "x"], [4, None])), encode_row(Row(6, [None, "y"], [6, 3]))])
        >>> found.as_of.tolist(), [column.to_list() for column in found.values], found.times[0].tolist()
        ([5, 6], [[1.5, None], ['x', 'y']], [4, 6])
    """
    if not rows:
        return UnpackedRows(np.zeros(0, np.int64), [], [])
    return _Walk(rows).rows() or columns_of([decode_row(row) for row in rows])


def columns_of(rows: Sequence[Row]) -> UnpackedRows:
    """The columns of decoded rows.

    Raises:
        Invalid: the values of one feature are of kinds that no column has together.
    """
    values, times = zip(*(row.values for row in rows), strict=True), zip(*(row.times for row in rows), strict=True)
    return UnpackedRows(
        np.array([row.as_of for row in rows], np.int64),
        [_column(each) for each in values],
        [pl.Series(each, dtype=pl.Int64).fill_null(NEVER).to_numpy() for each in times],
    )


def _column(values: Sequence[Any]) -> pl.Series:
    try:
        return pl.Series(values, strict=True)
    except TypeError as exc:
        kinds = " and ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise Invalid(
            f"A feature in the online store has values of the types {kinds}, which no column can hold together. Make it one "
            "type in its source and materialize again."
        ) from exc


class _Unlike(Exception):
    """These rows cannot be walked along together."""


class _Walk:
    """A place in each of many rows, moving on together from cell to cell."""

    def __init__(self, rows: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self._ends = np.cumsum(lengths)
        self._data = b"".join(rows) + bytes(_WIDEST)  # so that reading a number never leaves the memory
        self._bytes = np.frombuffer(self._data, np.uint8)
        self._place = self._ends - lengths

    def rows(self) -> UnpackedRows | None:
        """All of them, or None if they are too different."""
        try:
            if self._array() != 3:
                return None
            as_of = self._moments()
            values = [self._values() for _ in range(self._array())]
            times = [self._moments() for _ in range(self._array())]
        except (_Unlike, UnicodeDecodeError):
            return None
        whole = bool((self._place == self._ends).all() and (as_of > NEVER).all() and len(values) == len(times))
        return UnpackedRows(as_of, values, times) if whole else None

    def _array(self) -> int:
        """The length of the array that begins here, the same in each row."""
        marks = self._marks()
        first = int(marks[0])
        self._unless((marks == first).all())
        if 0x90 <= first <= 0x9F:
            self._place = self._place + 1
            return first & 0xF
        self._unless(first in _ARRAYS)
        sizes = self._read(_ARRAYS[first], self._place + 1)
        self._unless((sizes == sizes[0]).all())
        self._place = self._place + 1 + np.dtype(_ARRAYS[first]).itemsize
        return int(sizes[0])

    def _moments(self) -> Ints:
        """Whole numbers, ``NEVER`` for nothing."""
        marks, begins = self._marks(), self._place
        self._step(marks)
        return self._numbers(marks, begins, np.full(len(marks), NEVER))

    def _values(self) -> pl.Series:
        marks, begins = self._marks(), self._place
        self._step(marks)
        kinds = {_kind(mark) for mark in _different(marks)} - {"nothing"}
        if not kinds:
            return pl.Series([None]).new_from_index(0, len(marks))
        if not (kinds == {"flag"} or kinds <= {"number", "whole"}):
            ends = zip(begins.tolist(), self._place.tolist(), strict=True)
            return _column([_decode(self._data[start:end]) for start, end in ends])
        null = marks == _NIL
        if kinds == {"flag"}:
            column = pl.Series(marks == _TRUE)
        else:
            empty: npt.NDArray[Any] = np.zeros(len(marks), np.int64 if kinds == {"whole"} else np.float64)
            column = pl.Series(self._numbers(marks, begins, empty))
        return column.set(pl.Series(null), None) if null.any() else column

    def _numbers(self, marks: npt.NDArray[np.uint8], begins: Ints, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        different = _different(marks)
        for mark in different:
            if mark == _NIL:
                continue
            only = slice(None) if len(different) == 1 else marks == mark
            if mark in _NUMBERS:
                numbers = self._read(_NUMBERS[mark], begins[only] + 1)
                self._unless(mark != 0xCF or not (numbers >> np.uint64(63)).any())
                self._unless(found.dtype == np.float64 or mark not in (0xCA, 0xCB))
                found[only] = numbers
            else:
                self._unless(mark < 0x80 or mark >= 0xE0)
                found[only] = mark if mark < 0x80 else mark - 0x100
        return found

    def _marks(self) -> npt.NDArray[np.uint8]:
        self._unless((self._place < self._ends).all())
        marks: npt.NDArray[np.uint8] = self._bytes[self._place]
        return marks

    def _step(self, marks: npt.NDArray[np.uint8]) -> None:
        """Behind the cells that begin with these bytes."""
        place = self._place + _FIXED[marks]
        for mark in _different(marks):
            self._unless(_FIXED[mark] > 0)
            if 0xA0 <= mark < 0xC0:
                place[marks == mark] += mark & 0x1F
            elif mark in _LENGTHS:
                only = marks == mark
                place[only] += self._read(_LENGTHS[mark], self._place[only] + 1).astype(np.int64)
        self._unless((place <= self._ends).all())
        self._place = place

    def _read(self, dtype: str, places: Ints) -> npt.NDArray[Any]:
        """What stands at any places, however they are aligned."""
        size = len(self._bytes) - np.dtype(dtype).itemsize + 1
        return np.ndarray(size, dtype, self._data, 0, (1,))[places]

    @staticmethod
    def _unless(alike: Any) -> None:
        if not alike:
            raise _Unlike


def _different(marks: npt.NDArray[np.uint8]) -> list[int]:
    if (marks == marks[0]).all():
        return [int(marks[0])]
    return np.flatnonzero(np.bincount(marks, minlength=256)).tolist()


def _kind(mark: int) -> str:
    if mark == _NIL:
        return "nothing"
    if mark in (_FALSE, _TRUE):
        return "flag"
    if mark in (0xCA, 0xCB):
        return "number"
    return "text" if 0xA0 <= mark < 0xC0 or mark in _LENGTHS else "whole"
