"""How a difference divides among its causes: Shapley values of a small game, exact or with bounds.

A game has *players* (the causes) and a *value* for each *coalition* of them (a measured number where exactly these
causes are as they are in the newer of two runs). The Shapley value of a player is what it adds, averaged over all
orders in which the players can come (Shapley, "A value for n-person games", 1953). The interaction of two players is
that of Grabisch and Roubens (International Journal of Game Theory 28 (1999) 547).

Where coalitions are not known, they are taken for what the known ones suggest, and the bounds say how far off that
can be if each lies between the least and the greatest value known or suggested. Invariant: the values are fractions,
and add up to the whole difference exactly, whatever is known. As floats they do too, unless they cancel so far that
no floats could: then to the last bits of the largest. Where everything is known, bounds and amounts are equal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, permutations
from random import Random
from typing import TypeAlias

import msgspec

from trivet.errors import Invalid

__all__ = ["Coalition", "Pair", "Share", "Split", "coalitions", "inseparable", "schedule", "shapley", "split"]

Coalition: TypeAlias = frozenset[str]
MOST_PLAYERS = 6


class Share(msgspec.Struct, frozen=True):
    """The part of one player.

    Attributes:
        amount: its Shapley value, or the best guess at it.
        low, high: bounds of it; both are the amount where every coalition is known.
        alone: what it changes where nothing else has changed; None if that is not known.
        last: what it changes where everything else has changed; None if that is not known.
    """

    player: str
    amount: float
    low: float
    high: float
    alone: float | None
    last: float | None


class Pair(msgspec.Struct, frozen=True):
    """What two players do together beyond what each does without the other."""

    first: str
    second: str
    amount: float


class Split(msgspec.Struct, frozen=True):
    """A difference divided: ``total`` is the sum of the shares' amounts. ``known`` of ``of`` coalitions were known."""

    total: float
    shares: tuple[Share, ...]
    pairs: tuple[Pair, ...]
    known: int
    of: int

    @property
    def exact(self) -> bool:
        """Whether nothing had to be guessed."""
        return self.known == self.of


def coalitions(players: Collection[str]) -> list[Coalition]:
    """All coalitions, the smallest first.

    Example:
        >>> [sorted(each) for each in coalitions(["a", "b"])]
        [[], ['a'], ['b'], ['a', 'b']]
    """
    return [frozenset(each) for size in range(len(players) + 1) for each in combinations(players, size)]


def schedule(players: Sequence[str], seed: int = 0) -> Iterator[Coalition]:
    """Every coalition once, what says most first: none, all, each alone, all but each, then along random orders.

    Example:
        >>> [sorted(each) for each in schedule(["a", "b", "c"])][:5]
        [[], ['a', 'b', 'c'], ['a'], ['b'], ['c']]
    """
    everything = frozenset(players)
    alone = [frozenset({each}) for each in players]
    first = [frozenset(), everything, *alone, *(everything - each for each in alone)]
    orders = list(permutations(players))
    Random(seed).shuffle(orders)
    along = (frozenset(order[:size]) for order in orders for size in range(2, len(order)))
    yield from dict.fromkeys([*first, *along])


def split(players: Sequence[str], values: Mapping[Coalition, float]) -> Split:
    """Divide ``values[all] - values[none]`` among the players.

    Args:
        players: one to six different names.
        values: of the coalitions that are known; those of nobody and of everybody are among them.

    Raises:
        Invalid: there are no players or too many, those two values are missing, or a value is no finite number.

    Example:
        >>> values = {frozenset(): 0, frozenset("a"): 1, frozenset("b"): 2, frozenset("ab"): 5}
        >>> found = split(["a", "b"], values)
        >>> [(share.player, share.amount) for share in found.shares], found.pairs[0].amount
        ([('a', 2.0), ('b', 3.0)], 2.0)
    """
    known, game = _completed(players, values)
    total = game[frozenset(players)] - game[frozenset()]
    exact = [_value(player, players, game) for player in players]
    amounts = _rounded(exact, float(total))
    shares = tuple(
        _share(player, amount, value, players, known, game)
        for player, amount, value in zip(players, amounts, exact, strict=True)
    )
    pairs = tuple(
        Pair(first, second, float(_interaction(first, second, players, game)))
        for first, second in combinations(players, 2)
    )
    return Split(float(total), shares, pairs, len(known), 2 ** len(players))


def shapley(players: Sequence[str], values: Mapping[Coalition, float]) -> dict[str, Fraction]:
    """The values of ``split`` as fractions, whose sum is the whole difference exactly.

    Example:
        >>> shapley(["a", "b"], {frozenset(): 0, frozenset("a"): 1, frozenset("b"): 1, frozenset("ab"): 1})
        {'a': Fraction(1, 2), 'b': Fraction(1, 2)}
    """
    _, game = _completed(players, values)
    return {player: _value(player, players, game) for player in players}


