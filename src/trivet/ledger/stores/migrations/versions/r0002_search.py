"""Runs are found by parameters, tags and metrics; they belong to experiments and lie in the bin before they are gone.

A step that is measured again is a further point, so ``at`` becomes part of the key of metrics; the latest values become
summaries. What existing runs say is carried over.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As in the schema and the rows of that time: a migration is never edited, so it repeats what it needs.
_key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HALF = re.compile("[\0\ud800-\udfff]")
_PAGE = 500

_SUMMARIZE = """
INSERT INTO trivet_summaries (run, name, last, step, at, min, max, count)
SELECT l.run, l.name, l.value, coalesce(p.step, 0), p.at,
       CASE WHEN g.count IS NULL THEN l.value ELSE g.least END,
       CASE WHEN g.count IS NULL THEN l.value ELSE g.most END,
       coalesce(g.count, 0)
FROM trivet_latest_metrics l
LEFT JOIN (
    SELECT run, name, max(step) AS step, min(value) AS least, max(value) AS most, count(*) AS count
    FROM trivet_metrics GROUP BY run, name
) g ON g.run = l.run AND g.name = l.name
LEFT JOIN trivet_metrics p ON p.run = l.run AND p.name = l.name AND p.step = g.step
"""


def upgrade() -> None:
    """Make the tables and carry over what there is."""
    _runs()
    _summaries()
    _points()
    _looked_up("trivet_parameters", sa.Column("number", sa.Double()))
    _looked_up("trivet_tags")
    _index("trivet_parameters_by_text", "trivet_parameters", ["name", "text", "run"], "number IS NULL")
    _index("trivet_parameters_by_number", "trivet_parameters", ["name", "number", "run"], "number IS NOT NULL")
    op.create_index("trivet_tags_by_text", "trivet_tags", ["name", "text", "run"])
    _carry_over()


def _runs() -> None:
    op.add_column("trivet_runs", sa.Column("experiment", _key, nullable=False, server_default=""))
    op.add_column("trivet_runs", sa.Column("deleted", sa.BigInteger()))
    op.create_index("trivet_runs_by_experiment", "trivet_runs", ["experiment", "id"])
    op.create_index("trivet_runs_by_start", "trivet_runs", ["started", "id"])
    _index("trivet_runs_deleted", "trivet_runs", ["id"], "deleted IS NOT NULL")


def _summaries() -> None:
    op.create_table(
        "trivet_summaries",
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("name", _key, nullable=False),
        sa.Column("last", sa.Double()),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger()),
        sa.Column("min", sa.Double()),
        sa.Column("max", sa.Double()),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "name"),
        sqlite_with_rowid=False,
    )
    op.execute(_SUMMARIZE)
    op.create_index("trivet_summaries_by_last", "trivet_summaries", ["name", "last", "run"])
    op.drop_table("trivet_latest_metrics")


def _points() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("trivet_metrics_pkey", "trivet_metrics")
        op.create_primary_key("trivet_metrics_pk", "trivet_metrics", ["run", "name", "step", "at"])
        return
    op.rename_table("trivet_metrics", "trivet_metrics_before")  # SQLite changes no key
    op.create_table(
        "trivet_metrics",
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("name", _key, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "name", "step", "at", name="trivet_metrics_pk"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO trivet_metrics SELECT run, name, step, value, at FROM trivet_metrics_before")
    op.drop_table("trivet_metrics_before")


def _looked_up(table: str, *more: sa.Column[Any]) -> None:
    op.create_table(
        table,
        sa.Column("run", _key, sa.ForeignKey("trivet_runs.id"), nullable=False),
        sa.Column("name", _key, nullable=False),
        sa.Column("text", _key, nullable=False),
        sa.Column("rest", _key),
        *more,
        sa.PrimaryKeyConstraint("run", "name"),
        sqlite_with_rowid=False,
    )


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _carry_over() -> None:
    connection = op.get_bind()
    parameters = sa.table("trivet_parameters", *map(sa.column, ("run", "name", "text", "rest", "number")))
    tags = sa.table("trivet_tags", *map(sa.column, ("run", "name", "text", "rest")))
    for page in _pages(connection):
        given = [row for run, text, _ in page for row in _parameter_rows(run, json.loads(text))]
        said = [row for run, _, text in page for row in _tag_rows(run, json.loads(text))]
        for table, rows in ((parameters, given), (tags, said)):
            if rows:
                connection.execute(table.insert(), rows)


def _pages(connection: sa.Connection) -> Iterator[list[Any]]:
    runs = sa.table("trivet_runs", *map(sa.column, ("id", "parameters", "tags")))
    last = ""
    newest = sa.select(runs.c.id, runs.c.parameters, runs.c.tags).order_by(runs.c.id).limit(_PAGE)
    while page := list(connection.execute(newest.where(runs.c.id > last))):
        yield page
        last = page[-1][0]


def _parameter_rows(run: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    found = {}
    for name, value in parameters.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        found[_searchable_name(name)] = {**_texts(_searchable(text)), "number": _number(value)}
    return [{"run": run, "name": name, **cells} for name, cells in found.items()]


def _tag_rows(run: str, tags: dict[str, str]) -> list[dict[str, Any]]:
    found = {_searchable_name(name): _texts(_searchable(text)) for name, text in tags.items()}
    return [{"run": run, "name": name, **cells} for name, cells in found.items()]


def _texts(text: str) -> dict[str, str | None]:
    return {"text": text[:200], "rest": text[200:] or None}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > 400 or not _NUMBER.fullmatch(value)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number


def _searchable(text: str) -> str:
    return _HALF.sub(lambda found: r"\x00" if found[0] == "\0" else f"\\u{ord(found[0]):04x}", text)


def _searchable_name(name: str) -> str:
    plain = _searchable(name)
    return plain if len(plain) <= 200 else f"{plain[:135]}~{hashlib.sha256(plain.encode()).hexdigest()}"
