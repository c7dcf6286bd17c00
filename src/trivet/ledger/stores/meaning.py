"""Conditions as SQL: what ``trivet.ledger.conditions.holds`` says of one run, said of all rows of a table at once.

Every expression made here is true or false and never null, so that ``NOT`` is plain negation. It speaks of the run whose
id is in one column, whatever table that column is of: the search chooses which table it goes through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    Double,
    String,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from trivet.ledger.conditions import (
    NULLABLE,
    And,
    Compare,
    Condition,
    Field,
    In,
    Known,
    Linked,
    Not,
    Or,
    Value,
    asked,
    searchable,
    searchable_name,
)
from trivet.ledger.stores.rows import split
from trivet.ledger.stores.schema import edges, parameters, runs, summaries, tags
from trivet.types import Digest

__all__ = ["Meaning", "full_text", "named", "seconds_of", "table_of"]

Sql: TypeAlias = Any
"""An expression of SQLAlchemy."""
_TABLES = {"parameter": parameters, "metric": summaries, "tag": tags}
_LEAST, _MOST = -(2**63), 2**63 - 1
_GLOB = str.maketrans({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"})


class Meaning:
    """Conditions in the dialect named ``sqlite`` or ``postgresql``."""

    def __init__(self, dialect: str) -> None:
        self._postgresql = dialect == "postgresql"

    def of(self, condition: Condition, id_: Sql, row: Sql = None) -> Sql:
        """``condition`` of the run whose id is in the column ``id_``; ``row`` is its row in the runs, if at hand."""
        match condition:
            case And(parts):
                return and_(true(), *(self.of(part, id_, row) for part in parts))
            case Or(parts):
                return or_(false(), *(self.of(part, id_, row) for part in parts))
            case Not(part):
                return not_(self.of(part, id_, row))
            case Linked():
                return self._linked(condition, id_)
            case Compare(field) | In(field) | Known(field) if field.group == "attribute":
                if row is not None:
                    return self._attribute(condition, row)
                run = runs.alias()
                return exists(select(literal_column("1")).where(run.c.id == id_, self._attribute(condition, run)))
            case Compare(field) | In(field) | Known(field):
                table = table_of(field).alias()
                meant = and_(table.c.run == id_, named(table, field), self.within(condition, table))
                return exists(select(literal_column("1")).select_from(table).where(meant).correlate_except(table))

    def within(self, condition: Compare | In | Known, table: Sql) -> Sql:
        """What a comparison says of a row of its table; null may stand for false."""
        field = condition.field
        match condition:
            case Known():
                return true() if field.group != "metric" or field.stat == "last" else table.c[field.stat].is_not(None)
            case In(_, values):
                return or_(false(), *self._among(field, values, table))
            case Compare(_, op, value):
                return self._compared(field, op, value, table)

    def plain(self, column: Sql) -> Sql:
        """A column of text in the order of code points."""
        return column.collate("C") if self._postgresql else column

    def _compared(self, field: Field, op: str, value: Value, table: Sql) -> Sql:
        if field.group == "metric":
            return _numbers(table.c[field.stat], op, value, field, nan=field.stat == "last")
        if field.group == "tag":
            return self._split_texts(table, op, str(value))
        text, number = asked(value)
        if op in {"like", "ilike"} or number is None:
            return self._split_texts(table, op, str(text))
        as_number = _numbers(table.c.number, op, float(number), field, nan=False)
        if op == "=" and not math.isnan(number):
            return as_number
        return or_(
            and_(table.c.number.is_not(None), as_number),
            and_(table.c.number.is_(None), self._split_texts(table, op, str(text))),
        )

    def _among(self, field: Field, values: Sequence[Value], table: Sql) -> list[Sql]:
        """One part for all values that can be looked up at once, and one for each of the others."""
        if field.group == "metric":
            return [self._compared(field, "=", value, table) for value in values]
        found = [asked(value) for value in values]
        as_text = field.group == "tag"
        numbers = [float(number) for _, number in found if number is not None and not math.isnan(number)]
        texts = [str(text) for text, number in found if as_text or number is None or math.isnan(number)]
        short = [text for text in texts if split(text)[1] is None]
        parts = [self._split_texts(table, "=", text) for text in texts if split(text)[1] is not None]
        if numbers and not as_text:
            parts.append(table.c.number.in_(numbers))
        if short:
            whole = and_(table.c.text.in_(short), table.c.rest.is_(None))
            parts.append(whole if as_text else and_(table.c.number.is_(None), whole))
        return parts

    def _split_texts(self, table: Sql, op: str, text: str) -> Sql:
        """A comparison with the text that stands in two columns."""
        head, rest = split(searchable(text))
        if op == "=":
            same = and_(table.c.text == head, table.c.rest.is_(None) if rest is None else table.c.rest == rest)
            return same if "number" not in table.c else and_(table.c.number.is_(None), same)
        if op == "!=":
            return or_(table.c.text != head, func.coalesce(table.c.rest, "") != (rest or ""))
        return self._texts(full_text(table), op, searchable(text))

    def _texts(self, column: Sql, op: str, text: str) -> Sql:
        if op not in {"like", "ilike"}:
            return _ordered(column, op, text)
        if op == "ilike":
            # Of ASCII letters only, as Python does it in `conditions`: so does SQLite, and PostgreSQL by the collation.
            column, text = func.lower(column), "".join(one.lower() if one.isascii() else one for one in text)
        if self._postgresql:
            return column.like(text, escape="")
        return column.bool_op("GLOB")(text.translate(_GLOB))

    def _attribute(self, condition: Condition, run: Sql) -> Sql:
        assert isinstance(condition, Compare | In | Known)
        field = condition.field
        column = seconds_of(run) if field.name == "seconds" else run.c[field.name]
        column = self.plain(column) if field.is_text else column
        match condition:
            case Known():
                meant: Sql = true()
            case In(_, values):
                meant = or_(false(), *(self._fact(column, "=", value, field) for value in values))
            case Compare(_, op, value):
                meant = self._fact(column, op, value, field)
        return and_(column.is_not(None), meant) if field.name in NULLABLE else meant

    def _fact(self, column: Sql, op: str, value: Value, field: Field) -> Sql:
        if field.is_text:
            return self._texts(column, op, searchable(str(value)))
        return _numbers(column, op, value, field, nan=False)

    def _linked(self, linked: Linked, id_: Sql) -> Sql:
        backwards = linked.direction in {"output", "descendant"}
        here, there = ("output", "input") if backwards else ("input", "output")
        edge = edges.alias()
        found = select(edge.c.run).where(edge.c.direction == here)
        if linked.direction in {"input", "output"}:
            return id_.in_(found.where(edge.c.digest == linked.digest))
        reached = self._reached(linked.digest, here, there)
        return id_.in_(found.where(edge.c.digest.in_(select(reached.c.digest))))

    def _reached(self, digest: Digest, here: str, there: str) -> Sql:
        """The artifact, and all that runs which have it ``here`` have ``there``, and so on."""
        begin = literal(searchable(digest), String)
        reached = select(self.plain(begin).label("digest")).cte(recursive=True)
        one, other = edges.alias(), edges.alias()
        onwards = (
            select(other.c.digest)
            .select_from(reached)
            .join(one, and_(one.c.digest == reached.c.digest, one.c.direction == here))
            .join(other, and_(other.c.run == one.c.run, other.c.direction == there))
        )
        return reached.union(onwards)


def table_of(field: Field) -> Sql:
    """Where a parameter, a metric or a tag is looked up."""
    return _TABLES[field.group]


def named(table: Sql, field: Field) -> Sql:
    """That a row of ``table`` is of this name."""
    name = searchable(field.name) if field.group == "metric" else searchable_name(field.name)
    return table.c.name == name


def full_text(table: Sql) -> Sql:
    """The text that stands in two columns."""
    return table.c.text + func.coalesce(table.c.rest, "")


def seconds_of(run: Sql) -> Sql:
    """How long a run took, exactly as ``Run.seconds`` computes it."""
    return cast(run.c.ended - run.c.started, Double) / literal(1e6, Double)


def _ordered(column: Sql, op: str, value: Value) -> Sql:
    match op:
        case "=":
            return column == value
        case "!=":
            return column != value
        case "<":
            return column < value
        case "<=":
            return column <= value
        case ">":
            return column > value
        case _:
            return column >= value


def _numbers(column: Sql, op: str, value: Value, field: Field, *, nan: bool) -> Sql:
    """A comparison of numbers; ``nan`` where null stands for NaN instead of for nothing."""
    if isinstance(value, float) and math.isnan(value):
        return (true() if nan else column.is_not(None)) if op == "!=" else false()
    meant = _whole(column, op, value) if field.is_whole else _ordered(column, op, float(value))
    if op == "!=":
        return or_(column.is_(None), meant) if nan else and_(column.is_not(None), meant)
    return meant


def _whole(column: Sql, op: str, value: Value) -> Sql:
    """A comparison of a whole number, exact also where ``value`` is none or has more than 64 bits."""
    value = value if isinstance(value, int) else float(value)
    if value > _MOST or value < _LEAST:
        always = {"!=", "<", "<="} if value > 0 else {"!=", ">", ">="}
        return column.is_not(None) if op in always else false()
    if value == int(value):
        return _ordered(column, op, int(value))
    if op in {"=", "!="}:
        return column.is_not(None) if op == "!=" else false()
    return column <= math.floor(value) if op in {"<", "<="} else column >= math.ceil(value)
