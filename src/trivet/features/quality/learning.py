"""Proposing expectations from a period that was good: stated rules, the same answer for the same rows.

* A range reaches from the 0.1th to the 99.9th percentile of the finite numbers (values of rows), widened at each end by
  the distance between the two (by the value itself, or 1, where they are equal); where none is negative its lower end is
  0 or above. Numbers of all sizes a double has get no range.
* A share that is allowed (of nulls, of numbers outside the range, of new categories) is nothing where nothing of the kind
  was met, and else the upper end of Wilson's 99.9 % interval of the share that was met. New categories are estimated by
  those met once (Good and Turing; Biometrika 40 (1953) 237).
* Categories are proposed for text of at most 50 different values, uniqueness for whole numbers and text of which none
  repeats in 100 rows or more; those have no range.
* Rows for each day (or hour, where there are fewer than seven whole days) lie within four standard deviations of the
  mean, the variance being that of the counts but no less than Poisson's.
* Freshness is twice the longest time between two moments at which rows became known.

All of them only warn: whoever knows the data makes ``refuse`` of what must hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from trivet.features.quality.expectation import Expectation, Fresh, Rows, expect, expect_fresh, expect_rows
from trivet.features.quality.periods import counts
from trivet.statistics import wilson
from trivet.types import Micros, as_duration, duration_text

__all__ = ["propose", "propose_for_rows", "propose_for_times"]

CATEGORIES, ENOUGH = 50, 100
LEVEL = 0.999
_HUGE = 1e290
"""Numbers beyond this, and below one over it, are no ends of ranges."""
_STEPS = [as_duration(text) for text in ("1s", "1m", "1h", "1d")]


def propose(frame: pl.DataFrame, known: pl.Series | None, columns: Sequence[str]) -> list[Expectation]:
    """What to expect of rows like these.

    Args:
        frame: the rows of the reference period, times in UTC.
        known: when each became known, in microseconds; None for rows without times.
        columns: of which values are expected; not those that say when.

    Example:
        >>> rows = pl.DataFrame({"carrier": ["AA", "UA"] * 50, "delay": [float(n) for n in range(100)]})
        >>> for each in propose(rows, None, rows.columns):
        ...     print(each)
        carrier is one of 'AA', 'UA'
        carrier is not null
        delay between 0 and 198.0
        delay is not null
    """
    times = [] if known is None else propose_for_times(known)
    return [*propose_for_rows(frame, columns), *times]


def propose_for_rows(frame: pl.DataFrame, columns: Sequence[str]) -> list[Expectation]:
    """Ranges, categories, uniqueness and shares of nulls, in the order of ``columns``."""
    return [each for name in columns for each in _of_column(frame[name])] if frame.height else []


def propose_for_times(known: pl.Series) -> list[Expectation]:
    """Volume and freshness."""
    found: list[Rows | Fresh] = []
    if (volume := _volume(known.drop_nulls())) is not None:
        found.append(volume)
    moments = known.drop_nulls().unique().sort()
    if len(moments) > 1:
        longest = int(moments.diff().max())  # type: ignore[arg-type]
        found.append(expect_fresh(duration_text(_rounded(2 * longest)), severity="warn"))
    return list(found)


def _of_column(column: pl.Series) -> Iterator[Expectation]:
    rows, name = len(column), column.name
    nans = int(column.is_nan().sum()) if column.dtype.is_float() else 0
    missing = column.null_count() + nans
    if missing == rows:
        return
    whole, text = column.dtype.is_integer(), isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum)
    values = column.drop_nulls()
    if (whole or text) and rows >= ENOUGH and values.n_unique() == len(values):
        yield expect(name).unique(severity="warn")
    elif column.dtype.is_numeric() and not column.dtype.is_decimal():
        yield from _range(values, rows, whole=whole, nans=nans)
    elif text:
        yield from _categories(values.cast(pl.String), rows)
    yield expect(name).not_null(at_most=allowed(missing, rows), severity="warn")


def _range(values: pl.Series, rows: int, *, whole: bool, nans: int) -> Iterator[Expectation]:
    numbers = values.cast(pl.Float64)
    finite = numbers.filter(numbers.is_finite())
    if not len(finite):
        return
    first, last = _number(finite.quantile(0.001, "lower")), _number(finite.quantile(0.999, "higher"))
    spread = (last - first) or abs(last) or 1.0
    low, high = _outwards(first - spread, whole, -1), _outwards(last + spread, whole, 1)
    if _number(finite.min()) >= 0:
        low = max(low, 0)
    if not (math.isfinite(low) and math.isfinite(high)):  # numbers of all sizes have no range
        return
    outside = int(((finite < low) | (finite > high)).sum()) + len(numbers) - nans - len(finite)
    yield expect(values.name).between(low, high, at_most=allowed(outside + nans, rows), severity="warn")


def _categories(values: pl.Series, rows: int) -> Iterator[Expectation]:
    met = values.value_counts()
    if met.height <= CATEGORIES:
        once = int((met["count"] == 1).sum())
        names = sorted(met[values.name].to_list())
        yield expect(values.name).one_of(names, at_most=allowed(once, rows), severity="warn")


def allowed(met: int, rows: int) -> float:
    """The share that may be otherwise, where ``met`` of ``rows`` were: rounded up to two digits, and below 1.

    Example:
        >>> allowed(0, 1000), allowed(20, 1000)
        (0.0, 0.041)
    """
    if not met:
        return 0.0
    high = wilson(met, rows, level=LEVEL).high
    scale = 10.0 ** (1 - math.floor(math.log10(high)))
    return min(math.ceil(high * scale) / scale, 0.999999)


def _volume(known: pl.Series) -> Rows | None:
    for per in ("1d", "1h"):
        length = as_duration(per)
        table = counts(known, length)
        if table.height and (days := int(table["period"][-1] - table["period"][0]) - 1) >= 7:
            inside = [*table["rows"].to_list()[1:-1], *[0] * (days - (table.height - 2))]
            mean = math.fsum(inside) / days
            variance = math.fsum((rows - mean) ** 2 for rows in inside) / (days - 1)
            reach = 4 * math.sqrt(max(mean, variance))
            least = max(0, math.floor(mean - reach))
            return expect_rows(least or None, math.ceil(mean + reach), per=per, severity="warn")
    return None


def _outwards(number: float, whole: bool, side: int) -> int | float:
    """The next whole number, or the next one of three digits, away from the middle."""
    turn = math.ceil if side > 0 else math.floor
    if not abs(number) < _HUGE:
        return math.inf
    if 0 < abs(number) < 1 / _HUGE:
        return side / _HUGE if number * side > 0 else 0
    if whole or not number:
        return turn(number)
    scale = 10.0 ** (2 - math.floor(math.log10(abs(number))))
    return turn(number * scale) / scale


def _rounded(micros: Micros) -> Micros:
    """Up to a whole number of the greatest unit that it holds."""
    unit = max((step for step in _STEPS if step <= micros), default=_STEPS[0])
    return -(-micros // unit) * unit


def _number(value: Any) -> float:
    return float(value)
