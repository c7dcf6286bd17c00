"""Filling the online store: rows as of a moment, by the same engine that makes training sets.

A row of a key changes only at certain moments: when a row of the source begins to count, and when one leaves a
window. All of them are known beforehand and sorted once, so a step from one moment to the next computes and writes only
the keys with such a moment in between. Rows known later than they happened are found so, too.

That holds while the past stays what it was. Beside each watermark stands what the source had up to then, as one number;
where a new reading of the source has something else (a backfill, a correction, a deleted row), every key is computed again
and keys that are gone are forgotten. Rows hold values that may be too old: expiry is the reader's, at the moment of reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trivet.clock import new_id
from trivet.errors import Invalid
from trivet.features.aggregates import Aggregate
from trivet.features.definitions import FeatureView
from trivet.features.engines.contract import Begun, Engine, Filler, Filling, Puts
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.prepared import Answer, Clock, Prepared, Query, prepare
from trivet.features.engines.timeline import ALWAYS, Ints
from trivet.features.logs import with_logs
from trivet.features.online.contract import Batch, Columns, Encoded, OnlineStore, Pairs, Row
from trivet.features.online.encoding import decode_row, encode_key, encode_row
from trivet.features.online.packing import Joined, PackedKeys, PackedRows, TimesColumn, pack_keys
from trivet.features.past import Past
from trivet.features.sources import Snapshots, leaves_of
from trivet.features.storedkeys import PAST, types_row
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.types import Json, Micros, to_micros

__all__ = ["Live", "Materializer", "arrived", "record_materialization"]

_PIECE = 200_000  # rows that are computed and encoded at a time
_THE_ONE = encode_key(())


class Materializer:
    """Moves views forward in an online store.

    Args:
        views: what to keep there.
        sources: the data, by the names of the sources without a query. Read once, here.
        store: where to.
        engine: which works out the rows; the local one by default. One that is no ``Filler`` works out the logs of
            views that are sources, and this process the rest.

    Raises:
        NotFound: a column or the data of a source is missing.
        Invalid: the data cannot be read, or a feature has no online form.

    Example:
        >>> from datetime import timezone
        >>> from trivet.features import Entity, Source
        >>> from trivet.features.online.memory import MemoryStore
        >>> noon = datetime(2013, 1, 1, 12, tzinfo=timezone.utc)
        >>> weather = pl.DataFrame({"city": ["NYC"], "at": [noon], "temp": [3.5]})
        >>> view = FeatureView("weather", entity=Entity("city"), source=Source("w", event_time="at"), features=["temp"])
        >>> Materializer([view], {"w": weather}, MemoryStore()).advance(noon)
        {'weather': 1}
    """

    def __init__(
        self, views: Sequence[FeatureView], sources: Snapshots, store: OnlineStore, engine: Engine | None = None
    ) -> None:
        for view in views:
            view.check_served()
        self._store, engine = store, engine or LocalEngine()
        self._names = {view.online_name: view.name for view in views}
        self._filling: Filling = (
            engine.filling(views, sources) if isinstance(engine, Filler) else _Here(views, sources, engine)
        )

    def advance(self, until: datetime) -> dict[str, int]:
        """Bring every view to the moment ``until`` and answer how many rows of each were written.

        The watermarks come with the last rows, so an interruption leaves every view where it was or where it should be,
        and what the next run finds, it puts right. The local engine makes one call of the store. Going back in time
        changes nothing.
        """
        moment, written = to_micros(until), dict.fromkeys(self._names.values(), 0)
        begun = [each for each in self._begun() if each.watermark is None or moment >= each.watermark]
        with closing(self._filling.puts(begun, moment)) as puts:
            for batches in puts:
                for batch, count in zip(batches, self._store.put(batches), strict=True):
                    if batch.view in self._names:
                        written[self._names[batch.view]] += count
        return written

    def _begun(self) -> list[Begun]:
        """Where the store is."""
        names = [name for view in self._names for name in (view, view + PAST)]
        found = self._store.get([(name, [_THE_ONE]) for name in names])
        pasts = [None if each.rows[0] is None else decode_row(each.rows[0]).values for each in found[1::2]]
        return [Begun(number, each.watermark, pasts[number]) for number, each in enumerate(found[::2])]


class _Here:
    """Views that this process moves forward."""

    def __init__(self, views: Sequence[FeatureView], sources: Snapshots, engine: Engine) -> None:
        sources = with_logs([view.source for view in views], sources, engine.point_in_time)
        prepared: dict[Any, Prepared] = {}
        for source in dict.fromkeys(view.source for view in views):
            wanted = [(view, name) for view in views if view.source == source for name in view.features]
            prepared[source] = prepare(source, wanted, sources)
        self._views = [Live(view, prepared[view.source], view.served_features) for view in views]
        self._names = [view.online_name for view in views]

    def puts(self, begun: Sequence[Begun], moment: Micros) -> Puts:
        """See ``Filling.puts``. One call."""
        batches: list[Batch] = []
        for number, watermark, past in begun:
            live, name = self._views[number], self._names[number]
            same = watermark is not None and past == live.past.up_to(watermark)
            rows = live.rows(live.changed(watermark if same else None, moment), moment)
            others = None if same else moment
            batches += arrived(name, rows, live.past.up_to(moment), moment, None if same else live.keys, others)
        yield batches


def arrived(
    name: str,
    rows: Pairs,
    past: list[Any],
    moment: Micros,
    keys: Mapping[str, pl.DataType] | None = None,
    others: Micros | None = None,
) -> list[Batch]:
    """The last rows with which the view kept as ``name`` is at ``moment``, and what its source had up to then.

    ``keys`` are the types of its keys, where all of them are written; what is there of others until ``others`` is forgotten.
    """
    about = [(_THE_ONE, encode_row(Row(moment, past, [])))]
    if keys is not None:
        about.append(types_row(keys, moment))
    return [Batch(name, rows, moment, moment, moment, others), Batch(name + PAST, about, moment, moment)]


class Live:
    """One view, ready to be computed at any moment.

    Args:
        view: which.
        prepared: its data.
        served: the features whose values may stand in an online store.

    Attributes:
        past: what the data had when.
        keys: the type of each key.

    Raises:
        Invalid: a feature has no online form.
    """

    def __init__(self, view: FeatureView, prepared: Prepared, served: Collection[str]) -> None:
        self.view = view
        self._prepared = prepared
        self._names = view.entity.keys
        self._keys = prepared.keys(self._names)
        self.keys = self._keys.schema
        moments, codes = _changes(view, prepared)
        order = np.argsort(moments, kind="stable")
        self._moments, self._codes = moments[order], codes[order]
        self.past = Past(view, prepared)
        self._served = frozenset(served)
        for name in served:
            _check_online(
                view, name, Query(prepared, self._names, codes[:0], codes[:0], strict=False).answer(view, name)
            )

    def changed(self, after: Micros | None, until: Micros) -> Ints:
        """The codes of keys with a moment of change in ``(after, until]``."""
        low = 0 if after is None else int(np.searchsorted(self._moments, after, side="right"))
        high = int(np.searchsorted(self._moments, until, side="right"))
        hit = np.zeros(self._keys.size, np.bool_)  # a sort of the codes would cost more than all keys
        hit[self._codes[low:high]] = True
        return np.flatnonzero(hit)

    def rows(self, codes: Ints, moment: Micros) -> Columns:
        """The encoded rows of some keys as of ``moment``: computed here, turned into bytes where they are written."""
        if not len(codes):
            return Columns([], [])
        keys, codes = _in_order(pack_keys(self._keys.columns(codes)), codes)
        pieces = [self._packed(codes[start : start + _PIECE], moment) for start in range(0, len(codes), _PIECE)]
        return Columns(keys, Joined(pieces))

    def _packed(self, codes: Ints, moment: Micros) -> PackedRows:
        query = Query(self._prepared, self._names, codes, np.full(len(codes), moment), strict=False)
        answers = [self._answer(query, name) for name in self.view.features]
        return PackedRows(moment, [each.values for each in answers], _times(answers, moment))

    def _answer(self, query: Query, name: str) -> Answer:
        """One feature. What may not be served leaves its place empty."""
        answer = query.answer(self.view, name, expire=False)
        if name in self._served:
            return answer
        size = len(answer.values)
        nothing = pl.Series(name, [None], dtype=answer.values.dtype).new_from_index(0, size)
        return Answer(nothing, np.zeros(size, np.int64), np.zeros(size, np.bool_))


def record_materialization(
    context: Context,
    views: Sequence[FeatureView],
    sources: Snapshots | None = None,
    *,
    until: datetime | None = None,
    left_out: Collection[str] = (),
) -> Run:
    """Record from which views and data the online store is filled, so that what is served can be traced to its files.

    ``sources`` are the data that the ``Materializer`` was given: a database or a function is not asked a second time.
    ``until`` is the moment that the store is brought to, where it is brought to one; ``left_out`` are the sources of
    which rows were refused and left out.

    Raises:
        Invalid: a source has no data, or its file cannot be used.
    """
    from trivet.features.snapshots import record_source

    now = context.clock()
    views = [view.anchored(context.root) for view in views]
    declared = {view.name: Artifact.of("feature_view", view.to_spec(), created=now) for view in views}
    inputs = {f"views.{name}": artifact.digest for name, artifact in declared.items()}
    for name, leaf in leaves_of(view.source for view in views).items():
        inputs[f"sources.{name}"] = record_source(leaf.bound(sources or {}), context).digest
    made = Artifact.of("online_features", {"inputs": inputs}, created=now)
    parameters: dict[str, Json] = {} if until is None else {"until": to_micros(until)}
    if left_out:
        parameters["left_out"] = [*sorted(left_out)]
    run = Run(
        id=new_id(context.clock),
        kind="materialize",
        name=", ".join(declared),
        status="finished",
        started=now,
        ended=now,
        user=context.user,
        host=context.host,
        inputs=inputs,
        outputs={"online_features": made.digest},
        parameters=parameters,
    )
    context.ledger.write(*declared.values(), made, run)
    return run


def _in_order(keys: Encoded, codes: Ints) -> tuple[Encoded, Ints]:
    """Both in the order of the keys."""
    if isinstance(keys, PackedKeys) and keys.ascending:
        return keys, codes
    there = list(keys)
    order = pl.Series(there, dtype=pl.Binary).arg_sort()
    return [there[place] for place in order.to_list()], codes[order.to_numpy()]


def _times(answers: Sequence[Answer], moment: Micros) -> list[TimesColumn]:
    """The times of each answer; those of one clock are one array."""
    found = {id(each.times): each for each in answers}
    columns = {name: _times_of(each, moment) for name, each in found.items()}
    return [columns[id(each.times)] for each in answers]


def _times_of(answer: Answer, moment: Micros) -> TimesColumn:
    if answer.times is None or answer.seen is None:
        return None
    return np.where(answer.times == ALWAYS, moment, answer.times), answer.seen


def _changes(view: FeatureView, prepared: Prepared) -> tuple[Ints, Ints]:
    """All moments at which some key's row may change, and whose: rows begin to count, and rows leave windows."""
    names, moments, codes = view.entity.keys, [], []
    for (clock, window, lag), features in _kinds(view).items():
        timeline = prepared.timeline(names, clock)
        seen, event, owners = timeline.visible + lag, timeline.event + lag, timeline.codes
        if all(each.where is not None for each in features):
            counting = [prepared.satisfied(each.where or "")[timeline.rows] for each in features]
            kept = np.logical_or.reduce(counting)
            seen, event, owners = seen[kept], event[kept], owners[kept]
        if window is None:
            moments += [np.maximum(seen, event)]
            codes += [owners]
        else:
            moments += [np.maximum(seen, event + 1), event + window + 1]
            codes += [owners, owners]
    return np.concatenate(moments), np.concatenate(codes)


def _kinds(view: FeatureView) -> dict[tuple[Clock, Micros | None, Micros], list[Aggregate]]:
    """The features that change at the same moments."""
    kinds: dict[tuple[Clock, Micros | None, Micros], list[Aggregate]] = {}
    for feature in view.features.values():
        kinds.setdefault((Clock.of(view.source, feature), feature.window, feature.lag), []).append(feature)
    return kinds


def _check_online(view: FeatureView, name: str, answer: Answer) -> None:
    dtype = answer.values.dtype
    simple = (
        dtype.is_integer() or dtype.is_float() or dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    )
    if not simple:
        raise Invalid(
            f"Feature '{view.name}:{name}' has type {dtype}, which has no online form. Numbers, text and booleans do: "
            "convert it in the source, for example with sql=."
        )
