"""The small vocabulary of features: what is computed from the rows of one key that are visible at a moment.

An aggregate is a frozen declaration, JSON in and out, with no engine in it. What each means exactly is on the page
``docs/concepts/point-in-time.md``; ``trivet.features.point_in_time`` says it again as a plain loop. Two shapes exist:
*latest* (one row, limited by a time to live) and *windowed* (all visible rows with ``t - window <= event < t``).
Aggregates skip nulls, as in SQL: a count of nothing is 0, everything else of nothing is null.

All of them take the same options: ``where``, a condition of ``trivet.features.predicates``: rows that do not satisfy it
do not exist for that feature; ``lag``: the same question asked so much earlier; several windows at once; and ``by`` with
``values``: one feature for each value of a second column. The last two answer ``Several``, which becomes single
aggregates when a view is made.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from trivet.errors import Invalid, NotFound
from trivet.features.predicates import Column, Compare, Predicate, Value, both, parse
from trivet.types import Duration, Micros, as_duration, duration_text

__all__ = [
    "Aggregate",
    "Feature",
    "Several",
    "count",
    "expand",
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
LONGEST: Micros = as_duration("3652425d")
"""Ten thousand years, so that no moment minus a window and a lag leaves 64 bits."""


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
        where: the condition on rows, in its canonical text; None for all rows.
        lag: how much before the moment of asking it looks, in microseconds.
    """

    operation: str
    column: str | None = None
    window: Micros | None = None
    ttl: Micros | None = None
    skip_nulls: bool = False
    q: float | None = None
    where: str | None = None
    lag: Micros = 0

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise NotFound("aggregate", self.operation, OPERATIONS)
        for name, length in (("window", self.window), ("ttl", self.ttl), ("lag", self.lag or None)):
            if length is not None and not 0 < length <= LONGEST:
                raise Invalid(f"{self} has a {name} that is not longer than nothing, or than ten thousand years.")
        if self.where is not None:
            if not isinstance(self.where, str):
                raise Invalid(f"where={self.where!r} is no text. Write a condition such as where='dep_delay > 15'.")
            object.__setattr__(self, "where", str(parse(self.where)))
        if self.q is not None and not 0 <= self.q <= 1:
            raise Invalid(f"{self.q} is not a level of a quantile. It lies between 0 and 1.")

    def __str__(self) -> str:
        parts = [repr(self.column)] if self.column else []
        parts += [repr(self.q)] if self.q is not None else []
        parts += [repr(duration_text(self.window))] if self.window is not None else []
        parts += [f"ttl={duration_text(self.ttl)!r}"] if self.ttl is not None else []
        parts += ["skip_nulls=True"] if self.skip_nulls else []
        parts += [f"where={self.where!r}"] if self.where is not None else []
        parts += [f"lag={duration_text(self.lag)!r}"] if self.lag else []
        return f"{self.operation}({', '.join(parts)})"

    @property
    def windowed(self) -> bool:
        """Whether it looks at a window of rows and not at the latest one."""
        return self.operation != "latest"

    @property
    def predicate(self) -> Predicate | None:
        """The condition on rows."""
        return None if self.where is None else parse(self.where)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, its own first: its value is known when all of them are."""
        own = () if self.column is None else (self.column,)
        return tuple(dict.fromkeys([*own, *(self.predicate.columns if self.predicate else ())]))

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON, durations as text, defaults left out."""
        spec: dict[str, Any] = {"operation": self.operation, "column": self.column, "q": self.q}
        spec["window"] = None if self.window is None else duration_text(self.window)
        spec["ttl"] = None if self.ttl is None else duration_text(self.ttl)
        spec["skip_nulls"] = self.skip_nulls or None
        spec["where"] = self.where
        spec["lag"] = duration_text(self.lag) if self.lag else None
        return {name: value for name, value in spec.items() if value is not None}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Aggregate:
        """The declaration that ``to_spec`` wrote."""
        lengths = {name: as_duration(spec[name]) for name in ("window", "ttl", "lag") if name in spec}
        return cls(**{**spec, **lengths})


@dataclass(frozen=True)
class Several:
    """Several features under one declaration; each is called ``NAME_SUFFIX``.

    Attributes:
        parts: suffix to declaration, in order.

    Example:
        >>> several = mean("delay", ["1h", "1d"])
        >>> [f"delay_{suffix} is {each}" for suffix, each in several.parts.items()]
        ["delay_1h is mean('delay', '1h')", "delay_1d is mean('delay', '1d')"]
    """

    parts: Mapping[str, Aggregate]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts.values()))


