"""Order statistics of ranges are those of the sorted range, in all bits, whichever way they are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.engines import ordering
from trivet.features.engines.ordering import quantiles, selected
from trivet.features.engines.windows import _pieces

NUMBERS = st.sampled_from([0.0, -0.0, 1.5, -7.25, 3.0, float("nan"), float("inf"), -float("inf")]) | st.floats(width=16)


def bits(array):
    return np.asarray(array, np.float64).view(np.uint64).tolist()


@st.composite
def asked(draw):
    numbers = np.array(draw(st.lists(NUMBERS, min_size=1, max_size=40)))
    ends = draw(st.lists(st.tuples(*[st.integers(0, len(numbers))] * 2).filter(lambda e: e[0] < e[1] or e[0] > e[1])))
    low, high = np.array([sorted(each) for each in ends], np.int64).reshape(-1, 2).T
    return numbers, low, high


@settings(max_examples=60, deadline=None)
@given(asked(), st.data())
@pytest.mark.parametrize("short", [0, 5, 1000])
def test_both_ways_find_what_sorting_finds(short, asked, data):
    numbers, low, high = asked
    places = [np.array([data.draw(st.integers(0, int(n) - 1)) for n in high - low], np.int64) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "_SHORT", short)
        patch.setattr(ordering, "_WORTH", 0)
        found = selected(numbers, low, high, places, _pieces)
    for answer, wanted in zip(found, places, strict=True):
        slow = [np.sort(numbers[a:b], kind="stable")[k] for a, b, k in zip(low, high, wanted, strict=True)]
        same = [
            x == y or (np.isnan(m) and np.isnan(n))
            for x, y, m, n in zip(bits(answer), bits(slow), answer, slow, strict=True)
        ]
        assert all(same)


@settings(max_examples=60, deadline=None)
@given(asked(), st.floats(0, 1))
def test_quantiles_are_those_of_each_range_alone(asked, q):
    numbers, low, high = asked
    together = quantiles(numbers, np.append(low, 0), np.append(high, 0), q, _pieces)
    alone = [
        quantiles(numbers[a:b], np.array([0]), np.array([b - a]), q, _pieces)[0] for a, b in zip(low, high, strict=True)
    ]
    assert bits(together) == bits([*alone, 0.0])


def test_long_ranges_agree_with_numpy_and_with_sorting(monkeypatch):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=3000).round(1)
    ends = np.sort(rng.integers(0, 3001, (3000, 2)), axis=1)
    low, high = ends[ends[:, 0] < ends[:, 1]].T
    fast = quantiles(numbers, low, high, 0.9, _pieces)
    np.testing.assert_allclose(
        fast, [np.quantile(numbers[a:b], 0.9) for a, b in zip(low, high, strict=True)], rtol=1e-12
    )
    monkeypatch.setattr(ordering, "_SHORT", 10_000)
    assert bits(fast) == bits(quantiles(numbers, low, high, 0.9, _pieces))
