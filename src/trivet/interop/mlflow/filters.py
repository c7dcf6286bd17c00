"""MLflow's search over runs, as conditions of the ledger: the same meaning, probed on the real server.

Where the two differ, MLflow wins here: parameters are compared as text (``'3'`` is not ``'3.0'``), ``!=`` leaves out what
lacks the key, times are milliseconds, statuses are upper case, and a run may be told to be ``SCHEDULED`` or running
again, which the ledger keeps as a tag.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from trivet.errors import Invalid
from trivet.interop.mlflow.identity import run_here
from trivet.interop.mlflow.lexer import Clause, Identifier, Text, clauses, ordering
from trivet.interop.mlflow.wire import invalid
from trivet.ledger import Order
from trivet.ledger.conditions import And, Compare, Condition, Field, In, Known, Not, Or, asked, holds
from trivet.ledger.records import Run
from trivet.types import as_utc

__all__ = [
    "STATUSES",
    "STATUS_TAG",
    "Datasets",
    "condition_of",
    "condition_of_clause",
    "joined",
    "order_of",
    "text_fits",
]

STATUS_TAG: Final = "trivet.mlflow.status"
"""What a client said a run is where the ledger's own statuses cannot say it."""
STATUSES: Final = {
    "RUNNING": ("running",),
    "FINISHED": ("finished", "cached"),
    "FAILED": ("failed",),
    "KILLED": ("killed",),
    "SCHEDULED": (),
}
GROUPS: Final = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "parameter"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run", ""), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
_ENTITIES = "['metric', 'parameter', 'tag', 'attribute', 'dataset']"
_SAME = {
    "created": "start_time",
    "Created": "start_time",
    **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
}
_TIMES = {"start_time": "started", "end_time": "ended"}
_TEXTS = ("run_id", "run_name", "status", "artifact_uri", "user_id")
_NUMERIC = (">", ">=", "!=", "=", "<", "<=")
_TEXTUAL = ("!=", "=", "LIKE", "ILIKE")
_NULLS = ("IS NULL", "IS NOT NULL")
_LISTS = ("IN", "NOT IN")
_ALLOWED = {
    "metric": _NUMERIC,
    "parameter": _TEXTUAL + _NULLS,
    "tag": _TEXTUAL + _NULLS,
    "text": _TEXTUAL + _LISTS,
    "time": _NUMERIC,
    "dataset": _TEXTUAL + _LISTS,
}
NEVER: Final = Or(())
Datasets = Callable[[str, Callable[[str], bool]], Condition]
"""Given ``name``, ``digest`` or ``context`` and what it must satisfy: the runs that read such a data set."""


def condition_of(text: str, datasets: Datasets) -> Condition | None:
    """The condition of a filter, or None for an empty one.

    Args:
        text: the filter, as a client writes it.
        datasets: finds the runs that read a data set.

    Raises:
        MLflowError: the filter breaks MLflow's grammar.

    Example:
        >>> condition_of("metrics.acc > 0.5", lambda key, fits: NEVER)
        Compare(field=Field(group='metric', name='acc', stat='last'), op='>', value=0.5)
    """
    return joined([condition_of_clause(clause, datasets) for clause in clauses(text)])


def joined(parts: Sequence[Condition]) -> Condition | None:
    """All of these, or None where there are none."""
    return None if not parts else parts[0] if len(parts) == 1 else And(tuple(parts))


def order_of(clauses_: Sequence[str]) -> tuple[Order, ...]:
    """The order of ``order_by``, with MLflow's own behind it: the start, newest first, then the id.

    Raises:
        MLflowError: a clause cannot be understood, or a field is named twice.
    """
    orders: list[Order] = []
    for text in clauses_:
        subject, ascending = ordering(text)
        order = Order(_ordered(subject), descending=not ascending)
        if order.field in [one.field for one in orders]:
            raise invalid(f"`order_by` contains duplicate fields: {list(clauses_)}")
        orders.append(order)
    behind = [Order(Field("attribute", "started"), descending=True), Order(Field("attribute", "id"))]
    known = {one.field for one in orders}
    return (*orders, *(one for one in behind if one.field not in known))


def _ordered(subject: Identifier) -> Field:
    group, key = _place(subject)
    if group == "dataset":
        raise invalid("Invalid identifier type 'dataset'")
    if group != "attribute":
        return Field(group, key)  # type: ignore[arg-type]
    names = {**_TIMES, "run_id": "id", "run_name": "name", "status": "status", "user_id": "user", "artifact_uri": "id"}
    return Field("attribute", names[key])


def _place(subject: Identifier) -> tuple[str, str]:
    """The group and the key, each under its one name."""
    group = GROUPS.get(subject.group)
    if group is None:
        raise invalid(f"Invalid entity type '{subject.group[:80]}'. Valid values are {_ENTITIES}")
    key = _SAME.get(subject.key, subject.key) if group == "attribute" else subject.key
    valid: dict[str, Sequence[str]] = {"attribute": (*_TEXTS, *_TIMES), "dataset": ("name", "digest", "context")}
    if group in valid and key not in valid[group]:
        shown = "{" + ", ".join(repr(one) for one in valid[group]) + "}"
        raise invalid(f"Invalid {group} key '{key[:80]}' specified. Valid keys are '{shown}'")
    return group, key


