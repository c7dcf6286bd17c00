"""Pushing events: into a table of the project's own, and in the same call into the features that are served.

The table is the truth, the states online follow it. A push adds rows to the table, each once; then every view over the
table takes in what arrived since its own watermark, which is a moment of arrival. So nothing is lost or counted twice by
whoever dies in between: the next push, or the next materialization, goes on from the watermark. Views are filled the same
way when they are pushed to first. How a state is made and read is ``trivet.features.live``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid, Unavailable
from trivet.features.aggregates import COUNTS
from trivet.features.catalogue import CURRENT
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.keys import key_columns
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.prepared import Clock, Prepared
from trivet.features.keytypes import check_keys
from trivet.features.live import (
    Arrived,
    Contest,
    LiveView,
    Made,
    Series,
    Stage,
    arithmetic,
    live_name,
    why_not,
    with_nodes,
)
from trivet.features.logs import with_logs
from trivet.features.online.contract import Batch, Key, OnlineStore
from trivet.features.online.encoding import as_of, encode_keys
from trivet.features.quality.refusing import RowCheck, keep_refused
from trivet.features.sources.reading import log_name
from trivet.features.tables import EventTables, Ingested
from trivet.features.tables.rules import ARRIVED
from trivet.features.tiles import Event, Nodes, Place
from trivet.features.times import Rules, to_micros
from trivet.ledger.tables import Tables
from trivet.pipelines.context import Context
from trivet.types import Digest, Micros

__all__ = ["Push", "Pushed", "news", "seeds", "states"]

Ints: TypeAlias = npt.NDArray[np.int64]
_PIECE = 5_000
"""Keys whose states are read and made at a time, and rows that are written at a time: no store parts so many."""


_PLACE = 3  # values by which the key of a node is longer than that of its state


class _Nothing(dict[Place, bytes | None]):
    """Nodes of a key of which the store is not asked: there are none."""

    def __contains__(self, place: object) -> bool:
        return True

    def __missing__(self, place: Place) -> None:
        return None


_NONE = _Nothing()


class Pushed(msgspec.Struct, frozen=True):
    """What a push did.

    Attributes:
        table: what became of the rows in the table.
        updated: for each view how many keys were brought up to date online.
        waiting: views that read the table and were not: why, and that ``materialize`` brings them up.
    """

    table: Ingested
    updated: dict[str, int]
    waiting: dict[str, str] = {}

    def __str__(self) -> str:
        views = ", ".join(f"{name} ({count:,})" for name, count in self.updated.items()) or "no view reads it"
        waiting = "".join(f"\n{name} waits for materialize: {why}" for name, why in self.waiting.items())
        return f"{self.table}; online: {views}{waiting}"


class Push:
    """Pushes to the tables of a project. Any number of these, in any number of processes, may work at once.

    Args:
        context: the project.
        tables: of the project.
        store: the online store.
    """

    def __init__(self, context: Context, tables: EventTables, store: OnlineStore) -> None:
        self._ledger, self._tables, self._store = context.ledger, tables, store
        self._clock = context.clock
        self._known: dict[Digest, tuple[FeatureView, LiveView | None]] = {}

    def __call__(self, source: str | Source, events: Any) -> Pushed:
        """Add events to the table ``source`` and to the views that read it.

        Args:
            source: the name of a table, or ``tables.source(name)``.
            events: a frame, a list of dicts, one dict, or the path of a file; an empty list only catches up.

        Raises:
            NotFound: there is no such table, or it lacks a column that a view reads.
            Invalid: the rows do not fit the table; nothing of them is kept.
            Unavailable: the online store cannot be read or written; the rows are in the table.
        """
        name = self._table(source)
        rows = [events] if isinstance(events, Mapping) else events
        if isinstance(rows, list) and not rows:
            taken = Ingested(name, self._tables.describe(name).version)
        else:
            taken = self._tables.ingest(name, rows)
        try:
            live, waiting = self._over(name)
            return Pushed(taken, self._caught_up(name, live, taken.run), waiting)
        except Unavailable as exc:
            raise Unavailable(
                f"{exc} The rows are in the table {name!r} and not yet in what is served: the next push, or materialize, goes "
                "on from there."
            ) from exc

    def catch_up(self, name: str) -> dict[str, int]:
        """Take what arrived in a table into the views over it, and answer how many keys of each changed.

        Raises:
            NotFound: there is no such table, or it lacks a column that a view reads.
            Invalid: a column does not fit a view, for example a key of another type than declared.
        """
        return self._caught_up(name, self._over(name)[0])

    def _caught_up(self, name: str, live: Sequence[LiveView], run: str = "") -> dict[str, int]:
        marks = {each.name: self._store.watermark(each.name) for each in live}
        if not live:
            return {}
        since = None if None in marks.values() else min(mark for mark in marks.values() if mark is not None)
        rows = self._arrived(name, since, _columns(live), run)
        if rows is None:
            return {each.view.name: 0 for each in live}
        if since is not None and _has_history(rows[0], live[0].table):  # the past is another one than it was
            marks = {
                each.name: None if _has_history(_after(rows[0], marks[each.name]), each.table) else marks[each.name]
                for each in live
            }
            if None in marks.values() and (whole := self._arrived(name, None, _columns(live), run)) is not None:
                rows = whole
        return {each.view.name: self._bring(each, *rows, marks[each.name]) for each in live}

    def _arrived(
        self, name: str, since: Micros | None, columns: Sequence[str], run: str
    ) -> tuple[pl.DataFrame, Micros] | None:
        """The rows after ``since`` and the last moment of arrival, if there are any.

        Rows that a materialization would leave out, because they break an expectation, are left out and kept aside.
        """
        check = self._tables.checks(name.replace(".", "_"))
        if not isinstance(check, RowCheck) or not check.columns:
            rows = self._tables.arrived(name, since=since, columns=columns)
            return None if rows.is_empty() else (rows, _newest(rows))
        whole = self._tables.arrived(name, since=None if check.looks_back else since)
        fresh = (
            pl.Series([True]).new_from_index(0, whole.height) if since is None else whole[ARRIVED].to_physical() > since
        )
        if not fresh.any():
            return None
        reasons = check(whole.drop(ARRIVED))
        refused, stay = fresh & reasons.is_not_null(), fresh & reasons.is_null()
        if refused.any():
            aside = Tables(self._tables.folder)
            rows = whole.filter(refused).select(
                sorted(each for each in whole.columns if each != ARRIVED)
            )  # as materialization words them: each stands there once
            keep_refused(aside, name.replace(".", "_"), rows, reasons.filter(refused), run=run, at=self._clock())
        return whole.filter(stay).select(*columns, ARRIVED), _newest(whole)

    def _bring(self, live: LiveView, rows: pl.DataFrame, position: Micros, mark: Micros | None) -> int:
        """One view up to ``position`` with some rows, of which it has those until ``mark``; None to make it anew."""
        arrived = (
            seeds(live, rows.drop(ARRIVED), position)
            if mark is None
            else news(live, _after(rows, mark).drop(ARRIVED), position)
        )
        gone: list[Key] = []
        written: list[tuple[bytes, bytes]] = []
        for made in states(live, arrived, position, self._store, anew=mark is None):
            if written and len(written) + len(made.rows) > _PIECE:
                self._write(live, written, gone, position)
                written, gone = [], []
            written += made.rows
            gone += made.gone
        self._write(live, written, gone, position, watermark=position)
        return len(arrived)

    def _write(
        self,
        live: LiveView,
        rows: list[tuple[bytes, bytes]],
        gone: list[Key],
        position: Micros,
        *,
        watermark: Micros | None = None,
    ) -> None:
        """The rows of one key come together, so that every store takes them as one. What is gone goes first."""
        if gone:
            self._store.erase(live.name, gone)
        oldest = min((as_of(data) for _, data in rows), default=position)
        self._store.put([Batch(live.name, rows, oldest, position, watermark=watermark)])

    def _table(self, source: str | Source) -> str:
        name = source.name if isinstance(source, Source) else source
        table = self._tables.source(name)
        if isinstance(source, Source) and not _same(source, table):
            raise Invalid(f"Source {name!r} is not the table of that name. Push to project.tables.source({name!r}).")
        return name

    def catch_up_with(self, views: Sequence[FeatureView]) -> None:
        """Take what arrived into those of some views that were pushed to before."""
        pushed = [view for view in views if self._store.watermark(live_name(view)) is not None]
        leaves = {leaf.name for view in pushed for leaf in view.source.leaves}
        for name in self._tables.names():
            if name.replace(".", "_") in leaves:
                self.catch_up(name)

    def _over(self, name: str) -> tuple[list[LiveView], dict[str, str]]:
        """The views over a table, and those that wait for materialize, with the reason.

        Beside the current views these are older versions that were pushed to and may still be asked for.
        """
        table = self._tables.source(name)
        found = [(*self._view(digest), current) for digest, current in self._stored().items()]
        over = [(live, current) for _, live, current in found if live is not None and _same(live.table, table)]
        kept = set() if all(current for _, current in over) else set(self._store.views())
        by_name = {live.name: live for live, current in over if current or live.name in kept}
        rest = [view for view, live, current in found if current and live is None]
        waiting = {
            view.name: why_not(view) or "" for view in rest if any(_same(leaf, table) for leaf in view.source.leaves)
        }
        return list(by_name.values()), waiting

    def _stored(self) -> dict[Digest, bool]:
        """All versions of all views, and whether each is current."""
        pointers = self._ledger.pointers(name="feature_view/*", history=True)
        now = {pointer.name: pointer.digest for pointer in pointers if pointer.label == CURRENT}  # the last one stands
        return {each.digest: now[each.name] == each.digest for each in pointers if each.digest is not None}

    def _view(self, digest: Digest) -> tuple[FeatureView, LiveView | None]:
        if digest not in self._known:
            view = FeatureView.from_spec(self._ledger.artifact(digest).spec)
            self._known[digest] = view, LiveView(view) if why_not(view) is None else None
        return self._known[digest]


def states(
    live: LiveView, arrived: Mapping[bytes, Arrived], position: Micros, store: OnlineStore, *, anew: bool = False
) -> Iterator[Made]:
    """The states of all keys with rows that arrived until ``position``, made from those in the store, or ``anew``.

    Made anew they take no account of what is there, but of a state of a later position, which stays.
    """
    keys = list(arrived)
    for start in range(0, len(keys), _PIECE):
        part = keys[start : start + _PIECE]

        def work(number: int, state: bytes | None, nodes: Nodes, part: Sequence[bytes] = part) -> Made:
            return live.folded(part[number], state, arrived[part[number]], position, nodes)

        [found] = store.get([(live.name, part)])
        if anew:
            yield from _anew(live, store, part, found.rows, position, work)
            continue
        for _, made in with_nodes(live, store, part, found.rows, work):
            yield made


def _anew(
    live: LiveView,
    store: OnlineStore,
    keys: Sequence[bytes],
    there: Sequence[bytes | None],
    position: Micros,
    work: Callable[[int, bytes | None, Nodes], Made],
) -> Iterator[Made]:
    """States of which nothing in the store is a part; nodes beside the old ones that no new one has are gone."""
    old = [key for key, state in zip(keys, there, strict=True) if state is not None]
    beside: dict[bytes, list[Key]] = {}
    for each in live.beside(store, old) if old else ():
        beside.setdefault(encode_keys([each[:-_PLACE]])[0], []).append(each)
    for number, key in enumerate(keys):
        state = there[number]
        if state is not None and as_of(state) > position:
            continue
        made = work(number, None, Nodes(_NONE))
        kept = {each for each, _ in made.rows}
        yield Made(made.rows, [*made.gone, *(e for e in beside.get(key, ()) if encode_keys([e])[0] not in kept)])


def news(live: LiveView, rows: pl.DataFrame, position: Micros) -> dict[bytes, Arrived]:
    """What is new of each key in rows that arrived since the states were made."""
    if len(live.stages) == 1 or rows.is_empty():
        return _Sorting(live, position).table(rows)
    first = int(rows[live.table.created or ""].to_physical().min())  # type: ignore[arg-type]
    _check_computed(live, rows)
    return _Sorting(live, first).table(rows, moments=True)


def seeds(live: LiveView, rows: pl.DataFrame, position: Micros) -> dict[bytes, Arrived]:
    """What there is of each key in all rows of the table; logs of views are computed by the engine of training sets."""
    sorting = _Sorting(live, position)
    if len(live.stages) == 1 or rows.is_empty():
        return sorting.table(rows)
    _check_computed(live, rows)
    sources = [stage.view.source for stage in live.stages[1:]]
    logs = with_logs(sources, {live.table.name: rows}, LocalEngine().point_in_time)
    found = sorting.table(rows)
    for stage in live.stages[1:]:
        assert stage.view.source.view is not None
        log = logs[log_name(stage.view.source.view)]
        assert isinstance(log, pl.DataFrame)
        sorting.log(stage, log, position, found)
    return found


def _check_computed(live: LiveView, rows: pl.DataFrame) -> None:
    """A log is worked out of what states keep, which for other than these is not all that the engine looks at."""
    first = live.stages[0].view
    valued = [each for each in first.features.values() if each.operation not in COUNTS]
    for column in dict.fromkeys(each.column for each in valued if each.column is not None):
        kind = rows.schema[column]
        if not (kind.is_integer() or kind.is_float() or kind in (pl.String, pl.Boolean, pl.Null)):
            raise Invalid(
                f"View {live.view.name!r} is made from view {first.name!r}, and pushes can keep that up for numbers, text "
                f"and truth values; column {column!r} of table {live.table.name!r} holds {kind}. The rows are in the table: "
                "convert the column, or define the view on the table itself."
            )


def _newest(rows: pl.DataFrame) -> Micros:
    return int(rows[ARRIVED].to_physical().max())  # type: ignore[arg-type]


def _after(rows: pl.DataFrame, mark: Micros | None) -> pl.DataFrame:
    return rows if mark is None else rows.filter(rows[ARRIVED].to_physical() > mark)


def _has_history(rows: pl.DataFrame, table: Source) -> bool:
    """Whether rows count from before they reached us."""
    return bool((rows[table.created or ""] < rows[ARRIVED]).any())


class _Sorting:
    """Sorts rows to keys, series and contests, without those that are too old to matter.

    Args:
        live: the view.
        since: the first moment at which anything will be asked.
    """

    def __init__(self, live: LiveView, since: Micros) -> None:
        self._live, self._since = live, since

    def table(self, rows: pl.DataFrame, *, moments: bool = False) -> dict[bytes, Arrived]:
        """The rows of the table; with ``moments`` those at which the log of the view on it has a row."""
        stage, source = self._live.stages[0], self._live.table
        for each in self._live.stages:
            check_keys(each.view.entity, rows, f"table {source.name!r}")
        keys, someone = self._keys(rows)
        found = {
            key: Arrived([[] for _ in self._live.series], [[] for _ in self._live.contests], set())
            for key, one in zip(keys, someone.tolist(), strict=True)
            if one
        }
        times = _Moments(source, source.created or "", rows, someone)
        self._sort(stage, times, keys, found)
        if moments:
            for clock in _clocks_of_log(stage.view):
                taken, event, known, created = times.of(Series(clock, None, (), 0, 1))
                visible = np.maximum(np.maximum(event, known), created)
                for place in np.flatnonzero(taken).tolist():
                    found[keys[place]].moments.add((int(created[place]), int(visible[place])))
        return found

    def log(self, stage: Stage, rows: pl.DataFrame, position: Micros, found: dict[bytes, Arrived]) -> None:
        """The rows of the log of the view beneath a stage; those after ``position`` are only moments yet."""
        assert stage.view.source.times is not None
        event = stage.view.source.times.event
        moments = rows[event].to_physical()
        later = rows.filter(moments > position)
        keys, _ = self._keys(later)
        for key, moment in zip(keys, later[event].to_physical().to_list(), strict=True):
            found[key].moments.add((position, moment))
        rows = rows.filter(moments <= position)
        keys, someone = self._keys(rows)
        self._sort(stage, _Moments(stage.view.source, event, rows, someone), keys, found)

    def _keys(self, rows: pl.DataFrame) -> tuple[list[bytes], npt.NDArray[np.bool_]]:
        """The key of each row, and whether it has one."""
        names = self._live.view.entity.keys
        columns = key_columns(rows, names, f"table {self._live.table.name!r}")
        someone = columns.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
        return encode_keys(zip(*(part.to_list() for part in columns), strict=True)), someone

    def _sort(self, stage: Stage, times: _Moments, keys: list[bytes], found: Mapping[bytes, Arrived]) -> None:
        codes = np.unique(np.array(keys, dtype=object), return_inverse=True)[1] if keys else np.zeros(0, np.int64)
        kinds: list[tuple[int, Series | Contest]] = [
            *enumerate(stage.series, stage.first),
            *enumerate(stage.contests, stage.contest),
        ]
        for number, kind in kinds:
            taken, event, known, created = times.of(kind)
            if isinstance(kind, Series):
                taken &= event >= self._live.oldest(kind, self._since)
            else:
                over = np.maximum(np.maximum(event, known), created) <= self._live.settled(kind, self._since)
                taken = _may_lead(taken, codes, event, known, created, over)
            places = np.flatnonzero(taken)
            values = [_values(stage.view, times.rows[name].gather(places)) for name in kind.columns]
            each = zip(*values, strict=True) if values else [()] * len(places)
            when = (moments[places].tolist() for moments in (event, known, created))
            for place, e, k, c, own in zip(places.tolist(), *when, each, strict=True):
                arrived = found[keys[place]]
                place_of = arrived.series if isinstance(kind, Series) else arrived.contests
                place_of[number].append(Event(e, k, c, place, own))


class _Moments:
    """When rows happened, could be known and arrived."""

    def __init__(self, source: Source, created: str, rows: pl.DataFrame, someone: npt.NDArray[np.bool_]) -> None:
        self.rows, self._source, self._created, self._someone = rows, source, created, someone
        self._prepared = Prepared(source, rows)

    def of(self, kind: Series | Contest) -> tuple[npt.NDArray[np.bool_], Ints, Ints, Ints]:
        """Which rows exist for a series or contest, when they happened, could be known and arrived."""
        clock, taken = kind.clock, self._someone.copy()
        if kind.where is not None:
            taken &= self._prepared.satisfied(kind.where)
        if isinstance(kind, Contest) and kind.only is not None:
            taken &= self.rows[kind.only].is_not_null().to_numpy()
        found: dict[str, Ints] = {}
        for column in (*clock.columns, self._created):
            if column not in found:
                micros = to_micros(self.rows[column], _rules(self._source))
                found[column] = micros.fill_null(0).to_numpy()
                taken &= micros.is_not_null().to_numpy()
        return taken, *_clocked(clock, found), found[self._created]


def _clocks_of_log(view: FeatureView) -> list[Clock]:
    """The times at which the log of a view has rows: of each column by itself, see ``trivet.features.logs``."""
    columns = dict.fromkeys(column for each in view.features.values() for column in each.columns or (None,))
    return list(dict.fromkeys(Clock(view.source.times_of(column)) for column in columns))


def _clocked(clock: Clock, found: Mapping[str, Ints]) -> tuple[Ints, Ints]:
    assert clock.times is not None
    known = [found[each.known or each.event] + each.after for each in (clock.times, *clock.also)]
    return found[clock.times.event], np.maximum.reduce(known)


def _may_lead(
    taken: npt.NDArray[np.bool_], codes: Ints, event: Ints, known: Ints, created: Ints, over: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Of a long past only the leaders of each key are worth a look."""
    settled = np.flatnonzero(taken & over)
    ordered = settled[np.lexsort([settled, created[settled], known[settled], event[settled], codes[settled]])]
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = codes[ordered[1:]] != codes[ordered[:-1]]
    kept = taken & ~over
    kept[ordered[last]] = True
    return kept


