"""Whatever value a record holds, a template can write it."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from trivet.server import formats

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_every_value_has_a_text(value):
    for show in (formats.amount, formats.count, formats.cell, formats.pretty, formats.segment):
        assert isinstance(show(value), str)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_an_amount_is_the_number_to_four_digits(value):
    shown = float(formats.amount(value).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=6e-4, abs_tol=1e-300)


@given(st.integers(0, 10**15))
def test_sizes_and_lengths_of_time_keep_their_order_of_magnitude(value):
    number, unit = formats.bytes_text(value).replace(",", "").split()
    factor = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert math.isclose(float(number) * factor, value, rel_tol=0.06)


@given(ANYTHING)
def test_pretty_json_is_json(value):
    json.loads(formats.pretty(value))


@given(st.text(max_size=30))
def test_a_segment_has_no_slash_or_query(text):
    assert not set(formats.segment(text)) & set("/?#&\"'<> ")
