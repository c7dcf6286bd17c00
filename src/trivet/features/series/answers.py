"""One aligned table out of series: which moments it has, and what each series is at each of them.

Values at or before a moment and everything in windows are asked of the local engine, so a window means here what it
means in a feature view. The rules that are no features are here: only what happened at that moment (``none``,
``zero``), and the straight line between two neighbours (``linear``). What is known has been decided before: rows come
with one value for each key and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from trivet.features.aggregates import Aggregate
from trivet.features.definitions import Entity, FeatureView, Source
from trivet.features.engines.local import LocalEngine
from trivet.features.references import select_all
from trivet.features.series.grid import Grid
from trivet.features.series.incoming import TIME
from trivet.types import Micros

__all__ = ["Asked", "Fill", "Known", "aligned", "moments"]

Fill: TypeAlias = Literal["previous", "none", "linear", "zero"]
"""What a series is at a moment of the grid: its newest value at or before it; only what happened just then, else null
or zero; or the straight line between the values around it."""

_UTC = pl.Datetime("us", "UTC")
_ALL = "__all"


@dataclass(frozen=True)
class Known:
    """What is known of one series: for each key and time one value, in the order of keys and times."""

    series: str
    by: tuple[str, ...]
    rows: pl.DataFrame


@dataclass(frozen=True)
class Asked:
    """One column of the answer.

    Attributes:
        of: the reference of its series.
        aggregate: what is made of it; None for its value, by the rule of filling.
    """

    of: str
    aggregate: Aggregate | None = None


def moments(known: Mapping[str, Known], grid: Grid | None, start: Micros | None, end: Micros | None) -> pl.DataFrame:
    """The keys and times of the answer: the grid for each key that has a value, else the times of all series."""
    by = next(iter(known.values())).by
    every = pl.concat([each.rows.select(*by, TIME) for each in known.values()], how="vertical_relaxed")
    every = every if end is None else every.filter(pl.col(TIME).to_physical() < end)
    if grid is None:
        happened = every.unique().sort(*by, TIME)
        return happened if start is None else happened.filter(pl.col(TIME).to_physical() >= start)
    low, high = _span(every, grid, start, end)
    times = pl.DataFrame({TIME: pl.Series(grid.between(low, high), dtype=pl.Int64).cast(_UTC)})
    return every.select(by).unique().sort(by).join(times, how="cross") if by else times


def _span(every: pl.DataFrame, grid: Grid, start: Micros | None, end: Micros | None) -> tuple[Micros, Micros]:
    """From the first moment at which something is there to the one at which the last value is."""
    physical = every[TIME].to_physical()
    if every.is_empty():
        return (0, 0) if start is None or end is None else (start, end)
    first, last = int(physical.min()), int(physical.max())  # type: ignore[arg-type]
    low = grid.at_or_after(first) if start is None else start
    return low, (grid.at_or_after(last) + 1 if end is None else end)


def aligned(
    spine: pl.DataFrame,
    known: Mapping[str, Known],
    asked: Mapping[str, Asked],
    *,
    fill: Fill,
    max_gap: Micros | None,
    skip_nulls: bool,
) -> pl.DataFrame:
    """``spine`` with the columns that are asked for."""
    found: dict[str, pl.Series] = {}
    for reference, each in known.items():
        own = {name: column for name, column in asked.items() if column.of == reference}
        plain = Aggregate("latest", each.series, ttl=max_gap, skip_nulls=skip_nulls)
        computed = {
            name: plain if column.aggregate is None else replace(column.aggregate, column=each.series)
            for name, column in own.items()
            if column.aggregate is not None or fill == "previous"
        }
        found |= _of_engine(spine, each, computed)
        rest = own.keys() - computed.keys()
        if rest:
            rows = each.rows.filter(pl.col(each.series).is_not_null()) if skip_nulls else each.rows
            value = _between(spine, each, rows, max_gap) if fill == "linear" else _exact(spine, each, rows, fill)
            found |= {name: value.alias(name) for name in rest}
    return spine.with_columns(found[name].alias(name) for name in asked)


def _of_engine(spine: pl.DataFrame, known: Known, features: dict[str, Aggregate]) -> dict[str, pl.Series]:
    if not features:
        return {}
    keys, rows = known.by, known.rows
    if not keys:
        keys, spine, rows = (_ALL,), spine.with_columns(pl.lit(0).alias(_ALL)), rows.with_columns(pl.lit(0).alias(_ALL))
    own = {f"column_{place}": each for place, each in enumerate(features.values())}  # any text may name a column
    source = Source(known.series, event_time=TIME)
    view = FeatureView(known.series, entity=Entity("series", keys=keys), source=source, features=own)
    joined = LocalEngine().point_in_time(spine.select(*keys, TIME), select_all([view]), {source.name: rows}, time=TIME)
    frame: pl.DataFrame = joined.frame
    return {name: frame[column] for name, column in zip(features, own, strict=True)}


def _exact(spine: pl.DataFrame, known: Known, rows: pl.DataFrame, fill: Fill) -> pl.Series:
    """The value of each moment's own row; null, or zero, where there is no row."""
    on, here = [*known.by, TIME], pl.lit(1).alias("__here")
    joined = spine.join(rows.select(*on, known.series, here), on=on, how="left", maintain_order="left")
    value = joined[known.series]
    if fill == "zero":
        value = value.zip_with(
            joined["__here"].is_not_null(), pl.Series([0]).cast(value.dtype).new_from_index(0, len(value))
        )
    return value


def _between(spine: pl.DataFrame, known: Known, rows: pl.DataFrame, max_gap: Micros | None) -> pl.Series:
    """On the straight line between the neighbours; null where one is null, is missing, or is too far from the other."""
    before, after = (_neighbour(spine, known, rows, strategy) for strategy in ("backward", "forward"))
    at = spine[TIME].to_physical().to_numpy()
    (low, left), (high, right) = before, after
    there = low.is_not_null() & high.is_not_null() & left.is_not_null() & right.is_not_null()
    if max_gap is not None:
        there = there & (high - low <= max_gap).fill_null(value=False)
    x, y = left.fill_null(0.0).to_numpy(), right.fill_null(0.0).to_numpy()
    length = (high - low).fill_null(0).to_numpy()
    with np.errstate(all="ignore"):
        share = (at - low.fill_null(0).to_numpy()) / np.where(length == 0, 1, length)
        value = np.where((length == 0) | (x == y), x, x + (y - x) * share)
    return pl.Series(known.series, value).set(pl.Series(~there.to_numpy()), None)


def _neighbour(
    spine: pl.DataFrame, known: Known, rows: pl.DataFrame, strategy: Literal["backward", "forward"]
) -> tuple[pl.Series, pl.Series]:
    """Time and value of the nearest row at or before each moment, or at or after it."""
    values = rows.select(*known.by, TIME, __e=pl.col(TIME).to_physical(), __v=pl.col(known.series).cast(pl.Float64))
    numbered = spine.select(*known.by, TIME).with_row_index("__n").sort(TIME)
    joined = numbered.join_asof(
        values.sort(TIME), on=TIME, by=list(known.by) or None, strategy=strategy, check_sortedness=False
    ).sort("__n")
    return joined["__e"], joined["__v"]
