"""A source read once and sorted once, ready for any number of questions.

What several features share (keys, timelines, races, columns along a timeline) is made when first needed and kept,
so a view of many features sorts once and a materializer can ask at a thousand moments. A ``Query`` holds what the
features of one question share. The rows must not change while this lives.

Rows that do not satisfy a feature's condition are not taken out: they become nulls of a window, and do not compete for
being the latest. So features that differ in nothing but the condition share the order of rows and the search in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import ARITHMETIC, COUNTS, Aggregate
from trivet.features.definitions import FeatureView, Source, Times
from trivet.features.engines import asof, windows
from trivet.features.engines.filters import satisfied
from trivet.features.engines.keys import NULL, KeyIndex, key_columns
from trivet.features.engines.timeline import Ints, Places, Race, Timeline, grouped
from trivet.features.keytypes import check_keys
from trivet.features.predicates import parse
from trivet.features.sources import Snapshots, read
from trivet.features.times import Rules, to_micros

__all__ = ["Answer", "Clock", "Prepared", "Query", "prepare"]

Keys = tuple[str, ...]
Mask = npt.NDArray[np.bool_]
_Type: TypeAlias = "pl.DataType | type[pl.DataType]"
_MANY = 1 << 14


@dataclass(frozen=True)
class Clock:
    """When the values of a feature happen and are known.

    Attributes:
        times: of the feature's own column, or of whole rows; None for a static source.
        also: of the other columns that it reads, where they differ: it is known when all of them are.
    """

    times: Times | None
    also: tuple[Times, ...] = ()

    @classmethod
    def of(cls, source: Source, feature: Aggregate) -> Clock:
        """The clock of a feature of ``source``."""
        own = source.times_of(feature.column)
        others = {t for column in feature.columns if (t := source.times_of(column)) is not None and t != own}
        return cls(own, tuple(sorted(others, key=lambda t: (t.event, t.known or "", t.after))))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of times that it reads."""
        return tuple(column for each in (self.times, *self.also) if each is not None for column in each.columns)


def prepare(source: Source, wanted: Iterable[tuple[FeatureView, str]], snapshots: Snapshots) -> Prepared:
    """Read what some features of ``source`` need, and nothing else.

    Raises:
        NotFound: a column or the data is missing.
        Invalid: the data cannot be read, or a column's type does not fit.
    """
    wanted = list(wanted)
    values = [column for view, name in wanted for column in view.features[name].columns]
    keys = [key for view, _ in wanted for key in view.entity.keys]
    when = [column for view, name in wanted for column in Clock.of(source, view.features[name]).columns]
    created = [source.created] if source.created else []
    try:
        frame = read(source, [*keys, *when, *created, *values], snapshots)
    except NotFound as exc:
        if hint := _what_it_is(exc.asked, wanted):
            raise NotFound(exc.noun, exc.asked, exc.available, hint=hint) from None
        raise
    for entity in dict.fromkeys(view.entity for view, _ in wanted):
        check_keys(entity, frame, f"source {source.name!r}")
    for view, name in wanted:
        _check_type(view, name, frame)
    return Prepared(source, frame)


def _what_it_is(column: str, wanted: Iterable[tuple[FeatureView, str]]) -> str:
    """Where a column that does not exist is asked for, where that is not plain."""
    for view, name in wanted:
        if column in view.entity.keys:
            return f"It is the key of entity {view.entity.name!r}."
        feature = view.features[name]
        if column in feature.columns and column != feature.column:
            return f"It stands in where={feature.where!r}; text is written in quotes: '{column}'."
    return ""


def _check_type(view: FeatureView, name: str, frame: pl.DataFrame) -> None:
    feature = view.features[name]
    if feature.operation not in ARITHMETIC or feature.column is None:
        return
    dtype = frame[feature.column].dtype  # asking for the schema costs as much as there are columns
    if not (_is_number(dtype) or dtype.is_decimal()):
        raise Invalid(
            f"Feature '{view.name}:{name}' is the {feature.operation} of column {feature.column!r} of source "
            f"{view.source.name!r}, which has type {dtype} and not numbers.{_hint(view.source, frame[feature.column])}"
        )


def _hint(source: Source, column: pl.Series) -> str:
    """What to do about text that is mostly numbers: a file wrote something else where it had none."""
    if column.dtype != pl.String:
        return ""
    texts = column.drop_nulls()
    others = texts.filter(texts.str.strip_chars().cast(pl.Float64, strict=False).is_null())
    if not len(others) or 2 * len(others) > len(texts):
        return ""
    often = others.value_counts(sort=True)[0, 0]
    csv = isinstance(source.data, str) and source.data.lower().endswith(".csv")
    remedy = f"declare nulls=[{often!r}]" if csv else "convert it"
    return f" Most of it reads as numbers, {often!r} does not: {remedy} if that stands for nothing."


