"""Sums of ranges that are exact whatever the order, the range and the number of threads.

A double is a whole number times a power of two. Written in one fixed-point scale, cut into limbs of 32 bits, a
column of doubles becomes a few columns of integers whose prefix sums have no error; a range's sum is a difference
of two prefixes per limb, rounded once at the end. So ``sum`` of a window is the correctly rounded sum of its
values, bit for bit what ``math.fsum`` answers, in constant time per window however long it is. The idea is the
superaccumulator of Kulisch (1971); prefix sums over it need associativity, which integers have.

Columns whose exponents lie so far apart that more than ``MOST_LIMBS`` would be needed are summed by ``math.fsum``.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trivet.errors import Invalid
from trivet.features.engines.timeline import Ints

__all__ = ["Floats", "RangeSums", "range_sums"]

Floats = npt.NDArray[np.float64]
MOST_LIMBS = 16
_LIMB = 32
_MASK = (1 << _LIMB) - 1


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
        return IntegerSums(values)
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
        self._values = values if self._special is None else np.where(finite, values, 0.0)
        self._limbs, self._scale = _limbs(self._values)

    def between(self, low: Ints, high: Ints) -> Floats:
        """The sums, as ``math.fsum`` would round them; NaN where there is a NaN or both infinities."""
        if self._limbs is None:
            sums = np.array([math.fsum(self._values[a:b]) for a, b in zip(low.tolist(), high.tolist(), strict=True)])
        else:
            sums = _rounded([limb[high] - limb[low] for limb in self._limbs], self._scale)
        if self._special is None:
            return sums
        nan, up, down = (prefix[high] > prefix[low] for prefix in self._special)
        sums = np.where(up, np.inf, np.where(down, -np.inf, sums))
        return np.where(nan | (up & down), np.nan, sums)


def _prefix(values: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Ints:
    prefix = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=prefix[1:], dtype=np.int64)
    return prefix


def _limbs(values: Floats) -> tuple[list[Ints] | None, int]:
    """Prefix sums of the limbs, lowest first, and the exponent of the lowest bit; None when there would be too many."""
    if not values.any():
        return [np.zeros(len(values) + 1, np.int64)], 0
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1  # zeros at the end; -1 for a zero
    present = whole != 0
    lowest = np.where(present, exponent - 53 + trailing, 0)
    scale = int(lowest[present].min())
    bits = int(exponent[present].max()) - scale
    if bits + len(values).bit_length() < 63:
        return [_prefix(np.ldexp(values, -scale).astype(np.int64))], scale
    if bits > MOST_LIMBS * _LIMB:
        return None, 0
    return _split(whole >> np.maximum(trailing, 0), np.where(present, lowest - scale, 0), bits), scale


def _split(whole: Ints, shift: Ints, bits: int) -> list[Ints]:
    """Prefix sums of each 32 bits of ``whole << shift``, signs kept."""
    sign, size = np.sign(whole), np.abs(whole).astype(np.uint64)
    limb, rest = shift // _LIMB, (shift % _LIMB).astype(np.uint64)
    mask, width = np.uint64(_MASK), np.uint64(_LIMB)
    pieces = [(size << rest) & mask, (size >> (width - rest)) & mask, (size >> width) >> (width - rest)]
    signed = [piece.astype(np.int64) * sign for piece in pieces]
    return [
        _prefix(sum(np.where(limb == number - offset, piece, 0) for offset, piece in enumerate(signed)))  # type: ignore[arg-type]
        for number in range(-(-bits // _LIMB) + 1)
    ]


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
    return np.where(negative, -1.0, 1.0) * np.ldexp(rounded, exponent)


def _carried(limbs: list[Ints]) -> list[Ints]:
    """The same number with every limb but the top in [0, 2**32); the top keeps the sign."""
    digits, carry = [], np.zeros_like(limbs[0])
    for limb in limbs:
        total = limb + carry
        digits.append(total & _MASK)
        carry = total >> _LIMB
    return [*digits, carry]
