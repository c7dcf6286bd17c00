"""Which row of a source a row of a training set is, where its spine is that source looked at once more.

The flights of a spine are flights of the source, asked about an hour before they should leave; what a flight will tell
about itself may then hide in its features. Nothing declares which row is whose, so it is found out, in ways of which any
may hold (``ways``): the columns that both have tell rows apart (an id, or enough of the rest); the moment of asking is one
of the row's times; or it is a fixed time before or after one of them. A way pairs a row with one row of the source or
with none. Pairs by coincidence do no harm: what is done with them asks whether they tell the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

__all__ = ["AT", "OWN", "ROW", "Ways", "comparable"]

OWN, ROW, AT = "__own", "__row", "__at"
"""Columns: the place of a row in the training set, its place in the source, and a moment in microseconds."""

_TRIED, _PAIRS = 2_000, 1_000_000
"""Rows of the set that are tried, and pairs that they may make."""
_FEWEST, _SHIFTS = 12, 3
_MOSTLY, _SURELY = 0.5, 0.9
_COUNT, _THERE, _SHIFT = "__count", "__there", "__shift"


@dataclass(frozen=True)
class Ways:
    """Pairs of rows of a training set and of a source.

    Attributes:
        spine: ``OWN``, ``AT`` and columns of the training set.
        rows: ``ROW`` and columns of the source.
        keys: columns that mean the same in both.
        times: columns of ``rows`` that are moments in microseconds.
    """

    spine: pl.DataFrame
    rows: pl.DataFrame
    keys: Sequence[str]
    times: Sequence[str]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Pairs of ``OWN`` and ``ROW`` by each way that finds any."""
        names, alone = self._telling_apart()
        if alone:
            yield self._pairs(self.rows, names)
        names = list(self.keys) if alone or not names else names  # rows may be numbered here and there
        for time in self.times:
            for shift in dict.fromkeys([0, *self._shifts(names, time)]):
                there = self.rows.drop_nulls(time).with_columns((pl.col(time) - shift).alias(AT))
                yield self._pairs(there, [*names, AT])

    def _shared(self) -> list[str]:
        """Columns that both have with the same type, the one with most different values first."""
        both = [name for name in self.spine.columns if self.rows.schema.get(name) == self.spine.schema[name]]
        many = self.rows.select(pl.col(both).n_unique()).row(0) if both else ()
        return [name for _, name in sorted(zip(many, both, strict=True), key=lambda each: -each[0])]

    @property
    def _tried(self) -> pl.DataFrame:
        return self.spine.gather_every(max(self.spine.height // _TRIED, 1))

    def _telling_apart(self) -> tuple[list[str], bool]:
        """As few columns as it takes to tell the rows of the source apart, and whether they do.

        A column by which rows of the set are found no more has another meaning here and there, and is left out.
        """
        names: list[str] = []
        best = 0
        for name in self._shared():
            found = self._counted([*names, name])
            if len(found) < max(_MOSTLY * best, _MOSTLY * self._tried.height):
                continue
            names, best = [*names, name], len(found)
            if (found == 1).sum() >= _SURELY * len(found):
                return names, True
        return names, False

    def _counted(self, names: list[str]) -> pl.Series:
        """How many rows of the source there are for each row that is tried, of those that have any."""
        counts = self.rows.group_by(names).len(_COUNT)
        return self._tried.join(counts, on=names)[_COUNT]

    def _shifts(self, names: list[str], time: str) -> list[int]:
        """By how much a time of the source is later than the moment of asking, where that is always as much."""
        counts = self.rows.group_by(names).len(_COUNT)
        tried = self._tried.join(counts, on=names, maintain_order="left").filter(pl.col(_COUNT).cum_sum() <= _PAIRS)
        if tried.height < _FEWEST:
            return []
        there = self.rows.select(*names, pl.col(time).alias(_THERE)).drop_nulls()
        pairs = tried.join(there, on=names).select(OWN, (pl.col(_THERE) - pl.col(AT)).alias(_SHIFT))
        shifts = pairs.group_by(_SHIFT).agg(pl.col(OWN).n_unique().alias(_COUNT))
        shifts = shifts.filter(pl.col(_COUNT) >= _MOSTLY * tried.height)
        return shifts.sort(-pl.col(_COUNT).cast(pl.Int64), pl.col(_SHIFT).abs(), _SHIFT)[_SHIFT].head(_SHIFTS).to_list()

    def _pairs(self, rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
        """Rows of the set with the one row of the source that is like them."""
        found = self.spine.join(rows, on=names, maintain_order="left_right").select(OWN, ROW)
        return found.filter(pl.len().over(OWN) == 1)


def comparable(values: pl.Series) -> pl.Series:
    """A column in a type that two tables have in common where it holds the same."""
    dtype = values.dtype
    if dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return values