def _values(view: FeatureView, column: pl.Series) -> list[Any]:
    """The values of a column as states keep them: numbers, text and truth values; of others only what tells them apart."""
    dtype = column.dtype
    if dtype.is_decimal() and arithmetic(view, column.name):
        column = column.cast(pl.Float64)
    elif dtype.is_temporal():
        column = column.to_physical()
    elif dtype.is_decimal() or isinstance(dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    elif dtype.is_nested():
        column = column.is_not_null().replace(False, None)
    return column.to_list()


def _columns(live: Sequence[LiveView]) -> list[str]:
    """What the views read of the table."""
    names: dict[str, None] = {}
    for each in live:
        first, source = each.stages[0], each.table
        names |= dict.fromkeys([*each.view.entity.keys, source.created or ""])
        kinds: list[Series | Contest] = [*first.series, *first.contests]
        for kind in kinds:
            names |= dict.fromkeys([*kind.clock.columns, *kind.columns])
        features = first.view.served_features if len(each.stages) == 1 else list(first.view.features)
        for name in features:
            names |= dict.fromkeys(first.view.features[name].columns)
        for clock in _clocks_of_log(first.view) if len(each.stages) > 1 else ():
            names |= dict.fromkeys(clock.columns)
    return list(names)


def _same(source: Source, table: Source) -> bool:
    return source.name == table.name and str(source.data) == str(table.data)


def _rules(source: Source) -> Rules:
    rule = {"ambiguous": source.ambiguous, "nonexistent": source.nonexistent}
    return Rules(f"table {source.name!r}", timezone=source.timezone, **rule)
