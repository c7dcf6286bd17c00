"""Finding runs: a question becomes statements that answer the ids in order, going through the table that is shortest.

Three ways lead to the runs of one question, and all answer the same:

- *walk*: through the index of the field that is sorted by, from its beginning or from the cursor, until the page is full.
  Numbers, NaN and what is missing are bands of their own, one statement each, because no index holds the last.
- *gather*: through the rows of the condition that the fewest runs fulfil, if they are few; then all are sorted.
- *list*: through the runs themselves, which have indexes for the plain fields of a query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, case, false, func, literal_column, or_, select, true

from trivet.ledger.conditions import NULLABLE, And, Compare, Condition, Field, In
from trivet.ledger.queries import MISSING, NUMBER, OTHER, Order, Place, RunQuery, place_of
from trivet.ledger.stores.meaning import Meaning, Sql, full_text, named, seconds_of, table_of
from trivet.ledger.stores.schema import edges, runs

__all__ = ["FEW", "Search"]

FEW = 2_000
"""Rows that are sooner gathered and sorted than passed by on a walk."""
_EXACT = ("kind", "name", "status", "parent", "key", "experiment")
_TELLING = ("parent", "key", "input", "output")
_ONE: Sql = literal_column("1")


class _Way(NamedTuple):
    """A table that is gone through: the column of the run's id, the row of the run if it is one, and what is joined."""

    id: Sql
    source: Sql
    row: Sql = None


class _Sorted(NamedTuple):
    """A field that is sorted by: its rank (an expression or the same for all), its number and its text."""

    rank: Sql
    number: Sql
    text: Sql
    descending: bool


class Search:
    """The statements that answer ``query`` in the dialect named ``sqlite`` or ``postgresql``."""

    def __init__(self, query: RunQuery, dialect: str) -> None:
        self._query, self._meaning = query, Meaning(dialect)
        self._place = place_of(query)
        where = query.where
        self._parts: tuple[Condition, ...] = _flat(where) if where is not None else ()

    def ids(self, connection: Connection) -> list[str]:
        """The ids of the page, in order."""
        found: list[str] = []
        for statement in self.statements(connection):
            left = self._query.limit - len(found)
            if left <= 0:
                break
            found += connection.scalars(statement.limit(left))
        return found

    def statements(self, connection: Connection) -> Iterator[Select[Any]]:
        """What is asked one after the other until the page is full, without its limit."""
        part = self._fewest(connection)
        if part is not None:
            yield self._gather(part)
        elif self._query.order and _is_walked(self._query.order[0].field):
            yield from self._walk(self._query.order[0])
        else:
            yield self._list()

    def count(self, connection: Connection) -> int:
        """How many runs fit."""
        part = self._fewest(connection) or next(self._looked_up(), None)
        way, rest = (_listed(), self._parts) if part is None else self._through(part)
        found = select(func.count()).select_from(way.source).where(*self._conditions(way, rest))
        if part is not None:
            found = found.where(named(way.source, part.field), self._meaning.within(part, way.source))
        return connection.scalar(found) or 0

    def _looked_up(self) -> Iterator[Compare | In]:
        """The parts of the condition whose runs an index tells, unless the plain fields of the query tell them."""
        if any(getattr(self._query, name) is not None for name in _TELLING):
            return
        for part in self._parts:
            if isinstance(part, Compare | In) and _is_looked_up(part):
                yield part

    def _fewest(self, connection: Connection) -> Compare | In | None:
        """The part that the fewest runs fulfil, if they are few."""
        least, fewest = FEW, None
        for part in self._looked_up():
            table = table_of(part.field).alias()
            some = select(_ONE).select_from(table).where(named(table, part.field), self._meaning.within(part, table))
            number = connection.scalar(select(func.count()).select_from(some.limit(least + 1).subquery())) or 0
            if number <= least:
                least, fewest = number, part
        return fewest

    def _through(self, part: Compare | In) -> tuple[_Way, tuple[Condition, ...]]:
        table = table_of(part.field).alias()
        return _Way(table.c.run, table), tuple(one for one in self._parts if one is not part)

    def _gather(self, part: Compare | In) -> Select[Any]:
        way, rest = self._through(part)
        mine = (named(way.source, part.field), self._meaning.within(part, way.source))
        return self._in_order(way, self._query.order, (*mine, *self._conditions(way, rest)))

    def _list(self) -> Select[Any]:
        way = _listed()
        return self._in_order(way, self._query.order, self._conditions(way, self._parts))

    def _walk(self, order: Order) -> Iterator[Select[Any]]:
        reached = self._place.keys[0][0] if self._place else NUMBER
        for rank in (NUMBER, OTHER, MISSING):
            if rank >= reached and not (rank == NUMBER and order.field.is_text):
                yield self._band(order, rank, self._place if rank == reached else None)

    def _band(self, order: Order, rank: int, place: Place | None) -> Select[Any]:
        field, table = order.field, table_of(order.field).alias()
        if rank == MISSING:
            way = _listed()
            has = select(_ONE).select_from(table).where(table.c.run == way.id, named(table, field)).exists()
            band, keys, parts = (~has,), _Sorted(rank, None, None, order.descending), self._parts
        else:
            way = _Way(table.c.run, table)
            here = [one for one in self._parts if isinstance(one, Compare | In) and one.field == field]
            parts = tuple(one for one in self._parts if one not in here)
            band = (named(table, field), *_within_band(field, table, rank))
            band += tuple(self._meaning.within(one, table) for one in here)
            number = table.c[_number_of(field)] if rank == NUMBER else None
            text = full_text(table) if rank == OTHER and field.group != "metric" else None
            keys = _Sorted(rank, number, text, order.descending)
        conditions = (*band, *self._conditions(way, parts))
        return self._in_order(way, self._query.order[1:], conditions, first=(keys,), place=place, placed=True)

    def _in_order(
        self,
        way: _Way,
        order: Sequence[Order],
        conditions: Sequence[Sql],
        *,
        first: tuple[_Sorted, ...] = (),
        place: Place | None = None,
        placed: bool = False,
    ) -> Select[Any]:
        place = place if placed else self._place
        source, keys = way.source, list(first)
        for one in order:
            source, key = self._joined(way, source, one)
            keys.append(key)
        found = select(way.id).select_from(source).where(*conditions)
        if place is not None:
            found = found.where(_after(keys, place, way.id))
        return found.order_by(*(column for key in keys for column in _columns(key)), way.id.desc())

    def _joined(self, way: _Way, source: Sql, order: Order) -> tuple[Sql, _Sorted]:
        """The tables with that of the field at their side, and how to sort by it."""
        field = order.field
        if field.group == "attribute":
            row = way.row
            if row is None:
                row = runs.alias()
                source = source.outerjoin(row, row.c.id == way.id)
            return source, self._attribute(field, row, order.descending)
        table = table_of(field).alias()
        source = source.outerjoin(table, and_(table.c.run == way.id, named(table, field)))
        return source, _entry(field, table, order.descending)

    def _attribute(self, field: Field, row: Sql, descending: bool) -> _Sorted:
        column = seconds_of(row) if field.name == "seconds" else row.c[field.name]
        there = OTHER if field.is_text else NUMBER
        rank = case((column.is_(None), MISSING), else_=there) if field.name in NULLABLE else there
        if field.is_text:
            return _Sorted(rank, None, self._meaning.plain(column), descending)
        return _Sorted(rank, column, None, descending)

    def _conditions(self, way: _Way, parts: Sequence[Condition]) -> list[Sql]:
        """All that is asked but the condition that leads the way."""
        query = self._query
        row = runs.alias() if way.row is None else way.row
        plain = [row.c[name] == getattr(query, name) for name in _EXACT if getattr(query, name) is not None]
        if query.deleted == "only":
            plain.append(row.c.deleted.is_not(None))
        found = list(plain) if way.row is not None else []
        if plain and way.row is None:
            found = [select(_ONE).select_from(row).where(row.c.id == way.id, *plain).correlate_except(row).exists()]
        if query.deleted == "no":
            bin_ = runs.alias()
            found.append(way.id.not_in(select(bin_.c.id).where(bin_.c.deleted.is_not(None))))
        for direction in ("input", "output"):
            if (digest := getattr(query, direction)) is not None:
                edge = edges.alias()
                found.append(
                    way.id.in_(select(edge.c.run).where(edge.c.digest == digest, edge.c.direction == direction))
                )
        if query.before is not None:
            found.append(way.id < query.before)
        return found + [self._meaning.of(part, way.id, way.row) for part in parts]


