"""What a table of events declares: which columns name a row, when it happened, and what a repeated name means.

The rules travel inside the table (its Delta configuration, ``trivet.rules``), so a folder that is copied elsewhere
still says what it is, and two processes never hold different ones. They are frozen by the first ingest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, Unpack, get_args

import msgspec

from trivet.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ARRIVED", "GivenRules", "Keep", "TableRules", "check_table_name", "rules_of"]

ARRIVED = "__arrived"
"""The column, in tables that took history in, that says when a row reached us which counts from earlier on."""

Keep: TypeAlias = Literal["first", "last", "all"]
"""What a row means whose key is there already with other content: ``last`` a correction, kept beside what it
corrects; ``first`` a mistake, set aside; ``all`` nothing: every row counts, and batches are told apart as wholes."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NAMES = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})?")
_MOST = 50


class TableRules(msgspec.Struct, frozen=True):
    """The declaration of one table.

    Attributes:
        key: the columns that name a row; none where all columns together do.
        event_time: the column that says when it happened; None where rows happen when they reach us.
        known_at: the column that says from when it could be known; None for the event time.
        created: what the column is called that says when the row reached us.
        keep: what a second row of a key means.
        timezone: the zone of times that have none.
    """

    key: tuple[str, ...] = ()
    event_time: str | None = None
    known_at: str | None = None
    created: str = "created"
    keep: Keep = "last"
    timezone: str | None = None

    @property
    def times(self) -> tuple[str, ...]:
        """The columns of times that come with the rows."""
        return tuple(name for name in (self.event_time, self.known_at) if name is not None)

    @property
    def known(self) -> pl.Expr:
        """From when a row could be known, in microseconds: as it says itself, else when it happened."""
        import polars as pl

        return pl.coalesce(pl.col(name) for name in (self.known_at, self.event_time) if name).to_physical()

    @property
    def arrival(self) -> str | None:
        """The column by which a row is late: when it could be known, else when it happened."""
        return self.known_at or self.event_time

    def check(self, table: str) -> TableRules:
        """Itself, if it makes sense.

        Raises:
            Invalid: it does not; the sentence says why.
        """
        if self.keep not in get_args(Keep):
            raise Invalid(f"Table {table!r}: keep={self.keep!r} is no rule. There are: {', '.join(get_args(Keep))}.")
        if self.known_at and not self.event_time:
            raise Invalid(f"Table {table!r} says when rows are known but not when they happened. Add event_time=.")
        if len(set(self.key)) != len(self.key) or not all(self.key):
            raise Invalid(f"Table {table!r} needs different key columns; it is given {', '.join(self.key)}.")
        if self.created in (*self.key, *self.times) or not self.created:
            raise Invalid(
                f"Table {table!r}: the column {self.created!r} is filled by Trivet. Give created= another name."
            )
        return self


class GivenRules(TypedDict, total=False):
    """Rules as people give them: any of those of ``TableRules``, the key as one column or several, None for not given."""

    key: str | Sequence[str] | None
    event_time: str | None
    known_at: str | None
    created: str | None
    keep: Keep | None
    timezone: str | None


def rules_of(table: str, stored: TableRules | None, **given: Unpack[GivenRules]) -> TableRules:
    """The rules of a table: those that are stored, or of a new one those that are given.

    Raises:
        NotFound: there is no such rule.
        Conflict: what is given contradicts what is stored.
        Invalid: the rules make no sense.

    Example:
        >>> rules_of("orders", None, key="order_id", event_time="at").key
        ('order_id',)
    """
    asked = {name: value for name, value in given.items() if value is not None}
    for name in asked:
        if name not in TableRules.__struct_fields__:
            raise NotFound("rule of a table called", name, TableRules.__struct_fields__)
    key = given.get("key")
    if key is not None:
        asked["key"] = (key,) if isinstance(key, str) else tuple(key)
    if stored is None:
        return TableRules(**asked).check(table)  # type: ignore[arg-type]
    for name, value in asked.items():
        if (declared := getattr(stored, name)) != value:
            raise Conflict(
                f"Table {table!r} was made with {name}={_said(declared)}, and {_said(value)} is asked for. Leave "
                f"{name}= out, or use a table of another name."
            )
    return stored


def check_table_name(name: object) -> str:
    """``name`` if it can name a table of events.

    Raises:
        Invalid: it is not small letters, digits and single underscores, perhaps with a namespace: ``energy.price``.
    """
    if not isinstance(name, str) or not _NAMES.fullmatch(name) or max(map(len, name.split("."))) > _MOST:
        raise Invalid(f"{str(name)[:80]!r} is not the name of a table. Write small letters, digits and single '_'.")
    return name


def _said(value: object) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)
