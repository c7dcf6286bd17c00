import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import Corrupt, Invalid
from trivet.features.online.contract import Row
from trivet.features.online.encoding import as_of, decode_row, encode_key, encode_row

keys = st.lists(
    st.one_of(st.text(max_size=3), st.integers(-300, 300), st.booleans(), st.sampled_from([0.0, 1.0])), max_size=3
)


@given(keys, keys)
def test_two_keys_have_the_same_bytes_only_if_types_and_values_are_the_same(one, other):
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    assert (encode_key(tuple(one)) == encode_key(tuple(other))) is same


def test_the_encoding_is_pinned():
    assert encode_key(("JFK", 1, 1.0, True)).hex() == "94a34a464b01cb3ff0000000000000c3"
    assert encode_row(Row(1_700_000_000_000_000, [0.5, None], [7, None])).hex() == (
        "93cf00060a24181e400092cb3fe0000000000000c09207c0"
    )


@given(st.integers(-(2**63), 2**63 - 1))
def test_as_of_is_read_without_the_rest(moment):
    assert as_of(encode_row(Row(moment, ["x", 1.5], [None, 3]))) == moment


@pytest.mark.parametrize("key", [(np.int64(1),), (None,), (b"x",), ([1],), ("a", object())])
def test_what_is_no_key_is_named(key):
    with pytest.raises(Invalid, match=type(key[-1]).__name__):
        encode_key(key)


@pytest.mark.parametrize("key", [(2**64,), ("\ud800",)])
def test_a_key_that_has_no_bytes_is_refused(key):
    with pytest.raises(Invalid, match="64 bits and valid text"):
        encode_key(key)


def test_bytes_that_are_no_row_are_corrupt():
    for data in (b"", b"\xc1", b"\x91\x01", b"hello"):
        with pytest.raises(Corrupt):
            decode_row(data)
    for data in (b"", b"\xc1", b"\x91\xa1x", b"hello"):
        with pytest.raises(Corrupt):
            as_of(data)
