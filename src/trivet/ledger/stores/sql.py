"""A ledger in SQLite or PostgreSQL: the verbs as transactions over ``schema``.

Every verb is one transaction, so a process killed in the middle leaves nothing of it. What the rows look like
is in ``rows``, how connections behave in ``engine``, who makes the tables in ``upgrade``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from trivet.clock import Clock, system_clock
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger.contract import Ledger
from trivet.ledger.naming import is_version
from trivet.ledger.queries import RunQuery, check_query
from trivet.ledger.records import Artifact, Metric, Pointer, Redaction, Removal, Run
from trivet.ledger.stores import rows
from trivet.ledger.stores.engine import connect, sentences, snapshots
from trivet.ledger.stores.finding import the_only
from trivet.ledger.stores.measuring import add_points, state_metrics
from trivet.ledger.stores.pointing import Asked, Standing, settle
from trivet.ledger.stores.removing import check_removable
from trivet.ledger.stores.schema import artifacts, parameters, runs, tags
from trivet.ledger.stores.search import Search
from trivet.ledger.stores.statements import Statements, ids_starting, pointers_like
from trivet.ledger.stores.upgrade import bring_to_head
from trivet.types import Digest

__all__ = ["SqlStore", "open_store"]

_BATCH = 10_000  # ids in one statement: databases take 32,766 at most


def open_store(url: str, root: Path) -> Ledger:
    """The ledger at ``sqlite:///FILE`` (relative to ``root``) or ``postgresql://...``, made or upgraded as needed.

    Raises:
        ConfigError: the URL is none, or a newer Trivet wrote this ledger.
        MissingExtra: a driver or, for an older ledger, Alembic is not installed.
        TrivetError: the database cannot be reached.
    """
    engine = connect(url, root)
    try:
        with sentences(engine):
            bring_to_head(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


class SqlStore:
    """See ``trivet.ledger.contract.Ledger``."""

    def __init__(self, engine: Engine, clock: Clock = system_clock) -> None:
        self._engine = engine
        self._snapshots = snapshots(engine)
        self._statements = Statements(engine.dialect)
        self._clock = clock

    def write(self, *records: Artifact | Run | Metric | Redaction | Removal) -> None:
        """Record all of these or none of them."""
        # One order for all writers, so that two of them never wait for one another in a circle.
        sorts: dict[type, list[Any]] = {Artifact: [], Run: [], Metric: [], Redaction: [], Removal: []}
        for record in records:
            sorts[type(record)].append(record)
        kept = sorted(sorts[Artifact], key=lambda artifact: artifact.digest)
        told = sorted(sorts[Run], key=lambda run: run.id)
        measured, removed = list(map(rows.metric_row, sorts[Metric])), sorts[Removal]
        told_less: list[Redaction] = sorts[Redaction]
        with self._writing() as connection:
            if told_less:
                self._redact(connection, told_less)
            if kept:
                connection.execute(self._statements.keep_artifact, [rows.artifact_row(one) for one in kept])
            for run in told:
                self._write_run(connection, run)
            if measured:
                self._write_metrics(connection, measured)
            if removed:
                self._remove(connection, removed)
        if told_less and self._engine.dialect.name == "sqlite":
            self._clear_log()

    def artifact(self, digest: Digest) -> Artifact:
        """The artifact with this digest, or with the only one that starts so."""
        with self._reading() as connection:
            row = connection.execute(self._statements.artifact, {"one": digest}).mappings().first()
            if row is None:
                found = connection.scalars(ids_starting(artifacts.c.digest, digest)).all()
                one = the_only("artifact", digest, found)
                row = connection.execute(self._statements.artifact, {"one": one}).mappings().one()
        return rows.read_artifact(row)

    def artifacts(self, *, kind: str | None = None, limit: int = 100) -> Sequence[Artifact]:
        """The newest artifacts, newest first."""
        newest = select(artifacts).order_by(artifacts.c.created.desc(), artifacts.c.digest.desc())
        newest = newest.limit(_checked(limit))
        if kind is not None:
            newest = newest.where(artifacts.c.kind == kind)
        with self._reading() as connection:
            return [rows.read_artifact(row) for row in connection.execute(newest).mappings()]

    def run(self, id: str) -> Run:  # noqa: A002
        """The run with this id, or with the only one that starts so."""
        with self._reading() as connection:
            found = connection.execute(self._statements.run, {"one": id}).mappings().all()
            if not found:
                one = the_only("run", id, connection.scalars(ids_starting(runs.c.id, id)).all())
                found = connection.execute(self._statements.run, {"one": one}).mappings().all()
            return self._with_metrics(connection, found)[0]

    def runs(self, query: RunQuery = RunQuery()) -> Sequence[Run]:  # noqa: B008 - frozen
        """The runs that fit, in the order that is asked for."""
        check_query(query)
        search = Search(query, self._engine.dialect.name)
        with self._reading() as connection:
            ids = search.ids(connection)
            several = self._statements.several_slim if query.slim else self._statements.several
            found: dict[str, Any] = {}
            for start in range(0, len(ids), _BATCH):
                batch = connection.execute(several, {"some": ids[start : start + _BATCH]})
                found |= {row["id"]: row for row in batch.mappings()}
            return self._with_metrics(connection, [found[one] for one in ids], slim=query.slim)

    def count(self, query: RunQuery = RunQuery()) -> int:  # noqa: B008 - frozen
        """How many runs fit, whatever the limit, the order and the page."""
        check_query(query)
        with self._reading() as connection:
            return Search(query, self._engine.dialect.name).count(connection)

    def metrics(self, run: str, name: str | None = None, *, summary: bool = False) -> Any:
        """The recorded numbers of a run by name, then step, then time; or their summaries."""
        with self._reading() as connection:
            if summary:
                kept = map(rows.read_summary, self._statements.summaries(connection, {"one": run}).mappings())
                return [one for one in kept if name in (None, one.name)]
            statement = self._statements.metrics if name is None else self._statements.metrics_called
            found = connection.execute(statement, {"one": run} if name is None else {"one": run, "called": name})
            return [rows.read_metric({**row, "value": _number(row["value"])}) for row in found.mappings()]

    def point(
        self,
        name: str,
        label: str | None,
        digest: Digest | None,
        *,
        by: str,
        why: str = "",
        expect: Digest | None = None,
    ) -> Pointer:
        """Put a label of ``name`` on an artifact."""
        asked = Asked(name, label, digest, by, why, expect)
        with self._writing() as connection:
            if self._engine.dialect.name == "postgresql":  # in SQLite there is one writer anyway
                connection.execute(self._statements.serialize_name, {"called": name})
            standing = self._standing(connection, asked)
            pointer = settle(asked, standing, self._clock())
            if pointer not in (standing.pointer, standing.version):
                number = int(pointer.label) if is_version(pointer.label) else None
                connection.execute(self._statements.add_pointer, {**rows.pointer_row(pointer), "version": number})
        return pointer

    def pointers(
        self, *, name: str | None = None, digest: Digest | None = None, history: bool = False
    ) -> Sequence[Pointer]:
        """Where labels point now, or ever pointed."""
        with self._reading() as connection:
            found = connection.execute(pointers_like(name=name, digest=digest, history=history))
            return [rows.read_pointer(row) for row in found.mappings()]

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with sentences(self._engine), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with sentences(self._engine), self._snapshots.connect() as connection:
            yield connection

    def _write_run(self, connection: Connection, run: Run) -> None:
        row = rows.run_row(run)
        new = self._statements.begin_run(connection, row).rowcount == 1
        before = None if new else self._replace_run(connection, run, row)
        if before is None or (before["inputs"], before["outputs"]) != (row["inputs"], row["outputs"]):
            if before is not None:
                self._statements.forget_edges(connection, {"one": run.id})
            self._statements.add_edge.each(connection, rows.edge_rows(run))
        if before is None or before["parameters"] != row["parameters"]:
            had = {} if before is None else rows.read_parameter_rows(before["parameters"])
            self._look_up(connection, parameters, run.id, had, rows.parameter_rows(run.parameters))
        if before is None or before["tags"] != row["tags"]:
            had = {} if before is None else rows.read_tag_rows(before["tags"])
            self._look_up(connection, tags, run.id, had, rows.tag_rows(run.tags))
        state_metrics(self._statements, connection, run, new=new)

    def _replace_run(self, connection: Connection, run: Run, row: rows.Cells) -> Any:
        """Write the row of a run that exists, and answer what stood there."""
        before = self._statements.lock_run(connection, {"one": run.id}).mappings().one()
        if run.status == "running" and before["status"] != "running":
            raise Conflict(f"Run {run.id} is {before['status']} and never runs again. Start a new run.")
        self._statements.replace_run(connection, {"one": run.id, **row})
        return before

    def _look_up(
        self, connection: Connection, table: Any, run: str, had: Mapping[str, Any], has: Mapping[str, Any]
    ) -> None:
        """Bring the rows by which a run is found up to date, touching no others."""
        put, forget = self._statements.looked_up[table]
        forget.each(connection, [{"one": run, "called": name} for name in had.keys() - has.keys()])
        changed = ((name, cells) for name, cells in has.items() if had.get(name) != cells)
        put.each(connection, [{"run": run, "name": name, **cells} for name, cells in changed])

    def _write_metrics(self, connection: Connection, measured: Sequence[rows.Cells]) -> None:
        wanted = sorted({row["run"] for row in measured})
        # The lock makes two processes that log to one run take turns, so the later step wins.
        if len(wanted) == 1:
            known = set(self._statements.lock_one(connection, {"one": wanted[0]}).scalars())
        else:
            known = set(connection.scalars(self._statements.lock_runs, {"some": wanted}))
        for row in measured:
            if row["run"] not in known:
                raise NotFound("run", row["run"], hint=f"Metric {row['name']!r} has nowhere to go.")
            row["value"] = rows.number_cell(row["value"])
        add_points(self._statements, connection, measured)

    def _redact(self, connection: Connection, redactions: Sequence[Redaction]) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")  # what is replaced is overwritten
        for one in redactions:
            self._statements.redact(connection, {"one": one.artifact, "told": rows.spec_cell(one.spec)})

    def _clear_log(self) -> None:
        """The write-ahead log of SQLite has the old pages until it is begun anew."""
        with sentences(self._engine):
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()

    def _remove(self, connection: Connection, removals: Sequence[Removal]) -> None:
        for run in sorted({one.run for one in removals if one.run is not None}):
            for forget in self._statements.forget:
                forget(connection, {"one": run})
        for artifact in sorted({one.artifact for one in removals if one.artifact is not None}):
            asked = {"one": artifact}
            linked = connection.scalar(self._statements.linking, asked)
            check_removable(artifact, linked, connection.scalar(self._statements.naming, asked))
            self._statements.forget_artifact(connection, asked)

    def _with_metrics(self, connection: Connection, found: Sequence[Any], *, slim: bool = False) -> list[Run]:
        values: dict[str, dict[str, float]] = {row["id"]: {} for row in found}
        ids = list(values)
        for start in range(0, len(ids), _BATCH):
            batch = {"some": ids[start : start + _BATCH]}
            for run, name, value in connection.execute(self._statements.latest, batch):
                values[run][name] = _number(value)
        return [rows.read_run(row, values[row["id"]], slim=slim) for row in found]

    def _standing(self, connection: Connection, asked: Asked) -> Standing:
        recorded = connection.scalar(self._statements.has_artifact, {"one": asked.digest}) is not None
        if asked.label is None:
            version = connection.execute(self._statements.own_version, {"called": asked.name, "one": asked.digest})
            highest = connection.scalar(self._statements.highest, {"called": asked.name})
            return Standing(recorded, version=_pointer(version), highest=highest or 0)
        standing = connection.execute(self._statements.standing, {"called": asked.name, "labelled": asked.label})
        return Standing(recorded, pointer=_pointer(standing))


def _pointer(found: Any) -> Pointer | None:
    row = found.mappings().first()
    return None if row is None else rows.read_pointer(row)


def _number(cell: float | None) -> float:
    return nan if cell is None else cell


def _checked(limit: int) -> int:
    if limit < 0:
        raise Invalid(f"A limit of {limit} makes no sense. Ask for 0 or more.")
    return limit
