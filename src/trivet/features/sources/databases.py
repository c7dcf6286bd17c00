"""Tables and queries of databases, through SQLAlchemy. Read once, in one read-only transaction, in bounded memory.

The rows are streamed into a Parquet file, in an order that does not depend on the database: by ``order=``, then by all
other columns, nulls first, text by its bytes. Passwords come from environment variables at this moment and stand in
nothing that is kept, shown or raised.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from trivet.config import url_path
from trivet.errors import Invalid, MissingExtra, NotFound, TrivetError
from trivet.features.definitions import Source
from trivet.features.places import expanded, is_database
from trivet.features.sources.cells import Cells
from trivet.features.sources.contract import Snapshot, first_line
from trivet.features.sources.files import FileSnapshot, check_file

__all__ = ["Databases"]

_BATCH = 50_000  # rows in memory at once
_QUERY = "trivet_query"


@dataclass(frozen=True, eq=False)
class _Read(FileSnapshot):
    """What was read, in a file of its own."""

    def fingerprint(self) -> str | None:
        """Nothing but reading tells whether a database changed."""
        return None

    def check_columns(self, told: Iterable[str]) -> None:
        """As for every source; the database was never asked for columns to be cut away, and knew their names."""
        super().check_columns(column for column in told if column not in self.cut)


class Databases:
    """The URLs that SQLAlchemy knows, such as ``postgresql://`` and ``sqlite:///``."""

    def claims(self, source: Source, root: Path) -> bool:  # noqa: ARG002
        """Whatever is such a URL."""
        return isinstance(source.data, str) and is_database(source.data)

    def open(self, source: Source, root: Path, *, most: int | None = None) -> Snapshot:
        """The rows as they are now; only some of them, in no order, where ``most`` says how many are enough.

        Raises:
            Invalid: the database cannot be reached or the query fails; a secret is never repeated.
            NotFound: there is no such table or column; the nearest are named.
            MissingExtra: the driver is not installed.
        """
        folder = Path(tempfile.mkdtemp(prefix="trivet-source-"))
        snapshot = _Read(source.name, folder / "rows.parquet", cut=source.cut)
        weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
        secrets: dict[str, str] = {}
        with _sentences(source, secrets):
            engine = _engine(source, root, secrets)
            try:
                with engine.connect() as connection:
                    _read(source, connection, snapshot.data, most)
            finally:
                engine.dispose()
        return snapshot


def _engine(source: Source, root: Path, secrets: dict[str, str]) -> sa.Engine:
    url = sa.make_url(str(source.data))

    def value(text: str | None) -> str | None:
        return expanded(source.name, text, secrets, os.environ)

    url = url.set(
        username=value(url.username), password=value(url.password), host=value(url.host), database=value(url.database)
    )
    if url.get_backend_name() == "sqlite":
        path = url_path(f"sqlite:///{url.database or ''}", root)
        check_file(source.name, path)
        url = url.set(database=str(path))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    query = {name: value(text) if isinstance(text, str) else text for name, text in url.query.items()}
    try:
        return sa.create_engine(url.set(query=query), poolclass=NullPool)  # type: ignore[arg-type]
    except ModuleNotFoundError as exc:
        extra = "postgres" if url.get_backend_name() == "postgresql" else "features"
        raise MissingExtra(str(exc.name), extra=extra, wanted_for=f"source {source.name!r}") from exc


def _read(source: Source, connection: sa.Connection, to: Path, most: int | None = None) -> None:
    name = connection.dialect.name
    if name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        connection.execute(sa.text("SET TIME ZONE 'UTC'"))
    elif name == "sqlite":
        connection.execute(sa.text("PRAGMA query_only = ON"))
    columns, where = _asked(source, connection)
    wanted = [column for column in columns if column.name not in source.cut]
    names = [column.name for column in wanted]
    if missing := next((each for each in (*source.order, *source.cut) if each not in [c.name for c in columns]), None):
        raise NotFound(f"column in source {source.name!r} called", missing, [column.name for column in columns])
    first = [column for name in source.order for column in wanted if column.name == name]
    order = [_ordered(column, name) for column in (*first, *(each for each in wanted if each.name not in source.order))]
    statement = sa.select(*wanted).select_from(where)
    statement = statement.order_by(*order) if most is None else statement.limit(most)
    cells = Cells(source.name, {column.name: column.type for column in wanted})
    streamed = statement.execution_options(stream_results=True, max_row_buffer=_BATCH)
    with connection.execute(streamed) as result:
        cells.write((cells.frame(names, rows) for rows in result.partitions(_BATCH)), to)


