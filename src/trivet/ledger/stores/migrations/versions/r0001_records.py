"""The four records: artifacts, runs with their edges, metrics, pointers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As in the schema of that time: a migration is never edited, so it repeats what it needs.
_key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _artifacts()
    _runs()
    _edges()
    _metrics()
    _pointers()


def _artifacts() -> None:
    op.create_table(
        "trivet_artifacts",
        sa.Column("digest", _key, primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
    )
    op.create_index("trivet_artifacts_newest", "trivet_artifacts", ["created", "digest"])
    op.create_index("trivet_artifacts_newest_of_kind", "trivet_artifacts", ["kind", "created", "digest"])


def _runs() -> None:
    op.create_table(
        "trivet_runs",
        sa.Column("id", _key, primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("parent", _key),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text()),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("outputs", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("key_parts", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_index("trivet_runs_by_kind", "trivet_runs", ["kind", "id"])
    op.create_index("trivet_runs_by_name", "trivet_runs", ["name", "kind", "id"])
    op.create_index("trivet_runs_by_parent", "trivet_runs", ["parent", "id"])
    op.create_index("trivet_runs_by_status", "trivet_runs", ["status", "id"])
    op.create_index("trivet_runs_by_key", "trivet_runs", ["key", "id"])


def _edges() -> None:
    op.create_table(
        "trivet_edges",
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("digest", _key, nullable=False),
        sa.PrimaryKeyConstraint("run", "direction", "slot"),
        sa.CheckConstraint("direction IN ('input', 'output')", name="trivet_edges_direction"),
        sqlite_with_rowid=False,
    )
    op.create_index("trivet_edges_by_digest", "trivet_edges", ["digest", "direction", "run"])


def _metrics() -> None:
    op.create_table(
        "trivet_metrics",
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("name", _key, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "name", "step"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trivet_latest_metrics",
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("name", _key, nullable=False),
        sa.Column("value", sa.Double()),
        sa.PrimaryKeyConstraint("run", "name"),
        sqlite_with_rowid=False,
    )


def _pointers() -> None:
    op.create_table(
        "trivet_pointers",
        sa.Column("sequence", _sequence, primary_key=True, autoincrement=True),
        sa.Column("name", _key, nullable=False),
        sa.Column("label", _key, nullable=False),
        sa.Column("version", sa.BigInteger()),
        sa.Column("digest", _key, sa.ForeignKey("trivet_artifacts.digest")),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("trivet_pointers_by_label", "trivet_pointers", ["name", "label", "sequence"])
    op.create_index("trivet_pointers_by_version", "trivet_pointers", ["name", "version"], unique=True)
    op.create_index("trivet_pointers_by_digest", "trivet_pointers", ["digest"])
