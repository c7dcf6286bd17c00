"""Which rows of a frame say something new of a series, and how often each moment has changed its value.

The number makes a value that goes back to what it was another content, which a table of events would take for a
repetition. Of moments whose last row says what is known already nothing is written, so a frame that holds times twice
with different values is itself written once.
"""

from __future__ import annotations

import polars as pl

from trivet.features.series.incoming import REVISION

__all__ = ["revised"]


def revised(batch: pl.DataFrame, current: pl.DataFrame, key: list[str], name: str) -> pl.DataFrame:
    """The rows that say something else than was said before, with the column ``revision``.

    Args:
        batch: the rows, in the order in which they hold.
        current: what is known now of their keys; without columns where nothing is.
        key: the columns that tell moments apart.
        name: the column of values.

    Example:
        >>> said = pl.DataFrame({"time": [1, 2], "price": [5, 6], "revision": [0, 3]})
        >>> revised(pl.DataFrame({"time": [1, 2, 3], "price": [5, 7, 8]}), said, ["time"], "price").rows()
        [(2, 7, 4), (3, 8, 0)]
    """
    order = pl.lit(0, pl.Int64).alias(REVISION)
    alone = not batch.select(key).is_duplicated().any()
    if current.is_empty() and alone:
        return batch.with_columns(order)
    before = current.select(*key, __old=name, __times=REVISION) if current.width else None
    if before is None:
        before = batch.clear().select(*key, __old=name).with_columns(__times=pl.lit(0, pl.Int64))
    rows = batch.with_columns(pl.col(each).cast(before.schema[each], strict=False) for each in key)
    rows = rows.with_row_index("__n").join(before, on=key, how="left", nulls_equal=True).sort("__n")
    value, old, known = pl.col(name), pl.col("__old"), pl.col("__times").is_not_null()
    same = value.last().over(key).eq_missing(old) & known
    earlier = pl.when(pl.int_range(pl.len()).over(key) == 0).then(old).otherwise(value.shift(1).over(key))
    first = pl.int_range(pl.len()).over(key) == 0
    moved = value.ne_missing(earlier) | (first & ~known)
    rows = rows.filter(~same & moved)
    number = pl.int_range(pl.len()).over(key) + pl.col("__times").fill_null(-1) + 1
    return rows.with_columns(number.cast(pl.Int64).alias(REVISION)).select(*key, name, REVISION)
