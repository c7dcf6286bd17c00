"""Views as sources: the log of a view's values, worked out by whatever engine asks for it.

The rows of the log are the answers to one point-in-time question: for each key, at each moment at which a row of the
view's source becomes known, what is known? So there is no second meaning of a feature here, and a view on a view on a
view is the same question three times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import polars as pl

from trivet.features.definitions import FeatureView, Source, Times, columns_of
from trivet.features.engines.contract import Joined
from trivet.features.frames import as_polars
from trivet.features.references import Selected, select_all
from trivet.features.sources import Snapshots, read
from trivet.features.sources.reading import log_name
from trivet.features.times import Rules, to_micros

__all__ = ["PointInTime", "with_logs"]

_AT = "__at"


class PointInTime(Protocol):
    """``Engine.point_in_time``."""

    def __call__(self, spine: Any, features: Sequence[Selected], sources: Snapshots, *, time: str) -> Joined:
        """The spine with features."""
        ...


def with_logs(sources: Iterable[Source], snapshots: Snapshots, compute: PointInTime) -> Snapshots:
    """``snapshots`` and beside them the logs of all views that ``sources`` are made from, each worked out once.

    Args:
        sources: what is going to be read.
        snapshots: the data of their leaves, by name.
        compute: ``point_in_time`` of the engine that asks.

    Raises:
        NotFound, Invalid: as ``Engine.point_in_time``.
    """
    for source in sources:
        snapshots = with_logs(source.inputs, snapshots, compute)
        if source.view is not None and (name := log_name(source.view)) not in snapshots:
            beneath = with_logs([source.view.source], snapshots, compute)
            snapshots = {**beneath, name: _log(source.view, beneath, compute)}
    return snapshots


def _log(view: FeatureView, snapshots: Snapshots, compute: PointInTime) -> pl.DataFrame:
    """One row for each key and moment, ordered by moment and key."""
    keys = list(view.entity.keys)
    spine = _moments(view, snapshots)
    values = as_polars(compute(spine, select_all([view]), snapshots, time=_AT).frame)
    event = view.source.times.event if view.source.times else None
    time = [] if event is None else [pl.col(_AT).alias(event)]
    return values.select(*keys, *time, *view.features)


def _moments(view: FeatureView, snapshots: Snapshots) -> pl.DataFrame:
    """Each key with each moment at which a row of the source begins to count for some feature."""
    source, keys = view.source, list(view.entity.keys)
    times = list(
        dict.fromkeys(source.times_of(c) for each in view.features.values() for c in columns_of(each) or (None,))
    )
    when = [column for each in times if each is not None for column in each.columns]
    rows = read(source, [*keys, *when, *([source.created] if source.created else [])], snapshots)
    if source.static:
        found = rows.select(keys).with_columns(pl.lit(0).alias(_AT))
    else:
        found = pl.concat([rows.select(*keys, _known(source, each, rows).alias(_AT)) for each in times if each])
    found = found.drop_nulls().unique(maintain_order=True).sort(_AT, *keys, maintain_order=True)
    return found.with_columns(pl.col(_AT).cast(pl.Datetime("us", "UTC")))


def _known(source: Source, times: Times, rows: pl.DataFrame) -> pl.Series:
    """From when each row counts, in microseconds: it has happened, is known and has reached us; null for never."""
    rules = Rules(
        f"source {source.name!r}",
        timezone=source.timezone,
        ambiguous=source.ambiguous,
        nonexistent=source.nonexistent,
    )
    event = to_micros(rows[times.event], rules)
    known = (event if times.known is None else to_micros(rows[times.known], rules)) + times.after
    created = event if source.created is None else to_micros(rows[source.created], rules)
    together = pl.DataFrame([event.alias("e"), known.alias("k"), created.alias("c")])
    complete = ~pl.any_horizontal(pl.all().is_null())
    return together.select(pl.when(complete).then(pl.max_horizontal(pl.all()))).to_series()
