"""The language in which runs are searched: text to the conditions of the ledger, and back.

    metrics.auc > 0.7 and (params.depth = 3 or tags.team in ('a', 'b')) and not status = 'failed'
    started > -7d and metrics.loss.min < 0.3 and uses(delay@champion)

It is MLflow's grammar with more: ``or``, ``not`` and parentheses, ``in`` for every field, dates and lengths of time,
the statistics of a metric, and lineage. What the conditions mean is left to ``trivet.ledger.conditions``, what they look up
to the caller. Words of the grammar may be written in any case.

    query     =  query OR query | query AND query | NOT query | ( query ) | lineage | test | true | false
    test      =  field OP value | field [NOT] IN ( value, ... ) | field [NOT] LIKE|ILIKE text | field IS [NOT] NULL
    field     =  [metrics. | params. | tags. | attributes.] name [.last | .min | .max | .step | .count]
    lineage   =  uses(thing) | made(thing) | made_from(thing) | leads_to(thing)
    value     =  'text' | "text" | number | true | false | -7d | '2026-11-01' | now

Invariant: ``parse(write(c))`` is ``c``, and nothing that is written in quotes is ever more than text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NoReturn, TypeAlias

from trivet.clock import system_clock
from trivet.errors import Invalid, TrivetError, nearest
from trivet.ledger.conditions import ATTRIBUTES, And, Compare, Condition, Field, In, Known, Linked, Not, Or, Value
from trivet.ledger.queries import Order
from trivet.tracking.tokens import Token, bare, one_field, points_at, split
from trivet.types import Digest, as_duration, from_micros, to_micros

__all__ = ["parse", "parse_order", "write", "write_order"]

LINEAGE: Final = {"uses": "input", "made": "output", "made_from": "ancestor", "leads_to": "descendant"}
GROUPS: Final = {
    **dict.fromkeys(("metrics", "metric"), "metric"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "parameter"),
    **dict.fromkeys(("tags", "tag"), "tag"),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), "attribute"),
}
ALIASES: Final = {
    "run_id": "id",
    "run_uuid": "id",
    "run_name": "name",
    "user_id": "user",
    "duration": "seconds",
    "created": "started",
    "Created": "started",
    "experiment_id": "experiment",
}
"""Words that other tools have for attributes."""
IN_MILLISECONDS: Final = {"start_time": "started", "end_time": "ended", "deleted_time": "deleted"}
"""Moments as milliseconds since 1970, as MLflow writes them."""
STATISTICS: Final = ("last", "min", "max", "step", "count")
_MOMENTS = frozenset(IN_MILLISECONDS.values())
_PREFIXES = {"metric": "metrics", "parameter": "params", "tag": "tags"}
_OPERATORS = ("=", "==", "!=", "<>", "<", "<=", ">", ">=")
_SAME = {"==": "=", "<>": "!="}
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "like", "ilike"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
_AGO = re.compile(r"([+-])((?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d|w))+)")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DEEPEST, _LONGEST = 60, 200_000
Artifacts: TypeAlias = Callable[[str], Sequence[Digest]]
"""What a reference in the text of a query means: one artifact, or those that a run made."""


@dataclass(frozen=True)
class _Asked:
    """A field as it was written: which one, where it stands, and whether its numbers are milliseconds."""

    field: Field
    token: Token
    milliseconds: bool = False


def parse(
    text: str,
    *,
    now: datetime | None = None,
    artifacts: Artifacts | None = None,
    experiment: Callable[[str], str] | None = None,
) -> Condition:
    """The condition that ``text`` states; of an empty text the one that always holds.

    Args:
        text: in the grammar of this module.
        now: from where ``-7d`` counts; the present by default.
        artifacts: what a reference such as ``delay@champion`` means. A whole digest needs no looking up.
        experiment: the id of an experiment by its name.

    Raises:
        Invalid: it is not in the grammar. The message shows where, and what there is instead.

    Example:
        >>> parse("metrics.auc > 0.7")
        Compare(field=Field(group='metric', name='auc', stat='last'), op='>', value=0.7)
        >>> parse("nmae = 'fit'")
        Traceback (most recent call last):
        ...
        trivet.errors.Invalid: A run has no attribute 'nmae'. Did you mean 'name'? A metric is written metrics.nmae, a \
