"""One expectation: a declaration of what rows, or all of them together, are like.

An expectation of *rows* (a range, categories, nulls, uniqueness, a condition) can be broken by a single row; one of the
*whole* (freshness, volume) cannot. Each is of severity ``refuse`` or ``warn``. Nothing here touches data, and what is
compared is a condition of ``trivet.features.predicates``, so an expectation means what ``where=`` means elsewhere.
"""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, overload

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.features.predicates import Column, Compare, Every, Predicate, Value, parse
from trivet.features.predicates import OneOf as IsOneOf
from trivet.types import Duration, Micros, as_duration, duration_text

__all__ = [
    "Between",
    "Expectation",
    "Fresh",
    "Holds",
    "NotNull",
    "OfRows",
    "OfWhole",
    "OneOf",
    "Rows",
    "Severity",
    "Unique",
    "expect",
    "expect_fresh",
    "expect_rows",
]

Severity: TypeAlias = Literal["refuse", "warn"]
"""``refuse``: rows that break it are set aside, a whole that breaks it stops what would use it. ``warn``: said only."""
Scalar: TypeAlias = "float | int | str | bool | Decimal | datetime | date"


class Declared(msgspec.Struct, frozen=True, tag_field="expect", omit_defaults=True, kw_only=True):
    severity: Severity = "refuse"


class _Abstract(msgspec.StructMeta, ABCMeta):
    """Structs with abstract properties: what lacks one cannot be made."""


class OfRows(Declared, frozen=True, kw_only=True, metaclass=_Abstract):
    """An expectation that a single row can break; ``at_most`` is the share of rows that may."""

    at_most: float = 0.0

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""

    @property
    def refuses_rows(self) -> bool:
        """Whether rows that break it are set aside: not where some of them are expected."""
        return self.severity == "refuse" and not self.at_most

    def _said(self, sentence: str) -> str:
        return f"{sentence}, but for {_share(self.at_most)} of the rows at most" if self.at_most else sentence


class Between(OfRows, frozen=True, tag="between", kw_only=True):
    """Values in a range, its ends included. NaN lies in no range; null is the business of ``NotNull``."""

    column: str
    low: str | None = None
    high: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def predicate(self) -> Predicate:
        """The range as a condition."""
        ends = ((">=", self.low), ("<=", self.high))
        parts = [Compare(Column(self.column), sign, literal(text)) for sign, text in ends if text is not None]
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            end = f"at least {self.low}" if self.high is None else f"at most {self.high}"
            return self._said(f"{self.column} is {end}")
        return self._said(f"{self.column} between {self.low} and {self.high}")


class OneOf(OfRows, frozen=True, tag="one_of", kw_only=True):
    """Values among these. Null is the business of ``NotNull``."""

    column: str
    values: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def predicate(self) -> Predicate:
        """The categories as a condition."""
        return IsOneOf(Column(self.column), tuple(map(literal, self.values)))

    def __str__(self) -> str:
        shown = ", ".join(self.values[:12]) + (f" and {len(self.values) - 12} more" if len(self.values) > 12 else "")
        return self._said(f"{self.column} is one of {shown}")


class NotNull(OfRows, frozen=True, tag="not_null", kw_only=True):
    """A value that is there: neither null nor NaN."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def __str__(self) -> str:
        return self._said(f"{self.column} is not null")


class Unique(OfRows, frozen=True, tag="unique", kw_only=True):
    """No two rows with the same values, as SQL means it: a row with a null among them equals none.

    Of several equal rows the first, in the order of the source, keeps the rule and the others break it.
    """

    columns_: tuple[str, ...] = msgspec.field(name="columns")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are unique together."""
        return self.columns_

    def __str__(self) -> str:
        return self._said(f"{', '.join(self.columns)} {'is' if len(self.columns) == 1 else 'are together'} unique")