def _listed() -> _Way:
    table = runs.alias()
    return _Way(table.c.id, table, table)


def _flat(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that must all hold."""
    if isinstance(condition, And):
        return tuple(one for part in condition.conditions for one in _flat(part))
    return (condition,)


def _is_walked(field: Field) -> bool:
    return field.group in {"parameter", "tag"} or (field.group == "metric" and field.stat == "last")


def _is_looked_up(part: Compare | In) -> bool:
    field = part.field
    if not _is_walked(field):
        return False
    if isinstance(part, In):
        return True
    return part.op == "=" or (field.group == "metric" and part.op in {"<", "<=", ">", ">="})


def _number_of(field: Field) -> str:
    return field.stat if field.group == "metric" else "number"


def _within_band(field: Field, table: Sql, rank: int) -> tuple[Sql, ...]:
    if field.group == "tag":
        return ()
    number = table.c[_number_of(field)]
    return (number.is_not(None) if rank == NUMBER else number.is_(None),)


def _entry(field: Field, table: Sql, descending: bool) -> _Sorted:
    """A parameter, a metric or a tag that is joined from the left: where it is missing all its columns are null."""
    missing = (table.c.run.is_(None), MISSING)
    if field.group == "tag":
        return _Sorted(case(missing, else_=OTHER), None, full_text(table), descending)
    number = table.c[_number_of(field)]
    if field.group == "metric" and field.stat != "last":
        return _Sorted(case((number.is_(None), MISSING), else_=NUMBER), number, None, descending)
    rank = case(missing, (number.is_(None), OTHER), else_=NUMBER)
    if field.group == "metric":
        return _Sorted(rank, number, None, descending)
    return _Sorted(rank, number, case((number.is_(None), full_text(table))), descending)


def _columns(key: _Sorted) -> Iterator[Sql]:
    if not isinstance(key.rank, int):
        yield key.rank
    for column in (key.number, key.text):
        if column is not None:
            yield column.desc() if key.descending else column.asc()


def _after(keys: Sequence[_Sorted], place: Place, id_: Sql) -> Sql:
    """That a row comes after ``place``."""
    found = id_ < place.id
    for key, (rank, value) in zip(reversed(keys), reversed(place.keys), strict=True):
        column = key.number if rank == NUMBER else key.text
        inner = found
        if value is not None and column is not None:
            beyond = column < value if key.descending else column > value
            # Said twice, so that an index can begin at the value.
            bound = column <= value if key.descending else column >= value
            inner = and_(bound, or_(beyond, found))
        if isinstance(key.rank, int):
            found = inner if key.rank == rank else (true() if key.rank > rank else false())
        else:
            found = or_(key.rank > rank, and_(key.rank == rank, inner))
    return found
