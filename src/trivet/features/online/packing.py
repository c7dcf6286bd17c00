"""Columns to rows: the bytes that ``encode_row`` would write for equal values, some thousand rows at a time.

A MessagePack number may be written at full width, so where each cell of a row begins is a sum of widths, and NumPy writes a
whole column of cells at once. What decodes a row cannot tell who wrote it, and nothing is versioned for it. The opposite
way is ``trivet.features.online.unpacking``.

Invariant: rows are made while they are gone through and not kept, because a store copies them anyway and memory that is
used again and again is several times faster than memory that is new.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.online.contract import Encoded
from trivet.features.online.encoding import encode_keys
from trivet.types import Micros

__all__ = ["Joined", "PackedKeys", "PackedRows", "TimesColumn", "array_of", "pack_keys", "pack_rows"]

Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
TimesColumn: TypeAlias = "tuple[npt.NDArray[np.int64], Mask] | None"
"""The times of one column and where there is one; None where all are the moment of the rows."""

_PIECE = 4096  # rows of a few hundred bytes each: what fits into the caches of a processor
_MARKS = {">i8": 0xD3, ">u8": 0xCF, ">f8": 0xCB}
_NIL, _FALSE = 0xC0, 0xC2
_SHORT = [  # for each greatest integer its form: the mark, where the number does not hold it, what follows, the width
    (-(2**31) - 1, (0xD3, ">i8", 9)),
    (-(2**15) - 1, (0xD2, ">i4", 5)),
    (-(2**7) - 1, (0xD1, ">i2", 3)),
    (-33, (0xD0, ">i1", 2)),
    (127, (0, ">i1", 1)),
    (255, (0xCC, ">u1", 2)),
    (2**16 - 1, (0xCD, ">u2", 3)),
    (2**32 - 1, (0xCE, ">u4", 5)),
    (2**63 - 1, (0xCF, ">u8", 9)),
]
_UP_TO = np.array([greatest for greatest, _ in _SHORT])
_FORMS = [form for _, form in _SHORT]
_WIDTHS = np.array([width for _, _, width in _FORMS])
_encode = msgspec.msgpack.Encoder().encode


class PackedRows:
    """Rows as of one moment, kept as columns; each time they are gone through their bytes are made anew.

    Args:
        moment: of all rows.
        values: one column per feature: numbers, text, booleans, or nothing but nulls.
        times: the event times of each.

    Going through them raises ``Invalid`` for a value that has no MessagePack form.

    Example:
        >>> from trivet.features.online.encoding import decode_row
        >>> rows = PackedRows(9, [pl.Series([1.5, None])], [None])
        >>> len(rows), [decode_row(row) for row in rows]
        (2, [Row(as_of=9, values=[1.5], times=[9]), Row(as_of=9, values=[None], times=[9])])
    """

    def __init__(self, moment: Micros, values: Sequence[pl.Series], times: Sequence[TimesColumn]) -> None:
        self._now, self._size = _encode(moment), len(values[0])
        self._columns = [_cells(column) for column in values]
        self._times = [None if each is None else _Numbers(each[0], ">i8", _gaps(~each[1])) for each in times]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        spans = ((start, min(start + _PIECE, self._size)) for start in range(0, self._size, _PIECE))
        return chain.from_iterable(_written((self._cells(start, end), end - start) for start, end in spans))

    def _cells(self, start: int, end: int) -> list[_Cells]:
        now = _Same(self._now)
        cells: list[_Cells] = [_Same(b"\x93" + self._now + array_of(len(self._columns)))]
        cells += [column.part(start, end) for column in self._columns]
        cells += [_Same(array_of(len(self._times)))]
        return cells + [now if times is None else times.part(start, end) for times in self._times]


class Joined:
    """Rows one after the other.

    Example:
        >>> list(Joined([[b"a"], [b"b", b"c"]]))
        [b'a', b'b', b'c']
    """

    def __init__(self, parts: Sequence[Encoded]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._parts)


def pack_rows(moment: Micros, values: Sequence[pl.Series], times: Sequence[TimesColumn]) -> list[bytes]:
    """All rows of ``PackedRows`` at once."""
    return list(PackedRows(moment, values, times))


class PackedKeys:
    r"""The keys that ``encode_key`` would write for each row of some columns of 64-bit integers and truth values.

    Like rows they are made while they are gone through.

    Example:
        >>> from trivet.features.online.encoding import encode_key
        >>> keys = PackedKeys([pl.Series([7, 300])])
        >>> list(keys) == [encode_key((7,)), encode_key((300,))], keys.ascending, next(keys.under(b"v"))
        (True, True, b'v\x91\x07')
    """

    def __init__(self, columns: Sequence[pl.Series]) -> None:
        self._columns = columns
        self.longest = len(array_of(len(columns))) + 9 * len(columns)

    @staticmethod
    def fit(columns: Sequence[pl.Series]) -> bool:
        """Whether keys of these columns can be made so."""
        return all(column.dtype in (pl.Int64, pl.Boolean) and not column.null_count() for column in columns)

    @property
    def ascending(self) -> bool:
        """Whether each key is known to come after the one before it; the bytes of whole numbers are in their order."""
        numbers = self._columns[0].to_numpy()
        one = len(self._columns) == 1 and self._columns[0].dtype == pl.Int64 and len(numbers) > 0
        return bool(one and numbers[0] >= 0 and (numbers[1:] > numbers[:-1]).all())

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[bytes]:
        return self.under(b"")

    def under(self, prefix: bytes) -> Iterator[bytes]:
        """The keys with something before each."""
        head = _Same(prefix + array_of(len(self._columns)))
        return chain.from_iterable(_written(self._cells(head, start) for start in range(0, len(self), _PIECE)))

    def _cells(self, head: _Cells, start: int) -> tuple[list[_Cells], int]:
        parts = [column.slice(start, _PIECE) for column in self._columns]
        cells = [_cells(part) if part.dtype == pl.Boolean else _Short(part.to_numpy()) for part in parts]
        return [head, *cells], len(parts[0])


def pack_keys(columns: Sequence[pl.Series]) -> Encoded:
    r"""The bytes of ``encode_key`` for each row of some columns of text, 64-bit integers, truth values and dates, unchecked.

    Example:
        >>> list(pack_keys([pl.Series(["JFK"]), pl.Series([7])]))
        [b'\x92\xa3JFK\x07']
    """
    if PackedKeys.fit(columns):
        return PackedKeys(columns)
    return encode_keys(zip(*(column.to_list() for column in columns), strict=True))


def array_of(size: int) -> bytes:
    """The beginning of an array of so many values."""
    if size < 16:
        return bytes([0x90 | size])
    return b"\xdc" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xdd" + size.to_bytes(4, "big")


# --- where cells are -----------------------------------------------------------------------------------------------


class _Block:
    """The memory of some rows. A place is a number where it is the same in each row, else one for each row.

    Attributes:
        form: the widths of all cells.
        starts: where rows begin.
        filled: whether what is the same in all rows of this form is there already.
    """

    def __init__(self, form: Sequence[int | Ints], size: int) -> None:
        self.form, self.size, self.filled = form, size, False
        self._width: int | Ints = sum(form)
        self.even = isinstance(self._width, int)
        ends = np.cumsum(np.broadcast_to(self._width, size), dtype=np.int64)
        self.starts: int | Ints = 0 if self.even else ends - self._width
        self._memory = np.empty(int(ends[-1]), np.uint8)

    def write(self, place: int | Ints, dtype: str, data: Any) -> None:
        """Something of fixed width at the same place of each row, or at many places."""
        if isinstance(place, int):
            there = np.ndarray(self.size, dtype, self._memory, place, (self._width,))
            there[...] = data
        else:  # every byte may begin a cell, and no two of them overlap
            length = len(self._memory) - np.dtype(dtype).itemsize + 1
            np.ndarray(length, dtype, self._memory, 0, (1,))[place] = data

    def write_same(self, place: int | Ints, dtype: str, data: Any) -> None:
        """The same in all rows of this form."""
        if not self.filled:
            self.write(place, dtype, data)

    def rows(self) -> list[bytes]:
        if isinstance(self._width, int):
            found: list[bytes] = self._memory.view(f"V{self._width}").tolist()
            return found
        data, places = self._memory.tobytes(), [*np.asarray(self.starts).tolist(), len(self._memory)]
        return [data[start:end] for start, end in pairwise(places)]


def _written(pieces: Iterable[tuple[Sequence[_Cells], int]]) -> Iterator[list[bytes]]:
    """The rows of each piece. Most pieces have the form of the one before, and need only what differs from row to row."""
    block: _Block | None = None
    for cells, size in pieces:
        form = [each.width for each in cells]
        if block is None or not block.even or size != block.size or not _even(form) or form != block.form:
            block = _Block(form, size)
        place = block.starts
        for each in cells:
            each.write(block, place)
            place = place + each.width
        block.filled = True
        yield block.rows()


def _even(form: Sequence[int | Ints]) -> bool:
    return all(isinstance(width, int) for width in form)


# --- what cells hold -----------------------------------------------------------------------------------------------


class _Cells(ABC):
    """A column of some rows: how many bytes each cell has, one number where all have as many."""

    width: int | Ints

    @abstractmethod
    def write(self, block: _Block, place: int | Ints) -> None: ...

    def part(self, start: int, end: int) -> _Cells:
        """The same of some of the rows."""
        raise NotImplementedError


class _Same(_Cells):
    """The same bytes in each row."""

    def __init__(self, data: bytes) -> None:
        self.width, self._data = len(data), np.void(data)

    def write(self, block: _Block, place: int | Ints) -> None:
        block.write_same(place, f"V{self.width}", self._data)

    def part(self, start: int, end: int) -> _Cells:  # noqa: ARG002
        return self


class _Numbers(_Cells):
    """Nine bytes each, or one where there is none."""

    def __init__(self, data: npt.NDArray[Any], dtype: str, null: Mask | None) -> None:
        self._data, self._dtype, self._null = data, dtype, null
        self.width = 9 if null is None else 9 - 8 * null.astype(np.int64)

    def write(self, block: _Block, place: int | Ints) -> None:
        mark = _MARKS[self._dtype]
        if self._null is None:
            block.write_same(place, "u1", mark)
            block.write(place + 1, self._dtype, self._data)
        else:
            block.write(place, "u1", np.where(self._null, _NIL, mark))
            there = ~self._null
            block.write(place[there] + 1, self._dtype, self._data[there])  # type: ignore[index]

    def part(self, start: int, end: int) -> _Cells:
        null = None if self._null is None else _gaps(self._null[start:end])
        if null is not None and null.all():
            return _Same(bytes([_NIL]))
        return _Numbers(self._data[start:end], self._dtype, null)


class _Short(_Cells):
    """Integers in as few bytes as they need: the only form of a key."""

    def __init__(self, data: Ints) -> None:
        self._data, self._form = data, np.searchsorted(_UP_TO, data)
        first = int(self._form[0])
        self._forms = [first] if (self._form == first).all() else np.unique(self._form).tolist()
        self.width = _FORMS[first][2] if len(self._forms) == 1 else _WIDTHS[self._form]

    def write(self, block: _Block, place: int | Ints) -> None:
        for form in self._forms:
            mark, dtype, width = _FORMS[form]
            only = None if len(self._forms) == 1 else self._form == form
            here, data = (place, self._data) if only is None else (place[only], self._data[only])  # type: ignore[index]
            if mark:
                block.write(here, "u1", mark)
            block.write(here + width - np.dtype(dtype).itemsize, dtype, data)


class _Flags(_Cells):
    """One byte each, whatever it says."""

    width = 1

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._data = data

    def write(self, block: _Block, place: int | Ints) -> None:
        block.write(place, "u1", self._data)

    def part(self, start: int, end: int) -> _Cells:
        return _Flags(self._data[start:end])


class _Others(_Cells):
    """Text, and all that is encoded by itself."""

    def __init__(self, data: Sequence[bytes]) -> None:
        self._data = data
        self._lengths = np.fromiter(map(len, data), np.int64, len(data))
        self.width = self._lengths

    def write(self, block: _Block, place: int | Ints) -> None:
        begins = np.cumsum(self._lengths) - self._lengths
        joined = np.frombuffer(b"".join(self._data), np.uint8)
        block.write(np.repeat(place - begins, self._lengths) + np.arange(len(joined)), "u1", joined)

    def part(self, start: int, end: int) -> _Cells:
        return _Others(self._data[start:end])


def _cells(column: pl.Series) -> _Cells:
    dtype = column.dtype
    null = column.is_null().to_numpy() if column.null_count() else None
    if dtype.is_float():
        return _Numbers(_filled(column.cast(pl.Float64)), ">f8", null)
    if dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128):
        kind = ">u8" if dtype == pl.UInt64 else ">i8"
        return _Numbers(_filled(column if kind == ">u8" else column.cast(pl.Int64)), kind, null)
    if dtype == pl.Boolean:
        flags = (column.cast(pl.UInt8) + _FALSE).fill_null(_NIL)
        return _Flags(flags.to_numpy())
    if dtype == pl.Null:
        return _Same(bytes([_NIL]))
    return _Others(_encoded(column))


def _filled(column: pl.Series) -> npt.NDArray[Any]:
    return (column.fill_null(0) if column.null_count() else column).to_numpy()


def _gaps(null: Mask) -> Mask | None:
    return null if null.any() else None


def _encoded(column: pl.Series) -> list[bytes]:
    """Each value by itself, equal ones once."""
    named = isinstance(column.dtype, pl.Categorical | pl.Enum)
    values = (column.cast(pl.String) if named else column).to_list()
    try:
        known = {value: _encode(value) for value in dict.fromkeys(values)}
    except (TypeError, OverflowError, UnicodeEncodeError) as exc:
        raise Invalid(f"A row holds a value that cannot be stored online: {exc}. Convert it to plain Python.") from exc
    return [known[value] for value in values]
