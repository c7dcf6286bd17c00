"""When two values are the same: bit for bit, or within a relative tolerance where one is given.

Values are compared as a prediction record keeps them, as JSON: a float has its shortest text that reads back to the same
bits, so that equal text is equal bits, ``1`` is not ``1.0`` and ``-0.0`` is not ``0.0``. NaN and the infinities have no
JSON and are null on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["as_recorded", "distances", "is_number", "same", "same_but_for_type"]

_encode, _decode = msgspec.json.Encoder(enc_hook=str).encode, msgspec.json.Decoder().decode


def as_recorded(value: Any) -> Any:
    """A value as a prediction record has it.

    Example:
        >>> from datetime import date
        >>> as_recorded(date(2013, 1, 1)), as_recorded(float("nan")), as_recorded(1.0)
        ('2013-01-01', None, 1.0)
    """
    return _decode(_encode(value))


def same(one: Any, other: Any, *, tolerance: float = 0.0) -> bool:
    """Whether two recorded values are one, numbers of one type up to ``tolerance`` times the larger of them.

    Example:
        >>> same(0.1 + 0.2, 0.3), same(0.1 + 0.2, 0.3, tolerance=1e-9), same(1, 1.0), same(None, None)
        (False, True, False, True)
    """
    if _encode(one) == _encode(other):
        return True
    if not tolerance or type(one) is not type(other) or not is_number(one):
        return False
    return bool(abs(one - other) <= tolerance * max(abs(one), abs(other)))


def same_but_for_type(one: Any, other: Any) -> bool:
    """Whether two values that differ mean the same when their types are passed over: ``1``, ``1.0``, ``"1"``, ``true``.

    Example:
        >>> same_but_for_type(1, 1.0), same_but_for_type("2.50", 2.5), same_but_for_type("a", "b")
        (True, True, False)
    """
    if one is None or other is None or type(one) is type(other):
        return False
    if str(one) == str(other):
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError, OverflowError):
        return False


def is_number(value: Any) -> bool:
    """Whether a value is a number one can subtract; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def distances(pairs: Iterable[tuple[Any, Any]]) -> tuple[float | None, float | None]:
    """The mean of ``|a - b|`` and of ``|a - b| / ((|a| + |b|) / 2)`` of the pairs of numbers; None where there are none.

    The second is symmetric: which of the two is right does not matter. It lies between 0 and 2.

    Example:
        >>> distances([(1.0, 3.0), (None, 2.0), ("a", "b")])
        (2.0, 1.0)
    """
    numbers = [(float(a), float(b)) for a, b in pairs if is_number(a) and is_number(b)]
    if not numbers:
        return None, None
    absolute = [abs(a - b) for a, b in numbers]
    halves = [abs(a) / 2 + abs(b) / 2 for a, b in numbers]
    relative = [gap / half if half else 0.0 for gap, half in zip(absolute, halves, strict=True)]
    # Divided first: the sum of gaps near the largest number is none.
    return math.fsum(gap / len(numbers) for gap in absolute), math.fsum(relative) / len(numbers)
