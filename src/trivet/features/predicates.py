"""Conditions on the rows of a source, as SQL writes them: ``dep_delay > 15 and carrier in ('AA', 'UA')``.

A small language of our own: comparisons of a column with a literal or with another column, ``in``, ``between``,
``is null``, a column of truth values by itself, ``and``, ``or``, ``not`` and parentheses. It is parsed to frozen
records and printed canonically, so that conditions that say the same are mostly the same text and have the same
digest. Logic has three values, as in SQL: a comparison with null is null, and a row counts only where the condition is true.

Numbers compare as numbers: exactly where both are integers or decimals, as doubles where one is a double; a literal is
exact until it meets one. Doubles are in a total order, as in Polars, DuckDB and PostgreSQL: NaN equals NaN and is greater
than everything, and -0.0 equals 0.0. Text compares by code point. ``true`` is greater than ``false``. Times are moments,
so a literal has a zone. Values of different kinds never compare: that is an error and not an answer.

``holds`` asks one row; whole tables are the engines' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from trivet.errors import Invalid
from trivet.types import as_utc

__all__ = [
    "Column",
    "Compare",
    "Either",
    "Every",
    "IsNull",
    "IsTrue",
    "Kind",
    "Not",
    "OneOf",
    "Predicate",
    "Value",
    "both",
    "check_kinds",
    "holds",
    "parse",
]

Scalar: TypeAlias = "int | Decimal | str | bool | datetime | date"
Kind: TypeAlias = Literal["numbers", "text", "truth values", "times", "dates"]
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
_DEEPEST = 50
_LARGEST = 300
"""Powers of ten: what lies beyond fits into no column."""


class Predicate:
    """A condition. One of the records of this module; ``str`` is the canonical text, which ``parse`` reads back."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once, in order of appearance."""
        return tuple(dict.fromkeys(_columns(self)))


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str

    def __str__(self) -> str:
        plain = re.fullmatch(r"[^\W\d]\w*", self.name) and self.name.lower() not in _KEYWORDS
        return self.name if plain else '"{}"'.format(self.name.replace('"', '""'))


@dataclass(frozen=True)
class Value:
    """A literal: a whole number, an exact decimal, text, a truth value, a moment or a day."""

    value: Scalar

    def __str__(self) -> str:
        match self.value:
            case bool():
                return str(self.value).lower()
            case str():
                return "'{}'".format(self.value.replace("'", "''"))
            case datetime():
                return f"TIMESTAMP '{self.value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z'"
            case date():
                return f"DATE '{self.value.isoformat()}'"
            case _:
                return str(self.value)


Operand: TypeAlias = "Column | Value"


@dataclass(frozen=True)
class Compare(Predicate):
    """``column operator operand`` with one of ``= != < <= > >=``."""

    left: Column
    operator: str
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True)
class OneOf(Predicate):
    """``column in (values)``: values of one kind, sorted, each once."""

    column: Column
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.column} in ({', '.join(map(str, self.values))})"


@dataclass(frozen=True)
class IsNull(Predicate):
    """``column is null``, which is never null itself."""

    column: Column

    def __str__(self) -> str:
        return f"{self.column} is null"


@dataclass(frozen=True)
class IsTrue(Predicate):
    """A column of truth values by itself."""

    column: Column

    def __str__(self) -> str:
        return str(self.column)


@dataclass(frozen=True)
class Not(Predicate):
    """The opposite; of null, null."""

    part: Predicate

    def __str__(self) -> str:
        match self.part:
            case OneOf(column, values):
                return f"{column} not in ({', '.join(map(str, values))})"
            case IsNull(column):
                return f"{column} is not null"
            case IsTrue():
                return f"not {self.part}"
            case _:
                return f"not ({self.part})"


@dataclass(frozen=True)
class Every(Predicate):
    """All parts hold: ``and``."""

    parts: tuple[Predicate, ...]

    def __str__(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, Either) else str(part) for part in self.parts)


@dataclass(frozen=True)
class Either(Predicate):
    """At least one part holds: ``or``."""

    parts: tuple[Predicate, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts))


@lru_cache(maxsize=1024)
def parse(text: str) -> Predicate:
    """The condition that ``text`` says.

    Raises:
        Invalid: it is no condition; what was met and what was expected is said.

    Example:
        >>> print(parse("15 < dep_delay AND NOT carrier IN ('UA','AA')"))
        dep_delay > 15 and carrier not in ('AA', 'UA')
        >>> parse("x between 1 and 2 or y is null").columns
        ('x', 'y')
    """
    if not text.strip():
        raise Invalid(f'where={text!r} is no condition. Write one as text, for example where="dep_delay > 15".')
    return _Parser(text).whole()


def both(one: Predicate, other: Predicate) -> Predicate:
    """``one and other``."""
    return _joined(Every, [one, other])