def inseparable(
    players: Sequence[str], ran: Iterable[Coalition], failed: Iterable[Coalition]
) -> tuple[str, str] | None:
    """The two players that have to come together, because where they are apart nothing runs; None if nothing failed.

    Of all ordered pairs (one has come, the other has not) the one that contradicts the fewest coalitions that ran,
    and explains the most that failed.

    Example:
        >>> inseparable(["code", "data", "parameters"], [frozenset({"data"}), frozenset({"code", "parameters"})],
        ...             [frozenset({"code"}), frozenset({"code", "data"})])
        ('code', 'parameters')
    """
    ran, failed = list(ran), list(failed)
    apart = [(one, other) for one in players for other in players if one != other]
    explained = {pair: sum(_apart(pair, each) for each in failed) for pair in apart}
    candidates = [pair for pair in apart if explained[pair]]
    contradicted = {pair: sum(_apart(pair, each) for each in ran) for pair in candidates}
    best = min(candidates, key=lambda pair: (contradicted[pair], -explained[pair]), default=None)
    return None if best is None else (min(best, key=players.index), max(best, key=players.index))


def _apart(pair: tuple[str, str], coalition: Coalition) -> bool:
    return pair[0] in coalition and pair[1] not in coalition


def _fraction(value: float) -> Fraction:
    if not math.isfinite(value):
        raise Invalid(f"A difference of {value} cannot be divided. Only finite numbers can.")
    return Fraction(value)


def _completed(
    players: Sequence[str], values: Mapping[Coalition, float]
) -> tuple[dict[Coalition, Fraction], dict[Coalition, Fraction]]:
    """What is known, and the whole game: the rest is as if causes simply added up."""
    everything = frozenset(players)
    if not 1 <= len(everything) == len(players) <= MOST_PLAYERS:
        raise Invalid(f"A difference is divided among 1 to {MOST_PLAYERS} different causes, not {len(players)}.")
    if frozenset() not in values or everything not in values:
        raise Invalid("Nothing can be divided before both ends were measured: no cause swapped, and all of them.")
    known = {each: _fraction(values[each]) for each in coalitions(players) if each in values}
    guess = {each: _guess(each, players, known) for each in coalitions(players) if each not in known}
    return known, {**known, **guess}


def _guess(coalition: Coalition, players: Sequence[str], known: Mapping[Coalition, Fraction]) -> Fraction:
    """Between what adding to nothing and taking away from everything say, by how near each is."""
    everything, nothing = frozenset(players), frozenset[str]()
    mean = (known[everything] - known[nothing]) / len(players)
    share = Fraction(len(coalition), len(players))
    up, down = known[nothing], known[everything]
    for player in players:
        if player in coalition:
            up += known[frozenset({player})] - known[nothing] if frozenset({player}) in known else mean
        else:
            rest = everything - {player}
            down -= known[everything] - known[rest] if rest in known else mean
    return (1 - share) * up + share * down


def _weight(size: int, of: int) -> Fraction:
    """The chance that exactly the ``size`` players of a coalition come before a player, of ``of`` players."""
    return Fraction(math.factorial(size) * math.factorial(of - size - 1), math.factorial(of))


def _coefficient(player: str, coalition: Coalition, of: int) -> Fraction:
    """What a coalition's value counts for in a player's Shapley value."""
    return _weight(len(coalition) - 1, of) if player in coalition else -_weight(len(coalition), of)


def _value(player: str, players: Sequence[str], game: Mapping[Coalition, Fraction]) -> Fraction:
    return sum((_coefficient(player, each, len(players)) * value for each, value in game.items()), Fraction(0))


def _interaction(first: str, second: str, players: Sequence[str], game: Mapping[Coalition, Fraction]) -> Fraction:
    others = [each for each in players if each not in (first, second)]
    found = Fraction(0)
    for rest in coalitions(others):
        both, neither = game[rest | {first, second}], game[rest]
        found += _weight(len(rest), len(players) - 1) * (both - game[rest | {first}] - game[rest | {second}] + neither)
    return found


def _share(
    player: str,
    amount: float,
    value: Fraction,
    players: Sequence[str],
    known: Mapping[Coalition, Fraction],
    game: Mapping[Coalition, Fraction],
) -> Share:
    low, high = value, value
    ends = min(game.values()), max(game.values())
    for each in game.keys() - known.keys():
        factor = _coefficient(player, each, len(players))
        possible = [factor * (end - game[each]) for end in ends]
        low, high = low + min(possible), high + max(possible)
    everything, single = frozenset(players), frozenset({player})
    rest = everything - single
    bounds = (amount, amount) if len(known) == len(game) else (min(amount, float(low)), max(amount, float(high)))
    return Share(
        player,
        amount,
        *bounds,
        alone=float(known[single] - known[frozenset()]) if single in known else None,
        last=float(known[everything] - known[rest]) if rest in known else None,
    )


def _rounded(values: Sequence[Fraction], total: float) -> list[float]:
    """Floats whose sum, rounded once (``math.fsum``), is ``total`` where floats can; a value of zero stays zero."""
    found = [float(value) for value in values]
    for place in sorted(range(len(found)), key=lambda place: abs(found[place])):
        if math.fsum(found) != total and found[place]:
            others = [*found[:place], *found[place + 1 :]]
            rest = float(Fraction(total) - sum(map(Fraction, others), Fraction(0)))
            if math.fsum([*others, rest]) == total:
                found[place] = rest
    return found
