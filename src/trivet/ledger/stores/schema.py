"""The tables of a ledger in SQLite and PostgreSQL, as they are at the newest migration.

Everything that a question can ask for is a column; everything else of a record is JSON text (see ``rows``). ``inputs``,
``outputs``, ``parameters`` and ``tags`` stand twice, once in the row of the run to be read with it and once as rows of
``trivet_edges``, ``trivet_parameters`` and ``trivet_tags`` to be found by; both are written in one transaction. Of
metrics ``trivet_metrics`` holds every point and ``trivet_summaries`` one row for each name in a run's record. The names
begin with ``trivet_`` because teams share one PostgreSQL database among tools.

A change of this module needs a migration beside it and a new ``HEAD``; ``tests/ledger/stores`` proves that both
ways lead to the same schema.
"""

from __future__ import annotations

from typing import Any

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
    text,
)

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "artifacts",
    "edges",
    "metadata",
    "metrics",
    "parameters",
    "pointers",
    "runs",
    "summaries",
    "tags",
    "version",
]

HEAD = "0002"
"""The newest migration in ``migrations/versions``."""
VERSION_TABLE = "trivet_version"

# Ids are compared byte by byte everywhere, so that ranges and orders do not depend on a server's locale.
_Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by themselves only in a column of type INTEGER.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


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
    Column("experiment", _Key, nullable=False, server_default=""),
    Column("deleted", BigInteger()),
    Index("trivet_runs_by_kind", "kind", "id"),
    Index("trivet_runs_by_name", "name", "kind", "id"),
    Index("trivet_runs_by_parent", "parent", "id"),
    Index("trivet_runs_by_status", "status", "id"),
    Index("trivet_runs_by_key", "key", "id"),
    Index("trivet_runs_by_experiment", "experiment", "id"),
    Index("trivet_runs_by_start", "started", "id"),
    Index("trivet_runs_deleted", "id", **_where("deleted IS NOT NULL")),
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
    PrimaryKeyConstraint("run", "name", "step", "at", name="trivet_metrics_pk"),
    sqlite_with_rowid=False,
)

summaries = Table(
    "trivet_summaries",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("name", _Key, nullable=False),
    Column("last", Double()),  # null is NaN
    Column("step", BigInteger(), nullable=False),
    Column("at", BigInteger()),
    Column("min", Double()),
    Column("max", Double()),
    Column("count", BigInteger(), nullable=False),
    PrimaryKeyConstraint("run", "name"),
    Index("trivet_summaries_by_last", "name", "last", "run"),
    sqlite_with_rowid=False,
)

parameters = Table(
    "trivet_parameters",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("name", _Key, nullable=False),
    Column("text", _Key, nullable=False),
    Column("rest", _Key),  # of a text that is too long for an index
    Column("number", Double()),
    PrimaryKeyConstraint("run", "name"),
    sqlite_with_rowid=False,
)
# What is a number is never looked up as text, so a row stands in one of the two.
Index("trivet_parameters_by_text", parameters.c.name, parameters.c.text, parameters.c.run, **_where("number IS NULL"))
Index(
    "trivet_parameters_by_number",
    parameters.c.name,
    parameters.c.number,
    parameters.c.run,
    **_where("number IS NOT NULL"),
)

tags = Table(
    "trivet_tags",
    metadata,
    Column("run", _Key, ForeignKey("trivet_runs.id"), nullable=False),
    Column("name", _Key, nullable=False),
    Column("text", _Key, nullable=False),
    Column("rest", _Key),
    PrimaryKeyConstraint("run", "name"),
    Index("trivet_tags_by_text", "name", "text", "run"),
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
