"""Whether what a row of the online store holds is still good: the rule of expiry, one row at a time.

A latest value is as old as the row that it came from, an aggregate as old as the materialization that computed it. This
is the hot path: what a view's features have in common is found once, so that a row in which nothing is missing or
too old is seen to be so without looking at one feature after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias

from trivet.features.online.contract import Row
from trivet.types import Micros

__all__ = ["Asked", "Judged", "Judgement", "Status"]

Status: TypeAlias = Literal["present", "null", "missing", "expired", "unmaterialized"]


class Asked(NamedTuple):
    """One feature to read, with what decides whether its value is still good."""

    place: int
    name: str
    column: str
    limit: Micros | None  # ttl of a latest value, window of an aggregate
    windowed: bool
    nothing: int | None  # what the aggregate of no rows is


class Judged(NamedTuple):
    """Values, event times and statuses, each in the order of the features that were asked for."""

    values: Sequence[Any]
    times: Sequence[Micros | None]
    status: Sequence[Status]


class Judgement:
    """Judges the rows of one view.

    Args:
        features: what is read of it, in order.
    """

    def __init__(self, features: Sequence[Asked]) -> None:
        self._features, size = tuple(features), len(features)
        self._chosen = _chooser([each.place for each in features])
        self._present: Sequence[Status] = ["present"] * size
        limits = [each.limit for each in features if each.limit is not None]
        self._shortest = min(limits, default=None)
        self._windowed = all(each.windowed for each in features)
        self._latest = not any(each.windowed for each in features)
        self._nothing = tuple(each.nothing for each in features)
        self._never: tuple[None, ...] = (None,) * size

    def row(self, row: Row, watermark: Micros | None, at: Micros) -> Judged:
        """What a key with a row has at the moment ``at``."""
        as_of = row.as_of if watermark is None or row.as_of > watermark else watermark
        values: Sequence[Any] = self._chosen(row.values)
        if None not in values:
            oldest = None if self._shortest is None else at - self._shortest
            if self._windowed:
                if oldest is None or as_of > oldest:
                    return Judged(values, (as_of,) * len(values), self._present)
            elif self._latest:
                times: Any = self._chosen(row.times)
                time = times[0]  # of all of them, where they come from one row
                good = time is not None and time <= at and (oldest is None or time > oldest)
                if good and times.count(time) == len(times):
                    return Judged(values, times, self._present)
        return self._one_by_one(row, as_of, at)

    def absent(self, status: Status, *, known: bool) -> Judged:
        """What a key without a row has: of a ``known`` key an aggregate counts nothing, as in training."""
        return Judged(self._nothing if known else self._never, self._never, (status,) * len(self._never))

    def _one_by_one(self, row: Row, as_of: Micros, at: Micros) -> Judged:
        values, times, status = [], [], list[Status]()
        for place, _, _, limit, windowed, _ in self._features:
            value, time = row.values[place], as_of if windowed else row.times[place]
            if time is None or (time > at and not windowed):  # never seen, or not yet at that moment
                value, time, state = None, None, "missing"
            elif limit is not None and time <= at - limit:
                value, state = None, "expired"
            else:
                state = "null" if value is None else "present"
            values.append(value)
            times.append(time)
            status.append(state)  # type: ignore[arg-type]
        return Judged(values, times, status)


def _chooser(places: list[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """What takes the values at some places out of a row."""
    if places == [*range(places[0], places[-1] + 1)]:
        return itemgetter(slice(places[0], places[-1] + 1))
    return itemgetter(*places)  # two at least: a single one is a range
