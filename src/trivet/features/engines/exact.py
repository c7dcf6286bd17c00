"""Sums of ranges that are exact whatever the order, the range and the number of threads.

A double is a whole number times a power of two. Written in one fixed-point scale, cut into limbs of 32 bits, a
column of doubles becomes a few columns of integers whose prefix sums have no error; a range's sum is a difference
of two prefixes per limb, rounded once at the end. So ``sum`` of a window is the correctly rounded sum of its
values, bit for bit what ``math.fsum`` answers, in constant time per window however long it is. The idea is the
superaccumulator of Kulisch (1971); prefix sums over it need associativity, which integers have.

Columns whose exponents lie so far apart that more than ``MOST_LIMBS`` would be needed are summed by ``math.fsum``.
Long columns are worked through in runs that the processor's cache holds; only the prefix sums are as long as they.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trivet.errors import Invalid
from trivet.features.engines.timeline import Ints, stretches

__all__ = ["Floats", "RangeSums", "range_sums"]

Floats = npt.NDArray[np.float64]
MOST_LIMBS = 16
_LIMB = 32
_MASK = (1 << _LIMB) - 1
_FRACTION, _EXPONENT = 52, 0x7FF  # how IEEE 754 lays out a double: bits of the fraction, and the exponent's above them
_LOWEST = -1074  # the exponent of the smallest double


class RangeSums(Protocol):
    """Answers the sum of ``values[low:high]`` for many ranges."""

    def between(self, low: Ints, high: Ints) -> npt.NDArray[np.int64] | Floats:
        """The sums; 0 for an empty range."""
        ...


def range_sums(values: npt.NDArray[np.int64] | Floats) -> RangeSums:
    """Sums over ``values``: integers of integers, correctly rounded doubles of doubles.

    Example:
        >>> sums = range_sums(np.array([1e16, 1.0, -1e16, 0.1]))
        >>> sums.between(np.array([0, 2]), np.array([3, 3])).tolist()
        [1.0, -1e+16]
    """
    if values.dtype.kind == "i":
        return IntegerSums(values.astype(np.int64, copy=False))
    return FloatSums(values.astype(np.float64, copy=False))


class IntegerSums:
    """Prefix sums modulo 2**64: a difference is exact whenever the sum of the range fits into 64 bits."""

    def __init__(self, values: Ints) -> None:
        self._prefix = _prefix(values)
        self._largest = max(abs(int(values.max())), abs(int(values.min()))) if len(values) else 0

    def between(self, low: Ints, high: Ints) -> Ints:
        """The sums.

        Raises:
            Invalid: the values are so large that a sum may not fit into 64 bits.
        """
        longest = int((high - low).max(initial=0))
        if self._largest * longest >= 1 << 63:
            raise Invalid(
                f"The sum of {longest} integers up to {self._largest} may not fit into 64 bits. "
                "Make the column a float in the source."
            )
        return self._prefix[high] - self._prefix[low]


class FloatSums:
    """Fixed-point prefix sums in limbs, and counts of what is not finite."""

    def __init__(self, values: Floats) -> None:
        finite = np.isfinite(values)
        self._special = None if finite.all() else [_prefix(f(values)) for f in (np.isnan, np.isposinf, np.isneginf)]
        values = values if self._special is None else np.where(finite, values, 0.0)
        self._limbs, self._scale = _limbs(values)
        self._values = values if self._limbs is None else None

    def between(self, low: Ints, high: Ints) -> Floats:
        """The sums, as ``math.fsum`` would round them; NaN where there is a NaN or both infinities."""
        sums = np.empty(len(low))
        for run in stretches(len(low)):
            sums[run] = self._finite(low[run], high[run])
        if self._special is None:
            return sums
        nan, up, down = (prefix[high] > prefix[low] for prefix in self._special)
        sums = np.where(up, np.inf, np.where(down, -np.inf, sums))
        return np.where(nan | (up & down), np.nan, sums)

    def _finite(self, low: Ints, high: Ints) -> Floats:
        if self._limbs is not None:
            return _rounded([limb[high] - limb[low] for limb in self._limbs], self._scale)
        assert self._values is not None
        return np.array([math.fsum(self._values[a:b]) for a, b in zip(low.tolist(), high.tolist(), strict=True)])


def _prefix(values: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Ints:
    prefix = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=prefix[1:], dtype=np.int64)
    return prefix


def _limbs(values: Floats) -> tuple[list[Ints] | None, int]:
    """Prefix sums of the limbs, lowest first, and the exponent of the lowest bit; None when there would be too many."""
    scale, top = _extent(values)
    bits = top - scale
    if bits > MOST_LIMBS * _LIMB:
        return None, 0
    whole = bits + len(values).bit_length() < 63  # all sums fit into one limb
    limbs = [np.zeros(len(values) + 1, np.int64) for _ in range(1 if whole else -(-bits // _LIMB))]
    half = -scale // 2  # in two steps: 2.0 ** -scale may be no double
    for run in stretches(len(values)):
        numbers = values[run] * 2.0**half * 2.0 ** (-scale - half)
        digits = [numbers] if whole else _digits(numbers, len(limbs))
        for limb, digit in zip(limbs, digits, strict=True):
            _continue(limb, run, digit)
    return limbs, scale


def _continue(prefix: Ints, run: slice, digit: Floats) -> None:
    """Write the prefix sums of one more run behind those before it."""
    behind = prefix[run.start + 1 : run.stop + 1]
    np.cumsum(digit.astype(np.int64), out=behind)
    behind += prefix[run.start]


def _extent(values: Floats) -> tuple[int, int]:
    """Exponents between which all bits of all values lie: of the lowest bit, and above the highest."""
    lowest, largest = [], 0.0
    for run in stretches(len(values)):
        part = values[run]
        largest = max(largest, float(np.abs(part).max()))
        lowest += _lowest_bits(part)
    return min(lowest, default=0), math.frexp(largest)[1] if lowest else 0


def _lowest_bits(values: Floats) -> list[int]:
    """The exponent of the lowest bit of all values that are not zero, in a list; none if all are."""
    bits = values.view(np.int64)
    exponent = (bits >> _FRACTION) & _EXPONENT
    fraction = bits & ((1 << _FRACTION) - 1) | (exponent > 0).astype(np.int64) << _FRACTION
    trailing = ((fraction & -fraction).astype(np.float64).view(np.int64) >> _FRACTION) - 1023  # zeros at the end
    lowest = (np.maximum(exponent, 1) - 1 + _LOWEST + trailing)[fraction != 0]
    return [int(lowest.min())] if len(lowest) else []


def _digits(numbers: Floats, limbs: int) -> Iterator[Floats]:
    """Whole numbers in digits of 32 bits with their sign, lowest first. Every step is exact."""
    for _ in range(limbs - 1):
        rest = np.trunc(numbers * 2.0**-_LIMB)
        yield numbers - rest * 2.0**_LIMB
        numbers = rest
    yield numbers


def _rounded(limbs: list[Ints], scale: int) -> Floats:
    """The double nearest to the sum of ``limb[i] << 32 i``, ties to even, times ``2 ** scale``."""
    if len(limbs) == 1:
        return np.ldexp(limbs[0].astype(np.float64), scale)
    digits = _carried(limbs)
    negative = digits[-1] < 0
    digits = _carried([np.where(negative, -digit, digit) for digit in digits])
    top = np.zeros(len(digits[0]), np.int64)
    for number, digit in enumerate(digits):
        top = np.where(digit != 0, number, top)
    stacked = np.stack([np.zeros_like(top), np.zeros_like(top), *digits])
    columns = np.arange(len(top))
    first, second, third = (stacked[top + 2 - back, columns].astype(np.uint64) for back in range(3))
    below = np.cumsum(stacked, axis=0)[np.maximum(top - 1, 0), columns]  # anything beneath the third digit
    lead = (_LIMB - np.frexp(first.astype(np.float64))[1]).astype(np.uint64)
    high = (first << np.uint64(_LIMB) | second) << lead | third >> (np.uint64(_LIMB) - lead)
    sticky = ((third << lead) & np.uint64(_MASK) != 0) | (below != 0)
    rounded = (high | sticky.astype(np.uint64)).astype(np.float64)  # 64 bits to 53 by the processor, ties to even
    exponent = scale + _LIMB * (top - 1) - lead.astype(np.int64)
    sums: Floats = np.where(negative, -1.0, 1.0) * np.ldexp(rounded, exponent)
    return sums


def _carried(limbs: list[Ints]) -> list[Ints]:
    """The same number with every limb but the top in [0, 2**32); the top keeps the sign."""
    digits, carry = [], np.zeros_like(limbs[0])
    for limb in limbs:
        total = limb + carry
        digits.append(total & _MASK)
        carry = total >> _LIMB
    return [*digits, carry]
