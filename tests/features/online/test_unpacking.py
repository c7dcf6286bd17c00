from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Corrupt, Invalid
from trivet.features.online.contract import Row
from trivet.features.online.encoding import decode_row, encode_row
from trivet.features.online.packing import pack_rows
from trivet.features.online.unpacking import NEVER, unpack_rows

moments = st.integers(-(2**62), 2**62) | st.integers(-40, 300)
kinds = [
    st.integers(-(2**63), 2**63 - 1) | st.integers(-40, 300) | st.integers(-(2**33), 2**33),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=40) | st.sampled_from(["x" * 300, "ü" * 40_000]),
    st.integers(0, 2**64 - 1),
    st.none(),
]


@st.composite
def tables(draw):
    size = draw(st.integers(1, 8))
    columns = [draw(st.lists(st.none() | each, min_size=size, max_size=size)) for each in draw(st.permutations(kinds))]
    columns = columns * draw(st.sampled_from([0, 1, 1, 1, 4]))
    times = [draw(st.lists(st.none() | moments, min_size=size, max_size=size)) for _ in columns]
    as_of = draw(st.lists(moments, min_size=size, max_size=size))
    values, when = zip(*columns, strict=True), zip(*times, strict=True)
    empty = [()] * size
    return [
        Row(at, list(own), list(own_times))
        for at, own, own_times in zip(as_of, values if columns else empty, when if times else empty, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(tables())
def test_columns_are_what_the_rows_are_one_by_one(rows):
    found = unpack_rows([encode_row(row) for row in rows])
    assert found.as_of.tolist() == [row.as_of for row in rows]
    assert len(found.values) == len(found.times) == len(rows[0].values)
    for place, (values, times) in enumerate(zip(found.values, found.times, strict=True)):
        assert repr(values.to_list()) == repr([row.values[place] for row in rows])
        assert [None if time == NEVER else time for time in times.tolist()] == [row.times[place] for row in rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.none() | st.integers(-5, 5), st.none() | st.text()), min_size=1, max_size=9))
def test_what_was_packed_is_unpacked(rows):
    kinds = [pl.Float64, pl.Int64, pl.String]
    columns = [pl.Series(each, dtype=kind) for each, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    there = np.arange(len(rows)) % 2 == 0
    found = unpack_rows(pack_rows(77, columns, [None, (np.arange(len(rows)), there), None]))
    for own, column in zip(found.values, columns, strict=True):
        assert repr(own.to_list()) == repr(column.to_list())
    assert found.times[1].tolist() == [place if is_there else NEVER for place, is_there in enumerate(there)]
    assert found.as_of.tolist() == found.times[0].tolist() == [77] * len(rows)


def test_whole_numbers_beside_others_are_numbers():
    [values] = unpack_rows([encode_row(Row(1, [value], [1])) for value in (1, 2.5, None, 300)]).values
    assert values.to_list() == [1.0, 2.5, None, 300.0]


def test_rows_with_lists_in_them_are_decoded_one_by_one():
    rows = [Row(1, [[1, 2], "x"], [None, 3]), Row(2, [[3], "y"], [1, None])]
    found = unpack_rows([encode_row(row) for row in rows])
    assert [column.to_list() for column in found.values] == [[[1, 2], [3]], ["x", "y"]]
    assert [times.tolist() for times in found.times] == [[NEVER, 1], [3, NEVER]]


def test_text_beside_numbers_is_told_in_a_sentence():
    with pytest.raises(Invalid, match="values of the types int and str, which no column can hold"):
        unpack_rows([encode_row(Row(1, [value], [1])) for value in (1, "x")])


GOOD = encode_row(Row(1, [1.5, "text"], [1, None]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=20) | st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]))
def test_bytes_that_are_no_row_are_corrupt_and_never_read_beyond(data):
    try:
        row = decode_row(data)
    except Corrupt:
        with pytest.raises(Corrupt):
            unpack_rows([GOOD, data])
        with pytest.raises(Corrupt):
            unpack_rows([data, GOOD])
    else:
        assert unpack_rows([data]).as_of.tolist() == [row.as_of]


def test_a_text_that_is_none_is_corrupt():
    data = b"\x93\x01\x91\xa2\xff\xfe\x91\x01"
    for decode in (decode_row, lambda each: unpack_rows([each])):
        with pytest.raises(Corrupt):
            decode(data)
    assert unpack_rows([]).values == []
