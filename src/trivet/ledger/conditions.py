"""What may be asked of a run: conditions as data, and what they mean in plain Python.

A condition is a tree: comparisons of a *field* (an attribute, a parameter, a metric or a tag) joined by ``And``, ``Or``
and ``Not``. Grammars make such trees, stores answer them; ``holds`` says what they mean, and every store agrees with it.

The logic has two values. A comparison with something that a run does not have is false, ``!=`` too; ``Not`` is plain
negation, so ``Not(Compare(f, "=", v))`` fits runs that lack ``f`` and ``Compare(f, "!=", v)`` does not.

- Metrics are numbers. NaN is equal to nothing and in no order: only ``!=`` is true of it.
- Parameters and values that both read as numbers compare as numbers (``"3"``, ``3`` and ``3.0`` are equal); all others
  compare as text, in the order of code points. What is no text is compared as its JSON (``true``, ``null``, ``[1]``).
- ``like`` knows ``%`` (any text) and ``_`` (one character) and no escape; ``ilike`` ignores the case of ASCII letters.
- Times compare as whole microseconds since 1970.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from trivet.errors import Invalid
from trivet.ledger.records import Run, Summary
from trivet.types import Digest, to_micros

__all__ = [
    "ATTRIBUTES",
    "And",
    "Compare",
    "Condition",
    "Field",
    "Found",
    "In",
    "Known",
    "Linked",
    "Not",
    "Or",
    "asked",
    "check_condition",
    "holds",
    "look_up",
    "parameter",
    "searchable",
    "searchable_name",
]

Op: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "like", "ilike"]
Value: TypeAlias = int | float | str

_TEXTS = ("id", "kind", "name", "status", "parent", "user", "host", "key", "experiment")
_NUMBERS = ("started", "ended", "deleted", "seconds")
ATTRIBUTES: Final = (*_TEXTS, *_NUMBERS)
"""The attributes that can be asked for. ``seconds`` is how long the run took."""
NULLABLE: Final = frozenset({"parent", "key", "ended", "deleted", "seconds"})
_NAMED = 200  # characters of a name that are told apart as they are
_MOST_VALUES, _MOST_PARTS, _LONGEST_PATTERN = 10_000, 500, 10_000
_DEEPEST = 20  # SQLite's parser keeps a hundred open brackets and words at most
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HALF = re.compile("[\0\ud800-\udfff]")
_SMALL = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Field(msgspec.Struct, frozen=True, tag=True):
    """What of a run is looked at.

    Attributes:
        group: where it stands.
        name: of an attribute one of ``ATTRIBUTES``; of anything else any text.
        stat: of a metric, which number of its summary.

    Raises:
        Invalid: there is no such attribute, or something else than a metric is asked for a statistic.
    """

    group: Literal["attribute", "parameter", "metric", "tag"]
    name: str
    stat: Literal["last", "min", "max", "step", "count"] = "last"

    def __post_init__(self) -> None:
        if self.group == "attribute" and self.name not in ATTRIBUTES:
            raise Invalid(f"A run has no attribute {self.name[:80]!r} to ask for. There are: {', '.join(ATTRIBUTES)}.")
        if self.group != "metric" and self.stat != "last":
            raise Invalid(f"Only a metric has a {self.stat}; {self.name[:80]!r} is a {self.group}.")

    @property
    def is_text(self) -> bool:
        """Whether it is text and nothing else."""
        return self.group == "tag" or (self.group == "attribute" and self.name in _TEXTS)

    @property
    def is_number(self) -> bool:
        """Whether it is a number and nothing else. A parameter is neither."""
        return self.group != "parameter" and not self.is_text

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number of 64 bits."""
        return self.stat in {"step", "count"} or (self.group == "attribute" and self.name in _NUMBERS[:3])


class Compare(msgspec.Struct, frozen=True, tag=True):
    """A field against a value.

    Raises:
        Invalid: text is compared with a number, or a number is matched with a pattern.
    """

    field: Field
    op: Op
    value: Value

    def __post_init__(self) -> None:
        if self.op in {"like", "ilike"}:
            _check_pattern(self.field, self.value)
        elif self.op not in _OPERATORS:
            raise Invalid(f"{self.op!r} is no comparison. There are: {', '.join([*_OPERATORS, 'like', 'ilike'])}.")
        _check_value(self.field, self.value)