def holds(predicate: Predicate, row: Mapping[str, Any]) -> bool | None:
    """Whether one row satisfies the condition; None where that is unknown.

    Args:
        predicate: the condition.
        row: column to value; numbers, text, truth values, aware times, dates, None.

    Raises:
        Invalid: a value is of another kind than what it is compared with.

    Example:
        >>> late = parse("delay > 15 and carrier = 'UA'")
        >>> holds(late, {"delay": 20, "carrier": None}), holds(late, {"delay": 2, "carrier": None})
        (None, False)
    """
    match predicate:
        case Compare(left, operator, right):
            return _compare(predicate, operator, row[left.name], _of(right, row))
        case OneOf(column, values):
            return _any([_compare(predicate, "=", row[column.name], each.value) for each in values])
        case IsNull(column):
            return row[column.name] is None
        case IsTrue(column):
            return _compare(predicate, "=", row[column.name], True)
        case Not(part):
            known = holds(part, row)
            return None if known is None else not known
        case Every(parts):
            opposite = _any([None if (known := holds(part, row)) is None else not known for part in parts])
            return None if opposite is None else not opposite
        case Either(parts):
            return _any([holds(part, row) for part in parts])
        case _:
            raise TypeError(type(predicate))


def check_kinds(predicate: Predicate, left: Kind, right: Kind) -> None:
    """Whether values of these kinds compare.

    Raises:
        Invalid: they do not. The column is named, and what it holds.
    """
    if left == right:
        return
    match predicate:
        case Compare(Column(name), _, Column(other)):
            against = f"column {other!r}, which holds {right}"
        case Compare(Column(name), _, value):
            against = f"{value}, one of {right}"
        case OneOf(Column(name), values):
            against = f"{values[0]}, one of {right}"
        case _:
            name, against = predicate.columns[0], "by itself"
    raise Invalid(
        f"The condition '{predicate}' takes column {name!r} {'' if against == 'by itself' else 'with '}{against}, but "
        f"the column holds {left}. Values of different kinds do not compare: write the other side as "
        f"{_WRITTEN[left]}, or convert the column in the source."
    )


def kind_of(value: object) -> Kind | None:
    """What a value is one of; None for what compares with nothing."""
    match value:
        case bool():
            return "truth values"
        case int() | float() | Decimal():
            return "numbers"
        case str():
            return "text"
        case datetime():
            return "times" if value.tzinfo is not None else None
        case date():
            return "dates"
        case _:
            return None


_WRITTEN: dict[Kind, str] = {
    "numbers": "a number (15)",
    "text": "text ('AA')",
    "truth values": "true or false",
    "times": "a moment (TIMESTAMP '2013-01-01T00:00:00Z')",
    "dates": "a day (DATE '2013-01-01')",
}


def _of(operand: Operand, row: Mapping[str, Any]) -> Any:
    return row[operand.name] if isinstance(operand, Column) else operand.value


