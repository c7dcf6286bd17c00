"""What is kept online of a view that is pushed to: enough of its events to answer at any moment from now on.

A materialized row holds aggregates as of one moment, and windows slide. So beside the rows of such a view stands, under
``live_name``, a state for each key. From it ``LiveView.row`` makes the row that a materialization at the moment of reading
would have written, with nothing approximate in it. A state has two parts. Columns that are aggregated with the same clock
and condition share a *series*: their events within the longest window, in tiles (``trivet.features.tiles``); where they are
many, they stand in rows beside the state. Latest values with the same clock, condition and lag share a *contest*: who
leads, and whoever may still come to lead.

A view on a view on a table has the state of both: events of the table for the first, and rows of its log for the
second, which come to be at moments that are known beforehand. What is still to come is worked out when it is read.

Invariant: a state is a function of its key and of a moment of arrival, its ``as_of``: all rows of the table that had
arrived by then are in it, no others. So whichever of several pushers has the later one is right, which is the rule
by which every online store replaces rows, and nobody needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from trivet.errors import Corrupt
from trivet.features.aggregates import ARITHMETIC, COUNTS, Aggregate
from trivet.features.definitions import FeatureView
from trivet.features.engines.prepared import Clock
from trivet.features.online.contract import Key, OnlineStore, Row
from trivet.features.predicates import holds, parse
from trivet.features.tiles import FAN, Event, Nodes, Partial, Place, Tile, Tree, merged, nearest, rounded
from trivet.types import Micros, as_duration

__all__ = [
    "SLACK",
    "Arrived",
    "Contest",
    "LiveView",
    "Made",
    "Series",
    "Stage",
    "State",
    "decode_state",
    "live_name",
    "row_key",
    "why_not",
    "with_nodes",
]

SLACK = as_duration("1m")
"""How far before the newest arrival a state can still be asked: clocks differ, and reading takes its time."""
_TILES = 64  # in the longest window: as many partials to add as events to look at for a key with some thousands
_RAW = frozenset({"std", "quantile", "nunique"})
_BEGINNING = -(2**63)
T = TypeVar("T")


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
        waiting: the moments after ``as_of`` at which the log of a view has a row.
        stale: tiles that no window reaches any more and whose nodes are still to be removed: series and number.
    """

    as_of: Micros
    series: list[list[Tile]]
    contests: list[list[Event]]
    waiting: list[Micros] = []
    stale: list[tuple[int, int]] = []


class Arrived(NamedTuple):
    """What is new of one key.

    Attributes:
        series, contests: events of each, of all stages; of the stages after the first only where they were computed.
        moments: when each row of the table arrived, and from when it counts: then the log of a view has a row.
    """

    series: list[list[Event]]
    contests: list[list[Event]]
    moments: set[tuple[Micros, Micros]]


class Made(NamedTuple):
    """What is to be written of one key: rows as the store takes them, the state last, and whose rows are to go."""

    rows: list[tuple[bytes, bytes]]
    gone: list[Key]


_decode = msgspec.msgpack.Decoder(State).decode
encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(list[Any]).decode


def live_name(view: FeatureView) -> str:
    """Under what name the states of a view stand in the online store."""
    return f"{view.online_name}#live"


def decode_state(data: bytes) -> State:
    """A state out of its bytes.

    Raises:
        Corrupt: these bytes are no state.
    """
    try:
        return _decode(data)
    except msgspec.DecodeError as exc:
        raise Corrupt(f"The online store holds bytes that are no state: {exc}. Drop the view and push again.") from exc


def row_key(key: bytes, place: Place) -> bytes:
    r"""Under which key a node stands beside the state of ``key``: as many values more as no entity of the view has.

    Example:
        >>> row_key(b"\x91\xa3JFK", (0, 1, 7)).hex()
        '94a34a464b000107'
    """
    return encode([*_decode_key(key), *place])