class In(msgspec.Struct, frozen=True, tag=True):
    """A field that is equal to one of some values.

    Raises:
        Invalid: as ``Compare``, or there are more than 10,000 values.
    """

    field: Field
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.values) > _MOST_VALUES:
            raise Invalid(f"{len(self.values)} values are too many for one question. Ask for {_MOST_VALUES} at most.")
        for value in self.values:
            _check_value(self.field, value)


class Known(msgspec.Struct, frozen=True, tag=True):
    """A field that the run has."""

    field: Field


class Linked(msgspec.Struct, frozen=True, tag=True):
    """An artifact that is the run's ``input`` or ``output``, or its ``ancestor`` or ``descendant`` through any runs.

    An input is an ancestor and an output a descendant.
    """

    direction: Literal["input", "output", "ancestor", "descendant"]
    digest: Digest


class And(msgspec.Struct, frozen=True, tag=True):
    """All of these; of none, always."""

    conditions: tuple[Condition, ...]


class Or(msgspec.Struct, frozen=True, tag=True):
    """One of these at least; of none, never."""

    conditions: tuple[Condition, ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    """Whatever this is not."""

    condition: Condition


Condition: TypeAlias = And | Or | Not | Compare | In | Known | Linked
Reached: TypeAlias = Callable[[Linked], Collection[Digest]]
"""The artifacts that a run must have among its inputs (of an ancestor) or outputs (of a descendant)."""


class Found(NamedTuple):
    """A value to be compared: as text, as a number, or (a parameter) as either."""

    text: str | None
    number: int | float | None


def holds(
    condition: Condition, run: Run, summaries: Mapping[str, Summary] | None = None, reached: Reached | None = None
) -> bool:
    """Whether ``condition`` is true of ``run``.

    Args:
        condition: what is asked.
        run: of whom.
        summaries: those of the run by name, needed where other statistics than ``last`` are asked for.
        reached: what lineage knows, needed for ancestors and descendants.

    Raises:
        Invalid: something is needed and not given.

    Example:
        >>> from datetime import UTC, datetime
        >>> run = Run("01JCZ8", "task", "fit", "finished", datetime(2026, 1, 1, tzinfo=UTC), metrics={"auc": 0.7})
        >>> auc, depth = Field("metric", "auc"), Field("parameter", "depth")
        >>> holds(And((Compare(auc, ">", 0.6), Not(Known(depth)))), run), holds(Compare(depth, "!=", 3), run)
        (True, False)
    """
    match condition:
        case And(parts):
            return all(holds(part, run, summaries, reached) for part in parts)
        case Or(parts):
            return any(holds(part, run, summaries, reached) for part in parts)
        case Not(part):
            return not holds(part, run, summaries, reached)
        case Known(field):
            return look_up(field, run, summaries) is not None
        case Compare(field, op, value):
            found = look_up(field, run, summaries)
            return found is not None and _compare(found, op, asked(value))
        case In(field, values):
            found = look_up(field, run, summaries)
            return found is not None and any(_compare(found, "=", asked(value)) for value in values)
        case Linked():
            return _is_linked(condition, run, reached)


def look_up(field: Field, run: Run, summaries: Mapping[str, Summary] | None = None) -> Found | None:
    """What ``run`` has in a field, or None.

    Raises:
        Invalid: it stands in the summaries and they are not given.
    """
    match field.group:
        case "attribute":
            return _attribute(field.name, run)
        case "parameter":
            return {searchable_name(name): parameter(value) for name, value in run.parameters.items()}.get(
                searchable_name(field.name)
            )
        case "tag":
            tags = {searchable_name(name): Found(searchable(text), None) for name, text in run.tags.items()}
            return tags.get(searchable_name(field.name))
        case "metric":
            return _metric(field, run, summaries)


def parameter(value: Any) -> Found:
    """A parameter as it is compared: its text, and its number if it reads as one.

    Example:
        >>> parameter("3"), parameter(3.0), parameter(True)
        (Found(text='3', number=3.0), Found(text='3.0', number=3.0), Found(text='true', number=None))
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Found(searchable(text), _number(value))


def asked(value: Value) -> Found:
    """The value of a comparison as text and, if it reads as one, as a number; a bare number stays exact."""
    if isinstance(value, str):
        return parameter(value)
    return Found(parameter(value).text, value)


def searchable(text: str) -> str:
    r"""``text`` as every database can keep and compare it: NUL and half surrogates are written out.

    Example:
        >>> searchable("a\0b"), searchable("délai")
        ('a\\x00b', 'délai')
    """
    if text.isascii() and "\0" not in text:
        return text
    return _HALF.sub(lambda found: r"\x00" if found[0] == "\0" else f"\\u{ord(found[0]):04x}", text)


def searchable_name(name: str) -> str:
    """A name as it is looked up: ``searchable``, and no longer than an index can hold."""
    plain = searchable(name)
    if len(plain) <= _NAMED:
        return plain
    return f"{plain[: _NAMED - 65]}~{hashlib.sha256(plain.encode()).hexdigest()}"


def check_condition(condition: Condition) -> None:
    """Refuse what no database could answer in its limits.

    Raises:
        Invalid: it has more than 500 parts or is nested deeper than 20 times.
    """
    parts, deepest = 0, 0
    for depth in _depths(condition):
        parts, deepest = parts + 1, max(deepest, depth)
        if parts > _MOST_PARTS or deepest > _DEEPEST:
            raise Invalid(
                f"The condition is too large: at most {_MOST_PARTS} parts, nested {_DEEPEST} times. "
                "Ask for many values of one field with 'in'."
            )


def _depths(condition: Condition) -> Iterator[int]:
    waiting: list[tuple[Condition, int]] = [(condition, 1)]
    while waiting:
        part, depth = waiting.pop()
        yield depth
        match part:
            case And(parts) | Or(parts):
                waiting += [(one, depth + 1) for one in parts]
            case Not(one):
                waiting.append((one, depth + 1))


def _attribute(name: str, run: Run) -> Found | None:
    value = getattr(run, name)
    if value is None:
        return None
    if name in _TEXTS:
        return Found(value, None)
    return Found(None, value if name == "seconds" else to_micros(value))


def _metric(field: Field, run: Run, summaries: Mapping[str, Summary] | None) -> Found | None:
    name = searchable(field.name)
    if name not in run.metrics:
        return None
    if field.stat == "last":
        return Found(None, float(run.metrics[name]))
    if summaries is None or name not in summaries:
        raise Invalid(f"The {field.stat} of metric {name!r} needs the summaries of the run.")
    value = getattr(summaries[name], field.stat)
    return None if value is None else Found(None, value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > 400 or not _NUMBER.fullmatch(value)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number


def _compare(found: Found, op: str, wanted: Found) -> bool:
    if op in {"like", "ilike"}:
        return _is_like(str(found.text), str(wanted.text), folded=op == "ilike")
    if found.number is not None and wanted.number is not None:
        exact = isinstance(found.number, int)
        return _OPERATORS[op](found.number, wanted.number if exact else float(wanted.number))
    return _OPERATORS[op](found.text, wanted.text)


def _is_like(text: str, pattern: str, *, folded: bool) -> bool:
    if folded:
        text, pattern = text.translate(_SMALL), pattern.translate(_SMALL)
    parts = ({"%": ".*", "_": "."}.get(one, re.escape(one)) for one in re.sub("%+", "%", pattern))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _is_linked(condition: Linked, run: Run, reached: Reached | None) -> bool:
    match condition.direction:
        case "input":
            return condition.digest in run.inputs.values()
        case "output":
            return condition.digest in run.outputs.values()
        case _ if reached is None:
            raise Invalid("Ancestors and descendants need the lineage of the ledger.")
        case "ancestor":
            return not set(run.inputs.values()).isdisjoint(reached(condition))
        case "descendant":
            return not set(run.outputs.values()).isdisjoint(reached(condition))


def _check_value(field: Field, value: Value) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Invalid(f"{value!r} is neither text nor a number, so {field.name[:80]!r} is not compared with it.")
    if isinstance(value, int) and abs(value) >= 2**1000:
        raise Invalid(f"{field.name[:80]!r} is compared with a number that is too large.")
    if field.is_text and not isinstance(value, str):
        raise Invalid(f"{field.name[:80]!r} is text and is not compared with the number {value}. Write {str(value)!r}.")
    if field.is_number and isinstance(value, str):
        raise Invalid(f"{field.name[:80]!r} is a number and is not compared with the text {value[:80]!r}.")


def _check_pattern(field: Field, pattern: Value) -> None:
    if field.is_number or not isinstance(pattern, str):
        raise Invalid(
            f"Only text is matched with a pattern: {field.name[:80]!r} is not, or {str(pattern)[:80]!r} is not."
        )
    if len(pattern) > _LONGEST_PATTERN:
        raise Invalid(f"A pattern of {len(pattern)} characters is too long. Take {_LONGEST_PATTERN} at most.")
