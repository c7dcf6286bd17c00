"""One definition, two speeds: the compiled row encoder and the table encoder agree on every value."""

from __future__ import annotations

import math
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.pipelines.values.encoding import Column, Signature, column_of, encode_table, row_encoder

SIGNATURE = Signature(
    (Column("size", "number"), Column("carrier", "category", ("AA", "UA")), Column("late", "boolean")), "y"
)
ROW = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(),
        "carrier": st.none() | st.sampled_from(["AA", "UA", "new"]),
        "late": st.none() | st.booleans(),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=6))
def test_rows_and_tables_agree(rows):
    schema = pa.schema([("size", pa.float64()), ("carrier", pa.string()), ("late", pa.bool_())])
    encode = row_encoder(SIGNATURE)
    matrix = encode_table(SIGNATURE, pa.Table.from_pylist(rows, schema))
    np.testing.assert_array_equal(matrix, np.array([encode(row) for row in rows]))


def test_values_by_hand():
    encode = row_encoder(SIGNATURE)
    assert encode({"size": 3, "carrier": "UA", "late": True, "extra": object()}) == [3.0, 1.0, 1.0]
    assert encode({"size": np.float32(0.5), "carrier": "AA", "late": np.bool_(False)}) == [0.5, 0.0, 0.0]
    assert encode({"size": Decimal("1.5"), "carrier": "AA", "late": False})[0] == 1.5
    assert all(map(math.isnan, encode({"size": None, "carrier": "new", "late": None})))
    assert all(map(math.isnan, encode({"size": float("nan"), "carrier": float("nan"), "late": float("nan")})))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": "3"}, "size is '3', and a number is expected"),
        ({"size": True}, "size is True, and a number is expected"),
        ({"size": [1]}, r"size is \[1\], and a number is expected"),
        ({"carrier": 7}, "carrier is 7, and text is expected"),
        ({"carrier": True}, "carrier is True, and text is expected"),
        ({"carrier": 1.5}, "carrier is 1.5, and text is expected"),
        ({"late": 1}, "late is 1, and true or false is expected"),
        ({"late": "yes"}, "late is 'yes', and true or false is expected"),
        ({"late": {}}, "late is {}, and true or false is expected"),
    ],
)
def test_mistyped_values_are_sentences(change, sentence):
    row = {"size": 1.0, "carrier": "AA", "late": True} | change
    with pytest.raises(Invalid, match=sentence):
        row_encoder(SIGNATURE)(row)


def test_a_missing_value_is_a_sentence():
    with pytest.raises(Invalid, match="carrier is missing; there is: late, size"):
        row_encoder(SIGNATURE)({"size": 1.0, "late": True})


def test_mistyped_and_missing_columns_are_sentences():
    with pytest.raises(Invalid, match="size is 'x', and a number is expected"):
        encode_table(SIGNATURE, pa.table({"size": ["x"], "carrier": ["AA"], "late": [True]}))
    with pytest.raises(NotFound, match=r"no column 'carrier'. Did you mean 'carier'"):
        encode_table(SIGNATURE, pa.table({"size": [1], "carier": ["AA"], "late": [True]}))


def test_columns_of_nulls_fit_any_type():
    nothing = pa.table({"size": [None], "carrier": pa.array([None], pa.int8()), "late": pa.array([None], pa.string())})
    assert np.isnan(encode_table(SIGNATURE, nothing)).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None]), Column("x", "number")),
        (pa.array([Decimal("1.5")]), Column("x", "number")),
        (pa.array([True]), Column("x", "boolean")),
        (pa.array(["b", "a", None, "b"]), Column("x", "category", ("a", "b"))),
        (pa.array(["b", "a"]).dictionary_encode(), Column("x", "category", ("a", "b"))),
        (pa.array([2, 1]).dictionary_encode(), Column("x", "number")),
        (pa.array([None]), Column("x", "number")),
    ],
)
def test_columns_by_type(values, expected):
    assert column_of("x", pa.chunked_array([values])) == expected


def test_times_and_nested_values_are_refused():
    with pytest.raises(Invalid, match=r"'x' is a time, which no model takes as it is. Derive a number"):
        column_of("x", pa.chunked_array([pa.array(pd.to_datetime(["2020-01-01"]))]))
    with pytest.raises(Invalid, match="of type list"):
        column_of("x", pa.chunked_array([pa.array([[1]])]))


def test_speed():
    """Under 10 microseconds for 20 columns on a quiet machine; here it must only not be absurd."""
    columns = [Column(f"n{n}", "number") for n in range(14)] + [
        Column(f"c{n}", "category", ("a", "b")) for n in range(6)
    ]
    encode = row_encoder(Signature(tuple(columns), "y"))
    row = {column.name: 1.5 if column.type == "number" else "b" for column in columns}
    started = time.perf_counter()
    for _ in range(1000):
        encode(row)
    assert time.perf_counter() - started < 0.1
