"""The statements of the SQL ledger, built once per store, because building costs more than executing.

SQLite and PostgreSQL share all of them: the two dialects agree on ``ON CONFLICT``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, delete, exists, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trivet.ledger.records import RunQuery
from trivet.ledger.stores.finding import SHORTEST, beyond
from trivet.ledger.stores.schema import artifacts, edges, latest, metrics, pointers, runs

__all__ = ["Statements", "ids_starting", "pointers_like", "runs_like"]

_SEVERAL = 6  # enough candidates for the sentence that a shortened id fits several


class Statements:
    """The fixed statements in the dialect named ``sqlite`` or ``postgresql``."""

    def __init__(self, dialect: str) -> None:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]
        self.keep_artifact = insert(artifacts).on_conflict_do_nothing()
        self.begin_run = insert(runs).on_conflict_do_nothing().returning(runs.c.id)
        self.lock_status = select(runs.c.status).where(runs.c.id == bindparam("one")).with_for_update()
        self.replace_run = update(runs).where(runs.c.id == bindparam("one"))
        self.forget_edges = delete(edges).where(edges.c.run == bindparam("one"))
        self.forget_latest = delete(latest).where(latest.c.run == bindparam("one"))
        self.lock_runs = (
            select(runs.c.id).where(runs.c.id.in_(bindparam("some", expanding=True))).order_by(runs.c.id)
        ).with_for_update()
        self.add_edges = insert(edges)
        self.add_latest = insert(latest)
        metric = insert(metrics)
        self.put_metric = metric.on_conflict_do_update(
            index_elements=["run", "name", "step"], set_={"value": metric.excluded.value, "at": metric.excluded.at}
        )
        self.raise_latest = self._raise_latest(insert(latest))
        self.add_pointer = insert(pointers)

        self.artifact = select(artifacts).where(artifacts.c.digest == bindparam("one"))
        self.run = select(runs).where(runs.c.id == bindparam("one"))
        self.latest = select(latest).where(latest.c.run.in_(bindparam("some", expanding=True)))
        self.metrics = select(metrics).where(metrics.c.run == bindparam("one")).order_by(metrics.c.name, metrics.c.step)
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
    def _raise_latest(insert: Any) -> Any:
        """Set the latest value of a metric, unless a later step is on record."""
        # PostgreSQL has to be told the types, because the parameters stand in a SELECT.
        run, name, step, value = (bindparam(one, type_=metrics.c[one].type) for one in ("run", "name", "step", "value"))
        later = exists().where(metrics.c.run == run, metrics.c.name == name, metrics.c.step > step)
        typed = select(run.label("run"), name.label("name"), value.label("value")).where(~later)
        insert = insert.from_select(["run", "name", "value"], typed)
        return insert.on_conflict_do_update(index_elements=["run", "name"], set_={"value": insert.excluded.value})

    @staticmethod
    def _last_of_label() -> Select[Any]:
        named = (pointers.c.name == bindparam("called")) & (pointers.c.label == bindparam("labelled"))
        return select(pointers).where(named).order_by(pointers.c.sequence.desc()).limit(1)


def ids_starting(column: Any, prefix: str) -> Select[Any]:
    """A few of the ids that start with ``prefix``; of a short one only itself."""
    if len(prefix) < SHORTEST:
        return select(column).where(column == prefix)
    return select(column).where(column >= prefix, column < beyond(prefix)).order_by(column).limit(_SEVERAL)


def runs_like(query: RunQuery) -> Select[Any]:
    """The runs that fit, newest first."""
    found = select(runs).order_by(runs.c.id.desc()).limit(query.limit)
    for name in ("kind", "name", "status", "parent", "key"):
        if (wanted := getattr(query, name)) is not None:
            found = found.where(runs.c[name] == wanted)
    for direction in ("input", "output"):
        if (digest := getattr(query, direction)) is not None:
            touching = select(edges.c.run).where(edges.c.digest == digest, edges.c.direction == direction)
            found = found.where(runs.c.id.in_(touching))
    return found if query.before is None else found.where(runs.c.id < query.before)


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
