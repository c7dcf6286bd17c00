"""Parting rows: a plain loop over batches, and a quarantine in which each refused row stands once."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features.quality.expectation import expect, expect_fresh
from trivet.features.quality.refusing import RowCheck, keep_refused, refused_name
from trivet.ledger.tables import Tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = [expect("id").unique(), expect("x").between(0, 9), expect("x").not_null(at_most=0.5), expect_fresh("1h")]
ROW = st.tuples(st.one_of(st.none(), st.integers(0, 3)), st.one_of(st.none(), st.integers(-2, 12)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(ROW, max_size=6), max_size=4))
def test_batches_are_parted_as_a_loop_parts_their_rows(batches):
    check, seen = RowCheck(RULES), set()
    for batch in batches:
        reasons = []
        for number, x in batch:
            if x is not None and not 0 <= x <= 9:
                reasons.append("expected: x between 0 and 9")
            elif number is not None and number in seen:
                reasons.append("expected: id is unique")
            else:
                reasons.append(None)
                seen.add(number)
        frame = pl.DataFrame(batch, schema={"id": pl.Int64, "x": pl.Int64}, orient="row")
        assert check(frame).to_list() == reasons


def test_a_bad_row_does_not_condemn_its_good_double():
    frame = pl.DataFrame({"id": [1, 1], "x": [99, 5]})
    assert RowCheck(RULES)(frame).is_null().to_list() == [False, True]


def test_a_column_that_a_batch_lacks_counts_as_null():
    check = RowCheck([expect("x").between(0, 9), expect("y").not_null()])
    assert check(pl.DataFrame({"x": [1]})).to_list() == ["expected: y is not null"]


def test_a_column_of_another_kind_parts_nothing():
    with pytest.raises(Invalid, match="holds text"):
        RowCheck(RULES)(pl.DataFrame({"id": [1], "x": ["a"]}))


def test_batches_of_other_widths_are_compared():
    check = RowCheck([expect("id").unique()])
    check(pl.DataFrame({"id": pl.Series([1], dtype=pl.Int32)}))
    assert check(pl.DataFrame({"id": [1]})).is_null().to_list() == [False]


def test_refused_rows_are_kept_once_with_reason_run_and_moment(tmp_path):
    tables = Tables(tmp_path)
    rows = pl.DataFrame({"x": [math.nan, math.inf, -1.5], "at": [NOW] * 3})
    reasons = pl.Series(["a", "b", "c"])
    assert keep_refused(tables, "Flights", rows, reasons, run="01A", at=NOW) == 3
    assert keep_refused(tables, "Flights", rows, reasons, run="01B", at=NOW) == 0
    kept = tables.read(refused_name("Flights")).to_pylist()
    assert [(row["reason"], row["run"], row["created"]) for row in kept] == [(why, "01A", NOW) for why in "abc"]
    assert [msgspec.json.decode(row["row"])["x"] for row in kept] == ["nan", "inf", -1.5]


def test_the_quarantine_of_ingestion_is_used_as_it_is(tmp_path):
    tables = Tables(tmp_path)
    there = {"digest": ["d"], "reason": ["r"], "row": ["{}"], "created": [NOW]}
    tables.append("flights__refused", pa.table(there))
    assert keep_refused(tables, "flights", pl.DataFrame({"x": [1]}), pl.Series(["a"]), run="01A", at=NOW) == 1
    assert tables.read("flights__refused").num_rows == 2
