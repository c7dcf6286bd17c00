"""The bytes of keys and rows, the same for every store, so that equal means equal everywhere.

A key is one MessagePack array of its values. MessagePack carries type and length, so the encoding is injective:
``1``, ``1.0``, ``True`` and ``"1"`` differ, and no two lists of values run into one another. Python's own
equality (``1 == True``) is never asked. A row is one MessagePack array of ``as_of``, values and times.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec

from trivet.errors import Corrupt, Invalid
from trivet.features.online.contract import Key, Row
from trivet.types import Micros

__all__ = ["as_of", "decode_row", "encode_key", "encode_keys", "encode_row", "online_key"]

_SCALARS = frozenset({str, int, float, bool})
_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode


class _Stamped(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of anything that is stored; what follows is passed over."""

    as_of: Micros


_decode_as_of = msgspec.msgpack.Decoder(_Stamped).decode


def encode_key(key: Key) -> bytes:
    """The bytes of a key.

    Raises:
        Invalid: a value is no text, number or truth value, or is an integer of more than 64 bits.

    Example:
        >>> encode_key(("1", "12")).hex(), encode_key(("11", "2")).hex(), encode_key((1, 12)).hex()
        ('92a131a23132', '92a23131a132', '92010c')
    """
    if not _SCALARS.issuperset(map(type, key)):
        raise Invalid(_not_a_key(key))
    try:
        return _encode(key)
    except (OverflowError, UnicodeEncodeError) as exc:
        raise Invalid(f"{key!r} cannot be a key: {exc}. Use integers of at most 64 bits and valid text.") from exc


def online_key(key: tuple[Any, ...]) -> Key:
    """A key as online stores take it: dates as text.

    Example:
        >>> from datetime import date
        >>> online_key((date(2013, 1, 1), "EWR"))
        ('2013-01-01', 'EWR')
    """
    return tuple(part.isoformat() if isinstance(part, date) else part for part in key)


def encode_keys(keys: Iterable[tuple[Any, ...]]) -> list[bytes]:
    """The bytes of many keys out of columns of text, 64-bit integers, truth values and dates, unchecked.

    Example:
        >>> from datetime import date
        >>> encode_keys([(date(2013, 1, 1), "EWR")]) == [encode_key(("2013-01-01", "EWR"))]
        True
    """
    return list(map(_encode, keys))  # MessagePack has no dates: msgspec writes them as text in ISO 8601


def encode_row(row: Row) -> bytes:
    """The bytes of a row.

    Raises:
        Invalid: a value has no MessagePack form.
    """
    try:
        return _encode(row)
    except (TypeError, OverflowError, UnicodeEncodeError) as exc:
        raise Invalid(f"A row holds a value that cannot be stored online: {exc}. Convert it to plain Python.") from exc


def decode_row(data: bytes) -> Row:
    """The row that ``encode_row`` wrote.

    Raises:
        Corrupt: these bytes are no row.

    Example:
        >>> decode_row(encode_row(Row(5, [1.5, None], [4, None])))
        Row(as_of=5, values=[1.5, None], times=[4, None])
    """
    try:
        return _decode_row(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Corrupt(f"The online store holds bytes that are no row: {exc}. Drop the view and rebuild it.") from exc


def as_of(data: bytes) -> Micros:
    """Only the ``as_of`` of an encoded row, without building its values."""
    try:
        return _decode_as_of(data).as_of
    except msgspec.DecodeError as exc:
        raise Corrupt(f"The online store holds bytes that are no row: {exc}. Drop the view and rebuild it.") from exc


def _not_a_key(key: Any) -> str:
    kinds = ", ".join(f"{value!r} ({type(value).__name__})" for value in key if type(value) not in _SCALARS)
    return f"A key is made of text, integers, numbers and truth values, not of {kinds}. Convert it to plain Python."
