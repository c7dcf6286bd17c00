"""What was said of each moment of a series, one content after another: its corrections, each with what it corrected."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from trivet.features.series.incoming import CREATED, REVISION, TIME

__all__ = ["corrections"]


def corrections(rows: pl.LazyFrame, by: Sequence[str], name: str, known: str) -> pl.DataFrame:
    """The corrections among the contents of a series, the newest first.

    Args:
        rows: every content that a moment ever had.
        by: the keys of a panel.
        name: the column of values.
        known: the column that says from when a content was known.

    Returns:
        Keys and ``time``, ``was`` and ``value``, ``known`` (from when), ``revision`` (the how manyth correction).

    Example:
        >>> said = {"time": [1, 2, 1], "price": [5.0, 6.0, 7.0], "created": [10, 10, 20], "revision": [0, 0, 1]}
        >>> corrections(pl.LazyFrame(said), [], "price", "created").rows()
        [(1, 5.0, 7.0, 20, 1)]
    """
    key = [*by, TIME]
    order = list(dict.fromkeys([known, CREATED, REVISION]))
    said = rows.sort(*key, *order, nulls_last=False).with_columns(
        was=pl.col(name).shift(1).over(key), place=pl.int_range(pl.len()).over(key)
    )
    kept = said.filter(pl.col("place") > 0).sort(known, *key, descending=[True, *(False for _ in key)])
    return kept.select(
        *key, "was", pl.col(name).alias("value"), pl.col(known).alias("known"), pl.col("place").alias("revision")
    ).collect()