def _asked(source: Source, connection: sa.Connection) -> tuple[list[sa.ColumnElement[Any]], Any]:
    """The columns of the table or query, with their types where they are known, and what stands after FROM."""
    where: Any
    if source.table is not None:
        where = _table(source.name, source.table, connection)
        if isinstance(where, sa.Table):
            return list(where.columns), where
    else:
        text = (source.query or "").strip().rstrip(";").rstrip()
        # the alias makes anything but one SELECT an error of the database; colons are no parameters here
        where = sa.text(f"({text.replace(':', chr(92) + ':')}\n) AS {_QUERY}")
    probe = connection.execute(sa.select(sa.text("*")).select_from(where).where(sa.text("1 = 0")))
    description: Sequence[Any] = probe.cursor.description or ()
    names = [each[0] for each in description]
    probe.close()
    if repeated := next((name for number, name in enumerate(names) if name in names[:number]), None):
        raise Invalid(
            f"The query of source {source.name!r} answers two columns called {repeated!r}. Rename one with AS."
        )
    types = [
        _POSTGRESQL.get(each[1], sa.JSON()) if connection.dialect.name == "postgresql" else None for each in description
    ]
    return [sa.column(name, kind) for name, kind in zip(names, types, strict=True)], where


def _table(source: str, called: str, connection: sa.Connection) -> sa.TableClause:
    """The table; with its columns, except where the database tells their types by numbers."""
    schema, _, name = called.rpartition(".")
    asked = sa.inspect(connection)
    if not asked.has_table(name, schema or None):
        known = [schema or None] if not schema or schema in asked.get_schema_names() else []
        exist = [each for place in known for each in (*asked.get_table_names(place), *asked.get_view_names(place))]
        raise NotFound(
            f"table for source {source!r} called", called, [f"{schema}.{each}" if schema else each for each in exist]
        )
    if connection.dialect.name == "postgresql":
        return sa.table(name, schema=schema or None)
    return sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False)


def _ordered(column: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[Any]:
    """How to sort by a column: the same way on every server."""
    kind = column.type
    if dialect == "postgresql":
        if isinstance(kind, sa.String):
            return sa.collate(column, "C").asc().nulls_first()
        if not isinstance(kind, _SORTABLE):
            return sa.collate(sa.cast(column, sa.Text), "C").asc().nulls_first()
    if dialect == "sqlite" and isinstance(kind, sa.String | sa.types.NullType):
        return sa.collate(column, "BINARY").asc().nulls_first()
    return column.asc().nulls_first() if dialect in ("postgresql", "sqlite") else column.asc()


_SORTABLE = (sa.Integer, sa.Numeric, sa.Boolean, sa.Date, sa.DateTime, sa.Time, sa.Interval, sa.Uuid, sa.LargeBinary)
_POSTGRESQL: dict[int, sa.types.TypeEngine[Any]] = {
    16: sa.Boolean(), 17: sa.LargeBinary(), 20: sa.BigInteger(), 21: sa.Integer(), 23: sa.Integer(), 26: sa.BigInteger(),
    18: sa.String(), 19: sa.String(), 25: sa.String(), 1042: sa.String(), 1043: sa.String(),
    700: sa.Float(), 701: sa.Float(), 1700: sa.Numeric(), 1082: sa.Date(), 1083: sa.Time(), 1114: sa.DateTime(),
    1184: sa.DateTime(timezone=True), 1186: sa.Interval(), 2950: sa.Uuid(),
}  # fmt: skip
"""Types by their number, fixed since PostgreSQL 8.3: https://github.com/postgres/postgres, pg_type.dat."""


@contextmanager
def _sentences(source: Source, secrets: dict[str, str]) -> Iterator[None]:
    """Turn what a database raises into a sentence without statement, values or secrets.

    Where a secret was used the cause is cut off, since a traceback would show it.
    """
    try:
        yield
    except TrivetError:
        raise
    except (sa.exc.SQLAlchemyError, ValueError) as exc:
        reason = first_line(getattr(exc, "orig", None) or exc)
        if "orig" not in vars(exc) and not isinstance(exc, sa.exc.NoSuchModuleError):
            reason = "the URL cannot be used, or the database answered what cannot be read."
        for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
            reason = reason.replace(value, f"${name}") if value else reason
        said = Invalid(f"The data of source {source.name!r} cannot be read from its database: {reason}")
        raise said from (None if secrets else exc)
