"""The latest value: for each query the place on the timeline of the row that answers it.

Among the visible rows of the key that have happened, the winner is the greatest in (event, known-at, created, order
in the source). Expiry comes after the choice and agrees with the definition: the winner has the greatest event
time, so if it is too old, all are.
"""

from __future__ import annotations

import numpy as np

from trivet.features.engines.timeline import Ints, Race, Timeline, count_up_to

__all__ = ["NOWHERE", "expire", "latest"]

NOWHERE = -1


def latest(timeline: Timeline, race: Race, codes: Ints, at: Ints) -> Ints:
    """The place of the winning row of each query, ``NOWHERE`` where there is none.

    Args:
        timeline: the rows.
        race: who competes when, ``timeline.race(strict)``, perhaps ``.only`` rows with a value.
        codes: key of each query, negative for none.
        at: moment of each query.
    """
    if not len(race.moments):
        return np.full(len(codes), NOWHERE)
    low, high = timeline.bounds(codes)
    seen = count_up_to(race.moments, low, high, at) - 1
    winner = seen if race.leaders is None else race.leaders[seen]
    return np.where((seen < low) | (winner < low), NOWHERE, winner)


def expire(timeline: Timeline, places: Ints, at: Ints, ttl: int | None) -> Ints:
    """``places`` without those whose event time is ``ttl`` microseconds before ``at``, or more."""
    if ttl is None or not len(timeline.event):
        return places
    return np.where((places >= 0) & (timeline.event[places] > at - ttl), places, NOWHERE)