parameter params.nmae, a tag tags.nmae.
          nmae = 'fit'
          ^^^^
    """
    if len(text) > _LONGEST:
        raise Invalid(f"A query of {len(text):,} characters is too long. Take {_LONGEST:,} at most.")
    return _Parser(text, now or system_clock(), artifacts, experiment).whole()


def parse_order(text: str) -> tuple[Order, ...]:
    """The order that ``metrics.auc desc, started`` states.

    Raises:
        Invalid: it states none.

    Example:
        >>> [(one.field.name, one.descending) for one in parse_order("metrics.auc desc, started")]
        [('auc', True), ('started', False)]
    """
    parser = _Parser(text, system_clock(), None, None)
    return parser.order()


def write(condition: Condition) -> str:
    """``condition`` in the one way that this module writes it.

    Example:
        >>> write(parse("metrics.auc>.7 AND NOT(params.depth = 3 or name like 'a%')"))
        "metrics.auc > 0.7 and not (params.depth = 3 or name like 'a%')"
    """
    match condition:
        case And(parts):
            return " and ".join(map(_part, parts)) if parts else "true"
        case Or(parts):
            return " or ".join(map(_part, parts)) if parts else "false"
        case Not(Known(field)):
            return f"{_field(field)} is null"
        case Not(part):
            return f"not {_part(part)}"
        case Known(field):
            return f"{_field(field)} is not null"
        case Linked(direction, digest):
            return f"{next(word for word, meant in LINEAGE.items() if meant == direction)}({digest})"
        case Compare(field, op, value):
            return _written(field, op, [value])
        case In(field, values):
            return _written(field, "in", values)


def write_order(order: Sequence[Order]) -> str:
    """``order`` as ``parse_order`` reads it.

    Example:
        >>> write_order(parse_order("metrics.auc DESC,started"))
        'metrics.auc desc, started'
    """
    return ", ".join(_field(one.field) + " desc" * one.descending for one in order)


class _Parser:
    """Reads a text from left to right, one token ahead."""

    def __init__(
        self, text: str, now: datetime, artifacts: Artifacts | None, experiment: Callable[[str], str] | None
    ) -> None:
        self._text, self._now, self._artifacts, self._experiment = text, now, artifacts, experiment
        self._tokens, self._at, self._depth = split(text), 0, 0

    def whole(self) -> Condition:
        """Everything that is written."""
        if self._ended():
            return And(())
        condition = self._or()
        if not self._ended():
            self._fail("Here a query goes on with 'and' or 'or', or ends.")
        return condition

    def order(self) -> tuple[Order, ...]:
        """A list of fields with their directions."""
        found: list[Order] = []
        while not self._ended():
            asked = self._field()
            descending = self._word("desc")
            if not descending:
                self._word("asc")
            found.append(Order(asked.field, descending))
            if not self._ended() and not self._takes(","):
                self._fail("Here an order goes on with 'asc', 'desc' or a comma, or ends.")
        return tuple(found)

    # How conditions are joined

    def _or(self) -> Condition:
        return self._joined("or", self._and, Or)

    def _and(self) -> Condition:
        return self._joined("and", self._not, And)

    def _joined(self, word: str, part: Callable[[], Condition], kind: type[And | Or]) -> Condition:
        parts = [part()]
        while self._word(word):
            parts.append(part())
        return kind(tuple(parts)) if len(parts) > 1 else parts[0]

    def _not(self) -> Condition:
        turns = 0
        while self._word("not"):
            turns += 1
        if turns + self._depth > _DEEPEST:
            self._fail("The query is nested too deep.")
        condition = self._primary()
        for _ in range(turns):
            condition = Not(condition)
        return condition

    def _primary(self) -> Condition:
        token = self._next
        if self._takes("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                self._fail("The query is nested too deep.", token)
            condition = self._or()
            self._needs(")", "Here a ')' is missing.")
            self._depth -= 1
            return condition
        if token.kind == "word" and token.text.lower() in {"true", "false"}:
            self._at += 1
            return And(()) if token.text.lower() == "true" else Or(())
        if token.kind == "call":
            return self._lineage()
        return self._test()

    # What is asked

    def _lineage(self) -> Condition:
        token = self._step()
        name, _, thing = token.text.partition("(")
        direction: Any = LINEAGE.get(name.strip().lower())
        if direction is None:
            self._fail(f"{name.strip()!r} is no question of lineage.{_meant(name, LINEAGE)}", token)
        thing = thing.removesuffix(")").strip().strip("'\"`").strip()
        if _DIGEST.fullmatch(thing):
            return Linked(direction, thing)
        if self._artifacts is None:
            self._fail("Here only a whole digest is understood, because nothing can be looked up.", token)
        found = [Linked(direction, digest) for digest in self._artifacts(thing)]
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _test(self) -> Condition:
        asked = self._field()
        token = self._next
        word = token.text.lower() if token.kind == "word" else token.text
        if token.kind == "op" and word in _OPERATORS:
            self._at += 1
            return self._made(asked, _SAME.get(word, word), self._value(asked, word))
        if self._word("is"):
            known = self._word("not")
            if not self._word("null"):
                self._fail("After 'is' stands 'null' or 'not null'.")
            return Known(asked.field) if known else Not(Known(asked.field))
        negated = self._word("not")
        condition = self._matched(asked)
        return And((Known(asked.field), Not(condition))) if negated else condition

    def _matched(self, asked: _Asked) -> Condition:
        for op in ("like", "ilike"):
            if self._word(op):
                return self._made(asked, op, self._text_value())
        if self._word("in"):
            return self._one_of(asked)
        raise self._error("After a field stands one of = != < <= > >= in, like, ilike, is null.", self._next)

    def _one_of(self, asked: _Asked) -> Condition:
        start = self._next
        self._needs("(", "After 'in' stands a list: in ('a', 'b').")
        values: list[Value] = []
        while not self._takes(")"):
            values.append(self._value(asked, "in"))
            if self._next.text != ")":
                self._needs(",", "Here a ',' or a ')' is missing.")
        try:
            return In(asked.field, tuple(values))
        except TrivetError as exc:
            raise self._error(exc.message, start) from exc

    def _made(self, asked: _Asked, op: Any, value: Value) -> Condition:
        try:
            return Compare(asked.field, op, value)
        except TrivetError as exc:
            raise self._error(exc.message, self._tokens[self._at - 1]) from exc

    def _field(self) -> _Asked:
        token = self._step()
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            self._fail("Here a field is missing, such as metrics.auc, params.depth, tags.team or name.", token)
        first, rest, quoted = one_field(token.text)
        if first not in GROUPS:
            return self._attribute(token, token.text)
        group: Any = GROUPS[first]
        if group == "attribute":
            return self._attribute(token, rest)
        name, dot, stat = (rest, "", "") if quoted else rest.rpartition(".")
        if quoted:
            name, stat = rest, quoted[1:]
            if stat and (group != "metric" or stat not in STATISTICS):
                self._fail(f"A metric has no {stat!r}. It has: {', '.join(STATISTICS)}.", token)
        elif not (dot and name and group == "metric" and stat in STATISTICS):
            name, stat = rest, ""
        if not name and not quoted:
            self._fail(f"After '{first}.' stands a name.", token)
        return _Asked(Field(group, name, stat or "last"), token)  # type: ignore[arg-type]

    def _attribute(self, token: Token, word: str) -> _Asked:
        if word in IN_MILLISECONDS:
            return _Asked(Field("attribute", IN_MILLISECONDS[word]), token, milliseconds=True)
        name = ALIASES.get(word, word)
        if name not in ATTRIBUTES:
            self._fail(_no_attribute(word), token)
        return _Asked(Field("attribute", name), token)

    # Values

    def _value(self, asked: _Asked, op: str) -> Value:
        token, name = self._next, asked.field.name
        if asked.field.group == "attribute" and name in _MOMENTS:
            return self._moment(asked, op)
        if token.kind == "word" and name == "seconds" and asked.field.group == "attribute":
            return self._seconds()
        if token.kind == "text":
            return self._known_text(asked, self._step().value)
        return self._literal()

    def _known_text(self, asked: _Asked, text: str) -> str:
        if asked.field == Field("attribute", "experiment") and self._experiment is not None:
            return self._experiment(text)
        return text.lower() if asked.field == Field("attribute", "status") else text

    def _literal(self) -> Value:
        token = self._step()
        if token.kind == "word" and _NUMBER.fullmatch(token.text):
            return _as_number(token.text)
        if token.kind == "word" and token.text in {"true", "false"}:
            return token.text
        hint = f" Text stands in quotes: '{token.text}'." if token.kind == "word" else ""
        raise self._error(f"Here a value is missing: a number or a text in quotes.{hint}", token)

    def _text_value(self) -> str:
        token = self._step()
        if token.kind != "text":
            self._fail("Here a pattern in quotes is missing, such as 'deep%'.", token)
        return token.value

    def _seconds(self) -> Value:
        token = self._step()
        if _NUMBER.fullmatch(token.text):
            return _as_number(token.text)
        try:
            return as_duration(token.text) / 1e6
        except Invalid as exc:
            raise self._error("Here a number of seconds is missing, or a length such as 90s, 5m or 2h.", token) from exc

    def _moment(self, asked: _Asked, op: str) -> int | float:
        token = self._step()
        if token.kind == "word" and token.text.lower() == "now":
            return to_micros(self._now)
        if token.kind == "word" and (ago := _AGO.fullmatch(token.text)):
            length = as_duration(ago[2])
            return to_micros(self._now) + (length if ago[1] == "+" else -length)
        if asked.milliseconds and token.kind == "word" and _NUMBER.fullmatch(token.text):
            return _in_micros(token.text)
        if token.kind not in {"text", "word"}:
            self._fail("Here a time is missing: '2026-11-01', '2026-11-01 14:30', -7d or now.", token)
        return self._date(asked, op, token)

    def _date(self, asked: _Asked, op: str, token: Token) -> int:
        text = token.value
        if _DAY.fullmatch(text) and op in {"=", "==", "!=", "<>", "in"}:
            field = asked.field.name
            self._fail(f"A day is no moment. Write {field} >= '{text}' and {field} < the day after it.", token)
        try:
            moment = datetime.fromisoformat(text)
            return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (TrivetError, ValueError, OverflowError) as exc:
            hint = " Milliseconds belong to start_time and end_time." if _NUMBER.fullmatch(text) else ""
            message = f"{text[:80]!r} is no time. Write '2026-11-01', '2026-11-01 14:30', -7d or now.{hint}"
            raise self._error(message, token) from exc

    # Tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _ended(self) -> bool:
        return self._next.kind == "end"

    def _step(self) -> Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _word(self, word: str) -> bool:
        if self._next.kind == "word" and self._next.text.lower() == word:
            self._at += 1
            return True
        return False

    def _takes(self, sign: str) -> bool:
        if self._next.kind == "op" and self._next.text == sign:
            self._at += 1
            return True
        return False

    def _needs(self, sign: str, otherwise: str) -> None:
        if not self._takes(sign):
            self._fail(otherwise)

    def _fail(self, message: str, token: Token | None = None) -> NoReturn:
        raise self._error(message, token or self._next)

    def _error(self, message: str, token: Token) -> Invalid:
        return Invalid(f"{message}\n{points_at(self._text, token)}")


def _no_attribute(word: str) -> str:
    group, dot, name = word[:40].partition(".")
    if dot and (close := nearest(group, list(GROUPS))):
        return f"There is no {group!r} to ask for. Did you mean {close[0]}.{name}?"
    short = word[:40]
    return (
        f"A run has no attribute {short!r}.{_meant(word, ATTRIBUTES)} A metric is written metrics.{short}, "
        f"a parameter params.{short}, a tag tags.{short}."
    )


def _meant(word: str, known: Sequence[str] | dict[str, str]) -> str:
    close = nearest(word.strip().lower(), list(known))
    return f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(known)}."


def _as_number(text: str) -> int | float:
    return int(text) if _WHOLE.fullmatch(text) else float(text)


def _in_micros(milliseconds: str) -> int | float:
    number = float(milliseconds)
    if not math.isfinite(number) or "e" in milliseconds.lower():
        return number * 1000  # a power is never worked out exactly: it may have any number of digits
    exact = Fraction(milliseconds) * 1000
    return int(exact) if exact.denominator == 1 and abs(exact) < 2**63 else float(exact)


def _part(condition: Condition) -> str:
    """As part of something larger: in parentheses where it would be read otherwise."""
    joined = isinstance(condition, And | Or) and condition.conditions
    return f"({write(condition)})" if joined else write(condition)


def _written(field: Field, op: str, values: Sequence[Value]) -> str:
    name, told = _field(field), [_value_text(value) for value in values]
    if field.group == "attribute" and field.name in _MOMENTS:
        moments = [_moment_text(value) for value in values]
        if all(moments):
            told = [str(moment) for moment in moments]
        else:
            name = next(word for word, meant in IN_MILLISECONDS.items() if meant == field.name)
            told = [_milliseconds(value) for value in values]
    return f"{name} in ({', '.join(told)})" if op == "in" else f"{name} {op} {told[0]}"


def _field(field: Field) -> str:
    if field.group == "attribute":
        return field.name
    stat = "" if field.stat == "last" else f".{field.stat}"
    quoted = not bare(field.name) or (field.group == "metric" and field.name.rpartition(".")[2] in STATISTICS)
    name = "`" + field.name.replace("`", "``") + "`" if quoted else field.name
    return f"{_PREFIXES[field.group]}.{name}{stat}"


def _value_text(value: Value) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _moment_text(value: Value) -> str | None:
    """A whole microsecond as a date, where there is one."""
    if not isinstance(value, int):
        return None
    try:
        return f"'{from_micros(value).astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"
    except (TrivetError, ValueError, OverflowError):
        return None


def _milliseconds(value: Value) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    sign, digits, exponent = Decimal(value).as_tuple()
    assert isinstance(exponent, int)
    return f"{Decimal((sign, digits, exponent - 3)):f}"
