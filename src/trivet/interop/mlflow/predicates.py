"""MLflow's search over what is few: experiments, registered models and their versions, filtered and sorted in memory.

The grammar is that of the runs with fewer keys. Of a tag, ``!=`` leaves out what lacks it, save where the client appends
``tag.`mlflow.prompt.is_prompt` != 'true'`` to every search of models: there it means "no prompts".
"""

from __future__ import annotations

import base64
import binascii
import json
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from trivet.interop.mlflow.filters import text_fits
from trivet.interop.mlflow.lexer import Clause, clauses, ordering
from trivet.interop.mlflow.wire import invalid

__all__ = ["Row", "matching", "offset_of", "page"]

PROMPT: Final = "mlflow.prompt.is_prompt"
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_GROUPS = {
    "": "attribute", "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "tag": "tag", "tags": "tag",
}  # fmt: skip


class Row(NamedTuple):
    """One thing that can be found: what a client is told, and what it can be asked by."""

    told: dict[str, Any]
    attributes: dict[str, Any]
    tags: dict[str, str]


def matching(
    rows: Sequence[Row],
    text: str,
    *,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    lists: Sequence[str] = (),
    nulls: bool = False,
) -> list[Row]:
    """The rows that a filter is true of.

    Args:
        rows: all there are.
        text: the filter.
        texts: the attributes that are text.
        numbers: those that are numbers.
        lists: those of the texts that may stand before IN.
        nulls: whether a tag may be asked for being there.

    Raises:
        MLflowError: the filter breaks the grammar.
    """
    tests = [_test(clause, texts, numbers, lists, nulls=nulls) for clause in clauses(text)]
    return [row for row in rows if all(test(row) for test in tests)]


def page(
    rows: Sequence[Row], order: Sequence[str], keys: Sequence[str], most: int, token: str
) -> tuple[list[Row], str | None]:
    """Some rows in order, and the token of the next page where there is one.

    Raises:
        MLflowError: the order names something else than ``keys``, or names it twice, or the token is none of ours.
    """
    ordered = list(rows)
    wanted = [ordering(text) for text in order]
    if len({subject.key for subject, _ in wanted}) < len(wanted):
        raise invalid(f"`order_by` contains duplicate fields: {list(order)}")
    for subject, ascending in reversed(wanted):
        if _GROUPS.get(subject.group) != "attribute" or subject.key not in keys:
            raise invalid(f"Invalid order by key '{subject.key[:80]}' specified. Valid keys are {set(keys)}")
        ordered.sort(key=lambda row, key=subject.key: row.attributes[key], reverse=not ascending)  # type: ignore[misc]
    start = offset_of(token)
    more = len(ordered) > start + most
    return ordered[start : start + most], _token(start + most) if more else None


def offset_of(token: str) -> int:
    """Where a page begins: tokens are MLflow's, ``{"offset": n}`` in base 64.

    Example:
        >>> offset_of(""), offset_of("eyJvZmZzZXQiOiAxMH0=")
        (0, 10)
    """
    if not token:
        return 0
    try:
        offset = json.loads(base64.b64decode(token, validate=True))["offset"]
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise ValueError
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError) as exc:
        raise invalid("Invalid page token, could not base64-decode") from exc
    return offset


def _token(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _test(
    clause: Clause, texts: Sequence[str], numbers: Sequence[str], lists: Sequence[str], *, nulls: bool
) -> Callable[[Row], bool]:
    group, key = _GROUPS.get(clause.subject.group), clause.subject.key
    if group is None:
        raise invalid(
            f"Invalid entity type '{clause.subject.group[:80]}'. Valid entity types are {{'attribute', 'tag'}}"
        )
    if group == "tag":
        return _tag_test(clause, key, nulls=nulls)
    if key in numbers:
        return _number_test(clause, key)
    if key not in texts:
        raise invalid(f"Invalid attribute key '{key[:80]}' specified. Valid keys are '{sorted({*texts, *numbers})}'")
    if clause.op not in ({"=", "!=", "LIKE", "ILIKE"} | ({"IN", "NOT IN"} if key in lists else set())):
        raise invalid(f"Invalid comparator for attribute: {clause.op}")
    fits = _fitting(clause)
    return lambda row: fits(str(row.attributes[key] or ""))


def _tag_test(clause: Clause, key: str, *, nulls: bool) -> Callable[[Row], bool]:
    if nulls and clause.op in {"IS NULL", "IS NOT NULL"}:
        return lambda row: (key in row.tags) == (clause.op == "IS NOT NULL")
    if clause.op not in {"=", "!=", "LIKE", "ILIKE"}:
        raise invalid(f"Invalid comparator for tag: {clause.op}")
    fits = _fitting(clause)
    lacking = key == PROMPT and clause.op == "!="
    return lambda row: fits(row.tags[key]) if key in row.tags else lacking


def _number_test(clause: Clause, key: str) -> Callable[[Row], bool]:
    if clause.op not in _OPERATORS:
        raise invalid(f"Invalid comparator for attribute {key}: {clause.op}")
    value = clause.values[0]
    try:
        wanted = float(value.value)
    except ValueError as exc:
        raise invalid(f"Invalid value for numeric attribute '{key}': {value.value[:80]!r}") from exc
    compare = _OPERATORS[clause.op]
    return lambda row: compare(row.attributes[key], wanted)


def _fitting(clause: Clause) -> Callable[[str], bool]:
    for value in clause.values:
        if not value.quoted:
            raise invalid(
                "Parameter value is either not quoted or unidentified quote types used for string value "
                f"{value.value[:80]}. Use either single or double quotes."
            )
    return text_fits(clause.op, [value.value for value in clause.values])
