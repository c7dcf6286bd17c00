import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.online.contract import Row
from trivet.features.online.encoding import as_of, decode_row, encode_key, encode_keys
from trivet.features.online.packing import pack_rows

KINDS = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Int8: st.integers(-128, 127),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Float64: st.floats(allow_nan=False),
    pl.Float32: st.floats(width=32, allow_nan=False),
    pl.Boolean: st.booleans(),
    pl.String: st.text(max_size=40),
    pl.Categorical: st.sampled_from(["a", "bb", "ü"]),
    pl.Null: st.none(),
}


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(-5, 2**62), st.integers(0, 9))
def test_packed_rows_are_encoded_rows(data, moment, size):
    kinds = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=18))
    columns, times = [], []
    for kind in kinds:
        values = data.draw(st.lists(st.none() | KINDS[kind], min_size=size, max_size=size))
        columns.append(pl.Series(values, dtype=kind))
        there = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)
        times.append(data.draw(st.sampled_from([None, (np.arange(size) * 10**15 - 3, there)])))
    packed = pack_rows(moment, columns, times)
    for place, row in enumerate(packed):
        when = [moment if each is None else int(each[0][place]) if each[1][place] else None for each in times]
        want = Row(moment, [column[place] for column in columns], when)
        assert repr(decode_row(row)) == repr(want)
        assert as_of(row) == moment
    assert len(packed) == size


@pytest.mark.parametrize("patterns", [1, 3, 500])
def test_rows_keep_their_order_whatever_their_nulls(patterns):
    values = [[None if number % patterns >> bit & 1 else number for number in range(2000)] for bit in range(9)]
    packed = pack_rows(7, [pl.Series(column, dtype=pl.Int64) for column in values], [None] * 9)
    assert [decode_row(row).values for row in packed] == [list(row) for row in zip(*values, strict=True)]


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans())))
def test_many_keys_are_encoded_as_one_is(keys):
    assert encode_keys(keys) == [encode_key(key) for key in keys]
