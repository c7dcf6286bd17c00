"""Asking a frame what was expected of it: one expression for each expectation of rows, one pass for all of them.

Plain Polars and not Pandera: its Polars schemas answer lists of failing values and not which rows fail, look at the
values of lazy frames only when told to, and load pandas (1.3 to 1.8 s here, beside 0.5 s for Polars). In the tests it
is the independent second opinion.

What cannot be judged, because a column is missing or of another kind, is a broken expectation and no error: data that
changed shape is what a check is for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from trivet.errors import Invalid, NotFound, TrivetError
from trivet.features.engines.filters import expression
from trivet.features.quality.expectation import Between, Expectation, Fresh, Holds, NotNull, OfRows, OneOf, Rows, Unique
from trivet.features.quality.periods import counts
from trivet.features.quality.report import Consequence, Finding
from trivet.types import Micros, duration_text, from_micros

__all__ = ["broken", "judge"]

EXAMPLES = 5


def broken(expected: OfRows, frame: pl.DataFrame) -> pl.Series:
    """Which rows of ``frame`` break the expectation.

    Raises:
        NotFound: a column is missing.
        Invalid: a column is of a kind that the expectation cannot be asked of.

    Example:
        >>> from trivet.features.quality.expectation import expect
        >>> delays = pl.DataFrame({"delay": [5.0, 4000.0, None, float("nan")]})
        >>> broken(expect("delay").between(-120, 3000), delays).to_list()
        [False, True, False, True]
    """
    for column in expected.columns:
        if column not in frame.columns:
            raise NotFound("column", column, frame.columns)
    try:
        found = _breaks(expected, frame.schema).alias(
            "broken__"
        )  # beside the columns, so that a constant is one for each row
        return frame.select(expected.columns).with_columns(found)["broken__"].rename("broken")
    except pl.exceptions.PolarsError as exc:
        raise Invalid(f"'{expected}' cannot be asked of such columns: {str(exc).splitlines()[0]}.") from exc


def _breaks(expected: OfRows, schema: pl.Schema) -> pl.Expr:
    """True for rows that break it, never null."""
    match expected:
        case NotNull(column=column):
            missing = pl.col(column).is_null()
            return missing | pl.col(column).is_nan().fill_null(value=False) if schema[column].is_float() else missing
        case Unique(columns=columns):
            whole = pl.all_horizontal(pl.col(each).is_not_null() for each in columns)
            return whole & ~pl.struct(columns).is_first_distinct()
        case Between(column=column):
            out = ~expression(expected.predicate, schema).fill_null(value=True)
            return out | pl.col(column).is_nan().fill_null(value=False) if schema[column].is_float() else out
        case OneOf():
            return ~expression(expected.predicate, schema).fill_null(value=True)
        case Holds():
            return ~expression(expected.predicate, schema).fill_null(value=False)
        case _:
            raise TypeError(type(expected))


def judge(
    expected: Sequence[Expectation],
    frame: pl.DataFrame,
    *,
    known: pl.Series | None,
    at: Micros,
    parts: bool,
    hidden: Collection[str] = (),
    keys: Sequence[str] = (),
    exist: Sequence[str] | None = None,
) -> list[Finding]:
    """What becomes of each expectation.

    Args:
        expected: the expectations.
        frame: the rows, with times in UTC.
        known: when each row became known, null for not yet; None for rows without times.
        at: the moment of the question, in microseconds.
        parts: whether rows can be set aside. If not, what should set them aside stops the whole.
        hidden: columns with personal data, of which examples show no values.
        keys: columns that say whom a row is about, shown with each example.
        exist: all columns that there are, where only some of them were read.
    """
    shown = [name for name in keys if name not in hidden]
    exist = frame.columns if exist is None else exist
    return [
        _of_rows(each, frame, parts, hidden, shown, exist)
        if isinstance(each, OfRows)
        else _of_whole(each, frame, known, at)
        for each in expected
    ]


def _of_rows(
    each: OfRows, frame: pl.DataFrame, parts: bool, hidden: Collection[str], keys: Sequence[str], exist: Sequence[str]
) -> Finding:
    try:
        if lost := next((name for name in each.columns if name not in exist), None):
            raise NotFound("column", lost, exist)
        failing = broken(each, frame)
    except TrivetError as exc:
        return _finding(each, passed=False, consequence=_after(each, "stop"), found=exc.message)
    number, rows = int(failing.sum()), frame.height
    passed = number <= each.at_most * rows
    follows: Consequence = "rows" if parts and each.refuses_rows else "stop"
    return _finding(
        each,
        passed=passed,
        failing=number,
        judged=rows,
        allowed=each.at_most,
        consequence="nothing" if passed else _after(each, follows),
        found=f"{number:,} of {rows:,} rows are otherwise" if number else "",
        examples=[] if not number else list(_examples(each, frame, failing, hidden, keys)),
    )


def _of_whole(each: Expectation, frame: pl.DataFrame, known: pl.Series | None, at: Micros) -> Finding:
    if isinstance(each, Fresh):
        assert known is not None
        return _freshness(each, known, at)
    assert isinstance(each, Rows)
    if each.per is not None:
        assert known is not None
        return _volume(each, each.per, known, at)
    rows = frame.height if known is None else known.count()
    passed = _inside(each, rows)
    found = "" if passed else f"there {_are(rows)}"
    return _finding(
        each, passed=passed, judged=1, failing=int(not passed), consequence=_follows(each, passed), found=found
    )


def _freshness(each: Fresh, known: pl.Series, at: Micros) -> Finding:
    newest = known.max()
    if newest is None:
        return _finding(each, passed=False, consequence=_follows(each, False), found="no row is known yet")
    assert isinstance(newest, int)
    age, passed = at - newest, at - newest <= each.within
    moment = f"{from_micros(newest):%Y-%m-%d %H:%M:%S} UTC"
    found = "" if passed else f"the newest is of {moment}, {_rough(age)} ago"
    return _finding(each, passed=passed, consequence=_follows(each, passed), found=found)


def _volume(each: Rows, per: Micros, known: pl.Series, at: Micros) -> Finding:
    """Periods without any rows are as many as lie between, so they are counted and not made."""
    table = counts(known, per)
    if not table.height:
        return _finding(each, passed=False, consequence=_follows(each, False), found="no row is known yet")
    first, now = int(table["period"][0]), at // per
    low, high = each.at_least or 0, each.at_most
    whole = (pl.col("period") > first) & (pl.col("period") < now)
    few = table.filter(whole & (pl.col("rows") < low))
    many = table.filter(pl.col("rows") > high) if high is not None else table.head(0)
    empty = max(0, now - first - 1) - table.filter(whole).height if low else 0
    bad = pl.concat([few, many]).sort("period")
    failing, judged = bad.height + empty, now - first + 1
    passed = failing == 0
    gap = f", {empty:,} of them without any" if empty else ""
    found = "" if passed else f"{failing:,} of {judged:,} periods are otherwise{gap}"
    shown = [{"period": _start(number * per), "rows": rows} for number, rows in bad.head(EXAMPLES).rows()]
    if empty:
        shown = [*_gaps(table["period"], now, per), *shown][:EXAMPLES]
    return _finding(
        each,
        passed=passed,
        failing=failing,
        judged=judged,
        consequence=_follows(each, passed),
        found=found,
        examples=shown,
    )


def _gaps(periods: pl.Series, now: int, per: Micros) -> Iterator[dict[str, Any]]:
    """The first period of each stretch without rows, as long as there are few."""
    ends = [*periods.to_list()[1:], now]
    stretches = ((one + 1, end) for one, end in zip(periods, ends, strict=True) if end > one + 1)
    for number, (start, _) in enumerate(stretches):
        if number == 2:
            return
        yield {"period": _start(start * per), "rows": 0}


def _examples(
    each: OfRows, frame: pl.DataFrame, failing: pl.Series, hidden: Collection[str], keys: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Of what is unique only the place: it names whom a row is about, and reports outlive the erasure of rows."""
    places = failing.arg_true().head(EXAMPLES)
    shown = [] if isinstance(each, Unique) else [*keys, *(n for n in each.columns if n not in hidden and n not in keys)]
    rows = [{} for _ in places] if not shown else frame.select(shown)[places].to_dicts()
    for place, row in zip(places, rows, strict=True):
        yield {"row": place, **{name: _plain(value) for name, value in row.items()}}


def _plain(value: Any) -> Any:
    """A value as JSON says it; NaN and infinity as words."""
    number = isinstance(value, float) and math.isfinite(value)
    return value if number or value is None or isinstance(value, int | str) else str(value)[:200]


def _finding(each: Expectation, **found: Any) -> Finding:
    return Finding(expectation=str(each), severity=each.severity, **found)


def _after(each: Expectation, follows: Consequence) -> Consequence:
    return follows if each.severity == "refuse" else "said"


def _follows(each: Expectation, passed: bool) -> Consequence:
    return "nothing" if passed else _after(each, "stop")


def _inside(each: Rows, rows: int) -> bool:
    return rows >= (each.at_least or 0) and (each.at_most is None or rows <= each.at_most)


def _are(rows: int) -> str:
    return "is 1" if rows == 1 else f"are {rows:,}"


def _start(micros: Micros) -> str:
    return f"{from_micros(micros):%Y-%m-%d %H:%M:%S} UTC"


def _rough(micros: Micros) -> str:
    return duration_text(micros // 1_000_000 * 1_000_000 if micros >= 1_000_000 else micros)
