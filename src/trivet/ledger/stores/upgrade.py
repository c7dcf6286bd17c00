"""Bring a database to the newest schema when it is opened, once, whoever opens it first.

An up-to-date ledger costs one select. A new one is made from ``schema`` in one transaction; an older one is
brought up by Alembic, which is imported only then, each migration in a transaction of its own. A lock keeps
several processes from doing so at once: a file beside a SQLite database, an advisory lock in PostgreSQL.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, exc, insert, inspect, select, text

from trivet.errors import ConfigError, MissingExtra
from trivet.ledger.stores import schema
from trivet.ledger.stores.engine import place

__all__ = ["MIGRATIONS", "bring_to_head", "migrate"]

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY = 0x7472697665740001  # "trivet" and a number


def bring_to_head(engine: Engine) -> None:
    """Make or upgrade the tables, unless they are as they should be.

    Raises:
        ConfigError: the database was written by a newer Trivet.
        MissingExtra: it is older and Alembic is not installed.
    """
    if _is_at_head(engine):
        return
    with _alone(engine):
        if engine.dialect.name == "sqlite":
            _write_ahead(engine)
        with engine.connect() as connection:
            found = _version(connection)
        if found is None:
            _create(engine)
        elif found != schema.HEAD:
            migrate(engine)


def migrate(engine: Engine, *, to: str = "heads", folder: Path = MIGRATIONS) -> None:
    """Run the migrations that ``engine`` does not have yet, each in its own transaction.

    Raises:
        ConfigError: the database is at a version that ``folder`` does not know.
        MissingExtra: Alembic is not installed.
    """
    try:
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory
    except ModuleNotFoundError as error:
        raise MissingExtra("alembic", extra="migrations", wanted_for="Upgrading an older ledger") from error
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        _refuse_newer(engine, _version(connection), {revision.revision for revision in scripts.walk_revisions()})
        connection.rollback()

        def steps(revision: Any, _context: object) -> Any:
            return scripts._upgrade_revs(to, revision)

        with EnvironmentContext(config, scripts, fn=steps) as environment:
            environment.configure(
                connection=connection, version_table=schema.VERSION_TABLE, transaction_per_migration=True
            )
            environment.run_migrations()


def _create(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(schema.version).values(version_num=schema.HEAD))


def _is_at_head(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return connection.scalar(select(schema.version.c.version_num)) == schema.HEAD
    except (exc.OperationalError, exc.ProgrammingError):
        return False  # no such table, or a trouble that shows itself again when looked at under the lock


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema.VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(schema.version.c.version_num))
    return found or "nothing"


def _refuse_newer(engine: Engine, found: str | None, known: set[str]) -> None:
    if found not in {None, "nothing", *known}:
        raise ConfigError(
            f"The ledger {place(engine)} has schema {found}, which this Trivet does not know: a newer one wrote it. "
            "Upgrade Trivet: pip install -U trivet"
        )


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        path = Path(f"{engine.url.database}.lock")
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    else:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY})
            connection.commit()
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY})
                connection.commit()


def _write_ahead(engine: Engine) -> None:
    # The mode is kept in the file, and changing it needs the database to itself: hence here, under the lock.
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
