"""Connections: a URL of ``trivet.toml`` becomes an engine that begins, waits and fails in the way a ledger needs.

SQLite is opened in WAL mode with ``synchronous=FULL``: a write that was acknowledged is on the disk, also after
a power cut, at the price of one flush per write. ``?synchronous=normal`` in the URL takes the flush away; then
a killed process still loses nothing and a power cut may lose the last writes, never the integrity. Writers
take the lock when they begin, not when they first write, so two of them queue (up to 30 seconds) instead of
failing half way. Readers see one moment of the ledger however many statements they need.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from trivet.config import url_path
from trivet.errors import ConfigError, Corrupt, Invalid, MissingExtra, TrivetError

__all__ = ["PATIENCE", "connect", "place", "sentences", "snapshots"]

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""
_SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
_BEGIN = "trivet_begin"

# A connection must not be used by two processes. A child forgets those of its parent without closing them.
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_connections() -> None:
    for engine in _engines:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def connect(url: str, root: Path) -> Engine:
    """The engine of a ``sqlite:`` or ``postgresql:`` URL; nothing is opened yet.

    Raises:
        ConfigError: the URL is none, or asks for something that the engine does not know.
        MissingExtra: the driver of PostgreSQL is not installed.
    """
    engine = _sqlite(url, root) if url.startswith("sqlite:") else _postgresql(url)
    _engines.add(engine)
    return engine


def snapshots(engine: Engine) -> Engine:
    """The same connections for reading: all statements of one transaction see one moment, and none waits."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_BEGIN: "BEGIN"})
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def place(engine: Engine) -> str:
    """Where the ledger is, for people to read: never with a password."""
    return engine.url.set(drivername=engine.dialect.name, query={}).render_as_string(hide_password=True)


@contextmanager
def sentences(engine: Engine) -> Iterator[None]:
    """Turn what a database raises into our errors, without the values or the password of the statement."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
        password = engine.url.password
        if password and str(password) in reason:
            raise _sentence(engine, error, "the server's answer holds the password and is not shown") from None
        raise _sentence(engine, error, reason) from error
    except sqlite3.Error as error:  # while a connection is prepared, which SQLAlchemy leaves as it is
        raise _sentence(engine, error, str(error)) from error
    except UnicodeEncodeError as error:  # half of a surrogate pair in a question; what is written is checked before
        raise Invalid(f"{str(error.object)[:80]!r} is not text that a database can look for.") from error


def _sentence(engine: Engine, error: exc.SQLAlchemyError | sqlite3.Error, reason: str) -> TrivetError:
    where = place(engine)
    if "database is locked" in reason:
        return TrivetError(f"The ledger {where} was busy for {PATIENCE:.0f} seconds: another process holds it.")
    if isinstance(error, exc.DataError):
        return Invalid(f"The ledger {where} cannot store this value: {reason}.")
    if isinstance(error, exc.OperationalError | sqlite3.OperationalError):
        reason = reason.replace("disk I/O error", "disk I/O error; the disk may be full")
        return TrivetError(f"The ledger {where} cannot be used: {reason}. Nothing of this call was recorded.")
    if isinstance(error, exc.DatabaseError | sqlite3.DatabaseError) and (
        "malformed" in reason or "not a database" in reason
    ):
        return Corrupt(f"The ledger {where} is damaged: {reason}. Restore it from a backup.")
    return TrivetError(f"The ledger {where} refused: {reason}. Nothing of this call was recorded.")


def _sqlite(url: str, root: Path) -> Engine:
    asked = parse_qs(urlsplit(url).query)
    unknown = set(asked) - {"synchronous"}
    synchronous = _SYNCHRONOUS.get(asked.get("synchronous", ["full"])[-1].lower())
    if unknown or synchronous is None:
        raise ConfigError(f"{url!r}: after '?' a SQLite ledger takes synchronous=full or synchronous=normal.")
    path = url_path(url, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrivetError(f"The folder of the ledger {path} cannot be made: {error.strerror}.") from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        pool_use_lifo=True,
        connect_args={"timeout": PATIENCE, "isolation_level": None},  # we begin, Python does not
    )

    def prepare(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: str) -> Engine:
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except (exc.ArgumentError, ValueError):
        # The parser's own error is not shown: it may repeat the password.
        raise ConfigError("The URL of the ledger cannot be read. Write postgresql://USER@HOST:PORT/DATABASE.") from None
    except ModuleNotFoundError as error:
        raise MissingExtra("psycopg", extra="postgres", wanted_for="A ledger in PostgreSQL") from error
