from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features.engines.keys import NULL, UNKNOWN, KeyIndex, key_columns

PART = st.one_of(st.none(), st.sampled_from(["", "1", "2", "11", "12", "112", "|", "1|"]))
NUMBER = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([10**12, -(10**12), 2**63 - 1, -(2**63)]))


def check(known, asked, schema):
    index = KeyIndex(pl.DataFrame(known, schema, orient="row"), "source 's'")
    codes = index.lookup(pl.DataFrame(asked, schema, orient="row"), "the spine").tolist()
    own = index.codes.tolist()
    for key, code in zip(asked, codes, strict=True):
        if None in key:
            assert code == NULL
        elif key in known:
            assert {c for k, c in zip(known, own, strict=True) if k == key} == {code}
            assert tuple(c.item() for c in index.columns(index.codes[[known.index(key)]])) == key
        else:
            assert code == UNKNOWN or index.counts[code] == 0
    assert [code == NULL for code in own] == [None in key for key in known]
    assert index.counts[: index.size].sum() == sum(None not in key for key in known)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(PART, PART), max_size=12), st.lists(st.tuples(PART, PART), max_size=12))
def test_keys_of_text_never_collide(known, asked):
    check(known, asked, {"a": pl.String, "b": pl.String})


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(st.tuples(NUMBER), max_size=12), st.lists(st.tuples(NUMBER), max_size=12))
def test_keys_of_numbers_are_found_near_and_far(known, asked):
    check(known, asked, {"a": pl.Int64})


def test_kinds_of_keys_are_made_alike():
    frame = pl.DataFrame({"i": pl.Series([1], dtype=pl.Int8), "c": pl.Series(["x"], dtype=pl.Categorical), "f": [2.0]})
    assert key_columns(frame, ["i", "c", "f"], "x").rows() == [(1, "x", 2)]
    assert key_columns(frame, ["i", "c", "f"], "x").dtypes == [pl.Int64, pl.String, pl.Int64]


def test_other_kinds_are_refused():
    for values in ([1.5], [[1]], [float("inf")]):
        with pytest.raises(Invalid, match="Key column 'a' of the spine"):
            key_columns(pl.DataFrame({"a": values}), ["a"], "the spine")
    with pytest.raises(NotFound, match="key column in the spine called 'b'"):
        key_columns(pl.DataFrame({"a": [1]}), ["b"], "the spine")
    dates = KeyIndex(pl.DataFrame({"a": [date(2013, 1, 1)]}), "source 's'")
    with pytest.raises(Invalid, match="Key 'a' is String in the spine and Date in source 's'"):
        dates.lookup(pl.DataFrame({"a": ["2013-01-01"]}), "the spine")
