from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features.engines import timeline
from trivet.features.engines.exact import range_sums

WILD = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
TINY = st.floats(-1e-300, 1e-300)
TAME = st.floats(-1e9, 1e9).map(lambda x: round(x, 3))
WHOLE = st.integers(-(2**40), 2**40).map(float)


@settings(max_examples=300, deadline=None, database=None)
@given(st.one_of(*(st.lists(kind, max_size=30) for kind in (WILD, TAME, WHOLE, TINY))), st.integers(1, 40))
def test_sums_of_floats_are_those_of_fsum_bit_for_bit(values, stretch):
    """All ranges of any values, worked through in stretches of any length."""
    low, high = (each.ravel() for each in np.indices((len(values) + 1, len(values) + 1)))
    low, high = low[low <= high], high[low <= high]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_STRETCH", stretch)
        answers = range_sums(np.array(values, np.float64)).between(low, high).tolist()
    assert answers == [math.fsum(values[a:b]) for a, b in zip(low, high, strict=True)]


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.integers(-(2**50), 2**50), max_size=30), st.data())
def test_sums_of_integers_are_exact(values, data):
    low = data.draw(st.integers(0, len(values)))
    high = data.draw(st.integers(low, len(values)))
    (answer,) = range_sums(np.array(values, np.int64)).between(np.array([low]), np.array([high])).tolist()
    assert answer == sum(values[low:high])


def test_what_is_not_finite_stays_in_its_own_windows():
    values = np.array([1.0, np.inf, 0.1, -np.inf, 0.2, np.nan, 0.3])
    low, high = np.array([0, 0, 2, 1, 4, 4, 6]), np.array([1, 2, 3, 4, 5, 6, 7])
    expected = [1.0, np.inf, 0.1, np.nan, 0.2, np.nan, 0.3]
    np.testing.assert_array_equal(range_sums(values).between(low, high), expected)


def test_a_sum_that_may_not_fit_is_refused_and_a_prefix_that_does_not_is_no_matter():
    values = np.full(8, 2**61)
    sums = range_sums(values)
    assert sums.between(np.array([6]), np.array([8])).tolist() == [2**62]
    with pytest.raises(Invalid, match="may not fit into 64 bits"):
        sums.between(np.array([0]), np.array([8]))
