"""The rows of a source, key by key in the order of events, and the search among them.

A timeline belongs to one source, one entity and one pair of times; columns with the same times share it. Rows
without a key or without one of their times were never known to anyone and are left out, counted. Within a key,
rows stand in the order (event time, known-at time, created, order in the source), which decides all ties.

What is as long as a source is kept in as few bytes as will do, and long searches are made in stretches that the
processor's cache holds: with ten million rows it is memory that costs time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trivet.features.engines.keys import KeyIndex

__all__ = ["Ints", "Places", "Race", "Timeline", "count_up_to", "grouped", "stretches"]

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[Any]
"""Whole numbers that say where something stands: 32 bits wherever those are enough."""
ALWAYS = -(2**62)
"""The event time of rows that were always known, in microseconds: before everything."""
_STRETCH = 1 << 14


@dataclass(frozen=True, eq=False)
class Timeline:
    """Rows sorted by key and event.

    Attributes:
        rows: for each place in the order, the row of the source.
        codes: the key's code of each place.
        starts: where the rows of each key begin; one more than there are keys.
        event: event time of each place.
        visible: from when the row could be seen: the later of known-at and created.
        left_out: how many rows of the source lack a time.
    """

    rows: Places
    codes: Places
    starts: Ints
    event: Ints
    visible: Ints
    left_out: int
    _races: dict[bool, Race] = field(default_factory=dict, repr=False)
    _usable: dict[bool, Usable] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        keys: KeyIndex,
        complete: npt.NDArray[np.bool_],
        *,
        event: Ints | None = None,
        known: Ints | None = None,
        lag: int = 0,
        created: Ints | None = None,
    ) -> Timeline:
        """Sort the rows of a source.

        Args:
            keys: whose rows they are.
            complete: which rows have all their times.
            event: when they happened; None for rows that were always known.
            known: from when they could be known; None for when they happened.
            lag: how much later than ``known`` that is, in microseconds.
            created: when they reached us; None where not declared.
        """
        kept = complete & (keys.codes >= 0)
        rows = None if kept.all() else np.flatnonzero(kept)  # None: all rows as they stand, spared a copy
        times = [t for t in (event, known, created) if t is not None]
        if times and not _ascending([_pick(t, rows) for t in times]):
            order = np.lexsort([_pick(t, rows) for t in reversed(times)])
            rows = order if rows is None else rows[order]
        codes = _pick(keys.codes, rows)
        order = grouped(codes, keys.size)
        starts = np.zeros(keys.size + 1, np.int64)
        sizes = keys.counts[: keys.size] if rows is None else np.bincount(codes, minlength=keys.size)
        np.cumsum(sizes, out=starts[1:])
        rows = (order if rows is None else rows[order]).astype(_smallest(len(keys.codes)))
        codes = np.repeat(np.arange(keys.size, dtype=keys.codes.dtype), sizes)
        happened = np.full(len(rows), ALWAYS) if event is None else event[rows]
        visible = happened if known is None else known[rows]
        visible = visible + lag if lag else visible
        if created is not None:
            visible = np.maximum(visible, created[rows])
        return cls(rows, codes, starts, happened, visible, int(len(complete) - complete.sum()))

    @cached_property
    def duplicates(self) -> int:
        """How many rows have the key and the event time of another one before them."""
        same = (self.event[1:] == self.event[:-1]) & (self.codes[1:] == self.codes[:-1])
        return int(same.sum())

    def bounds(self, codes: Ints) -> tuple[Ints, Ints]:
        """Where the rows of each of ``codes`` begin and end; nowhere for codes that are none."""
        known = codes >= 0
        safe = np.where(known, codes, 0)
        low = self.starts[safe]
        return low, np.where(known, self.starts[np.minimum(safe + 1, len(self.starts) - 1)], low)

    def race(self, strict: bool) -> Race:
        """In which order rows begin to compete for being the latest."""
        if strict not in self._races:
            seen = self.visible + 1 if strict else self.visible
            moments = seen if seen is self.event else np.maximum(seen, self.event)
            places = None
            if moments is not self.event and not self.in_step(moments):
                places = np.argsort(moments, kind="stable")
                places = places[grouped(self.codes[places], len(self.starts) - 1)]
                moments = moments[places]
            self._races[strict] = Race(moments, places, None if places is None else np.maximum.accumulate(places))
        return self._races[strict]

    def usable(self, strict: bool) -> Usable:
        """From when each row counts in windows, which end before the moment of asking."""
        if strict not in self._usable:
            if self.visible is self.event:
                self._usable[strict] = Usable(self.event, 1, True)
            else:
                moments = np.maximum(self.visible + int(strict), self.event + 1)
                self._usable[strict] = Usable(moments, 0, self.in_step(moments))
        return self._usable[strict]

    def in_step(self, moments: Ints) -> bool:
        """Whether ``moments`` never go back within a key."""
        back = moments[1:] < moments[:-1]
        return not bool((back & (self.codes[1:] == self.codes[:-1])).any())


@dataclass(frozen=True, eq=False)
class Usable:
    """From when the rows of a timeline count in windows: ``after`` microseconds after ``moments``.

    Attributes:
        moments: of each place.
        after: that much later.
        in_step: whether they never go back within a key.
    """

    moments: Ints
    after: int
    in_step: bool


@dataclass(frozen=True, eq=False)
class Race:
    """Rows in the order in which they begin to compete for being the latest of their key.

    A row competes from the moment at which it is visible and has happened, and whoever stands last in the order of
    events among the competitors leads: a running maximum of places, since keys stand one after another.

    Attributes:
        moments: from when each competes; ascending within a key.
        places: which place on the timeline it has; None where that is the order of the timeline itself.
        leaders: who leads from then on; None where each leads from its own moment.
    """

    moments: Ints
    places: Ints | None
    leaders: Ints | None

    def only(self, counts: npt.NDArray[np.bool_]) -> Race:
        """The same race where only rows with ``counts`` compete; -1 leads before the first."""
        places = np.arange(len(self.moments)) if self.places is None else self.places
        return Race(self.moments, places, np.maximum.accumulate(np.where(counts[places], places, -1)))


def count_up_to(values: Ints, low: Ints, high: Ints, limit: Ints) -> Ints:
    """For each query the place in ``[low, high]`` up to which the ascending ``values[low:high]`` are <= ``limit``.

    Many queries are bisected at once: as many rounds as the longest range has binary digits.

    Example:
        >>> count_up_to(np.array([1, 3, 5, 2]), np.array([0, 0, 3]), np.array([3, 3, 4]), np.array([3, 0, 9]))
        array([2, 0, 4])
    """
    found = np.empty(len(low), np.int64)
    for run in stretches(len(low)):
        found[run] = _bisected(values, low[run].copy(), high[run].copy(), limit[run])
    return found


def _bisected(values: Ints, low: Ints, high: Ints, limit: Ints) -> Ints:
    if not len(values):
        return low
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        within = values[np.minimum(middle, len(values) - 1)] <= limit
        within &= low < high
        np.copyto(low, middle + 1, where=within)
        np.copyto(high, middle, where=~within & (low < high))
    return low


def stretches(size: int) -> Iterator[slice]:
    """``size`` places in runs so short that a handful of arrays of them fit into the processor's cache."""
    for start in range(0, size, _STRETCH):
        yield slice(start, min(start + _STRETCH, size))


def _pick(values: Places, rows: Ints | None) -> Places:
    return values if rows is None else values[rows]


def _smallest(size: int) -> type[np.uint32 | np.int64]:
    """The type of places among ``size`` rows. Polars takes 32 bits without a sign as they are."""
    return np.uint32 if size < 1 << 32 else np.int64


def _ascending(times: list[Ints]) -> bool:
    """Whether rows are in lexicographic order of ``times`` already."""
    tied: npt.NDArray[np.bool_] | None = None
    for values in times:
        back = values[1:] < values[:-1]
        if (back if tied is None else back & tied).any():
            return False
        same = values[1:] == values[:-1]
        tied = same if tied is None else same & tied
    return True


def grouped(codes: Places, size: int) -> npt.NDArray[np.intp]:
    """The order that puts equal codes together and keeps their order: NumPy sorts 16 bits by radix, in linear time.

    Args:
        codes: below ``size``; what is negative counts as some great number.
        size: how many different ones there may be.
    """
    order = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    if size > 1 << 16:
        order = order[np.argsort((codes[order] >> 16).astype(np.uint16), kind="stable")]
    if size > 1 << 32:
        order = order[np.argsort(codes[order] >> 32, kind="stable")]
    return order
