"""Names for content: SHA-256 over canonical bytes that carry the type of the record.

The encoding is injective: two values have the same bytes only if they are equal and of the same type, so
``1``, ``1.0``, ``True`` and ``"1"`` all differ, and so do ``["a", "bc"]`` and ``["ab", "c"]``. Types that only
differ in whether they can be changed are one type here: list and tuple, set and frozenset, bytes and bytearray.
Every digest of a record starts from the record's name, so a task and a model with the same fields never
collide. The literals in ``tests/test_digest.py`` pin the encoding: to change one of them breaks a promise to
users. ``docs/design/identity.md`` argues for it.

Encoding, byte by byte (``len`` is the decimal length of what follows the colon):

    None  n          bool  t | f            int   i<decimal>;     float  d<16 hex digits, big endian>
    str   s<len>:    bytes b<len>:          list, tuple  [ items ]       dict  { key value ... } sorted by key
    set   < items sorted >                  aware datetime  T<microseconds since 1970>;  date  D<ISO>;
    timedelta  w<microseconds>;             Struct, dataclass  r<len>:<name>{ fields }

All NaNs are one NaN; -0.0 and 0.0 differ. What is none of these is refused: there is no ``repr`` fallback.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from trivet.errors import Invalid
from trivet.types import Digest, to_micros

__all__ = ["canonical", "digest", "digest_bytes", "digest_file", "digest_stream", "is_digest"]

_VERSION = b"trivet/1"
_CHUNK = 1 << 20
_Time = TypeVar("_Time", datetime, timedelta)
_LONGEST = 8192  # bits of a whole number; Python itself refuses to write much longer ones
_NAN = struct.pack(">d", float("nan")).hex().encode()


def digest(record: str, value: object) -> Digest:
    """The digest of ``value`` as a record named ``record``.

    Raises:
        Invalid: ``value`` holds something that has no canonical encoding.

    Example:
        >>> digest("parameters", {"max_iter": 100})[:12]
        '66964d6b48dd'
    """
    return hashlib.sha256(_VERSION + canonical(record) + canonical(value)).hexdigest()


def digest_bytes(data: bytes | memoryview) -> Digest:
    """The plain SHA-256 of bytes: what ``sha256sum`` prints."""
    return hashlib.sha256(data).hexdigest()


def digest_stream(stream: BinaryIO) -> Digest:
    """The plain SHA-256 of a stream from where it stands, read in bounded memory."""
    state = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        state.update(chunk)
    return state.hexdigest()


def digest_file(path: Path) -> Digest:
    """The plain SHA-256 of a file."""
    with path.open("rb") as stream:
        return digest_stream(stream)


def is_digest(text: str) -> bool:
    """Whether ``text`` has the form of a whole digest."""
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def canonical(value: object) -> bytes:
    """The canonical bytes of ``value``.

    Raises:
        Invalid: ``value`` holds something that has no canonical encoding.

    Example:
        >>> canonical({"b": [1, 1.0], "a": None})
        b'{s1:ans1:b[i1;d3ff0000000000000]}'
    """
    try:
        return b"".join(_encode(value))
    except RecursionError as exc:
        raise Invalid("A value that holds itself, or is nested too deeply, has no canonical form.") from exc


def _encode(value: object) -> Iterable[bytes]:
    match value:
        case None:
            yield b"n"
        case bool():
            yield b"t" if value else b"f"
        case int():
            if value.bit_length() > _LONGEST:
                raise Invalid(f"A whole number of {value.bit_length()} bits is too long for a canonical form.")
            yield b"i%d;" % value
        case float():
            yield b"d" + (_NAN if value != value else struct.pack(">d", value).hex().encode())
        case str():
            data = value.encode("utf-8", "surrogatepass")
            yield b"s%d:" % len(data) + data
        case bytes() | bytearray() | memoryview():
            yield b"b%d:" % len(bytes(value)) + bytes(value)
        case list() | tuple():
            yield b"["
            for item in value:
                yield from _encode(item)
            yield b"]"
        case Mapping():
            yield b"{"
            # No encoding is the beginning of another one, so this is the order of the keys.
            yield from sorted(canonical(key) + canonical(item) for key, item in value.items())
            yield b"}"
        case Set():
            yield b"<" + b"".join(sorted(canonical(item) for item in value)) + b">"
        case datetime():
            yield b"T%d;" % to_micros(_whole(value, "nanosecond"))
        case date():
            yield b"D" + value.isoformat().encode() + b";"
        case timedelta():
            yield b"w%d;" % (_whole(value, "nanoseconds") // timedelta(microseconds=1))
        case msgspec.Struct():
            yield from _record(type(value).__name__, msgspec.structs.asdict(value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            yield from _record(type(value).__name__, fields)
        case _:
            raise Invalid(
                f"A value of type {type(value).__module__}.{type(value).__qualname__} has no canonical form, so it "
                "cannot be part of an identity. Use numbers, text, bytes, times, lists, dicts, sets or dataclasses."
            )


def _whole(value: _Time, finer: str) -> _Time:
    # pandas subclasses datetime and timedelta, and counts nanoseconds beside their fields.
    if getattr(value, finer, 0):
        raise Invalid(f"{value!r} is finer than a microsecond, so it has no canonical form. Round it first.")
    return value


def _record(name: str, fields: Mapping[str, object]) -> Iterable[bytes]:
    data = name.encode()
    yield b"r%d:" % len(data) + data
    yield from _encode(fields)