Feature: TypeAlias = "Aggregate | Several"
"""What the functions of this module declare."""
Windows: TypeAlias = "Duration | Sequence[Duration]"
Values: TypeAlias = "Iterable[Any] | Mapping[Any, str]"


def expand(features: Mapping[str, Feature]) -> dict[str, Aggregate]:
    """Features by name with every ``Several`` written out.

    Raises:
        Invalid: two features would have one name.

    Example:
        >>> list(expand({"delay": mean("delay", ["1h", "1d"]), "n": count("1d", by="carrier", values=["AA", "UA"])}))
        ['delay_1h', 'delay_1d', 'n_AA', 'n_UA']
    """
    expanded: dict[str, Aggregate] = {}
    for name, feature in features.items():
        parts = feature.parts if isinstance(feature, Several) else {"": feature}
        for suffix, part in parts.items():
            full = f"{name}_{suffix}" if suffix else name
            if full in expanded:
                raise Invalid(f"Two features would be called {full!r}: {expanded[full]} and {part}. Rename one.")
            expanded[full] = part
    return expanded


def latest(
    column: str,
    *,
    ttl: Duration | None = None,
    skip_nulls: bool = False,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The value of the newest visible row; null when that row is as old as ``ttl`` or older.

    A null in that row is the answer, not a gap, unless ``skip_nulls``. With ``lag`` it is the value of so much earlier.

    Example:
        >>> print(latest("temp", ttl="6h", where="station = 'JFK'"))
        latest('temp', ttl='6h', where="station = 'JFK'")
    """
    age = None if ttl is None else as_duration(ttl)
    made = Aggregate("latest", _name(column), ttl=age, skip_nulls=skip_nulls, where=where, lag=_lag(lag))
    return _bucketed({"": made}, by, values)


def count(
    column_or_window: str | Windows,
    window: Windows | None = None,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """How many rows, ``count("3h")``, or how many values that are not null, ``count("delay", "3h")``.

    Example:
        >>> print(count("3h"), count("delay", "3h", lag="1d"))
        count('3h') count('delay', '3h', lag='1d')
        >>> print(count("3h", where="15 < delay"))
        count('3h', where='delay > 15')
    """
    column = None if window is None else _name(column_or_window)
    windows = column_or_window if window is None else window
    return _windowed("count", column, windows, where=where, lag=lag, by=by, values=values)


def sum(  # noqa: A001 - the word that everyone knows
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The sum. Integers add up as integers; floats to the correctly rounded exact sum, as ``math.fsum`` does."""
    return _windowed("sum", column, window, where=where, lag=lag, by=by, values=values)


def mean(
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The sum divided by the count of values.

    Example:
        >>> print(mean("delay", "90m"))
        mean('delay', '1h30m')
    """
    return _windowed("mean", column, window, where=where, lag=lag, by=by, values=values)


def min(  # noqa: A001 - the word that everyone knows
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The smallest value; NaN when there is one in the window."""
    return _windowed("min", column, window, where=where, lag=lag, by=by, values=values)


def max(  # noqa: A001 - the word that everyone knows
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The greatest value; NaN when there is one in the window."""
    return _windowed("max", column, window, where=where, lag=lag, by=by, values=values)


def std(
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The standard deviation of a sample (divisor n - 1), in two passes; null for fewer than two values."""
    return _windowed("std", column, window, where=where, lag=lag, by=by, values=values)


def first(
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The earliest value in the window that is not null."""
    return _windowed("first", column, window, where=where, lag=lag, by=by, values=values)


def last(
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The newest value in the window that is not null."""
    return _windowed("last", column, window, where=where, lag=lag, by=by, values=values)


def nunique(
    column: str,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """How many different values, nulls not counted; 0 for none."""
    return _windowed("nunique", column, window, where=where, lag=lag, by=by, values=values)


def _share(q: object) -> float:
    if isinstance(q, bool) or not isinstance(q, int | float):
        raise Invalid(f"q={q!r} is no share. Give a number between 0 and 1, such as 0.9.")
    return float(q)


def quantile(
    column: str,
    q: float,
    window: Windows,
    *,
    where: str | None = None,
    lag: Duration | None = None,
    by: str | None = None,
    values: Values | None = None,
) -> Feature:
    """The value below which a share ``q`` lies, interpolated linearly between neighbours (Hyndman and Fan, type 7).

    Example:
        >>> print(quantile("delay", 0.9, "7d"))
        quantile('delay', 0.9, '7d')
    """
    return _windowed("quantile", column, window, q=_share(q), where=where, lag=lag, by=by, values=values)


def _windowed(
    operation: str,
    column: str | None,
    window: Windows | object,
    *,
    q: float | None = None,
    where: str | None,
    lag: Duration | None,
    by: str | None,
    values: Values | None,
) -> Feature:
    """One aggregate, or one for each window and for each value of ``by``."""
    if operation != "count" or column is not None:
        column = _name(column)
    several = isinstance(window, list | tuple)
    windows: Sequence[Any] = window if several else [window]  # type: ignore[assignment]
    parts: dict[str, Aggregate] = {}
    for each in windows:
        made = Aggregate(operation, column, window=_length(operation, each), q=q, where=where, lag=_lag(lag))
        suffix = _window_suffix(each) if several else ""
        if any(made == other for other in parts.values()):
            raise Invalid(f"The windows {list(windows)} hold one length twice. Give different ones.")
        parts[suffix] = made
    if not parts:
        raise Invalid("windows=[] names no window. Give at least one, for example ['1h', '1d'].")
    return _bucketed(parts, by, values)


def _bucketed(parts: dict[str, Aggregate], by: str | None, values: Values | None) -> Feature:
    """Each part for each value of ``by``; a part alone and without a suffix is the feature itself."""
    if (by is None) != (values is None):
        raise Invalid("A feature by the values of a column needs both: by='carrier', values=['AA', 'UA'].")
    if by is None or values is None:
        return parts[""] if list(parts) == [""] else Several(parts)
    bucketed: dict[str, Aggregate] = {}
    named = [(Compare(Column(_name(by)), "=", Value(value)), name) for value, name in _named_values(values)]
    for suffix, part in parts.items():
        for equal, name in named:
            full = f"{suffix}_{name}" if suffix else name
            if full in bucketed:
                raise Invalid(
                    f"Two of the values {list(values)} would be called {full!r}. Give each a name of its own."
                )
            bucketed[full] = replace(part, where=str(both(part.predicate, equal) if part.predicate else equal))
    if not bucketed:
        raise Invalid(f"by={by!r} has no values. Give at least one, for example values=['AA', 'UA'].")
    return Several(bucketed)


def _named_values(values: Values) -> list[tuple[Any, str]]:
    """Each value with the end of its feature's name.

    Raises:
        Invalid: a value is no text, whole number or truth value, or cannot be a part of a name.
    """
    if isinstance(values, str):
        raise Invalid(f"values={values!r} is one text. Give a list: values=[{values!r}].")
    pairs = list(values.items()) if isinstance(values, Mapping) else [(value, value) for value in values]
    named = []
    for value, name in pairs:
        text = str(name).lower() if isinstance(name, bool) else str(name)
        if not isinstance(value, str | int):
            raise Invalid(
                f"{value!r} is not a value that features are made by. Text, whole numbers and truth values are."
            )
        if not re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", text):
            raise Invalid(
                f"{text!r} cannot be the end of a feature's name. Use letters, digits and single underscores, "
                f"or say how the value is to be called: values={{{value!r}: 'a_name'}}."
            )
        named.append((value, text))
    return named


def _window_suffix(window: Duration) -> str:
    """A window as it was written, where that can be a part of a name."""
    if isinstance(window, str) and re.fullmatch(r"[0-9a-z]+", window):
        return window
    return duration_text(as_duration(window))


def _name(column: object) -> str:
    if not isinstance(column, str) or not column:
        raise Invalid(f"{column!r} is not the name of a column. Give it as text, for example tv.latest('temp').")
    return column


def _lag(lag: Duration | None) -> Micros:
    return 0 if lag is None else as_duration(lag)


def _length(operation: str, window: object) -> Micros:
    from datetime import timedelta

    if not isinstance(window, str | timedelta):
        example = "tv.count('3h')" if operation == "count" else f"tv.{operation}('delay', '3h')"
        raise Invalid(f"{window!r} is not the length of a window. Write it last, as a duration: {example}.")
    length = as_duration(window)
    return builtins.max(length, 0)
