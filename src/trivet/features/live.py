"""What is kept online of a view that is pushed to: enough of its events to answer at any moment from now on.

A materialized row holds aggregates as of one moment, and windows slide. So beside the rows of such a view stands, under
``live_name``, a state for each key. From it ``LiveView.row`` makes the row that a materialization at the moment of reading
would have written, with nothing approximate in it. A state has two parts. Columns that are aggregated with the same clock
and condition share a *series*: their events within the longest window, in tiles (``trivet.features.tiles``). Latest values
with the same clock, condition and lag share a *contest*: who leads, and whoever may still come to lead.

Invariant: a state is a function of its key and of a moment of arrival, its ``as_of``: all rows of the table that had
arrived by then are in it, no others. So whichever of several pushers has the later one is right, which is the rule
by which every online store replaces rows, and nobody needs a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from trivet.errors import Corrupt
from trivet.features.aggregates import ARITHMETIC, COUNTS, Aggregate
from trivet.features.definitions import FeatureView
from trivet.features.engines.prepared import Clock
from trivet.features.online.contract import Row
from trivet.features.tiles import Event, Partial, Tile, add, inside, merged, nearest, rounded
from trivet.types import Micros, as_duration

__all__ = ["SLACK", "Contest", "LiveView", "Series", "State", "live_name"]

SLACK = as_duration("1m")
"""How far before the newest arrival a state can still be asked: clocks differ, and reading takes its time."""
_TILES = 64  # in the longest window: as many partials to add as events to look at for a key with some thousands
_RAW = frozenset({"std", "quantile", "nunique"})


@dataclass(frozen=True)
class Series:
    """Events that windows look at.

    Attributes:
        clock: when they happen and are known.
        where: the condition that they satisfy.
        columns: whose values they have.
        reach: how far back a window goes, its lag included.
        tile: length of a tile.
    """

    clock: Clock
    where: str | None
    columns: tuple[str, ...]
    reach: Micros
    tile: Micros


@dataclass(frozen=True)
class Contest:
    """Events that may be the latest.

    Attributes:
        clock: when they happen and are known.
        where: the condition that they satisfy.
        lag: how long before the moment of asking it is decided.
        only: the column in which they have a value, for a feature that skips nulls.
        columns: whose values they have.
    """

    clock: Clock
    where: str | None
    lag: Micros
    only: str | None
    columns: tuple[str, ...]


class State(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one key.

    Attributes:
        as_of: every row that had arrived by then is in it.
        series: the tiles of each series.
        contests: the events of each contest.
    """

    as_of: Micros
    series: list[list[Tile]]
    contests: list[list[Event]]


_decode = msgspec.msgpack.Decoder(State).decode
encode = msgspec.msgpack.Encoder().encode


def live_name(view: FeatureView) -> str:
    """Under what name the states of a view stand in the online store."""
    return f"{view.online_name}#events"


def decode_state(data: bytes) -> State:
    """A state out of its bytes.

    Raises:
        Corrupt: these bytes are no state.
    """
    try:
        return _decode(data)
    except msgspec.DecodeError as exc:
        raise Corrupt(f"The online store holds bytes that are no state: {exc}. Drop the view and push again.") from exc


