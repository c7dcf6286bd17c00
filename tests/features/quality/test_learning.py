"""Proposals: the rows they were learned from keep them, bad rows do not, and the same rows propose the same."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.quality.expectation import Fresh, Rows
from trivet.features.quality.judging import judge
from trivet.features.quality.learning import allowed, propose

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-5, 5).map(float))


def flights(days, each, seed=0):
    chance = random.Random(seed)
    rows = [
        {
            "at": START + timedelta(days=day, seconds=chance.randrange(86_400)),
            "delay": chance.expovariate(0.05) - 10,
            "carrier": chance.choice(["AA", "UA", "DL"]),
            "tail": None if chance.random() < 0.01 else f"N{chance.randrange(400)}",
            "number": number,
        }
        for day in range(days)
        for number in range(day * each, (day + 1) * each)
    ]
    frame = pl.DataFrame(rows)
    return frame, frame["at"].to_physical()


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=20), st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=20))
def test_rows_keep_what_was_learned_from_them(numbers, words):
    for name, values, dtype in (("x", numbers, pl.Float64), ("x", words, pl.String), ("x", words, pl.Categorical)):
        frame = pl.DataFrame(
            {name: pl.Series(values, dtype=pl.String if dtype == pl.Categorical else dtype).cast(dtype)}
        )
        expected = propose(frame, None, [name])
        assert all(each.severity == "warn" for each in expected)
        found = judge(expected, frame, known=None, at=0, parts=True)
        assert [each for each in found if not each.passed] == []


def test_the_order_of_the_rows_changes_nothing():
    frame, known = flights(10, 50)
    order = list(range(frame.height))
    random.Random(1).shuffle(order)
    columns = ["delay", "carrier", "tail", "number"]
    assert propose(frame, known, columns) == propose(frame[order], known[order], columns)


def test_the_next_days_keep_it_and_bad_days_do_not():
    frame, known = flights(20, 100)
    expected = propose(frame, known, ["delay", "carrier", "tail", "number"])
    good, later = flights(20, 100, seed=7)
    now = int(known.max())
    assert [str(each) for each in judge(expected, good, known=later, at=now, parts=True) if not each.passed] == []
    bad = frame.with_columns(delay=pl.col("delay") * 60, carrier=pl.lit("ZZ"), tail=pl.lit(None, pl.String))
    half = known.set(known.to_physical() % 2 == 0, None)
    broken = [
        each.expectation for each in judge(expected, bad, known=half, at=now + 3 * DAY, parts=True) if not each.passed
    ]
    assert {sentence.split(" ")[0] for sentence in broken} >= {"delay", "carrier", "tail", "the", "at"}


def test_keys_are_unique_and_have_no_range():
    frame, _ = flights(2, 100)
    said = [str(each) for each in propose(frame, None, ["number"])]
    assert said == ["number is unique", "number is not null"]


def test_volume_is_by_the_hour_where_there_are_few_days_and_nothing_where_there_are_few_hours():
    hours = pl.Series([hour * DAY // 24 + minute for hour in range(30) for minute in range(10)])
    [volume, fresh] = propose(pl.DataFrame({"x": hours}), hours, [])
    assert isinstance(volume, Rows)
    assert (volume.per, volume.at_least, volume.at_most) == (DAY // 24, None, 23)
    assert isinstance(fresh, Fresh)
    assert fresh.within == 2 * DAY // 24
    assert propose(pl.DataFrame({"x": [1]}), pl.Series([5]), []) == []


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
        pl.Series([2**100, 1], dtype=pl.Int128),
        pl.Series([Decimal("1.10"), None]),
        pl.Series([date(2020, 1, 1), None]),
        pl.Series([timedelta(1), None]),
        pl.Series([[1], [1]]),
        pl.Series([{"a": 1}, {"a": 1}]),
        pl.Series([b"a", b"b"]),
        pl.Series([True, None]),
        pl.Series([None, None]),
        pl.Series([0.1, float("nan")], dtype=pl.Float32),
        pl.Series([1e308, -1e308]),
        pl.Series([5e-324, 1e-320]),
        pl.Series([float("inf"), float("-inf")]),
        pl.Series([object(), object()], dtype=pl.Object),
    ],
)
def test_columns_of_any_type_propose_what_they_keep(column):
    frame = pl.DataFrame({"x": column})
    expected = propose(frame, None, ["x"])
    assert all(found.passed for found in judge(expected, frame, known=None, at=0, parts=True))


def test_what_was_met_is_allowed_with_a_margin():
    assert allowed(0, 10) == 0
    assert 0.5 < allowed(1, 2) < 1
    assert allowed(5, 5) < 1
