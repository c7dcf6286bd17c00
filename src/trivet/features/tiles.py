"""Events of one key in tiles of event time, each with what its events come to, so that a window need not visit them all.

A window that slides cuts tiles at its two ends: there its events are looked at one by one. A tile that lies wholly inside
and whose events are all visible gives its partial aggregate. Merging is exact, because nothing in a ``Partial`` is
rounded: integers add up as integers, and a sum of floats is kept as floats that do not overlap and have the same exact sum
(Shewchuk 1997, as in ``math.fsum``). What has no such partial (std, quantile, nunique) reads the events of all its tiles.

A few events stand in their tile; more of them in a *node*, a row of the store of its own, which they share until they
are many, and then in smaller tiles, a ``FAN``-th as long each: a tree. So what an event costs grows with the depth of
the tree and not with the number of events.

Invariants: a tile holds its events in the order that decides all ties: event, known-at, created, order of arrival. What a
tile and a node hold, and where, is a function of the events that arrived until a moment, in whatever pushes they came.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import msgspec

from trivet.errors import Corrupt
from trivet.types import Micros

__all__ = ["FAN", "Event", "Node", "Nodes", "Partial", "Place", "Tile", "Tree", "merged", "nearest", "rounded"]

FAN = 64
"""How many tiles a tile is parted into."""
_FEW = 8  # events that stand in their tile
_MANY = 256  # events that share a node
_DEEPEST = 3  # levels of tiles below the first

Place: TypeAlias = tuple[int, int, int]
"""Where a node stands: its series, its level, the number of its tile."""

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
        packed: the events, which most reads need not unpack; None where they stand in a node.
    """

    number: int
    rows: int
    visible: Micros
    partials: list[Partial | None]
    packed: bytes | None

    @classmethod
    def of(cls, number: int, events: list[Event], *, apart: bool = False) -> Tile:
        """The tile of some events in order, which stand in it or ``apart`` from it."""
        columns = zip(*(event.values for event in events), strict=True)
        visible = max(event.visible for event in events)
        packed = None if apart else _pack(events)
        return cls(number, len(events), visible, [Partial.of(column) for column in columns], packed)

    @classmethod
    def over(cls, number: int, tiles: list[Tile]) -> Tile:
        """The tile of some smaller ones in order."""
        columns = zip(*(tile.partials for tile in tiles), strict=True)
        partials = [_kept(merged(column)) for column in columns]
        return cls(number, sum(tile.rows for tile in tiles), max(tile.visible for tile in tiles), partials, None)

    @property
    def events(self) -> list[Event]:
        """The events that stand in it, in order."""
        return [] if self.packed is None else _unpack(self.packed)


class Node(msgspec.Struct, frozen=True, array_like=True):
    """The events of a tile that has more than a few.

    Attributes:
        as_of: all of them that had arrived by then.
        packed: the events in order, as long as they are not too many.
        tiles: else smaller tiles, in order.
    """

    as_of: Micros
    packed: bytes | None
    tiles: list[Tile]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Event]).decode
_unpack_node = msgspec.msgpack.Decoder(Node).decode


@dataclass
class Nodes:
    """The nodes of one key, as far as the store was asked for them.

    Attributes:
        found: what the store has where it was asked; None where there is nothing.
        missing: where it must be asked before anything that was worked out with these is right.
        made: those that are new or others than they were.
    """

    found: Mapping[Place, bytes | None] = field(default_factory=dict)
    missing: set[Place] = field(default_factory=set)
    made: dict[Place, Node] = field(default_factory=dict)
    _read: dict[Place, Node | None] = field(default_factory=dict)

    def get(self, place: Place) -> Node | None:
        """The node at a place; None where there is none, or where the store was not asked yet, which is noted."""
        if place in self.made:
            return self.made[place]
        if place not in self.found:
            self.missing.add(place)
            return None
        if place not in self._read:
            data = self.found[place]
            self._read[place] = None if data is None else _decoded(data)
        return self._read[place]


def _decoded(data: bytes) -> Node:
    try:
        return _unpack_node(data)
    except msgspec.DecodeError as exc:
        raise Corrupt(f"The online store holds bytes that are no tile: {exc}. Drop the view and push again.") from exc