class LiveView:
    """How one view keeps and reads its states. What may not be served is not kept.

    Args:
        view: the view, on a table or on another such view with the same keys; see ``why_not``.
    """

    slack = SLACK

    def __init__(self, view: FeatureView) -> None:
        self.view, self.name = view, live_name(view)
        self.stages: list[Stage] = []
        for each in _chain(view):
            self.stages.append(
                Stage(each, sum(len(s.series) for s in self.stages), sum(len(s.contests) for s in self.stages))
            )
        self.series = [series for stage in self.stages for series in stage.series]
        self.contests = [contest for stage in self.stages for contest in stage.contests]
        self.table = self.stages[0].view.source

    # -- writing ----------------------------------------------------------------------------------------------

    def oldest(self, series: Series, position: Micros) -> Micros:
        """Before which events of a series are of no use any more."""
        return position - SLACK - series.reach

    def settled(self, contest: Contest, position: Micros) -> Micros:
        """Up to which moment a contest is over: of those that compete by then only the leader is kept."""
        return position - SLACK - contest.lag

    def folded(self, key: bytes, before: bytes | None, arrived: Arrived, position: Micros, nodes: Nodes) -> Made:
        """The state of a key with what arrived until ``position``; what it knows already changes nothing.

        Args:
            key: the key.
            before: the state so far.
            arrived: what is new, complete from the state on until ``position``.
            position: a moment of arrival.
            nodes: of the key; where any are missing, the answer is of no use.
        """
        state = self._empty() if before is None else decode_state(before)
        held = _Held(self, state, nodes)
        position = max(position, state.as_of)
        for until, series, contests, moments in _steps(arrived, state.as_of, position, computed=len(self.stages) > 1):
            self._pass(held, until)
            held.grow(series, contests, until)
            held.waiting |= moments
        self._pass(held, position + 1)
        stale = held.forget(self, position)
        gone = [place for series, number in state.stale for place in held.trees[series].beneath(number)]
        new = State(position, held.series, held.contests, sorted(held.waiting), stale)
        rows = [(row_key(key, place), encode(node)) for place, node in nodes.made.items() if place not in gone]
        return Made([*rows, (key, encode(new))], [(*_decode_key(key), *place) for place in gone])

    def _empty(self) -> State:
        return State(_BEGINNING, [[] for _ in self.series], [[] for _ in self.contests])

    def _pass(self, held: _Held, until: Micros) -> None:
        """Let the moments before ``until`` pass at which the log of a view has a row."""
        for moment in sorted(each for each in held.waiting if each < until):
            for stage, after in zip(self.stages, self.stages[1:], strict=False):
                after.take(held, stage.logged(held, moment), moment)
            held.waiting.discard(moment)

    # -- reading ----------------------------------------------------------------------------------------------

    def row(self, data: bytes, at: Micros, places: Iterable[int] | None = None, nodes: Nodes | None = None) -> Row:
        """The row of a key as of ``at``; only some features of it where ``places`` says which.

        Args:
            data: the state.
            at: the moment.
            places: which features.
            nodes: of the key; where any are missing afterwards, the answer is of no use.

        Raises:
            Corrupt: these bytes are no state.
        """
        held = _Held(self, decode_state(data), Nodes() if nodes is None else nodes)
        if held.waiting:
            self._pass(held, at + 1)
        values, times = self.stages[-1].values(held, at, None if places is None else set(places))
        return Row(at, values, times)

    def rows(
        self,
        store: OnlineStore,
        keys: Sequence[bytes],
        states: Sequence[bytes | None],
        at: Micros,
        places: Sequence[int],
    ) -> list[Row | None]:
        """The rows of some keys with their states; the store is asked again for nodes that these need."""
        found: list[Row | None] = [None] * len(keys)
        for number, answer in with_nodes(
            self, store, keys, states, lambda _, data, nodes: self.read(data, at, places, nodes)
        ):
            found[number] = answer
        return found

    def read(self, data: bytes | None, at: Micros, places: Sequence[int], nodes: Nodes) -> Row | None:
        """``row``, if there is a state."""
        return None if data is None else self.row(data, at, places, nodes)

    # -- erasing ----------------------------------------------------------------------------------------------

    def beside(self, store: OnlineStore, keys: Sequence[bytes]) -> list[Key]:
        """Under which keys nodes of some keys stand, the deepest first."""
        [states] = store.get([(self.name, keys)])
        found = list(with_nodes(self, store, keys, states.rows, self._beside))
        return [(*_decode_key(keys[number]), *place) for number, places in found for place in places]

    def _beside(self, _: int, data: bytes | None, nodes: Nodes) -> list[Place]:
        if data is None:
            return []
        state = decode_state(data)
        trees = _Held(self, state, nodes).trees
        apart = [(n, tile.number) for n, tiles in enumerate(state.series) for tile in tiles if tile.packed is None]
        return [place for series, number in [*apart, *state.stale] for place in trees[series].beneath(number)]


def with_nodes(
    live: LiveView,
    store: OnlineStore,
    keys: Sequence[bytes],
    states: Sequence[bytes | None],
    work: Callable[[int, bytes | None, Nodes], T],
) -> Iterator[tuple[int, T]]:
    """What ``work(number, state, nodes)`` answers for each key, asked again with more nodes as long as it misses any.

    A state and its nodes are always of one question to the store, so they fit each other.
    """
    waiting: dict[int, set[Place]] = {number: set() for number in range(len(keys))}
    found: dict[int, tuple[bytes | None, dict[Place, bytes | None]]] = {n: (states[n], {}) for n in waiting}
    while waiting:
        for number in list(waiting):
            state, stored = found.pop(number)
            nodes = Nodes(stored)
            answer = work(number, state, nodes)
            if nodes.missing:
                waiting[number] |= nodes.missing
            else:
                del waiting[number]
                yield number, answer
        if waiting:
            asked = {number: sorted(places) for number, places in waiting.items()}
            flat = [[keys[n], *(row_key(keys[n], place) for place in places)] for n, places in asked.items()]
            rows = iter(store.get([(live.name, [each for part in flat for each in part])])[0].rows)
            for number, places in asked.items():
                state = next(rows)
                found[number] = state, {place: next(rows) for place in places}


