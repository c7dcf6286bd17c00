"""Data frames of any make into Polars, in which the engine of this package works. Nothing is renamed or sorted."""

from __future__ import annotations

from typing import Any

import polars as pl

from trivet.errors import Invalid

__all__ = ["as_polars", "is_frame"]

_MAKERS = ("pandas", "polars", "pyarrow", "pyspark")


def is_frame(value: object) -> bool:
    """Whether ``value`` is a data frame or table that ``as_polars`` takes, decided without importing its library."""
    cls = type(value)
    return cls.__module__.partition(".")[0] in _MAKERS and cls.__name__ in ("DataFrame", "LazyFrame", "Table")


def as_polars(value: Any, what: str = "the data") -> pl.DataFrame:
    """A Polars data frame with the columns and rows of ``value``; the index of a pandas frame is left behind.

    Raises:
        Invalid: it is no data frame, or holds something that has no Arrow type.

    Example:
        >>> as_polars(pl.LazyFrame({"a": [1, 2]})).rows()
        [(1,), (2,)]
    """
    if isinstance(value, pl.DataFrame):
        return value
    if isinstance(value, pl.LazyFrame):
        return value.collect()
    if not is_frame(value):
        files = ", or the path of a file" if what == "The spine" else ""
        raise Invalid(
            f"{what} is a {type(value).__qualname__}. Give a pandas or Polars data frame, an Arrow table{files}."
        )
    maker = type(value).__module__.partition(".")[0]
    try:
        value = value.toArrow() if maker == "pyspark" else value
        frame = pl.from_pandas(value) if maker == "pandas" else pl.from_arrow(value)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as exc:
        raise Invalid(f"{what} cannot be read as a table: {exc}.") from exc
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
