"""Profiles against a plain loop, and times of sources in their zones."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from trivet.errors import Invalid
from trivet.features.quality.periods import counts, in_utc, known_at, profile
from trivet.types import as_utc, to_micros

VALUES = st.one_of(st.none(), st.sampled_from([math.nan, math.inf]), st.integers(-50, 50).map(float))
MOMENTS = st.one_of(st.none(), st.integers(-30, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(MOMENTS, VALUES), max_size=15))
def test_a_profile_is_what_a_loop_says(rows):
    periods = sorted({moment // 10 for moment, _ in rows if moment is not None})
    frame = pl.DataFrame({"x": [value for _, value in rows]}, schema={"x": pl.Float64})
    found = profile(frame, pl.Series([moment for moment, _ in rows], dtype=pl.Int64), 10)
    assert found["period"].to_physical().to_list() == [10 * period for period in periods]
    for period, row in zip(periods, found.to_dicts(), strict=True):
        inside = [value for moment, value in rows if moment is not None and moment // 10 == period]
        finite = [value for value in inside if value is not None and math.isfinite(value)]
        assert (row["rows"], row["nulls"]) == (len(inside), inside.count(None))
        assert row["nans"] == sum(value is not None and math.isnan(value) for value in inside)
        assert row["mean"] == (pytest.approx(statistics.fmean(finite)) if finite else None)
        assert (row["low"], row["high"]) == ((min(finite), max(finite)) if finite else (None, None))
        assert row["q50"] is None if not finite else row["q50"] in finite
    assert counts(pl.Series([m for m, _ in rows], dtype=pl.Int64), 10)["period"].to_list() == periods


def test_text_and_times_have_counts_and_no_numbers():
    rows = pl.DataFrame({"c": ["a", None, "a"], "n": [[1], [2], None]})
    [text, nested] = profile(rows, pl.Series([0, 0, 0]), 10).to_dicts()
    assert (text["nulls"], text["distinct"], text["mean"]) == (1, 1, None)
    assert (nested["nulls"], nested["distinct"]) == (1, None)


def test_times_are_read_in_the_zone_of_the_source_and_known_when_they_say():
    source = tv.Source("s", event_time="at", known_after="1h", created="in", timezone="America/New_York")
    naive = [datetime(2026, 7, 1, 8), datetime(2026, 7, 1, 9), None]
    came = [datetime(2026, 7, 1, 13, tzinfo=UTC)] * 3
    frame = in_utc(source, pl.DataFrame({"at": naive, "in": came}))
    at = to_micros(as_utc("2026-07-01T13:30Z"))
    assert known_at(source, frame, at).to_list() == [to_micros(as_utc("2026-07-01T13:00Z")), None, None]
    assert known_at(source, frame, at - 3_600_000_000).to_list() == [None, None, None]


def test_a_time_without_a_zone_is_refused():
    source = tv.Source("s", event_time="at")
    with pytest.raises(Invalid, match="without a zone"):
        in_utc(source, pl.DataFrame({"at": [datetime(2026, 7, 1)]}))