def _chain(view: FeatureView) -> list[FeatureView]:
    """The view and those that it is made from, the one on the table first."""
    return [view] if view.source.view is None else [*_chain(view.source.view), view]


def why_not(view: FeatureView) -> str | None:
    """Why a view cannot be kept up by pushes, if it cannot; its rows are then those of the last materialization."""
    source = view.source
    if not view.served_features:
        return "nothing of it may be served"
    if source.view is None:
        what = "query" if source.sql else "function"
        if source.derived:
            return f"its source {source.name!r} is made by a {what}, which has to see all rows"
        if source.created is None or not isinstance(source.data, str):
            return f"its source {source.name!r} is no table of the project"
        return None
    if view.entity.keys != source.view.entity.keys:
        return f"it has other keys than the view {source.view.name!r} beneath"
    read = {column for feature in view.served_features for column in view.features[feature].columns}
    if other := sorted(read - set(source.view.served_features)):
        return f"it reads {other[0]!r}, which is no served feature of the view {source.view.name!r} beneath"
    return why_not(source.view)


class _Held:
    """A state at work."""

    series: list[list[Tile]]
    contests: list[list[Event]]
    waiting: set[Micros]
    trees: list[Tree]

    def __init__(self, live: LiveView, state: State, nodes: Nodes) -> None:
        self.series, self.contests = list(state.series), list(state.contests)
        self.waiting, self._live, self._nodes = set(state.waiting), live, nodes
        self.trees = self._planted()

    def _planted(self) -> list[Tree]:
        return [Tree(number, series.tile, self._nodes) for number, series in enumerate(self._live.series)]

    def grow(self, series: Mapping[int, list[Event]], contests: Mapping[int, list[Event]], position: Micros) -> None:
        """Take in events, with which all is complete until ``position``."""
        for number, events in series.items():
            self.series[number] = self.trees[number].grown(self.series[number], events, position=position)
        for number, events in contests.items():
            self.contests[number] = [*self.contests[number], *events]
        self.trees = self._planted()  # what they had opened is no more what it was

    def forget(self, live: LiveView, position: Micros) -> list[tuple[int, int]]:
        """Drop what is of no use any more, and answer which tiles with nodes are dropped."""
        stale: list[tuple[int, int]] = []
        for number, series in enumerate(live.series):
            old = live.oldest(series, position)
            dead = [tile for tile in self.series[number] if (tile.number + 1) * series.tile <= old]
            stale += [(number, tile.number) for tile in dead if tile.packed is None]
            self.series[number] = self.series[number][len(dead) :]
        for number, contest in enumerate(live.contests):
            self.contests[number] = leaders(self.contests[number], live.settled(contest, position))
        return stale


_Step = tuple[Micros, dict[int, list[Event]], dict[int, list[Event]], set[Micros]]


def _steps(arrived: Arrived, since: Micros, position: Micros, *, computed: bool) -> Iterator[_Step]:
    """What arrived after ``since``: at once, or moment by moment where something is computed of each.

    Moments until ``position`` are computed, later ones wait.
    """
    series = [[event for event in events if event.created > since] for events in arrived.series]
    contests = [[event for event in events if event.created > since] for events in arrived.contests]
    moments = [each for each in arrived.moments if each[0] > since]
    if not computed or all(moment > position for _, moment in moments):
        yield position, _numbered(series, None), _numbered(contests, None), {moment for _, moment in moments}
        return
    for created in sorted({each for each, _ in moments}):
        now = {moment for each, moment in moments if each == created}
        yield created, _numbered(series, created), _numbered(contests, created), now


def _numbered(kinds: Sequence[Sequence[Event]], created: Micros | None) -> dict[int, list[Event]]:
    found = {n: [e for e in events if created is None or e.created == created] for n, events in enumerate(kinds)}
    return {number: events for number, events in found.items() if events}


