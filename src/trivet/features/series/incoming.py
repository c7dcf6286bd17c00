"""What people have at hand, as rows of series: a time in UTC, keys of a panel, and a column for each series.

Taken are pandas Series and frames with an index of times, and whatever tables of events take that has a column of
times. Nothing is sorted or dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.frames import as_polars
from trivet.features.tables.batches import incoming
from trivet.features.times import Rules, to_micros

__all__ = ["CREATED", "KNOWN", "REVISION", "TIME", "Incoming", "check_series_name", "columns_of", "instants", "taken"]

TIME, KNOWN, CREATED, REVISION = "time", "known", "created", "revision"
_TWICE, _NEVER = ("raise", "earliest", "latest", "null"), ("raise", "null")
_RESERVED = (TIME, KNOWN, CREATED, REVISION)
_UTC = pl.Datetime("us", "UTC")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_OTHER = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Incoming:
    """Rows on their way into series.

    Attributes:
        rows: ``time`` and perhaps ``known`` in UTC, the keys of the panel, and a column for each series.
        by: the keys.
        series: the other columns.
        known: whether it is said when values could be known.
        zone: the zone in which the times came.
    """

    rows: pl.DataFrame
    by: tuple[str, ...]
    series: tuple[str, ...]
    known: bool
    zone: str | None


def taken(
    data: Any,
    root: Path,
    *,
    only: str | None,
    time: str | None,
    by: tuple[str, ...],
    known_at: str | None,
    timezone: str | None,
    ambiguous: str = "raise",
    nonexistent: str = "raise",
) -> Incoming:
    """``data`` as rows of series; ``only`` is the name of the series where there is one and it is known.

    Raises:
        Invalid: there is no column of times, a time has no zone, or a column cannot name a series.
        NotFound: a declared column is missing.
    """
    frame = _frame(data, root, only or "value")
    column = _time_column(frame, time, by, known_at)
    for each in (*by, *([known_at] if known_at else [])):
        if each not in frame.columns:
            raise NotFound("column in the data called", each, frame.columns)
    values = [name for name in frame.columns if name not in (column, known_at, *by)]
    names = {name: name for name in values}
    if only is not None:
        if len(values) != 1:
            raise Invalid(
                f"{len(values)} columns ({', '.join(values)}) are to become the one series {only!r}. Give one."
            )
        names = {values[0]: only}
    for name in (*names.values(), *by):
        check_series_name(name, key=name in by)
    for rule, said, exist in (("ambiguous", ambiguous, _TWICE), ("nonexistent", nonexistent, _NEVER)):
        if said not in exist:
            raise NotFound(f"rule of {rule} times called", str(said), exist)
    moments = partial(instants, timezone=timezone, ambiguous=ambiguous, nonexistent=nonexistent)
    times = [moments(frame[column]).alias(TIME)]
    times += [moments(frame[known_at]).alias(KNOWN)] if known_at else []
    rows = frame.select(*times, *by, *(_typed(frame[old]).alias(new) for old, new in names.items()))
    _check_once(rows, [*by, TIME, *([KNOWN] if known_at else [])], list(names.values()))
    zone = timezone or getattr(frame[column].dtype, "time_zone", None)
    return Incoming(rows, by, tuple(names.values()), known_at is not None, zone)


def _check_once(rows: pl.DataFrame, key: list[str], series: list[str]) -> None:
    """Refuse two values of one moment: they are members of a panel that nothing tells apart, and one would be lost.

    Raises:
        Invalid: there are such; ``by`` is offered.
    """
    if not rows.select(key).drop_nulls().is_duplicated().any():
        return
    different = rows.drop_nulls(key).unique()
    twice = different.filter(different.select(key).is_duplicated())
    if twice.is_empty():
        return
    texts = [name for name in series if rows.schema[name] in (pl.String, pl.Categorical)] or ["sensor"]
    when = twice[TIME].min()
    assert isinstance(when, datetime)
    what = "Each member of the panel" if len(key) > 1 else "A series"
    raise Invalid(
        f"{twice.select(key).n_unique():,} times come with several values, first {when.isoformat()}. {what} has one value of a "
        f"time: if a column tells members apart, name it, by={texts[0]!r} (--by {texts[0]}); if not, choose one of them."
    )


def columns_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def check_series_name(name: str, *, key: bool = False) -> str:
    """``name`` if it can name a series, or the key of a panel.

    Raises:
        Invalid: it cannot; a name that can is offered.
    """
    if name in _RESERVED or (not key and (not _NAME.fullmatch(name) or len(name) > 48)):
        better = f"{name}_value" if name in _RESERVED else _OTHER.sub("_", name.lower()).strip("_")[:48]
        better = better if _NAME.fullmatch(better) else f"series_{better}".rstrip("_")
        why = "Trivet uses it itself" if name in _RESERVED else "that takes small letters, digits and single '_'"
        raise Invalid(f"{name!r} cannot name a series or its key: {why}. Call it {better!r}, for example.")
    return name


def instants(
    column: pl.Series, timezone: str | None, ambiguous: str = "raise", nonexistent: str = "raise"
) -> pl.Series:
    """Times of a column in UTC.

    Raises:
        Invalid: they are none, or have no zone and ``timezone`` is None.
    """
    remedy = "Say which: timezone='UTC' or timezone='Europe/Vienna' (--timezone)."
    return to_micros(column, Rules("the series", remedy, timezone, ambiguous, nonexistent)).cast(_UTC)


def _typed(column: pl.Series) -> pl.Series:
    return column.cast(pl.Float64) if column.dtype == pl.Null else column


def _frame(data: Any, root: Path, name: str) -> pl.DataFrame:
    cls = type(data)
    maker = cls.__module__.partition(".")[0]
    if maker == "pandas" and cls.__name__ == "Series":
        return _from_pandas(data.to_frame(data.name if data.name is not None else name))
    if maker == "pandas" and cls.__name__ == "DataFrame":
        return _from_pandas(data)
    if maker == "polars" and cls.__name__ == "Series":
        raise Invalid("A Polars Series has no times. Give a data frame with a column 'time'.")
    batches = list(incoming(data, root).batches) if not isinstance(data, Mapping) else [as_polars(pl.DataFrame(data))]
    return pl.concat(batches) if batches else pl.DataFrame()


def _from_pandas(frame: Any) -> pl.DataFrame:
    """A pandas frame with the levels of its index as columns, the unnamed one of times as ``time``."""
    import pandas as pd

    index = frame.index
    if isinstance(index, pd.MultiIndex | pd.DatetimeIndex) or index.name is not None:
        names = [_index_name(index.get_level_values(i), i) for i in range(index.nlevels)]
        frame = frame.reset_index(names=names)
    frame = frame.rename(columns=str)
    for column in frame.columns:
        if frame[column].dtype == object:  # moments of several zones have no dtype of their own
            frame = frame.assign(**{column: [_said(value) for value in frame[column]]})
    return as_polars(frame)


def _index_name(level: Any, place: int) -> str:
    import pandas as pd

    return (
        str(level.name) if level.name is not None else TIME if isinstance(level, pd.DatetimeIndex) else f"level_{place}"
    )


def _said(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "tzinfo") and hasattr(value, "isoformat") else value


def _time_column(frame: pl.DataFrame, time: str | None, by: tuple[str, ...], known_at: str | None) -> str:
    if time is not None:
        if time not in frame.columns:
            raise NotFound("column in the data called", time, frame.columns)
        return time
    if TIME in frame.columns:
        return TIME
    moments = [
        name
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime | pl.Date) and name not in (*by, known_at)
    ]
    if len(moments) != 1:
        found = "Several hold times" if moments else "None is called 'time' or holds times"
        names = ", ".join(moments or frame.columns) or "no columns at all"
        raise Invalid(f"Which column says when? {found}: {names}. Name it with time='...' (--time).")
    return moments[0]
