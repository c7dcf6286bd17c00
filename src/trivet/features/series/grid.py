"""The moments of a regular grid: every quarter of an hour, every day of a place, whatever clocks do there.

Without a zone a grid counts from 1970-01-01T00:00Z; grids of whole weeks count from a Monday. In a zone it holds the
wall times that are whole steps from local midnight, so a step divides a day or is whole days. A wall time that never
happens is taken when the clocks jump over it; of one that happens twice the second counts too, where it is at least a
step later. So a day of hours has 23, 24 or 25 of them, and a day of quarters of a day always four.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from trivet.errors import Invalid
from trivet.features.engines.timeline import Ints
from trivet.types import Micros, as_duration, duration_text, from_micros, to_micros

__all__ = ["Grid"]

DAY = as_duration("1d")
MONDAY = 4 * DAY
"""1970-01-05, the first Monday, in microseconds."""
MOST = 100_000_000


@dataclass(frozen=True)
class Grid:
    """A regular grid.

    Attributes:
        step: microseconds from one moment to the next.
        zone: where days begin; None for UTC.

    Example:
        >>> day = Grid(as_duration("1h"), "Europe/Vienna")
        >>> start, end = to_micros(datetime(2026, 3, 28, 23, tzinfo=UTC)), to_micros(datetime(2026, 3, 29, 22, tzinfo=UTC))
        >>> len(day.between(start, end))
        23
    """

    step: Micros
    zone: str | None = None

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise Invalid("A grid needs a freq that is longer than nothing, for example freq='1h'.")
        if self.zone is not None and DAY % self.step and self.step % DAY:
            raise Invalid(
                f"A grid in {self.zone} begins anew at each midnight, and {duration_text(self.step)} neither divides a "
                "day nor is whole days. Choose such a freq, or timezone='UTC'."
            )

    def between(self, start: Micros, end: Micros) -> Ints:
        """The moments from ``start`` to before ``end``, ascending.

        Raises:
            Invalid: there are more than a hundred million.
        """
        if (end - start) // self.step > MOST:
            raise Invalid(
                f"A grid of {duration_text(self.step)} from {from_micros(start)} to {from_micros(end)} has more than "
                f"{MOST:,} moments. Give start= and end=, or a longer freq."
            )
        if end <= start:
            return np.empty(0, np.int64)
        if self.zone is None:
            first = start + (self._anchor - start) % self.step
            return np.arange(first, end, self.step, dtype=np.int64)
        moments = self._local(start, end, self.zone)
        return moments[(moments >= start) & (moments < end)]

    def at_or_after(self, moment: Micros) -> Micros:
        """The first moment that is not before ``moment``."""
        return int(self.between(moment, moment + 2 * self.step + 2 * DAY)[0])

    @property
    def _anchor(self) -> Micros:
        return MONDAY if self.step % (7 * DAY) == 0 else 0

    def _local(self, start: Micros, end: Micros, zone: str) -> Ints:
        """The moments of all days that touch ``start`` to ``end``, and of some around them."""
        reach = max(2 * DAY, 2 * self.step)
        low, high = (start - reach) // DAY * DAY, end + 2 * DAY
        low += (self._anchor - low) % self.step
        walls = pl.Series(np.arange(low, high, self.step, dtype=np.int64)).cast(pl.Datetime("us"))
        early = walls.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        late = walls.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
        jumped = [_jump(wall, zone) for wall in walls.filter(early.is_null())]
        again = (late.to_physical() - early.to_physical() >= self.step).fill_null(value=False)
        found = [early.drop_nulls().to_physical(), late.filter(again).to_physical(), pl.Series(jumped, dtype=pl.Int64)]
        moments: Ints = np.unique(np.concatenate([each.to_numpy() for each in found]))
        return moments


def _jump(wall: datetime, zone: str) -> Micros:
    """The moment at which clocks jump over a wall time: between its readings with the two offsets around it."""
    place = ZoneInfo(zone)
    after, before = (wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (1, 0))
    low, high = to_micros(after), to_micros(before)
    offset = _offset(low, place)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle, place) == offset else (low, middle)
    return high


def _offset(moment: Micros, place: ZoneInfo) -> timedelta | None:
    return from_micros(moment).astimezone(place).utcoffset()
