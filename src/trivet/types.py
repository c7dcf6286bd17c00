"""The shapes that everything shares: JSON values, digests, ids and time, with no behaviour of their own.

Times are ``datetime`` with zone UTC at every public edge and whole microseconds since 1970 inside
(``Micros``). Durations are written as text (``"3h"``, ``"7d"``, ``"90m"``) and parsed once, here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TypeAlias

from trivet.errors import Invalid

__all__ = [
    "Digest",
    "Duration",
    "Json",
    "Micros",
    "as_duration",
    "as_utc",
    "duration_text",
    "from_micros",
    "to_micros",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Digest: TypeAlias = str
"""64 lower-case hexadecimal digits of SHA-256. See ``trivet.digest``."""
Micros: TypeAlias = int
"""Whole microseconds since 1970-01-01T00:00:00Z, or the length of a duration in microseconds."""
Duration: TypeAlias = "str | timedelta"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(us|ms|[smhdw])")
_PARTS = re.compile(rf" *(?:{_PART.pattern} *)+")


def as_duration(value: Duration) -> Micros:
    """The length of a duration in microseconds.

    Raises:
        Invalid: the text is not a sum of ``NUMBER UNIT`` with units us, ms, s, m, h, d, w, or the length is
            negative.

    Example:
        >>> as_duration("1h30m") == as_duration("90m") == 5_400_000_000
        True
    """
    match value:
        case timedelta() if value >= timedelta(0):
            return value // timedelta(microseconds=1)
        case str() if _PARTS.fullmatch(value):
            # Fractions, because floats lose microseconds from 285 years on.
            return sum(round(Fraction(number) * _UNITS[unit]) for number, unit in _PART.findall(value))
        case _:
            raise Invalid(f"{value!r} is not a duration. Write a number and a unit: 30s, 15m, 3h, 7d, 2w, 1h30m.")


def duration_text(micros: Micros) -> str:
    """The length in whole days, hours, minutes and so on, as ``as_duration`` reads it back.

    Raises:
        Invalid: the length is negative.

    Example:
        >>> duration_text(5_400_000_000), duration_text(604_800_000_000), duration_text(0)
        ('1h30m', '7d', '0s')
    """
    if micros < 0:
        raise Invalid(f"{micros} microseconds are negative, and a duration is not.")
    parts, rest = [], micros
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def as_utc(value: datetime | str) -> datetime:
    """``value`` in UTC; text is read as ISO 8601.

    Raises:
        Invalid: the text is no time, or the time has no zone, or in UTC it is before the year 1 or after 9999.

    Example:
        >>> as_utc("2013-11-03T01:30:00-05:00").isoformat()
        '2013-11-03T06:30:00+00:00'
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise Invalid(f"{value!r} is not a time. Write it as 2013-11-03T01:30:00Z.") from exc
    if not isinstance(value, datetime):
        raise Invalid(f"{value!r} is not a time. Give a datetime with a time zone, or text in ISO 8601.")
    if value.utcoffset() is None:
        raise Invalid(f"{value.isoformat()} has no time zone. Add one, for example {value.isoformat()}Z.")
    try:
        return value.astimezone(UTC)
    except OverflowError as exc:
        raise Invalid(f"{value.isoformat()} is not a time that can be told in UTC: years are 1 to 9999.") from exc


def to_micros(value: datetime) -> Micros:
    """Microseconds since 1970 of an aware time.

    Example:
        >>> to_micros(as_utc("1970-01-01T00:00:01Z"))
        1000000
    """
    return (as_utc(value) - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: Micros) -> datetime:
    """The UTC time of ``micros``.

    Raises:
        Invalid: it is before the year 1 or after 9999.

    Example:
        >>> from_micros(1_000_000).isoformat()
        '1970-01-01T00:00:01+00:00'
    """
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError as exc:
        raise Invalid(f"{micros} microseconds since 1970 is no time: years are 1 to 9999.") from exc
