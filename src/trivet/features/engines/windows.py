"""Aggregates over windows: all visible rows of a key with ``t - window <= event < t``.

Where rows become visible in the order of events (the usual case: known at once, or a fixed time later) a window is
a range of places, found by bisection. Otherwise the places of each window are written out, some queries at a time,
and the range is one of that list: the same arithmetic serves both. Sums are exact (``exact``); the smallest and
greatest of a range come from doubling steps, quantiles from ``ordering``; what needs all values of a window (std,
nunique) sees them in pieces of bounded size. Nothing depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trivet.features.engines.exact import RangeSums, range_sums
from trivet.features.engines.ordering import quantiles
from trivet.features.engines.timeline import Ints, Timeline, count_up_to

__all__ = ["Values", "Windows", "aggregate", "ends", "windows"]

Array = npt.NDArray[Any]
PIECE = 1 << 21
"""How many values of windows are written out at a time."""


@dataclass(frozen=True, eq=False)
class Values:
    """A column along a timeline: its values without the nulls.

    Attributes:
        values: those that are there.
        before: how many of them there are before each place; None where no place lacks one.
    """

    values: Array
    before: Array | None

    @classmethod
    def of(cls, values: Array, present: npt.NDArray[np.bool_]) -> Values:
        """From the values that are not null and the places that have one."""
        if len(values) == len(present):
            return cls(values, None)
        before = np.zeros(len(present) + 1, np.int32 if len(present) < 1 << 31 else np.int64)
        np.cumsum(present, out=before[1:])
        return cls(values, before)

    def at(self, places: Ints) -> Values:
        """The column along a list of places."""
        if self.before is None:
            return Values(self.values[places], None)
        present = self.before[places + 1] > self.before[places]
        return Values.of(self.values[self.before[places[present]]], present)

    def up_to(self, places: Ints) -> Ints:
        """How many values there are before each of these places."""
        return places if self.before is None else self.before[places].astype(np.int64)

    @cached_property
    def sums(self) -> RangeSums:
        """Sums of ranges of the values."""
        return range_sums(self.values)

    @cached_property
    def previous(self) -> Ints:
        """Where each value stood last before, -1 where it is new."""
        values = np.where(self.values == 0, 0, self.values) if self.values.dtype.kind == "f" else self.values
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        same = (ordered[1:] == ordered[:-1]) | ((ordered[1:] != ordered[1:]) & (ordered[:-1] != ordered[:-1]))
        previous = np.full(len(values), -1)
        previous[order[1:][same]] = order[:-1][same]
        return previous


@dataclass(frozen=True, eq=False)
class Windows:
    """The window of each query as a range ``[low, high)`` of a list of places.

    Attributes:
        places: the list; None for the timeline itself.
        queries: which queries these are; None for all.
    """

    low: Ints
    high: Ints
    places: Ints | None = None
    queries: Ints | None = None
    _ranges: dict[Values, Ranges] = field(default_factory=dict, repr=False)

    def of(self, column: Values) -> Ranges:
        """The windows as ranges of the values of a column."""
        if column not in self._ranges:
            values = column if self.places is None else column.at(self.places)
            low, high = values.up_to(self.low), values.up_to(self.high)
            self._ranges[column] = Ranges(values, low, high)
        return self._ranges[column]


@dataclass(frozen=True, eq=False)
class Ranges:
    """The window of each query as a range ``[low, high)`` of the values of a column, nulls left out."""

    values: Values
    low: Ints
    high: Ints

    @cached_property
    def sums(self) -> Array:
        """The sum of each, which means and deviations need as well."""
        return self.values.sums.between(self.low, self.high)


def ends(timeline: Timeline, codes: Ints, at: Ints, *, strict: bool) -> Ints:
    """Where the windows of all queries end, of whatever length they are: after the last row that may belong to one.

    Args:
        timeline: the rows.
        codes: key of each query, negative for none.
        at: end of each window, exclusive, and moment of looking.
        strict: whether rows must have been visible before, not at, that moment.
    """
    first, last = timeline.bounds(codes)
    usable = timeline.usable(strict)
    if usable.in_step:
        return count_up_to(usable.moments, first, last, at - usable.after)
    return count_up_to(timeline.event, first, last, at - 1)


def windows(timeline: Timeline, high: Ints, codes: Ints, at: Ints, length: int, *, strict: bool) -> list[Windows]:
    """The windows of all queries, in one piece or in several.

    Args:
        timeline: the rows.
        high: what ``ends`` answered for the same queries.
        codes: key of each query, negative for none.
        at: end of each window, exclusive, and moment of looking.
        length: of the windows, in microseconds.
        strict: whether rows must have been visible before, not at, that moment.
    """
    low = count_up_to(timeline.event, timeline.bounds(codes)[0], high, at - length - 1)
    usable = timeline.usable(strict)
    return [Windows(low, high)] if usable.in_step else list(_written_out(usable.moments, low, high, at - usable.after))


def _written_out(usable: Ints, low: Ints, high: Ints, at: Ints) -> Iterator[Windows]:
    """Each window as the list of its visible places, for rows that become visible out of order."""
    for queries in _pieces(high - low):
        places, owner = _members(low[queries], high[queries])
        seen = usable[places] <= at[queries][owner]
        ends = np.cumsum(np.bincount(owner[seen], minlength=len(queries)))
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        yield Windows(starts, ends, places[seen], queries)


def _pieces(sizes: Ints) -> Iterator[Ints]:
    """Queries in runs whose windows hold no more than ``PIECE`` values together, or are one query."""
    total, start = np.concatenate([[0], np.cumsum(sizes)]), 0
    while start < len(sizes):
        end = int(np.searchsorted(total, total[start] + PIECE, side="right")) - 1
        end = min(max(end, start + 1), len(sizes))
        yield np.arange(start, end)
        start = end


def _members(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """All places of the ranges one after another, and to which range each belongs."""
    sizes = high - low
    owner = np.repeat(np.arange(len(low)), sizes)
    offset = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) + (low - offset)[owner], owner


def aggregate(
    operation: str, values: Values | None, found: list[Windows], size: int, q: float | None = None
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """One aggregate of each query's window, and which of them are null.

    Args:
        operation: ``count``, ``sum``... of ``trivet.features.aggregates``.
        values: the column along the timeline; None to count rows.
        found: what ``windows`` answered.
        size: how many queries there are.
        q: level of the quantile.
    """
    parts = [_part(operation, values, each, q) for each in found]
    if len(found) == 1 and found[0].queries is None:
        return parts[0]
    dtype = parts[0][0].dtype if parts else np.dtype(np.float64)
    answer, null = np.zeros(size, dtype), np.ones(size, np.bool_)
    for each, (part, missing) in zip(found, parts, strict=True):
        answer[each.queries], null[each.queries] = part, missing
    return answer, null


def _part(
    operation: str, values: Values | None, found: Windows, q: float | None
) -> tuple[Array, npt.NDArray[np.bool_]]:
    if values is None:
        return found.high - found.low, np.zeros(len(found.low), np.bool_)
    ranges = found.of(values)
    count = ranges.high - ranges.low
    if operation == "count":
        return count, np.zeros(len(count), np.bool_)
    if operation == "quantile":
        return _quantile(ranges, q or 0.0), count == 0
    answer = _OPERATIONS[operation](ranges)
    needed = {"nunique": 0, "std": 2}.get(operation, 1)
    return answer, count < needed


def _sum(ranges: Ranges) -> Array:
    return ranges.sums


def _mean(ranges: Ranges) -> Array:
    means: Array = ranges.sums.astype(np.float64, copy=False) / np.maximum(ranges.high - ranges.low, 1)
    return means


def _first(ranges: Ranges) -> Array:
    return _take(ranges.values.values, np.where(ranges.high > ranges.low, ranges.low, 0))


def _last(ranges: Ranges) -> Array:
    return _take(ranges.values.values, np.where(ranges.high > ranges.low, ranges.high - 1, 0))


def _take(values: Array, places: Ints) -> Array:
    return values[places] if len(values) else np.zeros(len(places), values.dtype)


def _smallest(ranges: Ranges) -> Array:
    return _extreme(ranges.values.values, ranges.low, ranges.high, np.minimum)


def _greatest(ranges: Ranges) -> Array:
    return _extreme(ranges.values.values, ranges.low, ranges.high, np.maximum)


def _extreme(values: Array, low: Ints, high: Ints, better: Callable[[Array, Array], Array]) -> Array:
    """Two overlapping runs of length ``2 ** k`` cover a range; runs are doubled step by step."""
    answer = np.zeros(len(low), values.dtype)
    doublings = np.frexp((high - low).astype(np.float64))[1] - 1
    runs = values
    for k in range(int(doublings.max(initial=-1)) + 1):
        here = np.flatnonzero(doublings == k)
        answer[here] = better(runs[low[here]], runs[high[here] - (1 << k)])
        runs = better(runs[: -(1 << k)], runs[1 << k :]) if len(runs) > 1 << k else runs
    return answer


def _std(ranges: Ranges) -> Array:
    low, high = ranges.low, ranges.high
    mean, numbers = _mean(ranges), ranges.values.values.astype(np.float64, copy=False)

    def squares(places: Ints, owner: Ints, queries: Ints) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):  # infinities have no deviation: NaN, not a warning
            return np.square(numbers[places] - mean[queries][owner])

    deviations: Array = np.sqrt(_total(low, high, squares) / np.maximum(high - low - 1, 1))
    return deviations


def _nunique(ranges: Ranges) -> Array:
    def new(places: Ints, owner: Ints, queries: Ints) -> Array:
        return ranges.values.previous[places] < ranges.low[queries][owner]

    return _total(ranges.low, ranges.high, new).astype(np.int64)


def _total(low: Ints, high: Ints, what: Callable[[Ints, Ints, Ints], Array]) -> Floats:
    """The sum over each range of what a function answers for its places, added in the order of places."""
    answer = np.zeros(len(low))
    filled = np.flatnonzero(high > low)
    for run in _pieces(high[filled] - low[filled]):
        queries = filled[run]
        places, owner = _members(low[queries], high[queries])
        sizes = high[queries] - low[queries]
        terms = what(places, owner, queries).astype(np.float64)
        answer[queries] = np.add.reduceat(terms, np.cumsum(sizes) - sizes)
    return answer


def _quantile(ranges: Ranges, q: float) -> Floats:
    numbers = ranges.values.values.astype(np.float64, copy=False)
    return quantiles(numbers, ranges.low, ranges.high, q, _pieces)


Floats = npt.NDArray[np.float64]
_OPERATIONS: dict[str, Callable[[Ranges], Array]] = {
    "sum": _sum,
    "mean": _mean,
    "min": _smallest,
    "max": _greatest,
    "std": _std,
    "first": _first,
    "last": _last,
    "nunique": _nunique,
}
