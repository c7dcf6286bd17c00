"""Filling the online store: rows as of a moment, by the same engine that makes training sets.

A row of a key changes only at certain moments: when a row of the source begins to count, and when one leaves a
window. All of them are known beforehand and sorted once, so a step from one moment to the next computes only the
keys with such a moment in between. The first step of a ``Materializer`` computes every key, whatever the watermark
says, because the data may hold rows that were not there before. Rows hold values that may be too old: expiry is the
reader's, at the moment of reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from trivet.clock import new_id
from trivet.errors import Invalid
from trivet.features.aggregates import Aggregate
from trivet.features.definitions import FeatureView
from trivet.features.engines.prepared import Answer, Clock, Prepared, Query, prepare
from trivet.features.engines.timeline import ALWAYS, Ints
from trivet.features.online.contract import Key, OnlineStore, Row
from trivet.features.sources import Snapshots, leaves_of
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.types import Micros, to_micros

__all__ = ["Materializer", "record_materialization"]


class Materializer:
    """Moves views forward in an online store.

    Args:
        views: what to keep there.
        sources: the data, by the names of the sources without a query. Read once, here.
        store: where to.

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

    def __init__(self, views: Sequence[FeatureView], sources: Snapshots, store: OnlineStore) -> None:
        self._store = store
        prepared: dict[Any, Prepared] = {}
        for source in dict.fromkeys(view.source for view in views):
            wanted = [(view, name) for view in views if view.source == source for name in view.features]
            prepared[source] = prepare(source, wanted, sources)
        self._views = [_Live(view, prepared[view.source]) for view in views]

    def advance(self, until: datetime) -> dict[str, int]:
        """Bring every view to the moment ``until`` and answer how many rows of each were written.

        A view is written in one call with its watermark, so an interruption leaves it where it was or where it
        should be. Going back in time changes nothing.
        """
        moment = to_micros(until)
        return {live.view.name: self._advance(live, moment) for live in self._views}

    def _advance(self, live: _Live, moment: Micros) -> int:
        name = live.name
        watermark = self._store.watermark(name)
        if watermark is not None and moment < watermark:
            return 0
        if watermark is None or watermark != live.reached:
            changed = live.changed(None, moment)
        else:
            changed = live.changed(watermark, moment)
        written = self._store.write(name, live.rows(changed, moment), watermark=moment)
        live.reached = moment
        return written


class _Live:
    """One view, ready to be computed at any moment.

    Attributes:
        name: under which the store has it.
        reached: up to where this object brought the store; anything else there is someone else's work.
    """

    def __init__(self, view: FeatureView, prepared: Prepared) -> None:
        self.view, self.name = view, view.online_name
        self.reached: Micros | None = None
        self._prepared = prepared
        self._names = view.entity.keys
        self._keys = prepared.keys(self._names)
        moments, codes = _changes(view, prepared)
        order = np.argsort(moments, kind="stable")
        self._moments, self._codes = moments[order], codes[order]
        for name in view.features:
            _check_online(
                view, name, Query(prepared, self._names, codes[:0], codes[:0], strict=False).answer(view, name)
            )

    def changed(self, after: Micros | None, until: Micros) -> Ints:
        """The codes of keys with a moment of change in ``(after, until]``."""
        low = 0 if after is None else int(np.searchsorted(self._moments, after, side="right"))
        high = int(np.searchsorted(self._moments, until, side="right"))
        return np.unique(self._codes[low:high])

    def rows(self, codes: Ints, moment: Micros) -> Iterator[tuple[Key, Row]]:
        """The rows of some keys as of ``moment``."""
        if not len(codes):
            return
        query = Query(self._prepared, self._names, codes, np.full(len(codes), moment), strict=False)
        answers = [query.answer(self.view, name, expire=False) for name in self.view.features]
        values = zip(*(answer.values.to_list() for answer in answers), strict=True)
        times = zip(*(_times(answer, len(codes), moment) for answer in answers), strict=True)
        for key, own, when in zip(self._keys.tuples(codes), values, times, strict=True):
            yield online_key(key), Row(moment, list(own), list(when))


def record_materialization(context: Context, views: Sequence[FeatureView]) -> Run:
    """Record from which views and data the online store is filled, so that what is served can be traced to its files.

    Raises:
        Invalid: a source has no data, or its file cannot be used.
    """
    from trivet.features.snapshots import record_source

    now = context.clock()
    declared = {view.name: Artifact.of("feature_view", view.to_spec(), created=now) for view in views}
    inputs = {f"views.{name}": artifact.digest for name, artifact in declared.items()}
    for name, leaf in leaves_of(view.source for view in views).items():
        inputs[f"sources.{name}"] = record_source(leaf, context).digest
    made = Artifact.of("online_features", {"inputs": inputs}, created=now)
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
    )
    context.ledger.write(*declared.values(), made, run)
    return run


def online_key(key: tuple[Any, ...]) -> Key:
    """A key as online stores take it: dates as text.

    Example:
        >>> online_key((date(2013, 1, 1), "EWR"))
        ('2013-01-01', 'EWR')
    """
    return tuple(part.isoformat() if isinstance(part, date) else part for part in key)


def _times(answer: Answer, size: int, moment: Micros) -> list[Micros | None]:
    if answer.times is None or answer.seen is None:
        return [moment] * size
    return [
        (moment if time == ALWAYS else time) if seen else None
        for time, seen in zip(answer.times.tolist(), answer.seen.tolist(), strict=True)
    ]


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
