"""Order statistics of many ranges of one array: the value that would stand at a place if the range were sorted.

Short ranges are sorted one by one. Long ranges overlap, so sorting each anew costs as much as all of them are long;
instead all questions go down one wavelet matrix together, from the highest bit of the ranks to the lowest, and each
level is thrown away when it is done (F. Claude, G. Navarro, A. Ordóñez: The wavelet matrix, Information Systems 47, 2015,
https://doi.org/10.1016/j.is.2014.06.002). That takes the time of ``(n + ranges) * log n`` and the memory of ``n + ranges``.

Invariant: both ways answer the same bits. Equal values (0.0 and -0.0 too) keep the order of their places, NaN is last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["quantiles", "selected"]

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[Any]
Pieces: TypeAlias = Callable[[Ints], Iterator[Ints]]
_SHORT = 24
"""Up to how many values sorting a range costs less than a way through all levels, as measured."""
_WORTH = 8
"""How often each value must be asked about before the levels are worth making."""


def quantiles(numbers: Floats, low: Ints, high: Ints, q: float, pieces: Pieces) -> Floats:
    """Linear interpolation between the two values around ``q * (n - 1)``; NaN where there is a NaN, 0 where nothing is.

    Args:
        numbers: the array.
        low: where each range starts.
        high: the place after its end.
        q: the level, 0 to 1.
        pieces: parts ranges by their sizes into runs of bounded size.

    Example:
        >>> quantiles(np.array([3.0, 1.0, 2.0]), np.array([0, 1]), np.array([3, 3]), 0.5, lambda n: iter([np.arange(len(n))]))
        array([2. , 1.5])
    """
    answer, filled = np.zeros(len(low)), np.flatnonzero(high > low)
    low, high = low[filled], high[filled]
    sizes = high - low
    position = q * (sizes - 1)
    below = np.floor(position).astype(np.int64)
    a, b = selected(numbers, low, high, [below, np.minimum(below + 1, sizes - 1)], pieces)
    with np.errstate(invalid="ignore", over="ignore"):
        between = np.where(a == b, a, a + (b - a) * (position - below))
    between = np.where(position == below, a, between)
    missing = np.concatenate([[0], np.cumsum(np.isnan(numbers))])
    answer[filled] = np.where(missing[high] > missing[low], np.nan, between)
    return answer


def selected(numbers: Floats, low: Ints, high: Ints, places: list[Ints], pieces: Pieces) -> list[Floats]:
    """For each list of ``places`` the value that would stand there in each range, if it were sorted; none is empty."""
    sizes = high - low
    long = sizes > _SHORT
    if int(sizes[long].sum()) < _WORTH * len(numbers):
        long[:] = False
    found = [np.empty(len(low)) for _ in places]
    for which, way in ((np.flatnonzero(~long), _by_sorting), (np.flatnonzero(long), _by_ranks)):
        for run in pieces(sizes[which]) if way is _by_sorting else [np.arange(len(which))]:
            here = which[run]
            if len(here):
                parts = way(numbers, low[here], high[here], [each[here] for each in places])
                for answer, part in zip(found, parts, strict=True):
                    answer[here] = part
    return found


def _by_sorting(numbers: Floats, low: Ints, high: Ints, places: list[Ints]) -> list[Floats]:
    sizes = high - low
    owner = np.repeat(np.arange(len(low)), sizes)
    start = np.cumsum(sizes) - sizes
    ordered = numbers[np.arange(len(owner)) + (low - start)[owner]]
    ordered = ordered[np.lexsort([ordered, owner])]
    return [ordered[start + each] for each in places]


def _by_ranks(numbers: Floats, low: Ints, high: Ints, places: list[Ints]) -> list[Floats]:
    kind: Any = np.int32 if len(numbers) < 1 << 31 else np.int64
    order = np.argsort(numbers, kind="stable")
    ranks: Any = np.empty(len(numbers), kind)
    ranks[order] = np.arange(len(numbers), dtype=kind)
    low, high = (np.tile(each.astype(kind), len(places)) for each in (low, high))
    left: Any = np.concatenate(places).astype(kind)
    rank: Any = np.zeros(len(low), kind)
    for bit in reversed(range(max(len(numbers) - 1, 1).bit_length())):
        ones = (ranks >> bit) & 1 == 1
        zeros_before: Any = np.zeros(len(ranks) + 1, kind)
        np.cumsum(~ones, out=zeros_before[1:])
        before, until = zeros_before[low], zeros_before[high]
        up = left >= until - before
        left -= np.where(up, until - before, 0)
        rank += up.astype(kind) << bit
        low = np.where(up, zeros_before[-1] + low - before, before)
        high = np.where(up, zeros_before[-1] + high - until, until)
        ranks = np.concatenate([ranks[~ones], ranks[ones]])
    return np.split(numbers[order[rank]], len(places))
