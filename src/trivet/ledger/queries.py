"""Which runs are asked for, in which order, and where the next page begins.

The order is total: within one field numbers come before NaN, NaN (of a parameter: what is no number) before what is
missing, whichever way it is sorted; infinity is the greatest number, and what is equal goes by run id, newest first. A
page begins after a *cursor*, which holds the sort key of the last row before: runs that are added or removed meanwhile
move nothing, and every run that was there is seen exactly once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from trivet.errors import Invalid
from trivet.ledger.conditions import Condition, Field, check_condition, look_up
from trivet.ledger.records import Run, Status, Summary
from trivet.types import Digest

__all__ = [
    "MISSING",
    "NUMBER",
    "OTHER",
    "Order",
    "Place",
    "RunQuery",
    "check_query",
    "compare",
    "cursor_of",
    "place_of",
]

NUMBER, OTHER, MISSING = 0, 1, 2
"""The ranks within a field: numbers, then text and NaN, then nothing."""
_MOST_ORDERS = 10


class Order(msgspec.Struct, frozen=True):
    """A field to sort by."""

    field: Field
    descending: bool = False


class RunQuery(msgspec.Struct, frozen=True):
    """Which runs. Every given condition must hold.

    Attributes:
        input, output: an artifact among the run's inputs or outputs.
        before: only runs with an id smaller than this.
        limit: the most to answer.
        experiment: the id of the group.
        where: any condition.
        order: by what they are sorted; newest first where nothing is said, and among equals.
        after: the cursor of the last run of the page before, of the same order.
        deleted: whether runs in the bin are seen.
        slim: leave out ``recipe``, ``inputs``, ``outputs`` and ``key_parts``, which lists seldom show.
    """

    kind: str | None = None
    name: str | None = None
    status: Status | None = None
    parent: str | None = None
    key: Digest | None = None
    input: Digest | None = None
    output: Digest | None = None
    before: str | None = None
    limit: int = 100
    experiment: str | None = None
    where: Condition | None = None
    order: tuple[Order, ...] = ()
    after: str | None = None
    deleted: Literal["no", "only", "both"] = "no"
    slim: bool = False


Key: TypeAlias = tuple[int, Any]
"""The rank of a run within a field and its value; None where the rank says all."""


class Place(NamedTuple):
    """Where a run stands in an order: its key in each field, and its id."""

    keys: tuple[Key, ...]
    id: str


def cursor_of(run: Run, query: RunQuery, summaries: Mapping[str, Summary] | None = None) -> str:
    """The text that stands for the place of ``run`` in the order of ``query``: ``after`` of the next page.

    Args:
        run: the last of a page.
        query: that the page answers.
        summaries: those of the run by name, needed where the order names other statistics than ``last``.

    Raises:
        Invalid: the summaries are needed and not given.

    Example:
        >>> from datetime import UTC, datetime
        >>> run = Run("01JCZ8", "task", "fit", "finished", datetime(2026, 1, 1, tzinfo=UTC), metrics={"auc": 0.7})
        >>> query = RunQuery(order=(Order(Field("metric", "auc"), descending=True),))
        >>> place_of(msgspec.structs.replace(query, after=cursor_of(run, query)))
        Place(keys=((0, 0.7),), id='01JCZ8')
    """
    place = stand(run, query.order, summaries)
    told = json.dumps([_mark(query.order), [list(key) for key in place.keys], place.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def place_of(query: RunQuery) -> Place | None:
    """The place after which ``query`` begins, or None for the first page.

    Raises:
        Invalid: ``after`` is no cursor, or one of another order.
    """
    if query.after is None:
        return None
    try:
        padded = query.after.encode() + b"=" * (-len(query.after) % 4)
        mark, keys, id_ = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        place = Place(tuple(_checked_key(key) for key in keys), str(id_))
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise Invalid(
            f"after={query.after[:80]!r} is no cursor. Take that of the last row of the page before."
        ) from exc
    if mark != _mark(query.order) or len(place.keys) != len(query.order):
        raise Invalid("The cursor belongs to another order. Begin again with the first page.")
    return place


def stand(run: Run, order: Sequence[Order], summaries: Mapping[str, Summary] | None = None) -> Place:
    """Where ``run`` stands in ``order``."""
    return Place(tuple(_key(run, one.field, summaries) for one in order), run.id)


def compare(one: Place, other: Place, order: Sequence[Order]) -> int:
    """Below 0 where ``one`` comes first, above 0 where ``other`` does, 0 for the same place."""
    for (rank, value), (other_rank, other_value), by in zip(one.keys, other.keys, order, strict=True):
        if rank != other_rank:
            return rank - other_rank
        if value != other_value:
            comes_first = value < other_value
            return 1 if comes_first == by.descending else -1
    return (one.id < other.id) - (one.id > other.id)


def check_query(query: RunQuery) -> None:
    """Refuse what cannot be answered.

    Raises:
        Invalid: a negative limit, a condition or an order that is too large, an unknown choice.
    """
    if query.limit < 0:
        raise Invalid(f"A limit of {query.limit} makes no sense. Ask for 0 or more.")
    if query.deleted not in {"no", "only", "both"}:
        raise Invalid(f"deleted={query.deleted!r} is not understood. Write no, only or both.")
    if len(query.order) > _MOST_ORDERS:
        raise Invalid(f"{len(query.order)} fields are too many to sort by. Take {_MOST_ORDERS} at most.")
    if query.where is not None:
        check_condition(query.where)


def _key(run: Run, field: Field, summaries: Mapping[str, Summary] | None) -> Key:
    found = look_up(field, run, summaries)
    if found is None:
        return MISSING, None
    if found.number is None:
        return OTHER, found.text
    return (OTHER, None) if math.isnan(found.number) else (NUMBER, found.number)


def _checked_key(key: Any) -> Key:
    rank, value = key
    fits: dict[int, Any] = {NUMBER: int | float, OTHER: str | None, MISSING: type(None)}
    if not isinstance(value, fits[rank]) or isinstance(value, bool) or value != value:
        raise ValueError("a key that no run has")
    return rank, value


def _mark(order: Sequence[Order]) -> str:
    """A few characters that tell orders apart."""
    return hashlib.sha256(msgspec.json.encode(order)).hexdigest()[:8]
