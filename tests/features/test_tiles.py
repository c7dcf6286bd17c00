from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.point_in_time import agree
from trivet.features.tiles import Event, Partial, Tile, add, inside, merged, rounded

floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 1e16, -1e16, 1e-300, -0.0]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
columns = st.one_of(
    st.lists(st.lists(st.one_of(floats, st.none()), max_size=6), max_size=5),
    st.lists(st.lists(st.one_of(st.integers(-(2**62), 2**62), st.none()), max_size=6), max_size=5),
)


def exact(values):
    """The sum by fractions."""
    if all(isinstance(value, int) for value in values):
        return sum(values)
    if not all(map(math.isfinite, values)):
        return sum(value for value in values if not math.isfinite(value))
    total = sum(map(Fraction, values), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


@settings(max_examples=200, deadline=None, database=None)
@given(columns)
def test_stretches_come_to_what_the_whole_does_also_when_stored(stretches):
    values = [value for stretch in stretches for value in stretch if value is not None]
    parts = [Partial.of(stretch) for stretch in stretches]
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(parts), type=list[Partial | None])
    one = merged(kept)
    if not values:
        assert one is None
        return
    assert (one.count, agree(one.first, values[0]), agree(one.last, values[-1])) == (len(values), True, True)
    odd = any(value != value for value in values)
    assert agree(one.low, math.nan if odd else min(values))
    assert agree(one.high, math.nan if odd else max(values))
    total = rounded(one)
    assert total is None or agree(total, exact(values))
    if total is None:  # beyond what is kept: the reader adds the values themselves
        assert any(part is not None and part.total is None for part in parts)


def test_a_column_of_whole_numbers_that_became_fractions_adds_up():
    one = merged([Partial.of([1, 2]), Partial.of([0.5, None]), Partial.of([True])])
    assert (rounded(one), one.low, one.high, one.count) == (4.5, 0.5, 2, 4)
    assert math.isnan(merged([Partial.of([1]), Partial.of([math.nan])]).low)


def test_text_has_no_sum():
    one = Partial.of(["b", None, "a"])
    assert (one.total, one.low, one.high, one.first, one.last) == (None, "a", "b", "b", "a")


events = st.builds(
    lambda event, known, created: (event, known, created),
    st.integers(-40, 40),
    st.integers(-40, 40),
    st.integers(0, 40),
)


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(events, max_size=20), st.integers(0, 20), st.integers(1, 30), st.integers(1, 9), st.integers(-40, 60))
def test_a_window_holds_what_it_should_however_events_came(times, cut, window, length, end):
    made = [Event(*each, order, (order,)) for order, each in enumerate(times)]
    tiles = add(add([], made[:cut], length, -(10**6)), made[cut:], length, -(10**6))
    parts = inside(tiles, length, end - window, end, {}, raw=False)
    found = [e for part in parts for e in (part.events if isinstance(part, Tile) else part)]
    assert found == sorted(e for e in made if end - window <= e.event < end and e.visible <= end)


@pytest.mark.parametrize(("oldest", "kept"), [(10, [1, 2]), (9, [0, 1, 2]), (20, [2])])
def test_tiles_that_end_before_the_oldest_are_forgotten(oldest, kept):
    tiles = add([], [Event(moment, moment, moment, 0, ()) for moment in (5, 15, 25)], 10, oldest)
    assert [tile.number for tile in tiles] == kept
