"""The division of a difference, beside the slow definition: the mean of what each adds over all orders."""

import math
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.tracking.shapley import coalitions, inseparable, schedule, shapley, split

NAMES = ["code", "data", "environment", "parameters", "seed"]
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False, width=64) | st.sampled_from([0.0, 0.1, 0.3, -0.7, 1e-300, 1e16])


@st.composite
def games(draw, fewest=1, most=5):
    players = NAMES[: draw(st.integers(fewest, most))]
    return players, {each: draw(NUMBERS) for each in coalitions(players)}


def by_all_orders(players, values):
    """The definition itself: each order of arrival, what each player adds when it comes."""
    added = dict.fromkeys(players, Fraction(0))
    orders = list(permutations(players))
    for order in orders:
        for place, player in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[: place + 1])
            added[player] += Fraction(values[after]) - Fraction(values[before])
    return {player: value / len(orders) for player, value in added.items()}


def amounts(found):
    return {share.player: share.amount for share in found.shares}


@given(games())
@settings(max_examples=150, deadline=None)
def test_the_value_is_the_mean_over_all_orders(game):
    players, values = game
    found = split(players, values)
    assert found.exact
    scale = max(map(abs, values.values()))
    for player, expected in by_all_orders(players, values).items():
        assert amounts(found)[player] == pytest.approx(float(expected), rel=1e-12, abs=1e-14 * scale)
    assert all(share.low == share.amount == share.high for share in found.shares)


@given(games(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_amounts_add_up_exactly_whatever_is_known(game, random):
    players, values = game
    ends = {frozenset(), frozenset(players)}
    known = {each: value for each, value in values.items() if each in ends or random.random() < 0.5}
    assert sum(shapley(players, known).values()) == Fraction(values[frozenset(players)]) - Fraction(values[frozenset()])
    found = split(players, known)
    assert found.total == values[frozenset(players)] - values[frozenset()]
    last_bits = len(players) * math.ulp(max(map(abs, amounts(found).values())))
    assert abs(math.fsum(amounts(found).values()) - found.total) <= last_bits
    assert (found.known, found.of) == (len(known), 2 ** len(players))


@given(st.lists(st.integers(300, 999), min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_of_measures_the_floats_too_add_up(thousandths):
    values = {each: number / 1000 for each, number in zip(coalitions(NAMES), thousandths, strict=True)}
    found = split(NAMES, values)
    largest = max(map(abs, amounts(found).values()))
    if abs(found.total) > largest / 4:  # else no floats of that size can say so small a sum
        assert math.fsum(amounts(found).values()) == found.total


@given(games(fewest=2), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_truth_is_within_the_bounds_if_nothing_is_outside_of_what_was_seen(game, random):
    players, values = game
    ends = {frozenset(), frozenset(players)}
    known = {each: value for each, value in values.items() if each in ends or random.random() < 0.4}
    low, high = min(known.values()), max(known.values())
    whole = {each: known.get(each, min(high, max(low, value))) for each, value in values.items()}
    truth, slack = by_all_orders(players, whole), 1e-12 * max(map(abs, whole.values()))
    for share in split(players, known).shares:
        assert share.low - slack <= truth[share.player] <= share.high + slack
        assert share.low <= share.amount <= share.high


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_causes_that_only_add_up_are_found_from_each_alone(parts):
    players = NAMES[: len(parts)]
    worth = dict(zip(players, parts, strict=True))
    values = {each: sum(worth[player] for player in each) for each in coalitions(players)}
    first = dict(list({each: values[each] for each in schedule(players)}.items())[: 2 + 2 * len(players)])
    assert amounts(split(players, first)) == worth
    assert all(pair.amount == 0 for pair in split(players, values).pairs)


@given(games(fewest=2))
@settings(max_examples=60, deadline=None)
def test_one_that_changes_nothing_gets_nothing(game):
    players, values = game
    idle = players[0]
    values = {each: values[each - {idle}] for each in values}
    found = split(players, values)
    assert amounts(found)[idle] == 0
    assert all(pair.amount == 0 for pair in found.pairs if idle in (pair.first, pair.second))


def test_two_that_only_work_together_share_and_their_interaction_is_all():
    values = {each: float(each >= {"code", "data"}) for each in coalitions(["code", "data", "seed"])}
    found = split(["code", "data", "seed"], values)
    assert amounts(found) == {"code": 0.5, "data": 0.5, "seed": 0.0}
    assert [(share.alone, share.last) for share in found.shares] == [(0.0, 1.0), (0.0, 1.0), (0.0, 0.0)]
    assert {(pair.first, pair.second): pair.amount for pair in found.pairs} == {
        ("code", "data"): 1.0,
        ("code", "seed"): 0.0,
        ("data", "seed"): 0.0,
    }


@pytest.mark.parametrize("count", range(1, 6))
@pytest.mark.parametrize("seed", [0, 7])
def test_the_schedule_names_each_coalition_once_and_the_telling_ones_first(count, seed):
    players = NAMES[:count]
    found = list(schedule(players, seed))
    assert len(found) == len(set(found)) == 2**count
    assert found[:2] == [frozenset(), frozenset(players)]
    assert {len(each) for each in found[2 : 2 + 2 * count]} <= {1, count - 1}
    assert found == list(schedule(players, seed))


@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True))
def test_two_that_cannot_be_apart_are_found(pair):
    one, other = pair
    apart = {each for each in coalitions(NAMES) if one in each and other not in each}
    assert set(inseparable(NAMES, set(coalitions(NAMES)) - apart, apart)) == {one, other}
    assert inseparable(NAMES, coalitions(NAMES), []) is None


def test_what_is_no_game_is_refused_with_a_sentence():
    ends = {frozenset(): 0.0, frozenset("a"): 1.0}
    with pytest.raises(Invalid, match="1 to 6 different causes, not 0"):
        split([], {frozenset(): 0.0})
    with pytest.raises(Invalid, match="different"):
        split(["a", "a"], ends)
    with pytest.raises(Invalid, match="both ends"):
        split(["a"], {frozenset(): 0.0})
    with pytest.raises(Invalid, match="nan"):
        split(["a"], ends | {frozenset("a"): math.nan})
