"""A source read once and sorted once, ready for any number of questions.

What several features share (keys, timelines, races, columns along a timeline) is made when first needed and kept,
so a view of many features sorts once and a materializer can ask at a thousand moments. A ``Query`` holds what the
features of one question share. The rows must not change while this lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid
from trivet.features.aggregates import ARITHMETIC, COUNTS, Aggregate
from trivet.features.definitions import FeatureView, Source, Times
from trivet.features.engines import asof, windows
from trivet.features.engines.keys import NULL, KeyIndex, key_columns
from trivet.features.engines.timeline import Ints, Race, Timeline
from trivet.features.keytypes import check_keys
from trivet.features.sources import Snapshots, read
from trivet.features.times import Rules, to_micros

__all__ = ["Answer", "Prepared", "Query", "prepare"]

Keys = tuple[str, ...]
Mask = npt.NDArray[np.bool_]


def prepare(source: Source, wanted: Iterable[tuple[FeatureView, str]], snapshots: Snapshots) -> Prepared:
    """Read what some features of ``source`` need, and nothing else.

    Raises:
        NotFound: a column or the data is missing.
        Invalid: the data cannot be read, or a column's type does not fit.
    """
    wanted = list(wanted)
    values = [c for view, name in wanted if (c := view.features[name].column) is not None]
    keys = [key for view, _ in wanted for key in view.entity.keys]
    times = {source.times_of(view.features[name].column) for view, name in wanted}
    when = [column for each in times if each is not None for column in each.columns]
    created = [source.created] if source.created else []
    frame = read(source, [*keys, *when, *created, *values], snapshots)
    for entity in dict.fromkeys(view.entity for view, _ in wanted):
        check_keys(entity, frame, f"source {source.name!r}")
    for view, name in wanted:
        _check_type(view, name, frame)
    return Prepared(source, frame)


def _check_type(view: FeatureView, name: str, frame: pl.DataFrame) -> None:
    feature = view.features[name]
    if feature.operation not in ARITHMETIC or feature.column is None:
        return
    dtype = frame.schema[feature.column]
    if not (_is_number(dtype) or dtype.is_decimal()):
        raise Invalid(
            f"Feature '{view.name}:{name}' is the {feature.operation} of column {feature.column!r} of source "
            f"{view.source.name!r}, which has type {dtype} and not numbers."
        )


class Prepared:
    """The rows of one source, and everything about them that does not depend on the question."""

    def __init__(self, source: Source, frame: pl.DataFrame) -> None:
        self.source = source
        self.rows = frame.height
        self._frame = frame
        self.keys = cache(self._keys)
        self.timeline = cache(self._timeline)
        self.race = cache(self._race)
        self.along = cache(self._along)
        self._micros = cache(self._to_micros)

    def column(self, name: str) -> pl.Series:
        """A column in the order of the source."""
        return self._frame[name]

    def _keys(self, names: Keys) -> KeyIndex:
        owner = f"source {self.source.name!r}"
        return KeyIndex(key_columns(self._frame, names, owner), owner)

    def _to_micros(self, column: str) -> tuple[Ints, Mask]:
        """A column of times, and where there is one."""
        rules = Rules(
            f"source {self.source.name!r}",
            timezone=self.source.timezone,
            ambiguous=self.source.ambiguous,
            nonexistent=self.source.nonexistent,
        )
        micros = to_micros(self._frame[column], rules)
        return micros.fill_null(0).to_numpy(), micros.is_not_null().to_numpy()

    def _timeline(self, names: Keys, times: Times | None) -> Timeline:
        """The rows by key and event, for columns with ``times``."""
        keys, complete = self.keys(names), np.ones(self.rows, np.bool_)
        if times is None:
            return Timeline.of(keys, complete)
        found: list[Ints | None] = []
        for column in (times.event, times.known, self.source.created):
            micros, present = self._micros(column) if column is not None else (None, complete)
            complete = complete & present
            found.append(micros)
        event, known, created = found
        return Timeline.of(keys, complete, event=event, known=known, lag=times.after, created=created)

    def _race(self, names: Keys, times: Times | None, strict: bool, only: str | None) -> Race:
        """Who is the latest when, among all rows or among those with a value in column ``only``."""
        timeline = self.timeline(names, times)
        race = timeline.race(strict)
        return race if only is None else race.only(self._frame[only].is_not_null().to_numpy()[timeline.rows])

    def _along(self, names: Keys, times: Times | None, column: str, ranked: bool) -> windows.Values:
        """A column along a timeline: numbers, or the ranks of its values from 1."""
        series = self._frame[column].gather(self.timeline(names, times).rows)
        present = series.is_not_null().to_numpy()
        values = _comparable(series.drop_nulls()).rank("dense") if ranked else series.drop_nulls()
        kind = pl.Float64 if values.dtype.is_float() or values.dtype.is_decimal() else pl.Int64
        try:
            return windows.Values.of(values.cast(kind).to_numpy(), present)
        except pl.exceptions.InvalidOperationError as exc:
            raise Invalid(
                f"Column {column!r} of source {self.source.name!r} has numbers beyond 64 bits. Make it a float."
            ) from exc

    def ranked(self, names: Keys, times: Times | None, column: str) -> pl.Series:
        """The different values along a timeline in order: rank ``r`` of ``along`` is the value at ``r - 1``."""
        series = self._frame[column].gather(self.timeline(names, times).rows).drop_nulls()
        return _comparable(series).unique().sort()


@dataclass(frozen=True, eq=False)
class Answer:
    """The values of one feature for each query.

    Attributes:
        values: named as the feature.
        times: for a latest value the event time of the row it came from, ``ALWAYS`` for static sources; None for
            an aggregate.
        seen: for a latest value, which queries have a row at all.
    """

    values: pl.Series
    times: Ints | None = None
    seen: Mask | None = None


@dataclass(frozen=True, eq=False)
class _Chosen:
    """For each query the row of the source, null for none, with its event time and whether there is one."""

    rows: pl.Series
    times: Ints
    seen: Mask


class Query:
    """Some keys at some moments. Codes are those of ``prepared.keys(names)``; ``NULL`` answers nothing but nulls."""

    def __init__(self, prepared: Prepared, names: Keys, codes: Ints, at: Ints, *, strict: bool) -> None:
        self._prepared = prepared
        self._names, self._codes, self._at, self._strict = names, codes, at, strict
        self._nobody = codes == NULL
        self._chosen = cache(self._choose)
        self._latest = cache(self._find_latest)
        self._windows = cache(self._find_windows)

    def answer(self, view: FeatureView, name: str, *, expire: bool = True) -> Answer:
        """One feature. Without ``expire`` old values are answered too, with their times."""
        feature = view.features[name]
        times = view.source.times_of(feature.column)
        if feature.windowed:
            return Answer(self._aggregate(feature, times).rename(name))
        only = feature.column if feature.skip_nulls else None
        chosen = self._chosen(times, only, view.ttl_of(name) if expire else None)
        column = self._prepared.column(feature.column or "")
        return Answer(column.gather(chosen.rows).rename(name), chosen.times, chosen.seen)

    def _choose(self, times: Times | None, only: str | None, ttl: int | None) -> _Chosen:
        """The rows of the source that answer, for all columns with these times."""
        timeline = self._prepared.timeline(self._names, times)
        places = asof.expire(timeline, self._latest(times, only), self._at, ttl)
        seen = places >= 0
        if not len(timeline.rows):
            return _Chosen(pl.Series([None], dtype=pl.Int64).new_from_index(0, len(places)), places, seen)
        rows = pl.Series(timeline.rows[places])
        return _Chosen(rows if seen.all() else rows.set(pl.Series(~seen), None), timeline.event[places], seen)

    def _find_latest(self, times: Times | None, only: str | None) -> Ints:
        timeline = self._prepared.timeline(self._names, times)
        return asof.latest(timeline, self._prepared.race(self._names, times, self._strict, only), self._codes, self._at)

    def _find_windows(self, times: Times | None, length: int) -> list[windows.Windows]:
        timeline = self._prepared.timeline(self._names, times)
        return windows.windows(timeline, self._codes, self._at, length, strict=self._strict)

    def _aggregate(self, feature: Aggregate, times: Times | None) -> pl.Series:
        found = self._windows(times, feature.window or 0)
        if feature.column is None:
            numbers, null = windows.aggregate("count", None, found, len(self._codes))
            return _series(numbers, null | self._nobody, pl.Int64)
        dtype = self._prepared.column(feature.column).dtype
        ranked = not _is_number(dtype) and feature.operation not in ARITHMETIC
        values = self._prepared.along(self._names, times, feature.column, ranked)
        numbers, null = windows.aggregate(feature.operation, values, found, len(self._codes), feature.q)
        null = null | self._nobody
        if ranked and feature.operation not in COUNTS:
            different = self._prepared.ranked(self._names, times, feature.column)
            return different.gather(_series(numbers - 1, null, pl.Int64)).cast(dtype)
        return _series(numbers, null, _output_type(feature.operation, dtype))


def _series(values: npt.NDArray[Any], null: Mask, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    series = pl.Series(values)
    return (series.set(pl.Series(null), None) if null.any() else series).cast(dtype)


def _output_type(operation: str, dtype: pl.DataType) -> pl.DataType | type[pl.DataType]:
    if operation in COUNTS:
        return pl.Int64
    if operation in ("mean", "std", "quantile"):
        return pl.Float64
    if operation == "sum":
        return pl.Float64 if dtype.is_float() or dtype.is_decimal() else pl.Int64
    return dtype


def _is_number(dtype: pl.DataType) -> bool:
    return bool(dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.Null))


def _comparable(values: pl.Series) -> pl.Series:
    """Categories compare as their text."""
    return values.cast(pl.String) if isinstance(values.dtype, pl.Categorical | pl.Enum) else values
