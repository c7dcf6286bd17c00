"""When two served values are the same, against plain loops and the bits themselves."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.skew.compare import as_recorded, distances, same, same_but_for_type

floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), floats, st.text(max_size=5))
near = st.tuples(floats, st.integers(-3, 3)).map(lambda pair: (pair[0], _steps(*pair)))


def _steps(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value


def plainly_same(one: object, other: object) -> bool:
    """Type by type; floats by their eight bytes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return one == other


@settings(max_examples=300, deadline=None)
@given(values, values)
def test_two_values_are_the_same_when_type_and_bits_are(one: object, other: object) -> None:
    assert same(one, other) == plainly_same(one, other)
    assert same(one, one)
    assert same(as_recorded(one), one)


@settings(max_examples=300, deadline=None)
@given(near)
def test_neighbouring_floats_differ(pair: tuple[float, float]) -> None:
    assert same(*pair) == plainly_same(*pair)


@settings(max_examples=300, deadline=None)
@given(floats, floats, st.floats(1e-12, 0.5))
def test_a_tolerance_is_relative_and_symmetric(one: float, other: float, tolerance: float) -> None:
    larger = max(abs(one), abs(other))
    assert same(one, other, tolerance=tolerance) == (one == other or abs(one - other) <= tolerance * larger)
    assert same(one, other, tolerance=tolerance) == same(other, one, tolerance=tolerance)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(values, values), max_size=8))
def test_distances_are_those_of_a_loop(pairs: list[tuple[object, object]]) -> None:
    absolute, relative = [], []
    for one, other in pairs:
        if type(one) in (int, float) and type(other) in (int, float):
            gap = abs(float(one) - float(other))
            absolute.append(gap)
            relative.append(0.0 if one == other == 0 else gap / (abs(float(one)) / 2 + abs(float(other)) / 2))
    if math.inf in absolute:
        return
    if not absolute:
        assert distances(pairs) == (None, None)
        return
    found, share = distances(pairs)
    assert found is not None
    assert share is not None
    assert found == pytest.approx(math.fsum(gap / len(absolute) for gap in absolute), nan_ok=True)
    assert share == pytest.approx(math.fsum(relative) / len(relative))
    assert 0 <= share <= 2 + 1e-9


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1, 1.0, True), (True, 1, True), ("1.50", 1.5, True), ("x", 1, False), (None, 0, False), (1.0, 2.0, False)],
)
def test_types_that_mean_the_same(one: object, other: object, expected: bool) -> None:
    assert same_but_for_type(one, other) is expected


def test_what_has_no_json_is_null() -> None:
    assert [as_recorded(each) for each in (math.nan, math.inf, -0.0)] == [None, None, -0.0]
    assert not same(0.0, -0.0)
