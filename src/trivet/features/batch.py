"""Reading features of many entities for batch scoring: a data frame in, a data frame out, columns at a time.

The rule is the reader's (``trivet.features.reader``); what differs is that nothing is built per entity but its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.computed import with_computed
from trivet.features.engines.keys import key_columns
from trivet.features.frames import as_polars
from trivet.features.keytypes import check_keys
from trivet.features.online.contract import Row
from trivet.features.online.encoding import encode_keys
from trivet.features.reader import Asked, AskedView, FeatureReader, Seen
from trivet.types import Micros

__all__ = ["read_frame"]

_NEVER = -(2**63)
_STATUS = ["present", "null", "missing", "expired", "unmaterialized"]
_PRESENT, _NULL, _MISSING, _EXPIRED, _UNMATERIALIZED = range(len(_STATUS))


def read_frame(
    reader: FeatureReader, entities: Any, at: Micros, *, times: bool = False, status: bool = False
) -> pl.DataFrame:
    """The features of each row of a data frame as of ``at``: its columns, then one for each feature.

    Args:
        reader: what to read, and from where.
        entities: a pandas or Polars data frame or an Arrow table with the keys of all entities.
        at: of all rows.
        times: add ``COLUMN__time``, the event time of each value in UTC.
        status: add ``COLUMN__status``, as ``FeatureVector.status`` has it.

    Raises:
        NotFound: a key column is missing.
        Invalid: a key is of no usable type, a column of the frame is called like a feature, or ``at`` is before the
            moment that the store was brought up to.
    """
    frame = as_polars(entities, "The frame of entities")
    reader.learn()
    declared = {view.entity for view in reader.views}
    for entity in dict.fromkeys(reader.entities):
        how = "declares" if entity in declared else "is stored with"
        check_keys(entity, frame, "the frame of entities", known=how)
    asked = [_keys(frame, view) for view in reader.views]
    found = reader.seen([keys for _, keys in asked], at)
    added: list[pl.Series] = []
    for view, (known, _), one in zip(reader.views, asked, found, strict=True):
        rows = _Rows(one, known, at)
        for feature in view.features:
            added += rows.columns(feature, times=times, status=status)
    if clash := {column.name for column in added} & set(frame.columns):
        raise Invalid(f"The frame of entities has a column {min(clash)!r} already. Rename it, or pass full_names=True.")
    joined = frame.with_columns(added)
    if reader.selection is None or not reader.selection.steps:
        return joined
    computed, _ = with_computed(joined, frame.columns, reader.selection, {})
    asked_for = {each.column for each in reader.selection}
    told = [column for column in added if column.name.rpartition("__")[0] in asked_for and column.name not in asked_for]
    return computed.with_columns(told)


def _keys(frame: pl.DataFrame, view: AskedView) -> tuple[npt.NDArray[np.bool_], list[bytes]]:
    """Which rows have a key, and the encoded keys of those."""
    columns = key_columns(frame, view.entity.keys, "the frame of entities")
    known = columns.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    parts = columns if known.all() else columns.filter(pl.Series(known))
    return known, encode_keys(zip(*(part.to_list() for part in parts), strict=True))


class _Rows:
    """What one view answered for all entities."""

    def __init__(self, found: Seen, known: npt.NDArray[np.bool_], at: Micros) -> None:
        self._at, self._watermark, self._size = at, found.watermark, len(known)
        there = np.fromiter((row is not None for row in found.rows), np.bool_, len(found.rows))
        self._places = np.flatnonzero(known)[there]  # of entities with a row
        decoded = [row for row in found.rows if row is not None]
        self._values = list(zip(*(row.values for row in decoded), strict=True))
        self._times = list(zip(*(row.times for row in decoded), strict=True))
        self._as_of = _as_of(decoded, found.watermark)
        absent = _MISSING if found.watermark is not None else _UNMATERIALIZED
        self._absent = np.where(known, absent, _MISSING)
        self._nobody = ~known

    def columns(self, feature: Asked, *, times: bool, status: bool) -> list[pl.Series]:
        """The values of a feature, their times and their status."""
        when, state = self._judged(feature)
        answer = [self._filled(feature, state).rename(feature.column)]
        if times:
            moments = np.full(self._size, _NEVER)
            moments[self._places] = when
            series = pl.Series(f"{feature.column}__time", moments)
            answer.append(series.set(series == _NEVER, None).cast(pl.Datetime("us", "UTC")))
        if status:
            states = self._absent.copy()
            states[self._places] = state
            names = pl.Series(f"{feature.column}__status", _STATUS)
            answer.append(names.gather(states).cast(pl.Enum(_STATUS)))
        return answer

    def _judged(self, feature: Asked) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each entity with a row the time of the value, ``_NEVER`` where there is none, and its status."""
        if feature.windowed:
            when = self._as_of
        else:
            own: Sequence[Any] = self._times[feature.place] if self._times else ()
            when = pl.Series(own, dtype=pl.Int64).fill_null(_NEVER).to_numpy()
            when = np.where(when > self._at, _NEVER, when)
        own_values = self._values[feature.place] if self._values else ()
        null = np.fromiter((value is None for value in own_values), np.bool_, len(own_values))
        state = np.where(null, _NULL, _PRESENT)
        if feature.limit is not None:
            state = np.where(when <= self._at - feature.limit, _EXPIRED, state)
        return when, np.where(when == _NEVER, _MISSING, state)

    def _filled(self, feature: Asked, state: npt.NDArray[np.int64]) -> pl.Series:
        values = pl.Series(self._values[feature.place] if self._values else [], strict=True)
        gone = state > _NULL
        if gone.any():
            values = values.set(pl.Series(gone), None)
        if len(self._places) == self._size:
            return values
        places = np.full(self._size, -1)
        places[self._places] = np.arange(len(self._places))
        rest = pl.Series(places).set(pl.Series(places < 0), None)
        spread = values.gather(rest) if len(values) else pl.Series([None] * self._size)
        if feature.nothing is None or self._watermark is None:
            return spread
        never = pl.Series((places < 0) & ~self._nobody)
        return spread.cast(pl.Int64).set(never, feature.nothing)


def _as_of(rows: Sequence[Row], watermark: Micros | None) -> npt.NDArray[np.int64]:
    own = np.fromiter((row.as_of for row in rows), np.int64, len(rows))
    return own if watermark is None else np.maximum(own, watermark)
