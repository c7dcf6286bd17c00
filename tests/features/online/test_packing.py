import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.online.contract import Row
from trivet.features.online.encoding import as_of, decode_row, encode_key, encode_keys
from trivet.features.online.packing import Joined, PackedKeys, PackedRows, pack_keys, pack_rows

KINDS = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Int8: st.integers(-128, 127),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Int128: st.integers(-(2**63), 2**64 - 1),
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


near = st.sampled_from([-(2**31), -(2**15), -(2**7), -32, 0, 127, 255, 2**16 - 1, 2**32 - 1, 2**63 - 2])
whole = st.integers(-(2**63), 2**63 - 1) | st.builds(lambda edge, step: edge + step, near, st.integers(-1, 1))


@given(st.lists(st.tuples(st.text(), whole, st.booleans())), st.sampled_from([[0, 1, 2], [1, 2], [1], [2], [0]]))
def test_many_keys_are_encoded_as_one_is(rows, places):
    keys = [tuple(row[place] for place in places) for row in rows]
    assert encode_keys(keys) == [encode_key(key) for key in keys]
    kinds = [pl.String, pl.Int64, pl.Boolean]
    columns = [pl.Series([row[place] for row in rows], dtype=kinds[place]) for place in places]
    assert list(pack_keys(columns)) == [encode_key(key) for key in keys]


@given(st.lists(whole, unique=True, min_size=1), st.binary(max_size=4))
def test_packed_keys_know_their_order_and_stand_under_a_prefix(numbers, prefix):
    for each in (numbers, sorted(numbers)):
        keys = PackedKeys([pl.Series(each, dtype=pl.Int64)])
        assert not keys.ascending or list(keys) == sorted(keys)
        assert list(keys.under(prefix)) == [prefix + key for key in keys]
        assert max(map(len, keys)) <= keys.longest
    assert keys.ascending is (min(numbers) >= 0)


def test_packed_rows_are_gone_through_again_piece_by_piece():
    values = pl.Series([number if number % 5000 else None for number in range(20_000)])
    rows = PackedRows(3, [values, values.cast(pl.Boolean), values.cast(pl.String)], [None] * 3)
    joined = Joined([rows, pack_rows(4, [values], [None])])
    first, again = list(joined), list(joined)
    assert (len(joined), len(first)) == (40_000, 40_000)
    assert first == again
    assert [decode_row(row).values for row in first[9_999:10_002]] == [
        [9999, True, "9999"],
        [None, None, None],
        [10_001, True, "10001"],
    ]
    assert decode_row(first[-1]) == Row(4, [19_999], [4])
