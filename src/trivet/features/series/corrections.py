"""Which rows of a frame say something new of a series, and how often each moment has changed its value.

The number makes a value that goes back to what it was another content, which a table of events would take for a
repetition. Of moments whose last row says what is known already nothing is written, so a frame that holds times twice
with different values is itself written once.
"""

from __future__ import annotations

import polars as pl

from trivet.features.series.incoming import REVISION

__all__ = ["revised"]

_OLD, _TIMES, _PLACE = "__old", "__times", "__place"


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
    if not current.width:
        if not batch.select(key).is_duplicated().any():
            return batch.with_columns(pl.lit(0, pl.Int64).alias(REVISION))
        current = batch.clear().with_columns(pl.lit(0, pl.Int64).alias(REVISION))
    old, new = current.schema[name], batch.schema[name]
    if old != new and not (old.is_numeric() and new.is_numeric()):
        if batch[name].null_count() < batch.height:
            return batch.with_columns(pl.lit(0, pl.Int64).alias(REVISION))  # the table says that the types differ
        batch = batch.with_columns(pl.lit(None, old).alias(name))
    before = current.select(*key, pl.col(name).alias(_OLD), pl.col(REVISION).alias(_TIMES))
    rows = batch.with_columns(pl.col(each).cast(before.schema[each], strict=False) for each in key)
    rows = rows.with_row_index(_PLACE).join(before, on=key, how="left", nulls_equal=True).sort(*key, _PLACE)
    value, there = pl.col(name), pl.col(_TIMES).is_not_null()
    rows = rows.with_columns(__first=_begins(key)).with_columns(__last=pl.col("__first").shift(-1, fill_value=True))
    settled = pl.when(pl.col("__last")).then(there & value.eq_missing(pl.col(_OLD))).backward_fill()
    said = pl.when(pl.col("__first")).then(pl.col(_OLD)).otherwise(value.shift(1))
    rows = rows.filter(~settled & (value.ne_missing(said) | (pl.col("__first") & ~there)))
    begin = pl.when(_begins(key)).then(pl.int_range(pl.len())).forward_fill()
    number = pl.int_range(pl.len()) - begin + pl.col(_TIMES).fill_null(-1) + 1
    return rows.with_columns(number.cast(pl.Int64).alias(REVISION)).sort(_PLACE).select(*key, name, REVISION)


def _begins(key: list[str]) -> pl.Expr:
    """Where another key begins, in rows that are sorted by it."""
    return pl.any_horizontal(pl.col(each).ne_missing(pl.col(each).shift(1)) for each in key) | (
        pl.int_range(pl.len()) == 0
    )
