"""What is new in a batch: rows compared with those that a table holds, by content and by key.

A table is a set of rows: one whose whole content was ever there changes nothing, whichever batch brings it and in
whatever order, so deliveries may be repeated and reordered. What a second content of a key means is the rule
``keep``. Only rows of the batch's keys are read. Bounds in the files exclude whole row groups; of the others first the
keys alone are read, and then whole rows of those files that have any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from trivet.features.tables.rules import TableRules

__all__ = ["FILE", "Compared", "Stored", "compare"]

FILE = "__file"
Stored: TypeAlias = "Callable[[list[str] | None], pl.LazyFrame]"
"""The rows of some files of a table, of all for None, with the file of each in ``FILE``."""

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


def compare(batch: pl.DataFrame, stored: Stored, rules: TableRules) -> Compared:
    """Compare a batch with ``stored`` rows of the same columns.

    Example:
        >>> stored = pl.LazyFrame({"k": [1], "v": ["a"], FILE: ["0.parquet"]})
        >>> batch = pl.DataFrame({"k": [1, 1, 2], "v": ["a", "b", "c"]})
        >>> found = compare(batch, lambda files: stored, TableRules(key=("k",)))
        >>> found.rows["v"].to_list(), found.changed.to_list(), found.repeated
        (['b', 'c'], [True, False], 1)
    """
    columns = batch.columns
    key = list(rules.key) or columns
    near = _of_keys(stored, batch, key)
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


def _of_keys(stored: Stored, batch: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The stored rows of the batch's keys, with the columns of the batch."""
    wanted, files = batch.select(key).unique(), None
    if wanted.width < batch.width:  # else nothing is spared by looking at the key first
        found = _among(stored(None), wanted).select(*key, FILE).collect(engine="streaming")
        wanted, files = found.select(key).unique(), found[FILE].unique(maintain_order=True).to_list()
    return _among(stored(files), wanted).select(batch.columns).collect(engine="streaming")


def _among(rows: pl.LazyFrame, wanted: pl.DataFrame) -> pl.LazyFrame:
    """The rows with these keys. Bounds first: they spare row groups from being read at all."""
    for name, kind in wanted.schema.items():
        if kind.is_integer() or kind.is_temporal() or kind == pl.String:
            low, high = wanted[name].min(), wanted[name].max()
            if low is not None and not wanted[name].null_count():
                rows = rows.filter(pl.col(name).is_between(pl.lit(low, kind), pl.lit(high, kind)))
    return rows.join(wanted.lazy(), on=wanted.columns, how="semi", nulls_equal=True)