class Holds(OfRows, frozen=True, tag="where", kw_only=True):
    """A condition that is true; where it is unknown, because something is null, it is not."""

    where: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the condition."""
        return self.predicate.columns

    @property
    def predicate(self) -> Predicate:
        """The condition."""
        return parse(self.where)

    def __str__(self) -> str:
        return self._said(self.where)


class OfWhole(Declared, frozen=True, kw_only=True):
    """An expectation that no single row can break."""


class Fresh(OfWhole, frozen=True, tag="fresh", kw_only=True):
    """At the moment of the check the newest row became known no longer than ``within`` microseconds before."""

    within: Micros

    def __str__(self) -> str:
        return f"the newest row is at most {duration_text(self.within)} old"


class Rows(OfWhole, frozen=True, tag="rows", kw_only=True):
    """How many rows became known, in all or in each whole period of ``per`` microseconds (of UTC)."""

    at_least: int | None = None
    at_most: int | None = None
    per: Micros | None = None

    def __str__(self) -> str:
        ends = [f"at least {self.at_least:,}"] if self.at_least is not None else []
        ends += [f"at most {self.at_most:,}"] if self.at_most is not None else []
        each = f" in each {duration_text(self.per)}" if self.per else ""
        return f"{' and '.join(ends)} row{'' if (self.at_most or self.at_least) == 1 else 's'}{each}"


Expectation: TypeAlias = "OfRows | OfWhole"
KINDS: Any = Between | OneOf | NotNull | Unique | Holds | Fresh | Rows


class Columns:
    """What ``expect`` answers: columns that wait to be told what is expected of them."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns

    def between(
        self, low: Scalar | None, high: Scalar | None, *, at_most: float = 0.0, severity: Severity = "refuse"
    ) -> Between:
        """Values from ``low`` to ``high``, both included; None for no end.

        Raises:
            Invalid: there is no end, the ends are no literals or of different kinds, or ``at_most`` is no share.
        """
        if low is None and high is None:
            raise Invalid(f"A range needs an end: tv.expect({self._one!r}).between(0, None).")
        ends = [None if end is None else _text(end) for end in (low, high)]
        if low is not None and high is not None and _backwards(low, high):
            raise Invalid(
                f"The range of {self._one!r} from {low!r} to {high!r} holds nothing. Give the lower end first."
            )
        return Between(column=self._one, low=ends[0], high=ends[1], **_options(at_most, severity))

    def one_of(self, values: Sequence[Scalar], *, at_most: float = 0.0, severity: Severity = "refuse") -> OneOf:
        """Values among ``values``.

        Raises:
            Invalid: there are none, they are no literals or of different kinds, or ``at_most`` is no share.
        """
        if isinstance(values, str) or not list(values):
            raise Invalid(f"Give the categories of {self._one!r} as a list: one_of(['AA', 'UA']).")
        texts = {_text(each): None for each in values}
        parsed = parse(f"{Column(self._one)} in ({', '.join(texts)})")  # refuses mixed kinds, and sorts
        found = parsed.values if isinstance(parsed, IsOneOf) else tuple(map(literal, texts))
        return OneOf(column=self._one, values=tuple(map(str, found)), **_options(at_most, severity))

    def not_null(self, *, at_most: float = 0.0, severity: Severity = "refuse") -> NotNull:
        """A value that is neither null nor NaN.

        Raises:
            Invalid: ``at_most`` is no share.
        """
        return NotNull(column=self._one, **_options(at_most, severity))

    def unique(self, *, at_most: float = 0.0, severity: Severity = "refuse") -> Unique:
        """No two rows with the same values in these columns.

        Raises:
            Invalid: a column is named twice, or ``at_most`` is no share.
        """
        if len(set(self._columns)) != len(self._columns):
            raise Invalid(f"The columns {', '.join(self._columns)} are not different. Name each once.")
        return Unique(columns_=self._columns, **_options(at_most, severity))

    @property
    def _one(self) -> str:
        if len(self._columns) != 1:
            raise Invalid(f"Expect that of one column at a time; there are {', '.join(self._columns)}.")
        return self._columns[0]