def condition_of_clause(clause: Clause, datasets: Datasets) -> Condition:
    """The condition of one comparison.

    Raises:
        MLflowError: it breaks MLflow's grammar.
    """
    group, key = _place(clause.subject)
    shape = group if group != "attribute" else "time" if key in _TIMES else "text"
    op = clause.op
    if op in _NULLS and group not in {"tag", "parameter"}:
        raise invalid(f"IS NULL / IS NOT NULL is only supported for tags and params, not for '{group}' '{key}'")
    if op not in _ALLOWED[shape]:
        raise invalid(f"Invalid comparator '{op}' not one of '{set(_ALLOWED[shape])}'")
    if op in _NULLS:
        known = Known(Field(group, key))  # type: ignore[arg-type]
        return Not(known) if op == "IS NULL" else known
    match shape:
        case "metric":
            return _metric(key, op, clause.values[0])
        case "parameter" | "tag":
            return _text(Field(group, key), op, _quoted(clause.values[0], group))  # type: ignore[arg-type]
        case "time":
            return _time(key, op, clause.values[0])
        case "dataset":
            return datasets(key, text_fits(op, [_quoted(one, "dataset attributes") for one in clause.values]))
    return _attribute(key, op, clause.values)


def _metric(key: str, op: str, value: Text) -> Condition:
    return Compare(Field("metric", key), op, _number(value, f"metric. Found {value.value}"))  # type: ignore[arg-type]


def _number(value: Text, said: str) -> float:
    try:
        if value.quoted:
            raise ValueError
        found = float(value.value)
        if math.isnan(found):
            raise ValueError
    except ValueError as exc:
        raise invalid(f"Expected numeric value type for {said[:200]}") from exc
    return found


def _quoted(value: Text, noun: str) -> str:
    if not value.quoted:
        raise invalid(f"Expected a quoted string value for {noun} (e.g. 'my-value'). Got value {value.value[:200]}")
    return value.value


def _text(field: Field, op: str, value: str) -> Condition:
    """A comparison as text, which numbers in parameters would not be: a number holds no wildcard, so LIKE is equality."""
    if op in {"LIKE", "ILIKE"}:
        return _pattern(field, op.lower(), value)
    exact = field.group == "parameter" and asked(value).number is not None
    if not exact:
        return Compare(field, op, value)  # type: ignore[arg-type]
    same = Compare(field, "like", value)
    return same if op == "=" else And((Known(field), Not(same)))


def _pattern(field: Field, op: Any, value: str) -> Condition:
    try:
        return Compare(field, op, value)
    except Invalid as exc:
        raise invalid(str(exc)) from exc


def _time(key: str, op: str, value: Text) -> Condition:
    """Milliseconds, each of which is a thousand moments here."""
    millis = _number(value, f"numeric attribute: {key}. Found {value.value}")
    if not abs(millis) < 2**53:
        raise invalid(f"Expected numeric value type for numeric attribute: {key}. Found {value.value[:80]}")
    field = Field("attribute", _TIMES[key])
    first = math.floor(millis) * 1000
    after = first + 1000
    if millis != math.floor(millis):  # between two milliseconds: equal to none
        if op in {"=", "!="}:
            return NEVER if op == "=" else Known(field)
        return Compare(field, "<" if "<" in op else ">=", after)
    match op:
        case "=":
            return And((Compare(field, ">=", first), Compare(field, "<", after)))
        case "!=":
            return Or((Compare(field, "<", first), Compare(field, ">=", after)))
        case ">" | "<=":
            return Compare(field, ">=" if op == ">" else "<", after)
    return Compare(field, op, first)  # type: ignore[arg-type]


def _attribute(key: str, op: str, values: Sequence[Text]) -> Condition:
    texts = [_quoted(value, "attributes") for value in values]
    if op in _LISTS and key != "run_id":
        raise invalid("Only ['run_id'] attributes support comparison with a list of quoted string values.")
    match key:
        case "status":
            return _status(text_fits(op, texts))
        case "run_name":
            return _text(Field("attribute", "name"), op, texts[0])
        case "user_id":
            return _text(Field("attribute", "user"), op, texts[0])
    return _identity(key, op, texts)


def _identity(key: str, op: str, texts: Sequence[str]) -> Condition:
    if op in {"LIKE", "ILIKE"}:
        raise invalid(f"{key} is compared with = and != here, and run_id with IN and NOT IN too, not with {op}.")
    if key == "artifact_uri":
        texts = [text.removesuffix("/artifacts").rpartition("/")[2] for text in texts]
    ids = tuple(found for text in texts if (found := run_here(text)) is not None)
    same = In(Field("attribute", "id"), ids) if ids else NEVER
    return same if op in {"=", "IN"} else Not(same)


def _status(fits: Callable[[str], bool]) -> Condition:
    told, own = Field("tag", STATUS_TAG), Field("attribute", "status")
    names = tuple(name for name in STATUSES if fits(name))
    statuses = tuple(status for name in names for status in STATUSES[name])
    return Or((In(told, names), And((Not(Known(told)), In(own, statuses)))))


def text_fits(op: str, texts: Sequence[str]) -> Callable[[str], bool]:
    """What a text must satisfy: the ledger's own comparison, applied to one text."""
    field = Field("tag", "text")

    def fits(text: str) -> bool:
        run = Run("", "", "", "running", as_utc("1970-01-01T00:00:00Z"), tags={"text": text})
        if op in _LISTS:
            return (text in texts) == (op == "IN")
        return holds(_pattern(field, op.lower(), texts[0]), run)

    return fits
