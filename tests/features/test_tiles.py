from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Corrupt
from trivet.features.point_in_time import agree
from trivet.features.tiles import FAN, Event, Nodes, Partial, Tile, Tree, merged, rounded

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
    tree = Tree(0, length * FAN**3, Nodes())
    tiles = tree.grown(tree.grown([], made[:cut], position=0), made[cut:], position=1)
    parts = Tree(0, length * FAN**3, tree.nodes).inside(tiles, end - window, end)
    found = [e for part in parts for e in (part.events if isinstance(part, Tile) else part)]
    assert found == sorted(e for e in made if end - window <= e.event < end and e.visible <= end)


class Stored:
    """A tree that is kept in bytes between one push and the next."""

    def __init__(self, length):
        self.length, self.tiles, self.nodes, self.loads = length, [], {}, 0

    def ask(self, work):
        """Ask for nodes until none is missing, as a reader of the store does."""
        found = {}
        while True:
            nodes = Nodes(found)
            answer = work(Tree(0, self.length, nodes))
            if not nodes.missing:
                return answer, nodes
            found = {**found, **{place: self.nodes.get(place) for place in nodes.missing}}
            self.loads += 1

    def push(self, events, position):
        self.tiles, nodes = self.ask(lambda tree: tree.grown(self.tiles, events, position=position))
        self.nodes |= {place: msgspec.msgpack.encode(node) for place, node in nodes.made.items()}
        return len(nodes.made)

    def window(self, start, end, *, raw):
        parts, _ = self.ask(lambda tree: list(tree.inside(self.tiles, start, end, raw=raw)))
        return parts


many = st.lists(
    st.tuples(st.sampled_from([3, 60, 500, 70_000, 300_000, 20_000_000]), st.integers(1, 400), st.integers(0, 99)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None, database=None)
@given(many, st.integers(0, 25_000_000), st.integers(1, 25_000_000), st.booleans())
def test_a_deep_tree_is_the_same_whatever_pushes_made_it_and_comes_to_what_the_plain_sum_does(bursts, end, window, raw):
    """Bursts of events spread over a stretch, pushed one after another and all at once, beside a list of all."""
    one, other, everything = Stored(FAN**3), Stored(FAN**3), []
    for number, (spread, count, seed) in enumerate(bursts):
        chance = Random(seed)
        events = [
            Event(chance.randrange(spread), chance.randrange(spread), number, order, (chance.randrange(9), 0.1 * order))
            for order in range(count)
        ]
        one.push(events, number)
        everything += events
    other.push(everything, len(bursts) - 1)
    assert one.tiles == other.tiles
    strip = lambda nodes: {place: msgspec.msgpack.decode(data)[1:] for place, data in nodes.items()}  # noqa: E731
    assert strip(one.nodes) == strip(other.nodes)
    wanted = sorted(e for e in everything if end - window <= e.event < end and e.visible <= end)
    parts = one.window(end - window, end, raw=raw)
    assert sum(part.rows if isinstance(part, Tile) else len(part) for part in parts) == len(wanted)
    if raw:
        assert [event for part in parts for event in part] == wanted
    for column in (0, 1):
        partial = merged(
            [
                part.partials[column] if isinstance(part, Tile) else Partial.of([e.values[column] for e in part])
                for part in parts
            ]
        )
        values = [event.values[column] for event in wanted]
        assert (partial is None) == (not values)
        if partial is not None:
            assert rounded(partial) == (sum(values) if column == 0 else math.fsum(values))
            assert (partial.count, partial.low, partial.high) == (len(values), min(values), max(values))
            assert (partial.first, partial.last) == (values[0], values[-1])
    assert sorted(place for tile in one.tiles for place in one.ask(lambda t, n=tile.number: t.beneath(n))[0]) == sorted(
        one.nodes
    )


def test_what_a_push_writes_does_not_grow_with_the_number_of_events():
    tree, most = Stored(FAN**3), 0
    tree.push([Event(i * 100, i * 100, 0, i, (1.5,)) for i in range(50_000)], 0)
    for number in range(1, 50):
        most = max(most, tree.push([Event(5_000_000 + number, 0, number, 0, (1.5,))], number))
    assert most <= 3
    assert all(len(data) < 16_000 for data in tree.nodes.values())


def test_a_node_that_is_lost_is_told():
    tree = Stored(FAN**3)
    tree.push([Event(i, i, 0, i, ()) for i in range(20)], 0)
    tree.nodes = {}
    with pytest.raises(Corrupt, match="lost events"):
        tree.push([Event(1, 1, 1, 0, ())], 1)