@dataclass
class Tree:
    """The events of one series of one key: tiles in order, and nodes.

    Attributes:
        series: its number.
        length: of a tile on the first level; a multiple of ``FAN`` to the power of 3.
        nodes: of the key.

    Example:
        >>> events = [Event(t, t, t, 0, (1.5,)) for t in range(0, 10_000_000, 10_000)]
        >>> tree = Tree(0, 10 * FAN**3, Nodes())
        >>> tiles = tree.grown([], events, position=10_000_000)
        >>> [tile.rows for tile in tiles], sorted(tree.nodes.made)[:2]
        ([263, 262, 262, 213], [(0, 0, 0), (0, 0, 1)])
        >>> parts = tree.inside(tiles, 2_000_000, 10_000_000)
        >>> sum(part.rows if isinstance(part, Tile) else len(part) for part in parts)
        800
    """

    series: int
    length: Micros
    nodes: Nodes
    _opened: dict[tuple[int, int], list[Event]] = field(default_factory=dict)

    def grown(self, tiles: Iterable[Tile], fresh: Iterable[Event], *, position: Micros, level: int = 0) -> list[Tile]:
        """Tiles in order with more events, complete until ``position``. An event lands where it belongs, however late."""
        kept, length = {tile.number: tile for tile in tiles}, self.length // FAN**level
        arrived: dict[int, list[Event]] = defaultdict(list)
        for event in fresh:
            arrived[event.event // length].append(event)
        for number, events in arrived.items():
            kept[number] = self._with(kept.get(number), number, events, position, level)
        return [kept[number] for number in sorted(kept)]

    def _with(self, tile: Tile | None, number: int, fresh: list[Event], position: Micros, level: int) -> Tile:
        place = (self.series, level, number)
        if tile is not None and tile.packed is None:
            node = self._node(place)
            if node is None:
                return tile  # the store has to be asked first
            fresh = [event for event in fresh if event.created > node.as_of]
            if node.packed is None:
                return self._over(place, self.grown(node.tiles, fresh, position=position, level=level + 1), position)
            events = sorted([*_unpack(node.packed), *fresh])
        else:
            events = sorted([*(() if tile is None else tile.events), *fresh])
        if len(events) <= _FEW:
            return Tile.of(number, events)
        if len(events) <= _MANY or level == _DEEPEST:
            self.nodes.made[place] = Node(position, _pack(events), [])
            return Tile.of(number, events, apart=True)
        return self._over(place, self.grown([], events, position=position, level=level + 1), position)

    def _over(self, place: Place, tiles: list[Tile], position: Micros) -> Tile:
        self.nodes.made[place] = Node(position, None, tiles)
        return Tile.over(place[2], tiles)

    def _node(self, place: Place) -> Node | None:
        node = self.nodes.get(place)
        if node is None and place not in self.nodes.missing:
            raise Corrupt("The online store has lost events that were pushed. Drop the view and push again.")
        return node

    def inside(
        self, tiles: Iterable[Tile], start: Micros, end: Micros, *, raw: bool = False, level: int = 0
    ) -> Iterator[Tile | list[Event]]:
        """What was visible at ``end`` of the window ``[start, end)``: whole tiles, and events of those that are cut.

        Args:
            tiles: in order.
            start: of the window.
            end: of the window, and the moment of looking.
            raw: give the events of all tiles.
            level: of the tiles.
        """
        length = self.length // FAN**level
        for tile in tiles:
            begin = tile.number * length
            if begin + length <= start or begin >= end:
                continue
            if not raw and begin >= start and begin + length <= end and tile.visible <= end:
                yield tile
                continue
            node = self._node((self.series, level, tile.number)) if tile.packed is None else None
            if node is not None and node.packed is None:
                yield from self.inside(node.tiles, start, end, raw=raw, level=level + 1)
            elif node is not None or tile.packed is not None:
                events = self._events(level, tile, node)
                yield [e for e in events if start <= e[0] < end and e[1] <= end and e[2] <= end]

    def _events(self, level: int, tile: Tile, node: Node | None) -> list[Event]:
        place = (level, tile.number)
        if place not in self._opened:
            self._opened[place] = tile.events if node is None or node.packed is None else _unpack(node.packed)
        return self._opened[place]

    def beneath(self, number: int, level: int = 0) -> list[Place]:
        """The places of all nodes of a tile, the smallest tiles first, as far as there are any."""
        node = self.nodes.get((self.series, level, number))
        if node is None:
            return []
        apart = [tile.number for tile in node.tiles if tile.packed is None]
        return [*(each for part in apart for each in self.beneath(part, level + 1)), (self.series, level, number)]


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


def _kept(partial: Partial | None) -> Partial | None:
    """A merged one as it is stored."""
    if partial is None or partial.total is None:
        return partial
    total = partial.total
    if isinstance(total, list):
        return msgspec.structs.replace(partial, total=_compressed(total))
    return partial if -_LARGEST <= total < _LARGEST else msgspec.structs.replace(partial, total=None)


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
