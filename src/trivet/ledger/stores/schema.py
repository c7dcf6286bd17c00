"""The tables of a ledger in SQLite and PostgreSQL, as they are at the newest migration.

Everything that a question can ask for is a column with an index; everything else of a record is JSON text (see
``rows``). ``inputs`` and ``outputs`` stand twice, once in the row of the run to be read with it and once as
rows of ``trivet_edges`` to be found by artifact; both are written in one transaction. The names begin with
``trivet_`` because teams share one PostgreSQL database among tools.

A change of this module needs a migration beside it and a new ``HEAD``; ``tests/ledger/stores`` proves that both
ways lead to the same schema.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "artifacts",
    "edges",
    "latest",
    "metadata",
    "metrics",
    "pointers",
    "runs",
    "version",
]

HEAD = "0001"
"""The newest migration in ``migrations/versions``."""
VERSION_TABLE = "trivet_version"

# Ids are compared byte by byte everywhere, so that ranges and orders do not depend on a server's locale.
_Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by themselves only in a column of type INTEGER.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

version = Table(
    VERSION_TABLE,
    metadata,
    Column("version_num", Text(), nullable=False),
    PrimaryKeyConstraint("version_num", name="trivet_version_pkc"),
)

artifacts = Table(
    "trivet_artifacts",
    metadata,
    Column("digest", _Key, primary_key=True),
    Column("kind", Text(), nullable=False),
    Column("spec", Text(), nullable=False),
    Column("content", Text(), nullable=False),
    Column("files", Text(), nullable=False),
    Column("created", BigInteger(), nullable=False),
    Index("trivet_artifacts_newest", "created", "digest"),
    Index("trivet_artifacts_newest_of_kind", "kind", "created", "digest"),
)

runs = Table(
    "trivet_runs",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("kind", Text(), nullable=False),
    Column("name", Text(), nullable=False),
    Column("status", Text(), nullable=False),
    Column("started", BigInteger(), nullable=False),
    Column("ended", BigInteger()),
    Column("parent", _Key),
    Column("user", Text(), nullable=False),
    Column("host", Text(), nullable=False),
    Column("recipe", Text()),
    Column("inputs", Text(), nullable=False),
    Column("outputs", Text(), nullable=False),
    Column("parameters", Text(), nullable=False),
    Column("tags", Text(), nullable=False),
    Column("key", Text()),
    Column("key_parts", Text(), nullable=False),
    Column("error", Text(), nullable=False),
    Index("trivet_runs_by_kind", "kind", "id"),
    Index("trivet_runs_by_name", "name", "kind", "id"),
    Index("trivet_runs_by_parent", "parent", "id"),
    Index("trivet_runs_by_status", "status", "id"),
    Index("trivet_runs_by_key", "key", "id"),
)

edges = Table(
    "trivet_edges",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("direction", Text(), nullable=False),
    Column("slot", Text(), nullable=False),
    Column("digest", _Key, nullable=False),
    PrimaryKeyConstraint("run", "direction", "slot"),
    CheckConstraint("direction IN ('input', 'output')", name="trivet_edges_direction"),
    Index("trivet_edges_by_digest", "digest", "direction", "run"),
    sqlite_with_rowid=False,
)

metrics = Table(
    "trivet_metrics",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("name", _Key, nullable=False),
    Column("step", BigInteger(), nullable=False),
    Column("value", Double()),  # null is NaN, which SQLite cannot keep
    Column("at", BigInteger(), nullable=False),
    PrimaryKeyConstraint("run", "name", "step"),
    sqlite_with_rowid=False,
)

latest = Table(
    "trivet_latest_metrics",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("name", _Key, nullable=False),
    Column("value", Double()),
    PrimaryKeyConstraint("run", "name"),
    sqlite_with_rowid=False,
)

pointers = Table(
    "trivet_pointers",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("name", _Key, nullable=False),
    Column("label", _Key, nullable=False),
    Column("version", BigInteger()),  # the label of a version as a number, null for an alias
    Column("digest", _Key, ForeignKey("trivet_artifacts.digest")),
    Column("at", BigInteger(), nullable=False),
    Column("by", Text(), nullable=False),
    Column("why", Text(), nullable=False),
    Index("trivet_pointers_by_label", "name", "label", "sequence"),
    Index("trivet_pointers_by_version", "name", "version", unique=True),  # a version is given once
    Index("trivet_pointers_by_digest", "digest"),
    sqlite_autoincrement=True,
)
