import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.tracking.curves import At, smooth, thin

values = st.floats(allow_infinity=True, allow_nan=True, width=32)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), values), max_size=300), st.integers(4, 60))
def test_thinning_keeps_the_ends_and_the_extremes_and_invents_nothing(given_points, most):
    points = [At(*one) for one in sorted(given_points, key=lambda one: one[0])]
    thinned = thin(points, most)
    assert len(thinned) <= max(most, 0)
    assert all(any(a is b or repr(a) == repr(b) for b in points) for a in thinned)
    assert [at.step for at in thinned] == sorted(at.step for at in thinned)
    finite = [at.value for at in points if math.isfinite(at.value)]
    if finite:
        kept = [at.value for at in thinned if math.isfinite(at.value)]
        assert (min(kept), max(kept)) == (min(finite), max(finite))


def test_few_points_stay_as_they_are():
    points = [At(step, float(step)) for step in range(5)]
    assert thin(points, 5) == points
    with pytest.raises(Invalid, match="too few"):
        thin(points, 3)


def test_smoothing_leaves_a_constant_and_what_is_no_number():
    points = [At(0, 2.0), At(1, math.nan), At(2, 2.0)]
    smoothed = smooth(points, 0.9)
    assert [smoothed[0].value, smoothed[2].value] == pytest.approx([2.0, 2.0])
    assert math.isnan(smoothed[1].value)
    assert smooth(points, 0) == points
    for weight in (1, -0.1, math.nan):
        with pytest.raises(Invalid, match="from 0 to below 1"):
            smooth(points, weight)
