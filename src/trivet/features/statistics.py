"""What a training set looks like: each column in numbers and bars, the label over time, what is missing where.

Computed a column at a time from the stored table, so that a set larger than memory can be described too; recorded once
as the answer of a run of kind ``statistics``. Bars of numbers lie between the 0.5th and 99.5th percentile, the outermost
ones take what lies beyond; so the picture is a function of the values and never of their order. How pictures are drawn
is the server's business.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl

from trivet.errors import Invalid
from trivet.features.times import Rules, to_micros
from trivet.features.training_set import TrainingSet
from trivet.ledger import Artifact, RunQuery
from trivet.pipelines.context import Context

__all__ = ["Bar", "ColumnStatistics", "Period", "Statistics", "describe", "statistics", "statistics_of"]

BARS, TOP, PERIODS = 20, 12, 60
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_STEPS = ("1h", "6h", "1d", "1w", "1mo", "3mo", "1y")
_LENGTHS = dict(zip(_STEPS, (1, 6, 24, 168, 730, 2190, 8766), strict=True))  # hours, about


class Bar(msgspec.Struct, frozen=True):
    """A bin or a category: how many rows, and of these how many with a positive label where it has two values."""

    name: str
    rows: int
    positive: int | None = None


class ColumnStatistics(msgspec.Struct, frozen=True):
    """One column.

    Attributes:
        name, type: as in the table.
        feature: ``view:feature``, empty for a column of the spine.
        rows, nulls, distinct: counts.
        mean, std, low, high: of finite numbers; of times and text only ``low`` and ``high``.
        quantiles: of finite numbers, by level.
        odd: how many numbers are NaN or infinite.
        bars: of numbers from low to high, of others the most frequent values.
    """

    name: str
    type: str
    rows: int
    nulls: int
    distinct: int | None = None
    feature: str = ""
    mean: float | None = None
    std: float | None = None
    low: float | str | None = None
    high: float | str | None = None
    quantiles: dict[str, float] = {}
    odd: int = 0
    bars: list[Bar] = []


class Period(msgspec.Struct, frozen=True):
    """A stretch of time: when it begins, its rows, and the mean of the label where that is a number."""

    start: str
    rows: int
    label: float | None = None


class Statistics(msgspec.Struct, frozen=True):
    """A training set in numbers. ``every`` is the length of a period: ``1d``, ``1w``, ``1mo``."""

    rows: int
    time: str
    label: str | None
    columns: list[ColumnStatistics]
    periods: list[Period] = []
    every: str = ""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    def to_polars(self) -> pl.DataFrame:
        """One row for each column."""
        names = ("name", "type", "feature", "rows", "nulls", "distinct", "mean", "std")
        rows = [{name: getattr(each, name) for name in names} for each in self.columns]
        ends = [{"low": _end(each.low), "high": _end(each.high)} for each in self.columns]
        return pl.DataFrame([{**row, **end} for row, end in zip(rows, ends, strict=True)], infer_schema_length=None)


def _end(value: float | str | None) -> str | None:
    return None if value is None else _text(value)


def statistics(context: Context, train: TrainingSet | Artifact) -> Statistics:
    """The statistics of a recorded training set, worked out once and recorded.

    Raises:
        Invalid: the set is not recorded, or is a part of one.
    """
    from trivet.pipelines import values
    from trivet.pipelines.recording import record

    artifact = train if isinstance(train, Artifact) else train.artifact
    if artifact is None or artifact.kind != "training_set":
        raise Invalid("Only a recorded training set has statistics on record. Use trivet.features.statistics.describe.")
    for run in context.ledger.runs(RunQuery(kind="statistics", input=artifact.digest, status="finished", limit=1)):
        found = values.load(context.ledger.artifact(run.outputs["result"]), context.blobs)
        return msgspec.convert(found, Statistics)
    name, inputs = artifact.spec.get("label") or "training set", {"training_set": artifact}
    return msgspec.convert(
        record(context, "statistics", name, statistics_of, inputs=inputs, parameters={})[2], Statistics
    )


def statistics_of(training_set: TrainingSet) -> dict[str, Any]:
    """What ``statistics`` records: ``Statistics`` as JSON."""
    return describe(training_set).to_json()


def describe(train: TrainingSet) -> Statistics:
    """The statistics of any training set, a part of one too.

    Example:
        >>> from trivet.features.engines.contract import Report
        >>> frame = pl.DataFrame({"t": ["2026-01-01T00:00Z", "2026-01-02T00:00Z"], "late": [0, 1]})
        >>> train = TrainingSet(frame, time="t", label="late", entities=[], features=[], report=Report(rows=2))
        >>> [(each.name, each.distinct, each.mean) for each in describe(train).columns]
        [('t', 2, None), ('late', 2, 0.5)]
    """
    features = {each.name: each.feature for each in train.features}
    label = None if train.label is None else _column(train, train.label)
    positive = None if label is None else _positive(label)
    columns = [_describe(_column(train, name), features.get(name, ""), positive) for name in train.schema]
    every, periods = _periods(train, label)
    return Statistics(len(train), train.time, train.label, columns, periods, every)


def _column(train: TrainingSet, name: str) -> pl.Series:
    return train.to_lazy().select(name).collect().to_series().rechunk()


def _positive(label: pl.Series) -> pl.Series | None:
    """Where the label is the greater of its two values."""
    values = label.drop_nulls().unique().sort() if not label.dtype.is_nested() else label[:0]
    return (label == values[1]).fill_null(value=False) if len(values) == 2 else None


def _describe(column: pl.Series, feature: str, positive: pl.Series | None) -> ColumnStatistics:
    found = ColumnStatistics(column.name, str(column.dtype), len(column), column.null_count(), feature=feature)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        return found
    distinct = column.drop_nulls().n_unique()
    found = msgspec.structs.replace(found, distinct=distinct)
    if column.dtype.is_numeric():
        return _numbers(found, column, positive)
    known = column.drop_nulls()
    text = known.cast(pl.String) if isinstance(known.dtype, pl.Categorical | pl.Enum) else known
    ends = {} if not len(text) else {"low": _text(text.min()), "high": _text(text.max())}
    bars = [] if column.dtype.is_temporal() else _categories(column, positive)
    return msgspec.structs.replace(found, **ends, bars=bars)


def _numbers(found: ColumnStatistics, column: pl.Series, positive: pl.Series | None) -> ColumnStatistics:
    numbers = column.cast(pl.Float64)
    finite = numbers.is_finite().fill_null(value=False)
    values = numbers.filter(finite).to_numpy()
    odd = len(column) - found.nulls - len(values)
    if not len(values):
        return msgspec.structs.replace(found, odd=odd)
    mean = float(values.mean())
    std = float(np.sqrt(np.square(values - mean).sum() / (len(values) - 1))) if len(values) > 1 else None
    quantiles = dict(zip(map(str, LEVELS), np.quantile(values, LEVELS).tolist(), strict=True))
    label = None if positive is None else positive.filter(finite).to_numpy()
    return msgspec.structs.replace(
        found,
        odd=odd,
        mean=mean,
        std=std,
        low=float(values.min()),
        high=float(values.max()),
        quantiles=quantiles,
        bars=_categories(column, positive, by_value=True) if (found.distinct or 0) <= TOP else _bins(values, label),
    )


def _bins(values: np.ndarray[Any, Any], positive: np.ndarray[Any, Any] | None) -> list[Bar]:
    low, high = np.quantile(values, (0.005, 0.995)).tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, BARS + 1)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BARS - 1)
    rows = np.bincount(places, minlength=BARS).tolist()
    yes = [None] * BARS if positive is None else np.bincount(places, positive, minlength=BARS).astype(int).tolist()
    names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges.tolist())]
    return [Bar(*each) for each in zip(names, rows, yes, strict=True)]


def _categories(column: pl.Series, positive: pl.Series | None, *, by_value: bool = False) -> list[Bar]:
    """The most frequent values, ties by value; with ``by_value`` in their own order."""
    marks = pl.repeat(0, len(column), dtype=pl.Int64, eager=True) if positive is None else positive.cast(pl.Int64)
    text = column.cast(pl.String) if isinstance(column.dtype, pl.Categorical | pl.Enum) else column
    pairs = pl.DataFrame({"value": text, "positive": marks}).drop_nulls("value")
    counted = pairs.group_by("value").agg(pl.len().alias("rows"), pl.col("positive").sum())
    order = ["value"] if by_value else ["rows", "value"]
    counted = counted.sort(order, descending=[name == "rows" for name in order]).head(TOP)
    return [Bar(_text(value), rows, None if positive is None else yes) for value, rows, yes in counted.rows()]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _periods(train: TrainingSet, label: pl.Series | None) -> tuple[str, list[Period]]:
    """Rows and the label's mean by stretches of time, so long that there are no more than sixty or so."""
    when = to_micros(_column(train, train.time), Rules("the training set", timezone="UTC")).cast(
        pl.Datetime("us", "UTC")
    )
    known = when.drop_nulls()
    if not len(known):
        return "", []
    hours = (known.max() - known.min()) / timedelta(hours=1)  # type: ignore[operator]
    every = next((step for step in _STEPS if hours / _LENGTHS[step] <= PERIODS), _STEPS[-1])
    numeric = label is not None and (label.dtype.is_numeric() or label.dtype == pl.Boolean)
    values = (
        label.cast(pl.Float64)
        if label is not None and numeric
        else pl.repeat(None, len(when), dtype=pl.Float64, eager=True)
    )
    frame = pl.DataFrame({"at": when.dt.truncate(every), "label": values}).drop_nulls("at")
    counted = frame.sort("at", maintain_order=True).group_by("at", maintain_order=True)
    rows = counted.agg(pl.len().alias("rows"), pl.col("label").mean()).rows()
    return every, [Period(at.isoformat(), number, mean) for at, number, mean in rows]
