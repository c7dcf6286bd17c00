"""Events of one key in tiles of event time, each with what its events come to, so that a window need not visit them all.

A window that slides cuts tiles at its two ends: there its events are looked at one by one. A tile that lies wholly inside
and whose events are all visible gives its partial aggregate. Merging is exact, because nothing in a ``Partial`` is
rounded: integers add up as integers, and a sum of floats is kept as floats that do not overlap and have the same exact sum
(Shewchuk 1997, as in ``math.fsum``). What has no such partial (std, quantile, nunique) reads the events of all its tiles.

Invariant: a tile holds its events in the order that decides all ties: event, known-at, created, order of arrival.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from trivet.types import Micros

__all__ = ["Event", "Partial", "Tile", "add", "inside", "merged", "nearest", "rounded"]

_LARGEST = 1 << 63
_NUMBERS = {int, float, bool}


class Event(NamedTuple):
    """One row of a source, as far as some features look at it.

    Attributes:
        event: when it happened.
        known: from when it could be known.
        created: when it reached us.
        order: its place among the rows that reached us at that moment.
        values: of the columns that are aggregated.
    """

    event: Micros
    known: Micros
    created: Micros
    order: int
    values: tuple[Any, ...]

    @property
    def visible(self) -> Micros:
        """From when it can be seen."""
        return max(self.known, self.created)


class Partial(msgspec.Struct, frozen=True, array_like=True):
    """What some values of a column that are not null come to.

    Attributes:
        count: how many; at least one.
        total: their exact sum: an integer, or floats with that sum; None where they are no numbers or too great.
        special: the sum of infinities and NaNs; 0 where there are none.
        low, high: the least and the greatest; NaN where there is one.
        first, last: in the order of events.
    """

    count: int
    total: int | list[float] | None
    special: float
    low: Any
    high: Any
    first: Any
    last: Any

    @classmethod
    def of(cls, values: Sequence[Any], *, compressed: bool = True) -> Partial | None:
        """Of values in the order of events; None where all are null.

        Args:
            values: in the order of events.
            compressed: keep as few floats of the sum as hold it; else all of them, for what is not kept.

        Example:
            >>> Partial.of([0.1, None, 0.2]).total
            [-2.7755575615628914e-17, 0.30000000000000004]
        """
        present = [value for value in values if value is not None]
        if not present:
            return None
        total, special = _sum(present)
        if compressed and isinstance(total, list):
            total = _compressed(total)
        ends = (present[0], present[-1])
        return cls(len(present), total, special, _extreme(min, present), _extreme(max, present), *ends)


class Tile(msgspec.Struct, frozen=True, array_like=True):
    """The events of one stretch of event time.

    Attributes:
        number: which one: it begins at ``number * length``.
        rows: how many events.
        visible: from when all of them can be seen.
        partials: for each column.
        packed: the events, which most reads need not unpack.
    """

    number: int
    rows: int
    visible: Micros
    partials: list[Partial | None]
    packed: bytes

    @classmethod
    def of(cls, number: int, events: list[Event]) -> Tile:
        """The tile of some events in order."""
        columns = zip(*(event.values for event in events), strict=True)
        visible = max(event.visible for event in events)
        return cls(number, len(events), visible, [Partial.of(column) for column in columns], _pack(events))

    @property
    def events(self) -> list[Event]:
        """Its events in order."""
        return _unpack(self.packed)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Event]).decode


def add(tiles: Iterable[Tile], fresh: Iterable[Event], length: Micros, oldest: Micros) -> list[Tile]:
    """Tiles in order with more events, those before ``oldest`` forgotten. An event lands where it belongs, however late.

    Example:
        >>> one, late = Event(70, 70, 70, 0, (1.5,)), Event(65, 65, 90, 0, (None,))
        >>> [tile.rows for tile in add(add([], [one], 10, 0), [late], 10, 0)]
        [1, 1]
    """
    kept = {tile.number: tile for tile in tiles}
    arrived: dict[int, list[Event]] = defaultdict(list)
    for event in fresh:
        arrived[event.event // length].append(event)
    for number, events in arrived.items():
        before = kept[number].events if number in kept else []
        kept[number] = Tile.of(number, sorted([*before, *events]))
    return [kept[number] for number in sorted(kept) if (number + 1) * length > oldest]


def inside(
    tiles: Iterable[Tile], length: Micros, start: Micros, end: Micros, opened: dict[int, list[Event]], *, raw: bool
) -> list[Tile | list[Event]]:
    """What was visible at ``end`` of the window ``[start, end)``: whole tiles, and events of those that are cut.

    Args:
        tiles: in order.
        length: of a tile.
        start: of the window.
        end: of the window, and the moment of looking.
        opened: the events of tiles that were unpacked before; more are added.
        raw: give the events of all tiles.
    """
    parts: list[Tile | list[Event]] = []
    for tile in tiles:
        begin = tile.number * length
        if begin + length <= start or begin >= end:
            continue
        if not raw and begin >= start and begin + length <= end and tile.visible <= end:
            parts.append(tile)
        else:
            if tile.number not in opened:
                opened[tile.number] = tile.events
            events = opened[tile.number]
            parts.append([e for e in events if start <= e[0] < end and e[1] <= end and e[2] <= end])
    return parts


def merged(partials: Sequence[Partial | None]) -> Partial | None:
    """What several stretches in the order of events come to; None where all are null."""
    found = [each for each in partials if each is not None]
    if len(found) < 2:
        return found[0] if found else None
    return Partial(
        sum(each.count for each in found),
        _added([each.total for each in found]),
        sum(each.special for each in found),
        _extreme(min, [each.low for each in found]),
        _extreme(max, [each.high for each in found]),
        found[0].first,
        found[-1].last,
    )


def rounded(partial: Partial) -> int | float | None:
    """The sum: exact for integers, for floats the nearest to the exact one; None where it was not kept."""
    if partial.special:
        return partial.special
    return nearest(partial.total) if isinstance(partial.total, list) else partial.total


def _sum(values: list[Any]) -> tuple[int | list[float] | None, float]:
    """The terms of the sum, and what is not finite."""
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS:
        return None, 0.0
    if float not in kinds:
        whole = sum(values)
        return (whole if -_LARGEST <= whole < _LARGEST else None), 0.0
    floats = list(map(float, values)) if len(kinds) > 1 else values
    if math.isfinite(sum(floats)):
        return floats, 0.0
    finite = [value for value in floats if math.isfinite(value)]
    return finite, sum(value for value in floats if not math.isfinite(value)) + 0.0


def _compressed(values: Iterable[float]) -> list[float] | None:
    """Floats that do not overlap, with the same exact sum; None beyond the greatest float."""
    parts: list[float] = []
    for value in values:
        total, kept = value, 0
        for part in parts:
            small, great = (total, part) if abs(total) < abs(part) else (part, total)
            total = great + small
            if rest := small - (total - great):
                parts[kept] = rest
                kept += 1
        parts[kept:] = [total]
        if math.isinf(total):
            return None
    return parts


def _added(totals: list[int | list[float] | None]) -> int | list[float] | None:
    whole = [each for each in totals if isinstance(each, int)]
    if len(whole) == len(totals):
        return sum(whole)
    if None in totals:
        return None
    floats = [part for each in totals if isinstance(each, list) for part in each]
    return floats + [float(each) for each in whole]


def nearest(terms: Sequence[float]) -> float:
    """The float nearest to the exact sum of finite terms; infinite where it lies beyond them all."""
    try:
        return math.fsum(terms)
    except OverflowError:  # on the way, not necessarily in the end
        exact = sum(map(Fraction, terms), Fraction(0))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _extreme(choose: Any, values: Sequence[Any]) -> Any:
    """The least or the greatest; NaN where there is one."""
    if isinstance(values[0], int | float) and math.isnan(sum(values)) and any(value != value for value in values):
        return math.nan
    return choose(values)
