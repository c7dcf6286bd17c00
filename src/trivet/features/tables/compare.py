"""What is new in a batch: rows compared with those that a table holds, by content and by key.

A table is a set of rows: one whose whole content was ever there changes nothing, whichever batch brings it and in
whatever order, so deliveries may be repeated and reordered. What a second content of a key means is the rule
``keep``. Only rows of the batch's keys are read, and of them no row group whose bounds exclude all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from trivet.features.tables.rules import TableRules

__all__ = ["Compared", "compare"]

_STEP = "__step"


@dataclass(frozen=True)
class Compared:
    """A batch beside the table.

    Attributes:
        rows: those to append, in the order they came.
        step: for each of them the how-manieth content of its key in this batch it is.
        changed: for each of them whether its key was there before, in the table or in this batch.
        mistaken: under ``keep="first"`` the rows whose key is there with other content.
        repeated: how many rows were there already.
    """

    rows: pl.DataFrame
    step: pl.Series
    changed: pl.Series
    mistaken: pl.DataFrame
    repeated: int


def compare(batch: pl.DataFrame, stored: pl.LazyFrame, rules: TableRules) -> Compared:
    """Compare a batch with ``stored`` rows of the same columns.

    Example:
        >>> stored = pl.LazyFrame({"k": [1], "v": ["a"]})
        >>> found = compare(pl.DataFrame({"k": [1, 1, 2], "v": ["a", "b", "c"]}), stored, TableRules(key=("k",)))
        >>> found.rows["v"].to_list(), found.changed.to_list(), found.repeated
        (['b', 'c'], [True, False], 1)
    """
    columns = batch.columns
    key = list(rules.key) or columns
    near = _of_keys(stored.select(columns), batch, key)
    rest = batch.unique(maintain_order=True, keep="first").join(
        near, on=columns, how="anti", nulls_equal=True, maintain_order="left"
    )
    repeated = batch.height - rest.height
    known = rest.select(key).with_row_index(_STEP).join(near.select(key), on=key, how="semi", nulls_equal=True)[_STEP]
    rank = rest.select((pl.int_range(pl.len()).over(key)).alias(_STEP)).to_series()
    changed = (pl.int_range(rest.height, eager=True, dtype=pl.UInt32).is_in(known.implode())) | (rank > 0)
    if rules.keep == "first":
        return Compared(
            rest.filter(~changed), rank.filter(~changed), changed.filter(~changed), rest.filter(changed), repeated
        )
    return Compared(rest, rank, changed, rest.clear(), repeated)


def _of_keys(stored: pl.LazyFrame, batch: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The stored rows of the batch's keys. Bounds first: they spare row groups from being read at all."""
    for name in key:
        kind = batch.schema[name]
        if kind.is_integer() or kind.is_temporal() or kind == pl.String:
            low, high = batch[name].min(), batch[name].max()
            if low is not None and not batch[name].null_count():
                stored = stored.filter(pl.col(name).is_between(pl.lit(low, kind), pl.lit(high, kind)))
    wanted = batch.select(key).unique().lazy()
    return stored.join(wanted, on=list(key), how="semi", nulls_equal=True).collect(engine="streaming")