class Stage:
    """The features of one view over the series and contests of a state.

    Args:
        view: the view.
        first: the number of its first series in the state.
        contest: the number of its first contest.
    """

    def __init__(self, view: FeatureView, first: int, contest: int) -> None:
        self.view, self.first, self.contest = view, first, contest
        features = [(name, view.features[name]) for name in view.served_features]
        self.series = _series(view, [each for _, each in features if each.windowed])
        self.contests = _contests(view, [each for _, each in features if not each.windowed])
        places = list(view.features)
        self._windowed = [(places.index(n), f, *self._in_series(f)) for n, f in features if f.windowed]
        self._latest = [(places.index(n), f, *self._in_contests(f)) for n, f in features if not f.windowed]
        self._ttl = {place: _limit(view, name) for place, name in enumerate(places)}
        self._kinds: list[tuple[int | None, int, Series | Contest]] = [
            *((first + number, -1, series) for number, series in enumerate(self.series)),
            *((None, contest + number, each) for number, each in enumerate(self.contests)),
        ]

    def values(self, held: _Held, at: Micros, wanted: set[int] | None) -> tuple[list[Any], list[Micros | None]]:
        """The values of all features as of ``at``, and the times of the latest ones, however old."""
        values: list[Any] = [None] * len(self.view.features)
        times: list[Micros | None] = [None] * len(values)
        windows = _Windows(held, at)
        for place, feature, series, column in self._windowed:
            if wanted is None or place in wanted:
                values[place], times[place] = windows.value(feature, series, column), at
        for place, feature, contest, column in self._latest:
            if wanted is None or place in wanted:
                moment = at - feature.lag
                seen = [each for each in held.contests[contest] if max(each[0], each[1], each[2]) <= moment]
                if seen:
                    newest = max(seen)
                    values[place], times[place] = newest.values[column], newest.event
        return values, times

    def logged(self, held: _Held, at: Micros) -> dict[str, Any]:
        """The row of its log at a moment: what a training set has then."""
        values, times = self.values(held, at, None)
        for place, time in enumerate(times):
            limit = self._ttl[place]
            if limit is not None and time is not None and time <= at - limit:
                values[place] = None
        return dict(zip(self.view.features, values, strict=True))

    def take(self, held: _Held, row: Mapping[str, Any], moment: Micros) -> None:
        """Take in a row of the log of the view beneath."""
        series: dict[int, list[Event]] = {}
        contests: dict[int, list[Event]] = {}
        for first, contest, kind in self._kinds:
            if kind.where is not None and not holds(parse(kind.where), row):
                continue
            if isinstance(kind, Contest) and kind.only is not None and row[kind.only] is None:
                continue
            event = Event(moment, moment, moment, 0, tuple(row[column] for column in kind.columns))
            if first is None:
                contests[contest] = [event]
            else:
                series[first] = [event]
        held.grow(series, contests, moment)

    def _in_series(self, feature: Aggregate) -> tuple[int, int | None]:
        wanted = (Clock.of(self.view.source, feature), feature.where)
        place = next(i for i, each in enumerate(self.series) if (each.clock, each.where) == wanted)
        return self.first + place, None if feature.column is None else self.series[place].columns.index(feature.column)

    def _in_contests(self, feature: Aggregate) -> tuple[int, int]:
        wanted = _contest(self.view, feature)
        place = next(
            i for i, each in enumerate(self.contests) if (each.clock, each.where, each.lag, each.only) == wanted
        )
        return self.contest + place, self.contests[place].columns.index(feature.column or "")


def _limit(view: FeatureView, name: str) -> Micros | None:
    """From which age on a latest value is none, counted from the moment of asking."""
    ttl = view.ttl_of(name)
    return None if ttl is None else ttl + view.features[name].lag


def leaders(events: Iterable[Event], settled: Micros) -> list[Event]:
    """Who leads a contest at the moment ``settled``, and who may lead later.

    Whoever stands behind one that competes as early as it does will never lead.

    Example:
        >>> old, new, ahead = (Event(t, t, t, 0, ()) for t in (10, 20, 90))
        >>> [event.event for event in leaders([ahead, old, new], 50)]
        [20, 90]
    """
    kept: list[Event] = []
    earliest: Micros | None = None
    for event in sorted(events, reverse=True):
        since = max(event[:3])
        if earliest is None or since < earliest:
            kept.append(event)
            earliest = since
            if since <= settled:
                break
    return kept[::-1]


class _Windows:
    """The windows of one key at one moment; features share what they have in common."""

    def __init__(self, held: _Held, at: Micros) -> None:
        self._held, self._at = held, at
        self._parts: dict[tuple[int, Micros, Micros, bool], list[Tile | list[Event]]] = {}
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
            end, tiles = self._at - lag, self._held.series[series]
            self._parts[key] = list(self._held.trees[series].inside(tiles, end - window, end, raw=raw))
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
            max(max(each.window or 0 for each in group) // _TILES // FAN**3, 1) * FAN**3,
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
