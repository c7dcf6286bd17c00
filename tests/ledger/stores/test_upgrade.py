from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from math import inf
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from trivet.errors import ConfigError, MissingExtra
from trivet.ledger import Metric, RunQuery, Summary
from trivet.ledger.conditions import Compare, Field, Known, parameter
from trivet.ledger.stores import schema
from trivet.ledger.stores.engine import connect
from trivet.ledger.stores.memory import MemoryStore
from trivet.ledger.stores.sql import open_store
from trivet.ledger.stores.upgrade import MIGRATIONS, bring_to_head, migrate
from trivet.testing.records import NOW, a_run

SQLITE = "sqlite:///ledger.db"

NEXT = '''
"""A migration of the future."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None

def upgrade():
    op.add_column("trivet_runs", sa.Column("{column}", sa.Text()))
    {then}
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return SQLITE if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def engine(url, tmp_path):
    engine = connect(url, tmp_path)
    yield engine
    engine.dispose()


def described(engine):
    """The schema as the database itself tells it."""
    inspector = sa.inspect(engine)
    tables = {}
    for table in sorted(inspector.get_table_names()):
        tables[table] = {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "foreign": sorted(inspector.get_foreign_keys(table), key=str),
            "checks": inspector.get_check_constraints(table),
            "indexes": sorted(map(plain, inspector.get_indexes(table))),
        }
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            # Row ids and autoincrement are not seen by the inspector.
            tables["statements"] = [(name, "".join(sql.split()).replace('"', "")) for name, sql in rows]
    return tables


def plain(index):
    """An index as text: the conditions in it have no equality."""
    options = {name: str(value) for name, value in index.pop("dialect_options", {}).items()}
    return f"{index} {options}"


def columns_of_runs(engine):
    return [column["name"] for column in sa.inspect(engine).get_columns("trivet_runs")]


def version_of(engine):
    with engine.connect() as connection:
        return connection.scalar(sa.select(schema.version.c.version_num))


def test_migrations_and_schema_lead_to_the_same_tables(url, engine, tmp_path):
    migrate(engine)
    by_migrations = described(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
    with engine.begin() as connection:
        schema.metadata.drop_all(connection)
    bring_to_head(engine)
    at_once = described(engine)
    # Alembic makes the table of its version by itself, with its own length of text.
    for tables in (by_migrations, at_once):
        tables.pop(schema.VERSION_TABLE)
        tables["statements"] = [one for one in tables.get("statements", []) if one[0] != schema.VERSION_TABLE]
    assert by_migrations == at_once


def test_the_head_of_the_schema_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_a_ledger_made_by_migrations_works_and_is_at_head(url, engine, tmp_path):
    migrate(engine)
    assert version_of(engine) == schema.HEAD
    store = open_store(url, tmp_path)
    store.write(run := a_run())
    assert store.run(run.id) == run
    store.close()


def future(folder, *, then="pass"):
    """A folder of migrations with two more than there are."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    for path in (MIGRATIONS / "versions").glob("*.py"):
        (versions / path.name).write_bytes(path.read_bytes())
    one = NEXT.format(revision="9001", before=schema.HEAD, column="one", then="pass")
    (versions / "r9001_one.py").write_text(one)
    (versions / "r9002_two.py").write_text(NEXT.format(revision="9002", before="9001", column="two", then=then))
    return folder


def test_an_older_ledger_is_upgraded_and_keeps_its_records(url, engine, tmp_path):
    store = open_store(url, tmp_path)
    store.write(run := a_run())
    store.close()
    migrate(engine, folder=future(tmp_path / "migrations"))
    assert version_of(engine) == "9002"
    assert columns_of_runs(engine)[-2:] == ["one", "two"]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(schema.runs.c.id)) == run.id


def test_a_migration_that_fails_leaves_the_one_before(url, engine, tmp_path):
    bring_to_head(engine)
    with pytest.raises(RuntimeError, match="on purpose"):
        migrate(engine, folder=future(tmp_path / "migrations", then="raise RuntimeError('on purpose')"))
    assert version_of(engine) == "9001"
    assert columns_of_runs(engine)[-1] == "one"


def test_an_older_ledger_is_upgraded_on_opening(url, engine, tmp_path, monkeypatch):
    bring_to_head(engine)
    folder = future(tmp_path / "migrations")
    monkeypatch.setattr(schema, "HEAD", "9002")
    monkeypatch.setattr("trivet.ledger.stores.upgrade.migrate", lambda one: migrate(one, folder=folder))
    open_store(url, tmp_path).close()
    assert version_of(engine) == "9002"


def test_a_ledger_of_a_newer_trivet_is_refused(url, engine, tmp_path):
    migrate(engine, folder=future(tmp_path / "migrations"))
    with pytest.raises(ConfigError, match=r"schema 9002.*Upgrade Trivet"):
        open_store(url, tmp_path)
    assert version_of(engine) == "9002"


def test_without_alembic_an_older_ledger_is_a_sentence(engine, monkeypatch):
    bring_to_head(engine)
    monkeypatch.setattr(schema, "HEAD", "9002")
    monkeypatch.setitem(sys.modules, "alembic", None)
    monkeypatch.setitem(sys.modules, "alembic.config", None)
    with pytest.raises(MissingExtra, match=r"pip install 'trivet\[migrations\]'"):
        bring_to_head(engine)


OLD = Path(__file__).parent / "old" / "ledger_0001.sql"


def old_ledger(engine, folder):
    """A ledger as the first Trivet left it: the dump of a SQLite file, taken over by value into PostgreSQL."""
    path = folder / ("ledger.db" if engine.dialect.name == "sqlite" else "old.db")
    with closing(sqlite3.connect(path)) as file:
        file.executescript(OLD.read_text("utf-8"))
        if engine.dialect.name == "sqlite":
            return
        migrate(engine, to="0001")
        with engine.begin() as connection:
            for table in ("artifacts", "runs", "edges", "metrics", "latest_metrics", "pointers"):
                old = sa.Table(f"trivet_{table}", sa.MetaData(), autoload_with=connection)
                columns = [column.name for column in old.c if column.name != "sequence"]  # which counts by itself
                rows = file.execute(f"SELECT {', '.join(map(quoted, columns))} FROM {old.name}")
                connection.execute(sa.insert(old), [dict(zip(columns, row, strict=True)) for row in rows])


def quoted(column):
    return f'"{column}"'


def test_a_ledger_of_the_first_schema_answers_as_it_did_and_is_searched(url, engine, tmp_path):
    old_ledger(engine, tmp_path)
    store = open_store(url, tmp_path)
    assert version_of(engine) == schema.HEAD
    fit, bad, still = (store.run(f"01OLD0000000000000000{end}") for end in ("FIT", "BAD", "RUN"))
    assert [run.id for run in store.runs()] == [still.id, fit.id, bad.id]
    assert fit.parameters["note"] == "half \ud83d"
    assert (fit.recipe.threads, fit.error, bad.error, bad.parent) == (2, "ValueError: no", "half \ud83d", fit.id)
    assert {name: repr(value) for name, value in fit.metrics.items()} == {
        "auc": "0.9",
        "stated": "0.75",
        "wrong": "nan",
    }
    assert (bad.metrics, fit.experiment, fit.deleted) == ({}, "", None)
    assert [(one.step, repr(one.value)) for one in store.metrics(fit.id, "auc")] == [
        *[(-3, "-inf"), (0, "0.5")],
        *[(1, "nan"), (2, "0.9")],
    ]
    auc, stated, wrong = store.metrics(fit.id, summary=True)
    assert auc == Summary(fit.id, "auc", 0.9, 2, NOW + timedelta(seconds=2), -inf, 0.9, 4)
    assert stated == Summary(fit.id, "stated", 0.75, 0, None, 0.75, 0.75, 0)
    assert (wrong.count, wrong.min, wrong.step) == (3, None, 2)
    assert [one.label for one in store.pointers(name="model/delay")] == ["1", "champion"]
    assert store.point("model/delay", None, store.artifacts(kind="table")[0].digest, by="ada").label == "2"
    memory = MemoryStore()
    memory.write(fit, bad, still)
    for condition in carried_over(fit):
        query = RunQuery(where=condition)
        assert [run.id for run in store.runs(query)] == [run.id for run in memory.runs(query)] != [], condition
    store.write(msgspec.structs.replace(fit, parameters={}), Metric(fit.id, "auc", 2, 1.0, NOW + timedelta(days=1)))
    assert store.metrics(fit.id, "auc", summary=True)[0].count == 5
    assert store.runs(RunQuery(where=Known(Field("parameter", "depth")))) == [still]
    store.close()


def carried_over(run):
    """Every parameter and every tag, by its value, and the metrics."""
    for name, value in run.parameters.items():
        yield Compare(Field("parameter", name), "=", parameter(value).text)
    for name, value in run.tags.items():
        yield Compare(Field("tag", name), "=", value)
    yield Compare(Field("parameter", "depth"), ">", 2)
    yield Compare(Field("metric", "auc"), ">", 0.5)
    yield Known(Field("metric", "wrong"))


def open_and_close(job):
    open_store(*job).close()


def test_processes_that_open_a_new_ledger_at_once(url, engine, tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(open_and_close, [(url, tmp_path)] * 8, chunksize=1)
    assert version_of(engine) == schema.HEAD


def test_neither_a_new_nor_a_known_ledger_imports_alembic(tmp_path):
    code = (
        "import sys; from pathlib import Path; from trivet.ledger.stores.sql import open_store\n"
        "for _ in range(2): open_store('sqlite:///ledger.db', Path(sys.argv[1])).close()\n"
        "assert not [name for name in sys.modules if name.startswith('alembic')]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