@overload
def expect(*columns: str) -> Columns: ...
@overload
def expect(*, where: str, at_most: float = 0.0, severity: Severity = "refuse") -> Holds: ...
def expect(
    *columns: str, where: str | None = None, at_most: float = 0.0, severity: Severity = "refuse"
) -> Columns | Holds:
    """Begin an expectation of columns (``.between``, ``.one_of``, ``.not_null``, ``.unique``), or give a condition.

    Rows that break a refusing expectation are set aside. With ``at_most`` that share of them may break it: they stay,
    and more than that stop what would use the data.

    Args:
        columns: the columns, which then wait to be told what is expected.
        where: instead of columns, a condition that is true of each row, as in ``tv.count(where=...)``.
        at_most: of a condition, the share of rows of which it may be not true.
        severity: of a condition, ``"refuse"`` or ``"warn"``.

    Raises:
        Invalid: there is neither a column nor a condition, or both; the condition or the share is none.

    Example:
        >>> print(expect("dep_delay").between(-120, 3000))
        dep_delay between -120 and 3000
        >>> print(expect("tailnum").not_null(at_most=0.02, severity="warn"))
        tailnum is not null, but for 2 % of the rows at most
        >>> print(expect(where="arr_delay IS NULL OR arr_delay>-200"))
        arr_delay is null or arr_delay > -200
    """
    if where is not None and not columns:
        return Holds(where=str(parse(where)), **_options(at_most, severity))
    if where is not None or not _are_names(columns):
        raise Invalid('Name columns, tv.expect("dep_delay"), or give a condition, tv.expect(where="dep_delay > -120").')
    if at_most or severity != "refuse":
        raise Invalid("Give at_most= and severity= to what is expected: tv.expect('delay').not_null(at_most=0.02).")
    return Columns(columns)


def expect_fresh(within: Duration, *, severity: Severity = "refuse") -> Fresh:
    """Expect that the newest known row is at most ``within`` old: ``"2h"``.

    A row that will be known later than the moment of the check makes nothing fresh.

    Raises:
        Invalid: ``within`` is no duration, or nothing.

    Example:
        >>> print(expect_fresh("2h"))
        the newest row is at most 2h old
    """
    if (micros := as_duration(within)) <= 0:
        raise Invalid("within= must be longer than nothing, for example '2h'.")
    return Fresh(within=micros, severity=_severity(severity))


def expect_rows(
    at_least: int | None = None,
    at_most: int | None = None,
    *,
    per: Duration | None = None,
    severity: Severity = "refuse",
) -> Rows:
    """Expect a number of rows, in all or in each period of UTC.

    Periods are judged from the one of the first row on. At the lower end only whole ones are: neither the one in which
    the source begins nor the one in which the check falls.

    Raises:
        Invalid: there is no end, or an end is no count.

    Example:
        >>> print(expect_rows(at_least=800, per="1d"))
        at least 800 rows in each 1d
    """
    ends = [end for end in (at_least, at_most) if end is not None]
    if not ends or not all(map(_is_count, ends)) or ends != sorted(ends):
        raise Invalid("Give at_least= and at_most= as counts, the smaller one first: expect_rows(at_least=800).")
    length = None if per is None else as_duration(per)
    if length is not None and length <= 0:
        raise Invalid("per= must be longer than nothing, for example '1d'.")
    return Rows(at_least=at_least, at_most=at_most, per=length, severity=_severity(severity))


def _are_names(columns: Sequence[Any]) -> bool:
    return bool(columns) and all(isinstance(each, str) and each for each in columns)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _options(at_most: Any, severity: Severity) -> dict[str, Any]:
    number = isinstance(at_most, int | float) and not isinstance(at_most, bool)
    if not number or not 0 <= at_most < 1:
        raise Invalid(f"at_most={at_most!r} is no share of rows. Write 0.02 for 2 %.")
    return {"at_most": float(at_most), "severity": _severity(severity)}


def _severity(severity: Severity) -> Severity:
    if severity not in ("refuse", "warn"):
        raise NotFound("severity", str(severity), ["refuse", "warn"])
    return severity


def _text(value: object) -> str:
    """A value as a condition writes it."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Invalid(f"{value!r} is no end of a range and no category. Leave the end out: between(0, None).")
        value = Decimal(repr(value))
    if isinstance(value, datetime) and value.tzinfo is None:
        raise Invalid(f"{value.isoformat()} has no time zone. Add one.")
    if not isinstance(value, int | Decimal | str | bool | datetime | date):
        raise Invalid(
            f"{value!r} compares with nothing. Give a number, text, a truth value, a day or a time with a zone."
        )
    text = str(Value(value))
    literal(text)  # refuses what conditions cannot say
    return text


def literal(text: str) -> Value:
    predicate = parse(f"x = {text}")
    assert isinstance(predicate, Compare)
    assert isinstance(predicate.right, Value)
    return predicate.right


def _backwards(low: Any, high: Any) -> bool:
    try:
        return bool(low > high)
    except TypeError as exc:
        raise Invalid(f"A range from {low!r} to {high!r} mixes kinds of values. Give two of one kind.") from exc


def _share(share: float) -> str:
    return f"{100 * share:.4g} %"
