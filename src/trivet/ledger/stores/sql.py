"""A ledger in SQLite or PostgreSQL: the verbs as transactions over ``schema``.

Every verb is one transaction, so a process killed in the middle leaves nothing of it. What the rows look like
is in ``rows``, how connections behave in ``engine``, who makes the tables in ``upgrade``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from trivet.clock import Clock, system_clock
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger.contract import Ledger
from trivet.ledger.naming import is_version
from trivet.ledger.records import Artifact, Metric, Pointer, Run, RunQuery
from trivet.ledger.stores import rows
from trivet.ledger.stores.engine import connect, sentences, snapshots
from trivet.ledger.stores.finding import the_only
from trivet.ledger.stores.pointing import Asked, Standing, settle
from trivet.ledger.stores.schema import artifacts, runs
from trivet.ledger.stores.statements import Statements, ids_starting, pointers_like, runs_like
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
        self._statements = Statements(engine.dialect.name)
        self._clock = clock

    def write(self, *records: Artifact | Run | Metric) -> None:
        """Record all of these or none of them."""
        # One order for all writers, so that two of them never wait for one another in a circle.
        kept = sorted((r for r in records if isinstance(r, Artifact)), key=lambda artifact: artifact.digest)
        told = sorted((r for r in records if isinstance(r, Run)), key=lambda run: run.id)
        measured = [rows.metric_row(r) for r in records if isinstance(r, Metric)]
        with self._writing() as connection:
            if kept:
                connection.execute(self._statements.keep_artifact, [rows.artifact_row(one) for one in kept])
            for run in told:
                self._write_run(connection, run)
            if measured:
                self._write_metrics(connection, measured)

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
        """The runs that fit, newest first."""
        _checked(query.limit)
        with self._reading() as connection:
            return self._with_metrics(connection, connection.execute(runs_like(query)).mappings().all())

    def metrics(self, run: str, name: str | None = None) -> Sequence[Metric]:
        """The recorded numbers of a run by name, then step."""
        with self._reading() as connection:
            found = connection.execute(self._statements.metrics, {"one": run}).mappings().all()
        called = (row for row in found if name in (None, row["name"]))
        return [rows.read_metric({**row, "value": _number(row["value"])}) for row in called]

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
        if connection.scalar(self._statements.begin_run, row) is None:  # there is one of that id
            self._replace_run(connection, run, row)
        if edges := list(rows.edge_rows(run)):
            connection.execute(self._statements.add_edges, edges)
        if run.metrics:
            values = [{"run": run.id, "name": name, "value": _cell(value)} for name, value in run.metrics.items()]
            connection.execute(self._statements.add_latest, values)

    def _replace_run(self, connection: Connection, run: Run, row: rows.Cells) -> None:
        status = connection.scalar(self._statements.lock_status, {"one": run.id})
        if run.status == "running" and status != "running":
            raise Conflict(f"Run {run.id} is {status} and never runs again. Start a new run.")
        connection.execute(self._statements.replace_run, {"one": run.id, **row})
        connection.execute(self._statements.forget_edges, {"one": run.id})
        connection.execute(self._statements.forget_latest, {"one": run.id})

    def _write_metrics(self, connection: Connection, measured: Sequence[rows.Cells]) -> None:
        wanted = sorted({row["run"] for row in measured})
        # The lock makes two processes that log to one run take turns, so the later step wins.
        known = set(connection.scalars(self._statements.lock_runs, {"some": wanted}))
        for row in measured:
            if row["run"] not in known:
                raise NotFound("run", row["run"], hint=f"Metric {row['name']!r} has nowhere to go.")
        cells = [{**row, "value": _cell(row["value"])} for row in measured]
        connection.execute(self._statements.put_metric, cells)
        last: dict[tuple[str, str], rows.Cells] = {}
        for row in cells:
            if row["step"] >= last.get((row["run"], row["name"]), row)["step"]:
                last[row["run"], row["name"]] = row
        connection.execute(self._statements.raise_latest, list(last.values()))

    def _with_metrics(self, connection: Connection, found: Sequence[Any]) -> list[Run]:
        values: dict[str, dict[str, float]] = {row["id"]: {} for row in found}
        ids = list(values)
        for start in range(0, len(ids), _BATCH):
            batch = {"some": ids[start : start + _BATCH]}
            for run, name, value in connection.execute(self._statements.latest, batch):
                values[run][name] = _number(value)
        return [rows.read_run(row, values[row["id"]]) for row in found]

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


def _cell(value: float) -> float | None:
    value = float(value)
    return None if value != value else value


def _number(cell: float | None) -> float:
    return nan if cell is None else cell


def _checked(limit: int) -> int:
    if limit < 0:
        raise Invalid(f"A limit of {limit} makes no sense. Ask for 0 or more.")
    return limit
