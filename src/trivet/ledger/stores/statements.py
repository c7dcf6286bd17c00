"""The statements of the SQL ledger, built once per store, because building costs more than executing.

SQLite and PostgreSQL share all of them: the two dialects agree on ``ON CONFLICT``. Those of the hot path are kept as text
(``Prepared``), because SQLAlchemy's way to execute a statement costs several times what SQLite takes for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Select, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trivet.ledger.stores.finding import SHORTEST, beyond
from trivet.ledger.stores.schema import artifacts, edges, metrics, parameters, pointers, runs, summaries, tags

__all__ = ["Prepared", "Statements", "ids_starting", "pointers_like"]

_SEVERAL = 6  # enough candidates for the sentence that a shortened id fits several


class Prepared:
    """A statement as text, with what it takes in the order in which the driver wants it."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text, names = str(compiled), compiled.positiontup
        self._pick = itemgetter(*names) if names and len(names) > 1 else None
        self._names = names
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}  # a limit

    def __call__(self, connection: Connection, row: Mapping[str, Any]) -> Any:
        """Execute it for one row."""
        return connection.exec_driver_sql(self._text, self._given(row))

    def each(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Execute it for every row and answer how many rows of the table that made or changed."""
        given = [self._given(row) for row in rows]
        return connection.exec_driver_sql(self._text, given).rowcount if given else 0

    def _given(self, row: Mapping[str, Any]) -> Any:
        row = {**self._fixed, **row} if self._fixed else row
        if self._pick is not None:
            return self._pick(row)
        return row if self._names is None else tuple(row[name] for name in self._names)


class Statements:
    """The fixed statements in the dialect of an engine."""

    def __init__(self, dialect: Dialect) -> None:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name]

        def prepared(statement: Any) -> Prepared:
            return Prepared(statement, dialect)

        def written(table: Any) -> Prepared:
            """Put a row, whatever stood under its key."""
            new = insert(table)
            keys = [column.name for column in table.primary_key]
            cells = {column.name: new.excluded[column.name] for column in table.c if column.name not in keys}
            return prepared(new.on_conflict_do_update(index_elements=keys, set_=cells))

        one: Any = bindparam("one")
        called: Any = bindparam("called")
        self.keep_artifact = insert(artifacts).on_conflict_do_nothing()
        self.begin_run = prepared(insert(runs).on_conflict_do_nothing())
        self.lock_run = prepared(
            select(runs.c.status, runs.c.inputs, runs.c.outputs, runs.c.parameters, runs.c.tags)
            .where(runs.c.id == one)
            .with_for_update()
        )
        self.lock_runs = (
            select(runs.c.id).where(runs.c.id.in_(bindparam("some", expanding=True))).order_by(runs.c.id)
        ).with_for_update()
        self.lock_one = prepared(select(runs.c.id).where(runs.c.id == one).with_for_update())
        self.replace_run = prepared(update(runs).where(runs.c.id == one))
        self.forget_edges = prepared(delete(edges).where(edges.c.run == one))
        self.forget_summary = prepared(delete(summaries).where(summaries.c.run == one, summaries.c.name == called))
        self.add_edge = prepared(insert(edges))
        self.put_summary = written(summaries)
        self.looked_up = {
            table: (written(table), prepared(delete(table).where(table.c.run == one, table.c.name == called)))
            for table in (parameters, tags)
        }
        self.add_metric = prepared(insert(metrics).on_conflict_do_nothing())
        self.put_metric = written(metrics)
        points = (metrics.c.run == one) & (metrics.c.name == called)
        self.spread = prepared(select(func.count(), func.min(metrics.c.value), func.max(metrics.c.value)).where(points))
        self.newest_point = prepared(
            select(metrics.c.step, metrics.c.at, metrics.c.value)
            .where(points)
            .order_by(metrics.c.step.desc(), metrics.c.at.desc())
            .limit(literal_column("1"))
        )
        self.summary = prepared(select(summaries).where(summaries.c.run == one, summaries.c.name == called))
        self.summaries = prepared(select(summaries).where(summaries.c.run == one).order_by(summaries.c.name))
        self.add_pointer = insert(pointers)
        self.forget = [
            prepared(delete(table).where(column == one))
            for table, column in (
                *((table, table.c.run) for table in (metrics, summaries, parameters, tags, edges)),
                (runs, runs.c.id),
            )
        ]
        self.forget_artifact = prepared(delete(artifacts).where(artifacts.c.digest == one))
        told = update(artifacts).where(artifacts.c.digest == one).values(spec=bindparam("told"))
        self.redact = prepared(told)
        self.linking = select(func.min(edges.c.run)).where(edges.c.digest == one)
        self.naming = select(func.min(pointers.c.name)).where(pointers.c.digest == one)

        self.artifact = select(artifacts).where(artifacts.c.digest == bindparam("one"))
        some = runs.c.id.in_(bindparam("some", expanding=True))
        heavy = {"recipe", "inputs", "outputs", "key_parts"}
        self.several = select(runs).where(some)
        self.several_slim = select(*(column for column in runs.c if column.name not in heavy)).where(some)
        self.run = select(runs).where(runs.c.id == bindparam("one"))
        self.latest = select(summaries.c.run, summaries.c.name, summaries.c.last).where(
            summaries.c.run.in_(bindparam("some", expanding=True))
        )
        self.metrics = (
            select(metrics)
            .where(metrics.c.run == bindparam("one"))
            .order_by(metrics.c.name, metrics.c.step, metrics.c.at)
        )
        self.metrics_called = self.metrics.where(metrics.c.name == bindparam("called"))
        self.has_artifact = select(artifacts.c.digest).where(artifacts.c.digest == bindparam("one"))
        self.standing = self._last_of_label()
        self.own_version = (
            select(pointers)
            .where(pointers.c.name == bindparam("called"), pointers.c.digest == bindparam("one"))
            .where(pointers.c.version.is_not(None))
            .order_by(pointers.c.version)
            .limit(1)
        )
        self.highest = select(func.max(pointers.c.version)).where(pointers.c.name == bindparam("called"))
        self.serialize_name = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("called"), 0)))

    @staticmethod
    def _last_of_label() -> Select[Any]:
        named = (pointers.c.name == bindparam("called")) & (pointers.c.label == bindparam("labelled"))
        return select(pointers).where(named).order_by(pointers.c.sequence.desc()).limit(1)


def ids_starting(column: Any, prefix: str) -> Select[Any]:
    """A few of the ids that start with ``prefix``; of a short one only itself."""
    if len(prefix) < SHORTEST:
        return select(column).where(column == prefix)
    return select(column).where(column >= prefix, column < beyond(prefix)).order_by(column).limit(_SEVERAL)


def pointers_like(*, name: str | None, digest: str | None, history: bool) -> Select[Any]:
    """Pointers by name and time of pointing."""
    found = select(pointers).order_by(pointers.c.name, pointers.c.sequence)
    if name is not None and name.endswith("/*"):
        found = found.where(pointers.c.name >= name[:-1], pointers.c.name < name[:-2] + "0")  # "0" follows "/"
    elif name is not None:
        found = found.where(pointers.c.name == name)
    if digest is not None:
        found = found.where(pointers.c.digest == digest)
    if history:
        return found
    later = pointers.alias("later")
    same = (later.c.name == pointers.c.name) & (later.c.label == pointers.c.label)
    moved = select(literal_column("1")).where(same, later.c.sequence > pointers.c.sequence).exists()
    return found.where(pointers.c.digest.is_not(None), ~moved)