class Prepared:
    """The rows of one source, and everything about them that does not depend on the question."""

    def __init__(self, source: Source, frame: pl.DataFrame) -> None:
        self.source = source
        self.rows = frame.height
        self._frame = frame.clone()
        self.keys = cache(self._keys)
        self.timeline = cache(self._timeline)
        self.race = cache(self._race)
        self.along = cache(self._along)
        self.satisfied = cache(self._satisfied)
        self._micros = cache(self._to_micros)

    def close(self) -> None:
        """Let go of everything at once: what is made and kept refers to this, and would wait for the collector."""
        self.__dict__.clear()

    def column(self, name: str) -> pl.Series:
        """A column in the order of the source."""
        return self._frame[name]

    def _whole(self, name: str) -> pl.Series:
        """A column of which all rows are taken: in one piece, and from then on kept so, or it would be copied each time."""
        column = self._frame[name]
        if column.n_chunks() > 1:
            column = column.rechunk()
            self._frame.replace_column(self._frame.get_column_index(name), column)
        return column

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
        micros = to_micros(self._whole(column), rules)
        return micros.fill_null(0).to_numpy(), micros.is_not_null().to_numpy()

    def _timeline(self, names: Keys, clock: Clock) -> Timeline:
        """The rows by key and event, for values of one clock."""
        keys, complete = self.keys(names), np.ones(self.rows, np.bool_)
        if clock.times is None:
            return Timeline.of(keys, complete)
        found: list[Ints | None] = []
        for column in (clock.times.event, clock.times.known, self.source.created):
            micros, present = self._micros(column) if column is not None else (None, complete)
            complete = complete & present
            found.append(micros)
        event, known, created = found
        if not clock.also:
            return Timeline.of(keys, complete, event=event, known=known, lag=clock.times.after, created=created)
        for column in clock.columns:
            complete = complete & self._micros(column)[1]
        latest = [self._micros(each.known or each.event)[0] + each.after for each in (clock.times, *clock.also)]
        return Timeline.of(keys, complete, event=event, known=np.maximum.reduce(latest), created=created)

    def _satisfied(self, where: str) -> Mask:
        """Which rows satisfy a condition, in the order of the source."""
        predicate = parse(where)
        columns = [self._zoned(name) for name in predicate.columns]
        try:
            return satisfied(predicate, pl.DataFrame(columns))
        except Invalid as exc:
            raise Invalid(f"Source {self.source.name!r}: {exc}") from exc

    def _zoned(self, name: str) -> pl.Series:
        """A column; times without a zone are in the zone of the source."""
        column = self.column(name)
        if not (isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None):
            return column
        micros, present = self._micros(name)
        return pl.Series(name, micros).cast(pl.Datetime("us", "UTC")).set(pl.Series(~present), None)

    def _race(self, names: Keys, clock: Clock, strict: bool, only: str | None, where: str | None) -> Race:
        """Who is the latest when, among all rows or among those with a value in column ``only``."""
        timeline = self.timeline(names, clock)
        race = timeline.race(strict)
        kept = [] if only is None else [self.column(only).is_not_null().to_numpy()]
        kept += [] if where is None else [self.satisfied(where)]
        return race.only(np.logical_and.reduce(kept)[timeline.rows]) if kept else race

    def _present(self, names: Keys, clock: Clock, column: str | None, where: str | None) -> pl.Series:
        """A column along a timeline, null where the condition is not satisfied; without a column, ones."""
        rows = self.timeline(names, clock).rows
        series = pl.Series(np.ones(len(rows), np.int64)) if column is None else self._whole(column).gather(rows)
        return series if where is None else series.set(pl.Series(~self.satisfied(where)[rows]), None)

    def _along(self, names: Keys, clock: Clock, column: str | None, ranked: bool, where: str | None) -> windows.Values:
        """A column along a timeline: numbers, or the ranks of its values from 1."""
        series = self._present(names, clock, column, where)
        present = series.is_not_null().to_numpy()
        values = _comparable(series.drop_nulls()).rank("dense") if ranked else series.drop_nulls()
        kind = pl.Float64 if values.dtype.is_float() or values.dtype.is_decimal() else pl.Int64
        try:
            return windows.Values.of(values.cast(kind).to_numpy(), present)
        except pl.exceptions.InvalidOperationError as exc:
            raise Invalid(
                f"Column {column!r} of source {self.source.name!r} has numbers beyond 64 bits. Make it a float."
            ) from exc

    def ranked(self, names: Keys, clock: Clock, column: str, where: str | None) -> pl.Series:
        """The different values along a timeline in order: rank ``r`` of ``along`` is the value at ``r - 1``."""
        return _comparable(self._present(names, clock, column, where).drop_nulls()).unique().sort()


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
    """Some keys at some moments. Codes are those of ``prepared.keys(names)``; ``NULL`` answers nothing but nulls.

    Many are looked up key by key, whatever their order, so that each search stays near the one before, and what was
    found is put back into their order.
    """

    def __init__(self, prepared: Prepared, names: Keys, codes: Places, at: Ints, *, strict: bool) -> None:
        self._prepared = prepared
        self._order = grouped(codes, prepared.keys(names).size) if len(codes) > _MANY else None
        if self._order is not None:
            codes, at = codes[self._order], at[self._order]
        self._names, self._codes, self._at, self._strict = names, codes, at.astype(np.int64, copy=False), strict
        self._nobody = codes == NULL
        self._chosen = cache(self._choose)
        self._latest = cache(self._find_latest)
        self._ends = cache(self._find_ends)
        self._windows = cache(self._find_windows)

    def close(self) -> None:
        """As ``Prepared.close``."""
        self.__dict__.clear()

    def answer(self, view: FeatureView, name: str, *, expire: bool = True) -> Answer:
        """One feature. Without ``expire`` old values are answered too, with their times."""
        feature = view.features[name]
        clock = Clock.of(view.source, feature)
        if feature.windowed:
            return Answer(self._aggregate(feature, clock).rename(name))
        only = feature.column if feature.skip_nulls else None
        ttl = view.ttl_of(name) if expire else None
        chosen = self._chosen(clock, feature.lag, only, feature.where, ttl)
        column = self._prepared.column(feature.column or "")
        return Answer(column.gather(chosen.rows).rename(name), chosen.times, chosen.seen)

    def _moments(self, lag: int) -> Ints:
        return self._at - lag if lag else self._at

    def _put_back(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What was found for each query, in the order in which they were asked."""
        if self._order is None:
            return found
        asked = np.empty_like(found)
        asked[self._order] = found
        return asked

    def _choose(self, clock: Clock, lag: int, only: str | None, where: str | None, ttl: int | None) -> _Chosen:
        """The rows of the source that answer, for all columns of this clock."""
        timeline = self._prepared.timeline(self._names, clock)
        places = self._put_back(asof.expire(timeline, self._latest(clock, lag, only, where), self._moments(lag), ttl))
        seen = places >= 0
        if not len(timeline.rows):
            return _Chosen(pl.Series([None], dtype=pl.Int64).new_from_index(0, len(places)), places, seen)
        rows = pl.Series(timeline.rows[places])
        return _Chosen(rows if seen.all() else rows.set(pl.Series(~seen), None), timeline.event[places], seen)

    def _find_latest(self, clock: Clock, lag: int, only: str | None, where: str | None) -> Ints:
        timeline = self._prepared.timeline(self._names, clock)
        race = self._prepared.race(self._names, clock, self._strict, only, where)
        return asof.latest(timeline, race, self._codes, self._moments(lag))

    def _find_windows(self, clock: Clock, length: int, lag: int) -> list[windows.Windows]:
        timeline = self._prepared.timeline(self._names, clock)
        high, at = self._ends(clock, lag), self._moments(lag)
        return windows.windows(timeline, high, self._codes, at, length, strict=self._strict)

    def _find_ends(self, clock: Clock, lag: int) -> Ints:
        timeline = self._prepared.timeline(self._names, clock)
        return windows.ends(timeline, self._codes, self._moments(lag), strict=self._strict)

    def _aggregate(self, feature: Aggregate, clock: Clock) -> pl.Series:
        found, where = self._windows(clock, feature.window or 0, feature.lag), feature.where
        if feature.column is None:
            rows = None if where is None else self._prepared.along(self._names, clock, None, False, where)
            numbers, null = windows.aggregate("count", rows, found, len(self._codes))
            return self._answered(numbers, null, pl.Int64)
        dtype = self._prepared.column(feature.column).dtype
        ranked = not _is_number(dtype) and feature.operation not in ARITHMETIC
        values = self._prepared.along(self._names, clock, feature.column, ranked, where)
        numbers, null = windows.aggregate(feature.operation, values, found, len(self._codes), feature.q)
        if ranked and feature.operation not in COUNTS:
            different = self._prepared.ranked(self._names, clock, feature.column, where)
            return different.gather(self._answered(numbers - 1, null, pl.Int64)).cast(dtype)
        return self._answered(numbers, null, _output_type(feature.operation, dtype))

    def _answered(self, values: npt.NDArray[Any], null: Mask, dtype: _Type) -> pl.Series:
        series, null = pl.Series(self._put_back(values)), self._put_back(null | self._nobody)
        return (series.set(pl.Series(null), None) if null.any() else series).cast(dtype)


def _output_type(operation: str, dtype: pl.DataType) -> _Type:
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