class LiveView:
    """How one view keeps and reads its states. What may not be served is not kept.

    Args:
        view: the view.
    """

    slack = SLACK

    def __init__(self, view: FeatureView) -> None:
        self.view, self.name = view, live_name(view)
        features = [(name, view.features[name]) for name in view.served_features]
        self.series = _series(view, [each for _, each in features if each.windowed])
        self.contests = _contests(view, [each for _, each in features if not each.windowed])
        places = list(view.features)
        self._windowed = [(places.index(n), f, *self._in_series(f)) for n, f in features if f.windowed]
        self._latest = [(places.index(n), f, *self._in_contests(f)) for n, f in features if not f.windowed]

    # -- writing ----------------------------------------------------------------------------------------------

    def oldest(self, series: Series, position: Micros) -> Micros:
        """Before which events of a series are of no use any more."""
        return position - SLACK - series.reach

    def settled(self, contest: Contest, position: Micros) -> Micros:
        """Up to which moment a contest is over: of those that compete by then only the leader is kept."""
        return position - SLACK - contest.lag

    def folded(self, before: bytes | None, arrived: Sequence[Sequence[Event]], position: Micros) -> bytes:
        """The state of a key with what arrived until ``position``; what it knows already changes nothing.

        Args:
            before: the state so far.
            arrived: events of each series, then of each contest.
            position: up to which moment of arrival these are complete.
        """
        state = State(-(2**63), [[]] * len(self.series), [[]] * len(self.contests))
        state = state if before is None else decode_state(before)
        fresh = [[event for event in events if event.created > state.as_of] for events in arrived]
        tiles = [
            add(old, new, series.tile, self.oldest(series, position))
            for series, old, new in zip(self.series, state.series, fresh[: len(self.series)], strict=True)
        ]
        leading = [
            leaders([*old, *new], self.settled(contest, position))
            for contest, old, new in zip(self.contests, state.contests, fresh[len(self.series) :], strict=True)
        ]
        return encode(State(max(position, state.as_of), tiles, leading))

    # -- reading ----------------------------------------------------------------------------------------------

    def row(self, data: bytes, at: Micros, places: Iterable[int] | None = None) -> Row:
        """The row of a key as of ``at``; only some features of it where ``places`` says which.

        Raises:
            Corrupt: these bytes are no state.
        """
        state, wanted = decode_state(data), None if places is None else set(places)
        values: list[Any] = [None] * len(self.view.features)
        times: list[Micros | None] = [None] * len(values)
        windows = _Windows(self, state, at)
        for place, feature, series, column in self._windowed:
            if wanted is None or place in wanted:
                values[place], times[place] = windows.value(feature, series, column), at
        for place, feature, contest, column in self._latest:
            if wanted is None or place in wanted:
                moment = at - feature.lag
                seen = [each for each in state.contests[contest] if max(each[0], each[1], each[2]) <= moment]
                if seen:
                    newest = max(seen)
                    values[place], times[place] = newest.values[column], newest.event
        return Row(at, values, times)

    def _in_series(self, feature: Aggregate) -> tuple[int, int | None]:
        wanted = (Clock.of(self.view.source, feature), feature.where)
        place = next(i for i, each in enumerate(self.series) if (each.clock, each.where) == wanted)
        return place, None if feature.column is None else self.series[place].columns.index(feature.column)

    def _in_contests(self, feature: Aggregate) -> tuple[int, int]:
        wanted = _contest(self.view, feature)
        place = next(
            i for i, each in enumerate(self.contests) if (each.clock, each.where, each.lag, each.only) == wanted
        )
        return place, self.contests[place].columns.index(feature.column or "")


def leaders(events: Iterable[Event], settled: Micros) -> list[Event]:
    """Who leads a contest at the moment ``settled``, and who may lead later.

    Example:
        >>> old, new, ahead = (Event(t, t, t, 0, ()) for t in (10, 20, 90))
        >>> [event.event for event in leaders([ahead, old, new], 50)]
        [20, 90]
    """
    ordered = sorted(events)
    over = [place for place, event in enumerate(ordered) if max(event[:3]) <= settled]
    return ordered[over[-1] :] if over else ordered


