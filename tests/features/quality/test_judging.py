"""Every expectation against a plain loop over the rows, and against Pandera where it means the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pandera.polars as pandera
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features.quality.expectation import expect, expect_fresh, expect_rows
from trivet.features.quality.judging import broken, judge

NUMBERS = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, 3.0, math.nan, math.inf, -math.inf]), st.floats(width=32)
)
TEXTS = st.sampled_from([None, "AA", "UA", "", "é"])
HOUR = 3_600_000_000


def is_missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def same(value):
    """A value as equality sees it: NaN is one value, and so are the zeros."""
    return "nan" if is_missing(value) else value + 0.0 if isinstance(value, float) else value


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, max_size=12), st.sampled_from([(0, 2), (None, 1.5), (1, None), (-0.0, 0.0)]))
def test_a_range_is_what_a_loop_says(values, ends):
    low, high = ends
    wrong = [
        value is not None
        and (math.isnan(value) or not (low is None or low <= value) or not (high is None or value <= high))
        for value in values
    ]
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    assert broken(expect("x").between(low, high), frame).to_list() == wrong


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53, 2**53 + 1])), max_size=12)
)
def test_whole_numbers_beyond_doubles_are_told_apart(values):
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Int64})
    wrong = [value is not None and value > 2**53 for value in values]
    assert broken(expect("x").between(None, 2**53), frame).to_list() == wrong


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, max_size=12), st.sampled_from([pl.String, pl.Categorical, pl.Enum(["AA", "UA", "", "é"])]))
def test_categories_are_what_a_loop_says(values, dtype):
    frame = pl.DataFrame({"c": pl.Series(values, dtype=pl.String).cast(dtype)})
    assert broken(expect("c").one_of(["AA", ""]), frame).to_list() == [v not in (None, "AA", "") for v in values]


@settings(max_examples=30, deadline=None)
@given(st.lists(NUMBERS, max_size=12))
def test_what_is_missing_is_null_or_nan(values):
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    assert broken(expect("x").not_null(), frame).to_list() == list(map(is_missing, values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, TEXTS), max_size=12))
def test_uniqueness_is_what_a_loop_says(rows):
    seen, wrong = set(), []
    for number, text in rows:
        key = (same(number), text)
        wrong.append(number is not None and text is not None and key in seen)
        if number is not None and text is not None:
            seen.add(key)
    frame = pl.DataFrame(rows, schema={"a": pl.Float64, "b": pl.String}, orient="row")
    assert broken(expect("a", "b").unique(), frame).to_list() == wrong


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-3, 3)), TEXTS), max_size=12))
def test_a_condition_that_is_unknown_does_not_hold(rows):
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    wrong = [not (b == "AA" or (a is not None and a > 0)) for a, b in rows]
    assert broken(expect(where="a > 0 or b = 'AA'"), frame).to_list() == wrong


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 10 * HOUR)), max_size=12),
    st.integers(0, 10 * HOUR),
    st.sampled_from([(1, None), (None, 1), (2, 3), (0, 0)]),
)
def test_volume_and_freshness_are_what_a_loop_says(moments, at, ends):
    low, high = ends
    known = [moment if moment is not None and moment <= at else None for moment in moments]
    there = [moment for moment in known if moment is not None]
    wrong = 0
    if there:
        first, now = min(there) // HOUR, at // HOUR
        for period in range(first, now + 1):
            rows = sum(moment // HOUR == period for moment in there)
            few = low is not None and first < period < now and rows < low
            wrong += few or (high is not None and rows > high)
    frame = pl.DataFrame({"x": [1] * len(moments)}, schema={"x": pl.Int64})
    series = pl.Series(known, dtype=pl.Int64)
    expected = [expect_rows(*ends, per="1h"), expect_fresh("90m"), expect_rows(*ends)]
    volume, fresh, rows = judge(expected, frame, known=series, at=at, parts=True)
    assert (volume.passed, volume.failing) == (bool(there) and wrong == 0, wrong)
    assert fresh.passed == (bool(there) and at - max(there) <= 1.5 * HOUR)
    assert rows.passed == ((low or 0) <= len(there) <= (len(there) if high is None else high))


def test_long_gaps_are_counted_and_not_made():
    years = 400 * 365 * 24 * HOUR
    [found] = judge([expect_rows(1, per="1s")], pl.DataFrame({"x": [1]}), known=pl.Series([0]), at=years, parts=True)
    assert found.failing == years // 1_000_000 - 1
    assert found.examples == [{"period": "1970-01-01 00:00:01 UTC", "rows": 0}]


def test_pandera_finds_the_same_rows():
    frame = pl.DataFrame(
        {
            "delay": [5.0, -3.0, 4000.0, None, 12.5, 12.5],
            "carrier": ["AA", "ZZ", None, "UA", "AA", "AA"],
            "id": [1, 2, 2, 3, 4, 4],
        }
    )
    schema = pandera.DataFrameSchema(
        {
            "delay": pandera.Column(pl.Float64, pandera.Check.in_range(-2, 3000), nullable=True),
            "carrier": pandera.Column(pl.String, pandera.Check.isin(["AA", "UA"]), nullable=False),
        },
    )
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        schema.validate(frame, lazy=True)
    cases = caught.value.failure_cases
    theirs = {(row["column"], row["check"].partition("(")[0]): set() for row in cases.to_dicts()}
    for row in cases.to_dicts():
        theirs[row["column"], row["check"].partition("(")[0]].add(row["index"])
    ours = {
        ("delay", "in_range"): expect("delay").between(-2, 3000),
        ("carrier", "isin"): expect("carrier").one_of(["AA", "UA"]),
        ("carrier", "not_nullable"): expect("carrier").not_null(),
    }
    assert {name: set(broken(each, frame).arg_true()) for name, each in ours.items()} == theirs
    assert broken(expect("id").unique(), frame).sum() == frame.height - frame["id"].n_unique()


def test_a_share_may_break_it_and_one_more_may_not():
    frame = pl.DataFrame({"x": [None, None, 1, 1]})
    [found] = judge([expect("x").not_null(at_most=0.5)], frame, known=None, at=0, parts=True)
    assert found.passed
    assert (found.failing, found.judged, found.share, found.consequence) == (2, 4, 0.5, "nothing")
    [found] = judge([expect("x").not_null(at_most=0.49)], frame, known=None, at=0, parts=True)
    assert (found.passed, found.consequence) == (False, "stop")


@pytest.mark.parametrize(
    ("severity", "parts", "follows"),
    [("refuse", True, "rows"), ("refuse", False, "stop"), ("warn", True, "said")],
)
def test_what_follows_from_a_broken_row(severity, parts, follows):
    expected = [expect("x").between(0, 1, severity=severity)]
    [found] = judge(expected, pl.DataFrame({"x": [5, math.inf, math.nan]}, strict=False), known=None, at=0, parts=parts)
    assert found.consequence == follows
    assert found.examples == [{"row": 0, "x": 5.0}, {"row": 1, "x": "inf"}, {"row": 2, "x": "nan"}]
    assert str(found).startswith(severity)


def test_examples_of_keys_that_repeat_name_no_one():
    [found] = judge([expect("id").unique()], pl.DataFrame({"id": ["ada", "ada"]}), known=None, at=0, parts=True)
    assert found.examples == [{"row": 1}]


@pytest.mark.parametrize(
    "column", [pl.Series([[1], [1]]), pl.Series([{"a": 1}] * 2), pl.Series([object()] * 2, dtype=pl.Object)]
)
def test_columns_that_do_not_compare_are_judged_in_a_sentence(column):
    frame = pl.DataFrame({"x": column})
    expected = [expect("x").unique(), expect("x").between(0, 1), expect("x").one_of(["a"]), expect("x").not_null()]
    found = judge(expected, frame, known=None, at=0, parts=True)
    assert [each.passed for each in found] == [False, False, False, True]
    assert all(each.found.endswith((".", "otherwise")) for each in found[:3])


def test_an_empty_frame_breaks_nothing_but_volume():
    frame = pl.DataFrame(schema={"x": pl.Float64, "c": pl.String})
    rows = [expect("x").between(0, 1), expect("c").one_of(["a"]), expect("x", "c").unique(), expect("x").not_null()]
    assert all(found.passed for found in judge(rows, frame, known=None, at=0, parts=True))
    [found] = judge([expect_rows(1)], frame, known=None, at=0, parts=True)
    assert (found.passed, found.found) == (False, "there are 0")


@pytest.mark.parametrize("expected", [expect("gone").not_null(), expect("c").between(0, 1)])
def test_what_cannot_be_asked_is_broken_as_a_whole(expected):
    frame = pl.DataFrame({"c": ["a"]})
    with pytest.raises((NotFound, Invalid)):
        broken(expected, frame)
    [found] = judge([expected], frame, known=None, at=0, parts=True)
    assert (found.passed, found.consequence) == (False, "stop")
    assert found.found.endswith((".", "?"))


def test_a_column_of_nothing_but_nulls_has_any_range():
    frame = pl.DataFrame({"x": [None, None]})
    assert broken(expect("x").between(0, 1), frame).to_list() == [False, False]
    assert broken(expect("x").not_null(), frame).to_list() == [True, True]


def test_times_compare_as_moments():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    frame = pl.DataFrame({"t": [noon, noon + timedelta(microseconds=1)]}).with_columns(
        pl.col("t").dt.convert_time_zone("America/New_York")
    )
    assert broken(expect("t").between(None, noon), frame).to_list() == [False, True]


def test_a_missing_column_is_told_with_the_nearest_of_all_and_examples_with_the_key():
    frame = pl.DataFrame({"shop": ["A", "B"], "spent": [1, -2]})
    lost, low = judge(
        [expect("spend").not_null(), expect("spent").between(0, 9)],
        frame.select("shop", "spent"),
        known=None,
        at=0,
        parts=False,
        keys=["shop"],
        exist=["shop", "spent", "spender"],
    )
    assert "'spend'. Did you mean 'spender' or 'spent'" in lost.found
    assert low.examples == [{"row": 1, "shop": "B", "spent": -2}]
    [hidden] = judge(
        [expect("spent").between(0, 9)], frame, known=None, at=0, parts=False, keys=["shop"], hidden=["shop"]
    )
    assert hidden.examples == [{"row": 1, "spent": -2}]
