"""How templates write values for people: numbers, sizes, lengths of time, moments, JSON, and addresses of pages.

Filters for Jinja; each is a pure function of its value and escapes nothing, because the templates do. ``None`` and
NaN are shown as a dash or in words, never as an error.
"""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import quote

__all__ = ["FILTERS", "amount", "bytes_text", "cell", "count", "fixed", "moment", "pretty", "segment", "took"]

_BILLION = 1e15


def amount(value: Any, digits: int = 4) -> str:
    """A measured number, to some significant digits.

    Example:
        >>> amount(0.73686684), amount(1234567.0), amount(None), amount(float("nan")), amount(True)
        ('0.7369', '1,234,567', '–', 'not a number', 'True')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 10**digits or value == int(value):
        return f"{value:,.0f}" if abs(value) < _BILLION else f"{value:.{digits}g}"
    return f"{value:.{digits}g}"


def fixed(value: float | None, digits: int = 3) -> str:
    """A number in a column of its like, with so many digits after the point.

    Example:
        >>> fixed(0.000431), fixed(0.744), fixed(float("nan"))
        ('0.000', '0.744', 'not a number')
    """
    return f"{value:,.{digits}f}" if value is not None and math.isfinite(value) else amount(value)


def count(value: Any) -> str:
    """A whole number with its thousands apart.

    Example:
        >>> count(327346), count("6h"), count(None)
        ('327,346', '6h', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def took(seconds: float | None) -> str:
    """A length of time in units that people say.

    Example:
        >>> [took(value) for value in (0.0004, 0.213, 8.3, 75.0, 3 * 3600 + 120.0, 200_000, None)]
        ['0.4 ms', '213 ms', '8.3 s', '1 min 15 s', '3 h 2 min', '2 d 7 h', '–']
    """
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for big, small, length, step in (("d", "h", 86_400, 3_600), ("h", "min", 3_600, 60), ("min", "s", 60, 1)):
        if whole >= length:
            return f"{whole // length} {big} {whole % length // step} {small}"
    return f"{whole} s"


def bytes_text(size: int) -> str:
    """A size in the unit that fits.

    Example:
        >>> [bytes_text(size) for size in (0, 152, 8034, 2_662_396)]
        ['0 bytes', '152 bytes', '8.0 kB', '2.7 MB']
    """
    if size < 1000:
        return f"{size} bytes"
    value, unit = float(size), "bytes"
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 - the unit that fits is used below
        value /= 1000
        if value < 999.95:
            break
    return f"{value:,.1f} {unit}"


def moment(value: str | None) -> str:
    """A time to the second; that all are UTC is said once on the page.

    Example:
        >>> moment("2013-11-03T12:00:00.123456+00:00"), moment(None)
        ('2013-11-03 12:00:00', '–')
    """
    return value[:19].replace("T", " ") if value else "–"


def pretty(value: Any) -> str:
    """JSON for reading, in the letters it was written in; NaN is NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def cell(value: Any) -> str:
    """A value of a record: text as it is, numbers for people, the rest as JSON.

    Example:
        >>> cell("JFK"), cell(12.333333), cell(None), cell(True), cell({"a": [1]})
        ('JFK', '12.3333', 'null', 'true', '{"a": [1]}')
    """
    match value:
        case str():
            return value
        case bool() | None:
            return json.dumps(value)
        case int():
            return str(value)
        case float():
            return amount(value, 6).replace(",", "")
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def segment(text: Any) -> str:
    """A name as one segment of a path.

    Example:
        >>> segment("a/b?c")
        'a%2Fb%3Fc'
    """
    return quote(str(text), safe="")


FILTERS = {
    "amount": amount,
    "fixed": fixed,
    "count_of": count,
    "took": took,
    "bytes": bytes_text,
    "moment": moment,
    "pretty": pretty,
    "cell": cell,
    "segment": segment,
}
