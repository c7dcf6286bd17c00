"""The slow, obviously correct answer: the semantics of time as a plain loop over rows, one feature at a time.

No sorting tricks, no libraries, nothing shared with the engines but the declarations. Engines are compared with
it, and anyone can recompute a few rows of a training set with it and compare (``recompute``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trivet.features.aggregates import Aggregate
from trivet.features.definitions import FeatureView, Source
from trivet.features.predicates import holds
from trivet.features.references import Selected
from trivet.types import Micros, to_micros

__all__ = ["Row", "agree", "feature_value", "recompute"]

Row = Mapping[str, Any]
"""One row of a source or a spine: column to value, times as aware datetimes."""


def recompute(
    spine: Sequence[Row],
    features: Sequence[Selected],
    sources: Mapping[str, Sequence[Row]],
    *,
    time: str,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """The features of each row of ``spine``, by column.

    Example:
        >>> from datetime import datetime, timezone
        >>> from trivet.features import Entity, FeatureView, Source, latest, select_all
        >>> source = Source("weather", event_time="at", known_after="1h")
        >>> view = FeatureView("weather", entity=Entity("city"), source=source, features={"temp": latest("temp")})
        >>> noon = datetime(2013, 1, 1, 12, tzinfo=timezone.utc)
        >>> rows = [{"city": "NYC", "at": noon.replace(hour=hour), "temp": hour} for hour in (10, 11, 12)]
        >>> recompute([{"city": "NYC", "t": noon}], select_all([view]), {"weather": rows}, time="t")
        [{'temp': 11}]
    """
    return [
        {
            each.column: feature_value(
                sources[each.view.source.name],
                each.view,
                each.feature,
                tuple(row[key] for key in each.view.entity.keys),
                None if row[time] is None else to_micros(row[time]),
                strict=strict,
            )
            for each in features
        }
        for row in spine
    ]


def feature_value(
    rows: Sequence[Row], view: FeatureView, name: str, key: tuple[Any, ...], at: Micros | None, *, strict: bool = False
) -> Any:
    """The value of one feature for one key at one moment, from all rows of the source."""
    if at is None or None in key:
        return None
    feature = view.features[name]
    column, at = feature.column or "", at - feature.lag
    visible = []
    for order, row in enumerate(rows):
        if tuple(row[column] for column in view.entity.keys) == key and _exists(feature, row):
            times = _times(row, view.source, feature)
            if times is not None and _is_visible(times, at, strict):
                visible.append(((*times, order), row))
    visible.sort(key=lambda item: item[0])
    if feature.windowed:
        assert feature.window is not None
        inside = [row for (event, *_), row in visible if at - feature.window <= event < at]
        return _aggregate(feature, inside)
    for (event, *_), row in reversed(visible):
        if event <= at and not (feature.skip_nulls and row[column] is None):
            ttl = view.ttl_of(name)
            return row[column] if ttl is None or event > at - ttl else None
    return None


def _exists(feature: Aggregate, row: Row) -> bool:
    """A row counts only where the feature's condition is true."""
    return feature.predicate is None or holds(feature.predicate, row) is True


def _times(row: Row, source: Source, feature: Aggregate) -> tuple[Micros, Micros, Micros] | None:
    """Event time, known-at time and created of a value; None when one is missing: never known.

    The event is that of the feature's own column; known is the value when all columns that it reads are.
    """
    own = source.times_of(feature.column)
    if own is None:
        return (-(2**60), -(2**60), -(2**60))
    known = []
    for times in [own, *map(source.times_of, feature.columns)]:
        assert times is not None
        if row[times.event] is None or row[times.known or times.event] is None:
            return None
        known.append(to_micros(row[times.known or times.event]) + times.after)
    created = row[source.created] if source.created else datetime.fromisoformat("0001-01-02T00:00:00Z")
    if created is None:
        return None
    return to_micros(row[own.event]), max(known), to_micros(created)


def _is_visible(times: tuple[Micros, Micros, Micros], at: Micros, strict: bool) -> bool:
    _, known, created = times
    return known < at and created < at if strict else known <= at and created <= at


def _aggregate(feature: Aggregate, rows: Sequence[Row]) -> Any:
    if feature.column is None:
        return len(rows)
    values = [row[feature.column] for row in rows if row[feature.column] is not None]
    if feature.operation == "count":
        return len(values)
    if feature.operation == "nunique":
        return len({"NaN" if value != value else value for value in values})
    if not values or (feature.operation == "std" and len(values) < 2):
        return None
    if feature.operation in ("min", "max", "quantile", "std") and any(value != value for value in values):
        return math.nan
    return _of_values(feature, values)


def _of_values(feature: Aggregate, values: list[Any]) -> Any:
    match feature.operation:
        case "sum":
            return _sum(values)
        case "mean":
            return _sum(values) / len(values)
        case "std":
            return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "first":
            return values[0]
        case "last":
            return values[-1]
        case _:
            return _quantile(sorted(map(float, values)), feature.q or 0.0)


def _sum(values: list[Any]) -> Any:
    if all(isinstance(value, int) for value in values):
        return sum(values)
    if all(map(math.isfinite, values)):
        return math.fsum(values)
    return sum(values)  # inf, or NaN where both infinities or a NaN meet


def _quantile(ordered: list[float], q: float) -> float:
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    a, b = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return a if position == below or a == b else a + (b - a) * (position - below)


def agree(one: Any, other: Any, *, digits: int | None = None) -> bool:
    """Whether two values are the same: bit for bit but for NaNs and the sign of zero, or to some digits.

    Example:
        >>> agree(float("nan"), float("nan")), agree(0.1 + 0.2, 0.3), agree(0.1 + 0.2, 0.3, digits=12), agree(0, None)
        (True, False, True, False)
    """
    if one is None or other is None:
        return one is other
    if one != one or other != other:
        return bool(one != one and other != other)
    if digits is not None and isinstance(one, float | int) and math.isfinite(one):
        return math.isclose(one, other, rel_tol=10.0**-digits, abs_tol=10.0**-digits)
    return bool(one == other)
