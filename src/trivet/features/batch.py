"""Reading features of many entities for batch scoring: a data frame in, a data frame out, columns at a time.

The rule is the reader's (``trivet.features.reader``); what differs is that nothing is built per entity but its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.computed import Computation, worst
from trivet.features.engines.keys import key_columns
from trivet.features.frames import as_polars
from trivet.features.keytypes import check_keys
from trivet.features.online.packing import pack_keys
from trivet.features.online.unpacking import NEVER, UnpackedRows, columns_of, unpack_rows
from trivet.features.reader import Asked, FeatureReader, check_moment
from trivet.features.references import Computed, Selection
from trivet.types import Micros

__all__ = ["read_frame"]

T = TypeVar("T")

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
    keys = {names: _keys(frame, names) for names in dict.fromkeys(view.entity.keys for view in reader.views)}
    asked = [keys[view.entity.keys] for view in reader.views]
    found = _found(reader, [own for _, own in asked], at)
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
    computed = _Computed(reader.selection, joined, added, at)
    return frame.with_columns(*computed.values(), *computed.told(times=times, status=status))


class _Computed:
    """What was asked for, where some of it is computed on demand of what was read."""

    def __init__(self, selection: Selection, joined: pl.DataFrame, told: list[pl.Series], at: Micros) -> None:
        self._selection, self._at = selection, at
        self._made: dict[str, pl.Series] = Computation(selection).columns(joined)
        self._told = {series.name: series for series in told}
        self._read = {each.reference: each.column for each in selection.read}
        self._size = joined.height

    def values(self) -> list[pl.Series]:
        """The values in the order in which they were asked for."""
        return [self._value(each.reference).alias(each.column) for each in self._selection]

    def told(self, *, times: bool, status: bool) -> list[pl.Series]:
        """Their times and statuses; what is computed is of this moment, and as good as its inputs."""
        answer, states = [], self._states() if status else {}
        for each in self._selection:
            if times:
                moment = self._told.get(f"{each.column}__time")
                now = pl.Series([self._at]).new_from_index(0, self._size).cast(pl.Datetime("us", "UTC"))
                answer.append(
                    (now if isinstance(each, Computed) or moment is None else moment).alias(f"{each.column}__time")
                )
            if status:
                answer.append(states[each.reference].alias(f"{each.column}__status"))
        return answer

    def _value(self, reference: str) -> pl.Series:
        return self._made[reference] if reference in self._made else self._told[self._read[reference]]

    def _states(self) -> dict[str, pl.Series]:
        """By reference, those of inputs before those of what is computed of them."""
        states = {reference: self._told[f"{column}__status"] for reference, column in self._read.items()}
        for step in self._selection.steps:
            inputs = [states[each.reference].to_list() for each in step.inputs]
            why = pl.Series([worst(each) for each in zip(*inputs, strict=True)] if inputs else ["null"] * self._size)
            for name in step.outputs:
                value = self._made[f"{step.name}:{name}"]
                states[f"{step.name}:{name}"] = (
                    pl.Series(["present"])
                    .new_from_index(0, self._size)
                    .zip_with(value.is_not_null(), why.cast(pl.String))
                ).cast(pl.Enum(_STATUS))
        return states


def _keys(frame: pl.DataFrame, names: Sequence[str]) -> tuple[npt.NDArray[np.bool_], list[bytes]]:
    """Which rows have a key, and the encoded keys of those."""
    columns = key_columns(frame, names, "the frame of entities")
    known = columns.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    parts = columns if known.all() else columns.filter(pl.Series(known))
    return known, list(pack_keys(parts.get_columns()))


class _Found(NamedTuple):
    """What one view has: up to when, for which keys, and their rows."""

    watermark: Micros | None
    there: npt.NDArray[np.bool_]
    rows: UnpackedRows


def _found(reader: FeatureReader, keys: Sequence[Sequence[bytes]], at: Micros) -> list[_Found]:
    """What each view has, in one question to the store; where events are pushed to one, as the reader sees it."""
    if any(view.live is not None and reader.store.watermark(view.live.name) is not None for view in reader.views):
        return [_Found(mark, _there(rows), columns_of(_given(rows))) for mark, rows in reader.seen(keys, at)]
    found = reader.store.get([(view.name, own) for view, own in zip(reader.views, keys, strict=True)])
    for view, one in zip(reader.views, found, strict=True):
        check_moment(view.name, at, one.watermark)
    return [_Found(mark, _there(rows), unpack_rows(_given(rows))) for mark, rows in found]


def _given(rows: Sequence[T | None]) -> list[T]:
    return [row for row in rows if row is not None]


def _there(rows: Sequence[Any]) -> npt.NDArray[np.bool_]:
    return np.fromiter((row is not None for row in rows), np.bool_, len(rows))


class _Rows:
    """What one view answered for all entities."""

    def __init__(self, found: _Found, known: npt.NDArray[np.bool_], at: Micros) -> None:
        self._at, self._watermark, self._size = at, found.watermark, len(known)
        self._places = np.flatnonzero(known)[found.there]  # of entities with a row
        self._values, self._times = found.rows.values, found.rows.times
        mark = found.watermark
        self._as_of = found.rows.as_of if mark is None else np.maximum(found.rows.as_of, mark)
        absent = _MISSING if found.watermark is not None else _UNMATERIALIZED
        self._absent = np.where(known, absent, _MISSING)
        self._nobody = ~known

    def columns(self, feature: Asked, *, times: bool, status: bool) -> list[pl.Series]:
        """The values of a feature, their times and their status."""
        when, state = self._judged(feature)
        answer = [self._filled(feature, state).rename(feature.column)]
        if times:
            moments = np.full(self._size, NEVER)
            moments[self._places] = when
            series = pl.Series(f"{feature.column}__time", moments)
            answer.append(series.set(series == NEVER, None).cast(pl.Datetime("us", "UTC")))
        if status:
            states = self._absent.copy()
            states[self._places] = state
            names = pl.Series(f"{feature.column}__status", _STATUS)
            answer.append(names.gather(states).cast(pl.Enum(_STATUS)))
        return answer

    def _judged(self, feature: Asked) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each entity with a row the time of the value, ``NEVER`` where there is none, and its status."""
        if not self._values:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        when = self._as_of
        if not feature.windowed:
            when = self._times[feature.place]
            when = np.where(when > self._at, NEVER, when)
        state = np.where(self._values[feature.place].is_null().to_numpy(), _NULL, _PRESENT)
        if feature.limit is not None:
            state = np.where(when <= self._at - feature.limit, _EXPIRED, state)
        return when, np.where(when == NEVER, _MISSING, state)

    def _filled(self, feature: Asked, state: npt.NDArray[np.int64]) -> pl.Series:
        values = self._values[feature.place] if self._values else pl.Series([])
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