def _any(parts: Sequence[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


def _compare(predicate: Predicate, operator: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    kinds = kind_of(left), kind_of(right)
    if kinds[0] is None or kinds[1] is None:
        odd = left if kinds[0] is None else right
        raise Invalid(f"The condition '{predicate}' meets {odd!r}, which compares with nothing.")
    check_kinds(predicate, kinds[0], kinds[1])
    one, other = _ordered(left, right), _ordered(right, left)
    found: bool = {
        "=": one == other,
        "!=": one != other,
        "<": one < other,
        "<=": one <= other,
        ">": one > other,
        ">=": one >= other,
    }[operator]
    return found


def _ordered(value: Any, beside: Any) -> Any:
    """A value as Python orders it: doubles with NaN last."""
    if isinstance(value, float) or isinstance(beside, float):
        number = float(value)
        return (number != number, 0.0 if number != number else number)
    return value


def _columns(predicate: Predicate) -> Iterator[str]:
    match predicate:
        case Compare(left, _, right):
            yield from (each.name for each in (left, right) if isinstance(each, Column))
        case OneOf(column) | IsNull(column) | IsTrue(column):
            yield column.name
        case Not(part):
            yield from _columns(part)
        case Every(parts) | Either(parts):
            for part in parts:
                yield from _columns(part)


def _joined(kind: type[Every | Either], parts: Sequence[Predicate]) -> Predicate:
    """One level of ``and`` or of ``or``, repetitions left out."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, kind) else [part])]
    different = tuple({str(part): part for part in flat}.values())  # by text, because in Python 1 == True
    return different[0] if len(different) == 1 else kind(different)


def _negated(predicate: Predicate) -> Predicate:
    match predicate:
        case Not(part):
            return part
        case Compare(left, operator, right):
            return Compare(left, _OPPOSITE[operator], right)
        case _:
            return Not(predicate)


_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")+") | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|==|[=<>(),+-])""",
    re.VERBOSE,
)
_SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """The sign or the keyword that it is, in small letters."""
        return self.text.lower() if self.kind in ("word", "sign") else ""


class _Parser:
    """By recursive descent: ``or`` binds least, then ``and``, ``not``, and what compares."""

    def __init__(self, text: str) -> None:
        self._text, self._depth, self._next = text, 0, 0
        self._tokens = [*self._read(), _Token("end", "", len(text))]

    def whole(self) -> Predicate:
        predicate = self._either()
        if self._peek().kind != "end":
            raise self._expected("'and', 'or' or the end")
        return predicate

    def _read(self) -> Iterator[_Token]:
        place = 0
        while rest := self._text[place:].lstrip():
            place = len(self._text) - len(rest)
            found = _TOKEN.match(self._text, place)
            if found is None:
                odd = "a text that does not end" if rest[0] in "'\"" else repr(rest[0])
                hint = {"&": " Write 'and'.", "|": " Write 'or'.", "~": " Write 'not'."}.get(rest[0], "")
                raise Invalid(f"The condition {self._text!r} has {odd} at character {place + 1}.{hint}")
            yield _Token(str(found.lastgroup), found.group(), place)
            place = found.end()

    def _either(self) -> Predicate:
        parts = [self._every()]
        while self._take("or"):
            parts.append(self._every())
        return _joined(Either, parts)

    def _every(self) -> Predicate:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return _joined(Every, parts)

    def _not(self) -> Predicate:
        negative = False
        while self._take("not"):
            negative = not negative
        predicate = self._nested() if self._take("(") else self._test()
        return _negated(predicate) if negative else predicate

    def _nested(self) -> Predicate:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Invalid(f"The condition {self._text!r} has more than {_DEEPEST} parentheses inside one another.")
        predicate = self._either()
        self._need(")")
        self._depth -= 1
        return predicate

    def _test(self) -> Predicate:
        left = self._operand()
        if (operator := _SIGNS.get(self._peek().word)) is not None:
            self._next += 1
            return self._comparison(left, operator, self._operand())
        if not isinstance(left, Column):
            raise self._expected(f"a comparison after {left}")
        if self._take("is"):
            negative = self._take("not")
            self._need("null")
            return _negated(IsNull(left)) if negative else IsNull(left)
        negative = self._take("not")
        if self._take("in"):
            predicate = self._list(left)
        elif self._take("between"):
            predicate = self._range(left)
        elif negative:
            raise self._expected("'in' or 'between'")
        else:
            return IsTrue(left)
        return _negated(predicate) if negative else predicate

    def _comparison(self, left: Operand, operator: str, right: Operand) -> Predicate:
        if isinstance(left, Column):
            return Compare(left, operator, right)
        if isinstance(right, Column):
            return Compare(right, _FLIPPED[operator], left)
        raise Invalid(f"The condition {self._text!r} compares {left} with {right} and no column.")

    def _range(self, column: Column) -> Predicate:
        low = self._operand()
        self._need("and")
        return _joined(Every, [Compare(column, ">=", low), Compare(column, "<=", self._operand())])

    def _list(self, column: Column) -> Predicate:
        self._need("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._need(")")
        kinds = {str(kind_of(each.value)) for each in values}
        if len(kinds) > 1:
            raise Invalid(f"The condition {self._text!r} has {' and '.join(sorted(kinds))} in one list.")
        scalars: list[Any] = [each.value for each in values]
        return OneOf(column, tuple(Value(each) for each in sorted(set(scalars))))

    def _value(self) -> Value:
        operand = self._operand()
        if isinstance(operand, Column):
            raise Invalid(f"The condition {self._text!r} has column {operand} in a list. Lists hold literals.")
        return operand

    def _operand(self) -> Operand:
        token = self._peek()
        self._next += 1
        match token.kind, token.word:
            case "quoted", _:
                return Column(token.text[1:-1].replace('""', '"'))
            case "text", _:
                return Value(_unquoted(token.text))
            case "number", _:
                return Value(self._number(token.text))
            case "sign", "-" | "+" if self._peek().kind == "number":
                return Value(self._number(token.text + self._tokens[self._next].text, skip=1))
            case "word", "timestamp" | "date" as kind if self._peek().kind == "text":
                return Value(self._moment(kind))
            case "word", "true" | "false":
                return Value(token.word == "true")
            case "word", "null":
                raise Invalid(f"The condition {self._text!r} compares with null, which is never true. Write 'is null'.")
            case "word", word if word not in _KEYWORDS:
                return Column(token.text)
        self._next -= 1
        raise self._expected("a column or a literal")

    def _number(self, text: str, skip: int = 0) -> int | Decimal:
        self._next += skip
        number = Decimal(text)
        if number and abs(number.adjusted()) > _LARGEST:
            raise Invalid(f"The condition {self._text!r} has the number {text}, which fits into no column.")
        if number == number.to_integral_value():
            return int(number)
        return Decimal(f"{number:f}".rstrip("0"))

    def _moment(self, kind: str) -> datetime | date:
        text = _unquoted(self._tokens[self._next].text)
        self._next += 1
        if kind == "timestamp":
            return as_utc(text)
        try:
            return date.fromisoformat(text)
        except ValueError as exc:
            raise Invalid(f"{text!r} is not a day. Write it as DATE '2013-11-03'.") from exc

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, word: str) -> bool:
        found = self._peek().word == word
        self._next += found
        return found

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._expected(repr(word))

    def _expected(self, what: str) -> Invalid:
        token = self._peek()
        met = "ends" if token.kind == "end" else f"has {token.text!r} at character {token.at + 1}"
        return Invalid(f"The condition {self._text!r} {met}, where {what} is expected.")


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")
