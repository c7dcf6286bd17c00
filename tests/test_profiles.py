"""What is remembered of a column, and how far others are from it; alarms are tested in monitoring/test_drift.py."""

import math

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.profiles import Profile, compare, profile


@given(st.lists(st.integers(0, 4), min_size=40, max_size=80), st.lists(st.integers(0, 4), min_size=40, max_size=80))
@settings(max_examples=60, deadline=None)
def test_the_index_is_that_of_the_counts(before, after):
    """Beside a sum over plain counts, where no value is rare enough to be pooled."""
    if min(values.count(each) for values in (before, after) for each in range(5)) < 6:
        return
    (remembered,) = profile(pl.DataFrame({"x": [str(each) for each in before]})).columns
    found = compare(remembered, pl.DataFrame({"x": [str(each) for each in after]}))
    expected = 0.0
    for each in range(5):
        p = (before.count(each) + 0.5) / (len(before) + 2.5)
        q = (after.count(each) + 0.5) / (len(after) + 2.5)
        expected += (q - p) * math.log(q / p)
    assert math.isclose(found.score, expected, rel_tol=1e-9, abs_tol=1e-12)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_rows_do_not_differ_from_themselves_in_any_order(values):
    rows = pl.DataFrame({"x": values})
    (remembered,) = profile(rows).columns
    found = compare(remembered, rows.reverse())
    assert (found.score, found.unseen) == (0.0, 0.0)
    assert sum(remembered.counts) == len(values)


def test_a_profile_is_json():
    made = profile(pl.DataFrame({"x": [1.0, None], "name": ["a", "b"]}))
    assert Profile.from_json(made.to_json()) == made


def test_a_column_that_is_gone_is_null_throughout():
    (remembered,) = profile(pl.DataFrame({"x": range(100)})).columns
    found = compare(remembered, pl.DataFrame({"y": range(100)}))
    assert (found.rows, found.total) == (0, 100)
