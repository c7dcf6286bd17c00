"""Pushing events: into a table of the project's own, and in the same call into the features that are served.

The table is the truth, the states online follow it. A push adds rows to the table, each once; then every view over the
table takes in what arrived since its own watermark, which is a moment of arrival. So nothing is lost or counted twice by
whoever dies in between: the next push, or the next materialization, goes on from the watermark. Views are filled the same
way when they are pushed to first. How a state is made and read is ``trivet.features.live``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.catalogue import CURRENT
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.keys import key_columns
from trivet.features.engines.prepared import Clock, Prepared
from trivet.features.keytypes import check_keys
from trivet.features.live import Contest, LiveView, Series, arithmetic, live_name
from trivet.features.online.contract import Batch, OnlineStore
from trivet.features.online.encoding import encode_keys
from trivet.features.quality.refusing import RowCheck, keep_refused
from trivet.features.tables import EventTables, Ingested
from trivet.features.tiles import Event
from trivet.features.times import Rules, to_micros
from trivet.ledger.tables import Tables
from trivet.pipelines.context import Context
from trivet.types import Digest, Micros

__all__ = ["Push", "Pushed", "states"]

Ints: TypeAlias = npt.NDArray[np.int64]
_PIECE = 5_000
"""Keys whose states are read and made at a time."""


class Pushed(msgspec.Struct, frozen=True):
    """What a push did.

    Attributes:
        table: what became of the rows in the table.
        updated: for each view how many keys were brought up to date online.
    """

    table: Ingested
    updated: dict[str, int]

    def __str__(self) -> str:
        views = ", ".join(f"{name} ({count:,})" for name, count in self.updated.items()) or "no view reads it"
        return f"{self.table}; online: {views}"


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
        self._known: dict[Digest, LiveView | None] = {}

    def __call__(self, source: str | Source, events: Any) -> Pushed:
        """Add events to the table ``source`` and to the views that read it.

        Args:
            source: the name of a table, or ``tables.source(name)``.
            events: a frame, a list of dicts, one dict, or the path of a file; an empty list only catches up.

        Raises:
            NotFound: there is no such table, or it lacks a column that a view reads.
            Invalid: the rows do not fit the table; nothing of them is kept.
        """
        name = self._table(source)
        rows = [events] if isinstance(events, Mapping) else events
        if isinstance(rows, list) and not rows:
            return Pushed(Ingested(name, self._tables.describe(name).version), self.catch_up(name))
        return Pushed(self._tables.ingest(name, rows), self.catch_up(name))

    def catch_up(self, name: str) -> dict[str, int]:
        """Take what arrived in a table into the views over it, and answer how many keys of each changed.

        Raises:
            NotFound: there is no such table, or it lacks a column that a view reads.
            Invalid: a column does not fit a view, for example a key of another type than declared.
        """
        live = self._over(name)
        marks = {each.name: self._store.watermark(each.name) for each in live}
        if not live:
            return {}
        since = None if None in marks.values() else min(mark for mark in marks.values() if mark is not None)
        rows = self._arrived(name, since, _columns(live), live[0].view.source.created or "")
        if rows is None:
            return {each.view.name: 0 for each in live}
        return {each.view.name: self._bring(each, *rows, marks[each.name]) for each in live}

    def _arrived(
        self, name: str, since: Micros | None, columns: Sequence[str], created: str
    ) -> tuple[pl.DataFrame, Micros] | None:
        """The rows after ``since`` and the last moment of arrival, if there are any.

        Rows that a materialization would leave out, because they break an expectation, are left out and kept aside.
        """
        check = self._tables.checks(name.replace(".", "_"))
        if not isinstance(check, RowCheck) or not check.columns:
            rows = self._tables.arrived(name, since=since, columns=columns)
            return None if rows.is_empty() else (rows, _newest(rows, created))
        whole = self._tables.arrived(name, since=None if check.looks_back else since)
        fresh = (
            pl.Series([True]).new_from_index(0, whole.height) if since is None else whole[created].to_physical() > since
        )
        if not fresh.any():
            return None
        reasons = check(whole)
        refused, stay = fresh & reasons.is_not_null(), fresh & reasons.is_null()
        if refused.any():
            aside = Tables(self._tables.folder)
            rows = whole.filter(refused).select(
                sorted(whole.columns)
            )  # as materialization words them: each stands there once
            keep_refused(aside, name.replace(".", "_"), rows, reasons.filter(refused), run="", at=self._clock())
        return whole.filter(stay).select(columns), _newest(whole, created)

    def _bring(self, live: LiveView, rows: pl.DataFrame, position: Micros, mark: Micros | None) -> int:
        """One view up to ``position`` with some rows, of which it has those until ``mark``."""
        arrival = rows[live.view.source.created or ""].to_physical()
        fresh = rows if mark is None else rows.filter(arrival > mark)
        made = states(live, fresh, position, self._store)
        for start in range(0, max(len(made), 1), _PIECE):
            part = made[start : start + _PIECE]
            last = start + _PIECE >= len(made)
            self._store.put([Batch(live.name, part, position, position, watermark=position if last else None)])
        return len(made)

    def _table(self, source: str | Source) -> str:
        name = source.name if isinstance(source, Source) else source
        table = self._tables.source(name)
        if isinstance(source, Source) and not _same(source, table):
            raise Invalid(f"Source {name!r} is not the table of that name. Push to project.tables.source({name!r}).")
        return name

    def catch_up_with(self, views: Sequence[FeatureView]) -> None:
        """Take what arrived into those of some views that were pushed to before."""
        pushed = [view for view in views if self._store.watermark(live_name(view)) is not None]
        for name in dict.fromkeys(view.source.name for view in pushed):
            if name in self._tables.names():
                self.catch_up(name)

    def _over(self, name: str) -> list[LiveView]:
        """The current views over a table, and older versions that were pushed to and may still be asked for."""
        table = self._tables.source(name)
        found = [(self._view(digest), current) for digest, current in self._stored().items()]
        over = [(live, current) for live, current in found if live is not None and _same(live.view.source, table)]
        kept = set() if all(current for _, current in over) else set(self._store.views())
        by_name = {live.name: live for live, current in over if current or live.name in kept}
        return list(by_name.values())

    def _stored(self) -> dict[Digest, bool]:
        """All versions of all views, and whether each is current."""
        pointers = self._ledger.pointers(name="feature_view/*", history=True)
        now = {pointer.name: pointer.digest for pointer in pointers if pointer.label == CURRENT}  # the last one stands
        return {each.digest: now[each.name] == each.digest for each in pointers if each.digest is not None}

    def _view(self, digest: Digest) -> LiveView | None:
        if digest not in self._known:
            view = FeatureView.from_spec(self._ledger.artifact(digest).spec)
            self._known[digest] = LiveView(view) if view.served_features and view.source.created else None
        return self._known[digest]


def states(live: LiveView, rows: pl.DataFrame, position: Micros, store: OnlineStore) -> list[tuple[bytes, bytes]]:
    """The states of all keys with rows that arrived until ``position``, made from those in the store."""
    arrived = _by_key(live, rows, position)
    keys, made = list(arrived), []
    for start in range(0, len(keys), _PIECE):
        part = keys[start : start + _PIECE]
        [found] = store.get([(live.name, part)])
        for key, before in zip(part, found.rows, strict=True):
            made.append((key, live.folded(before, arrived[key], position)))
    return made


def _newest(rows: pl.DataFrame, created: str) -> Micros:
    return int(rows[created].to_physical().max())  # type: ignore[arg-type]


def _by_key(live: LiveView, rows: pl.DataFrame, position: Micros) -> dict[bytes, list[list[Event]]]:
    """The events of each key for each series and contest, without those that are too old to matter."""
    view = live.view
    owner = f"table {view.source.name!r}"
    check_keys(view.entity, rows, owner)
    columns = key_columns(rows, view.entity.keys, owner)
    someone = columns.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    keys = encode_keys(zip(*(part.to_list() for part in columns), strict=True))
    kinds: list[Series | Contest] = [*live.series, *live.contests]
    arrived: dict[bytes, list[list[Event]]] = {
        key: [[] for _ in kinds] for key, one in zip(keys, someone.tolist(), strict=True) if one
    }
    prepared = Prepared(view.source, rows)
    codes = np.unique(np.array(keys, dtype=object), return_inverse=True)[1] if keys else np.zeros(0, np.int64)
    for number, kind in enumerate(kinds):
        taken, event, known, created = _moments(view, kind, rows, prepared, someone)
        if isinstance(kind, Series):
            taken &= event >= live.oldest(kind, position)
        else:
            over = np.maximum(np.maximum(event, known), created) <= live.settled(kind, position)
            taken = _may_lead(taken, codes, event, known, created, over)
        places = np.flatnonzero(taken)
        values = [_values(view, rows[name].gather(places)) for name in kind.columns]
        each = zip(*values, strict=True) if values else [()] * len(places)
        times = (each[places].tolist() for each in (event, known, created))
        for place, e, k, c, own in zip(places.tolist(), *times, each, strict=True):
            arrived[keys[place]][number].append(Event(e, k, c, place, own))
    return arrived


def _moments(
    view: FeatureView, kind: Series | Contest, rows: pl.DataFrame, prepared: Prepared, someone: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], Ints, Ints, Ints]:
    """Which rows exist for a series or contest, when they happened, could be known and arrived."""
    clock, taken = kind.clock, someone.copy()
    if kind.where is not None:
        taken &= prepared.satisfied(kind.where)
    if isinstance(kind, Contest) and kind.only is not None:
        taken &= rows[kind.only].is_not_null().to_numpy()
    found: dict[str, Ints] = {}
    for column in (*clock.columns, view.source.created or ""):
        if column not in found:
            micros = to_micros(rows[column], _rules(view.source))
            found[column] = micros.fill_null(0).to_numpy()
            taken &= micros.is_not_null().to_numpy()
    return taken, *_clocked(clock, found), found[view.source.created or ""]


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
        names |= dict.fromkeys([*each.view.entity.keys, each.view.source.created or ""])
        kinds: list[Series | Contest] = [*each.series, *each.contests]
        for kind in kinds:
            names |= dict.fromkeys([*kind.clock.columns, *kind.columns])
        for name in each.view.served_features:
            names |= dict.fromkeys(each.view.features[name].columns)
    return list(names)


def _same(source: Source, table: Source) -> bool:
    return source.name == table.name and str(source.data) == str(table.data)


def _rules(source: Source) -> Rules:
    rule = {"ambiguous": source.ambiguous, "nonexistent": source.nonexistent}
    return Rules(f"table {source.name!r}", timezone=source.timezone, **rule)