class _Windows:
    """The windows of one key at one moment; features share what they have in common."""

    def __init__(self, live: LiveView, state: State, at: Micros) -> None:
        self._live, self._state, self._at = live, state, at
        self._parts: dict[tuple[int, Micros, Micros, bool], list[Tile | list[Event]]] = {}
        self._opened: list[dict[int, list[Event]]] = [{} for _ in state.series]
        self._partials: dict[tuple[int, Micros, Micros, int], Partial | None] = {}

    def value(self, feature: Aggregate, series: int, column: int | None) -> Any:
        window, raw = feature.window or 0, feature.operation in _RAW
        if column is None:
            parts = self._inside(series, window, feature.lag, raw=False)
            return sum(part.rows if isinstance(part, Tile) else len(part) for part in parts)
        if raw:
            values = self._values(series, window, feature.lag, column)
            return len(_different(values)) if feature.operation == "nunique" else _of_all(feature, values)
        partial = self._partial(series, window, feature.lag, column)
        if partial is None:
            return 0 if feature.operation in COUNTS else None
        if feature.operation in ("sum", "mean"):
            total = rounded(partial)
            if total is None:
                total = _total(self._values(series, window, feature.lag, column))
            return total if feature.operation == "sum" else float(total) / partial.count
        return getattr(partial, _KEPT[feature.operation])

    def _inside(self, series: int, window: Micros, lag: Micros, *, raw: bool) -> list[Tile | list[Event]]:
        key = (series, window, lag, raw)
        if key not in self._parts:
            end, length = self._at - lag, self._live.series[series].tile
            tiles, opened = self._state.series[series], self._opened[series]
            self._parts[key] = inside(tiles, length, end - window, end, opened, raw=raw)
        return self._parts[key]

    def _partial(self, series: int, window: Micros, lag: Micros, column: int) -> Partial | None:
        key = (series, window, lag, column)
        if key not in self._partials:
            parts = self._inside(series, window, lag, raw=False)
            self._partials[key] = merged(
                [
                    part.partials[column]
                    if isinstance(part, Tile)
                    else Partial.of([event[4][column] for event in part], compressed=False)
                    for part in parts
                ]
            )
        return self._partials[key]

    def _values(self, series: int, window: Micros, lag: Micros, column: int) -> list[Any]:
        parts = self._inside(series, window, lag, raw=True)
        found = [event.values[column] for part in parts if isinstance(part, list) for event in part]
        return [value for value in found if value is not None]


_KEPT = {"count": "count", "min": "low", "max": "high", "first": "first", "last": "last"}


def _total(values: list[Any]) -> int | float:
    """The sum of values that are too great for a partial."""
    return sum(values) if all(isinstance(value, int) for value in values) else nearest([float(each) for each in values])


def _different(values: list[Any]) -> set[Any]:
    return {"NaN" if value != value else value for value in values}


def _of_all(feature: Aggregate, values: list[Any]) -> float | None:
    """What needs all values at once, by the code of the local engine, so that it rounds alike."""
    import numpy as np

    from trivet.features.engines.windows import Values, Windows, aggregate

    whole = all(isinstance(value, int) for value in values)
    column = Values.of(np.array(values, np.int64 if whole else np.float64), np.ones(len(values), np.bool_))
    window = Windows(np.array([0]), np.array([len(values)]))
    answer, null = aggregate(feature.operation, column, [window], 1, feature.q)
    return None if null[0] else float(answer[0])


def _series(view: FeatureView, features: Sequence[Aggregate]) -> list[Series]:
    grouped: dict[tuple[Clock, str | None], list[Aggregate]] = {}
    for each in features:
        grouped.setdefault((Clock.of(view.source, each), each.where), []).append(each)
    return [
        Series(
            clock,
            where,
            tuple(dict.fromkeys(each.column for each in group if each.column is not None)),
            max((each.window or 0) + each.lag for each in group),
            max(max(each.window or 0 for each in group) // _TILES, 1),
        )
        for (clock, where), group in grouped.items()
    ]


def _contests(view: FeatureView, features: Sequence[Aggregate]) -> list[Contest]:
    grouped: dict[tuple[Clock, str | None, Micros, str | None], list[str]] = {}
    for each in features:
        grouped.setdefault(_contest(view, each), []).append(each.column or "")
    return [Contest(*kind, tuple(dict.fromkeys(columns))) for kind, columns in grouped.items()]


def _contest(view: FeatureView, feature: Aggregate) -> tuple[Clock, str | None, Micros, str | None]:
    only = feature.column if feature.skip_nulls else None
    return Clock.of(view.source, feature), feature.where, feature.lag, only


def arithmetic(view: FeatureView, column: str) -> bool:
    """Whether any feature of a view calculates with a column."""
    return any(each.operation in ARITHMETIC and each.column == column for each in view.features.values())
