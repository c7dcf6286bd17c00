"""The small vocabulary of features: what is computed from the rows of one key that are visible at a moment.

An aggregate is a frozen declaration, JSON in and out, with no engine in it. What each means exactly is on the page
``docs/concepts/point-in-time.md``; ``trivet.features.point_in_time`` says it again as a plain loop. Two shapes exist:
*latest* (one row, limited by a time to live) and *windowed* (all visible rows with ``t - window <= event < t``).
Aggregates skip nulls, as in SQL: a count of nothing is 0, everything else of nothing is null.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import Invalid, NotFound
from trivet.types import Duration, Micros, as_duration, duration_text

__all__ = [
    "Aggregate",
    "count",
    "first",
    "last",
    "latest",
    "max",
    "mean",
    "min",
    "nunique",
    "quantile",
    "std",
    "sum",
]

OPERATIONS = ("latest", "count", "sum", "mean", "min", "max", "std", "first", "last", "nunique", "quantile")
ARITHMETIC = frozenset({"sum", "mean", "std", "quantile"})
COUNTS = frozenset({"count", "nunique"})


@dataclass(frozen=True)
class Aggregate:
    """One feature's declaration. Made by the functions of this module.

    Attributes:
        operation: one of ``OPERATIONS``.
        column: the source's column, or None for a count of rows.
        window: length of the window in microseconds; None for the latest value.
        ttl: how old, in microseconds, a latest value may be; None for the view's ttl.
        skip_nulls: for the latest value, whether a null is a gap to look behind.
        q: the quantile's level, 0 to 1.
    """

    operation: str
    column: str | None = None
    window: Micros | None = None
    ttl: Micros | None = None
    skip_nulls: bool = False
    q: float | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise NotFound("aggregate", self.operation, OPERATIONS)
        for name, length in (("window", self.window), ("ttl", self.ttl)):
            if length is not None and length <= 0:
                raise Invalid(f"{self} has a {name} of {duration_text(length)}. It must be longer than nothing.")
        if self.q is not None and not 0 <= self.q <= 1:
            raise Invalid(f"{self.q} is not a level of a quantile. It lies between 0 and 1.")

    def __str__(self) -> str:
        parts = [repr(self.column)] if self.column else []
        parts += [repr(self.q)] if self.q is not None else []
        parts += [repr(duration_text(self.window))] if self.window is not None else []
        parts += [f"ttl={duration_text(self.ttl)!r}"] if self.ttl is not None else []
        parts += ["skip_nulls=True"] if self.skip_nulls else []
        return f"{self.operation}({', '.join(parts)})"

    @property
    def windowed(self) -> bool:
        """Whether it looks at a window of rows and not at the latest one."""
        return self.operation != "latest"

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON, durations as text, defaults left out."""
        spec: dict[str, Any] = {"operation": self.operation, "column": self.column, "q": self.q}
        spec["window"] = None if self.window is None else duration_text(self.window)
        spec["ttl"] = None if self.ttl is None else duration_text(self.ttl)
        spec["skip_nulls"] = self.skip_nulls or None
        return {name: value for name, value in spec.items() if value is not None}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Aggregate:
        """The declaration that ``to_spec`` wrote."""
        lengths = {name: as_duration(spec[name]) for name in ("window", "ttl") if name in spec}
        return cls(**{**spec, **lengths})


def latest(column: str, *, ttl: Duration | None = None, skip_nulls: bool = False) -> Aggregate:
    """The value of the newest visible row; null when that row is as old as ``ttl`` or older.

    A null in that row is the answer, not a gap, unless ``skip_nulls``.

    Example:
        >>> print(latest("temp", ttl="6h"))
        latest('temp', ttl='6h')
    """
    return Aggregate("latest", _name(column), ttl=None if ttl is None else as_duration(ttl), skip_nulls=skip_nulls)


def count(column_or_window: str | Duration, window: Duration | None = None) -> Aggregate:
    """How many rows, ``count("3h")``, or how many values that are not null, ``count("delay", "3h")``.

    Example:
        >>> print(count("3h"), count("delay", "3h"))
        count('3h') count('delay', '3h')
    """
    if window is None:
        return Aggregate("count", window=_length("count", column_or_window))
    return _windowed("count", str(column_or_window), window)


def sum(column: str, window: Duration) -> Aggregate:  # noqa: A001 - the word that everyone knows
    """The sum. Integers add up as integers; floats to the correctly rounded exact sum, as ``math.fsum`` does."""
    return _windowed("sum", column, window)


def mean(column: str, window: Duration) -> Aggregate:
    """The sum divided by the count of values.

    Example:
        >>> print(mean("delay", "90m"))
        mean('delay', '1h30m')
    """
    return _windowed("mean", column, window)


def min(column: str, window: Duration) -> Aggregate:  # noqa: A001 - the word that everyone knows
    """The smallest value; NaN when there is one in the window."""
    return _windowed("min", column, window)


def max(column: str, window: Duration) -> Aggregate:  # noqa: A001 - the word that everyone knows
    """The greatest value; NaN when there is one in the window."""
    return _windowed("max", column, window)


def std(column: str, window: Duration) -> Aggregate:
    """The standard deviation of a sample (divisor n - 1), in two passes; null for fewer than two values."""
    return _windowed("std", column, window)


def first(column: str, window: Duration) -> Aggregate:
    """The earliest value in the window that is not null."""
    return _windowed("first", column, window)


def last(column: str, window: Duration) -> Aggregate:
    """The newest value in the window that is not null."""
    return _windowed("last", column, window)


def nunique(column: str, window: Duration) -> Aggregate:
    """How many different values, nulls not counted; 0 for none."""
    return _windowed("nunique", column, window)


def quantile(column: str, q: float, window: Duration) -> Aggregate:
    """The value below which a share ``q`` lies, interpolated linearly between neighbours (Hyndman and Fan, type 7).

    Example:
        >>> print(quantile("delay", 0.9, "7d"))
        quantile('delay', 0.9, '7d')
    """
    return Aggregate("quantile", _name(column), window=_length("quantile", window), q=float(q))


def _windowed(operation: str, column: str, window: Duration) -> Aggregate:
    return Aggregate(operation, _name(column), window=_length(operation, window))


def _name(column: object) -> str:
    if not isinstance(column, str) or not column:
        raise Invalid(f"{column!r} is not the name of a column. Give it as text, for example tv.latest('temp').")
    return column


def _length(operation: str, window: object) -> Micros:
    from datetime import timedelta

    if not isinstance(window, str | timedelta):
        example = "tv.count('3h')" if operation == "count" else f"tv.{operation}('delay', '3h')"
        raise Invalid(f"{window!r} is not the length of a window. Write it last, as a duration: {example}.")
    length = as_duration(window)
    return builtins.max(length, 0)
