from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import pytest

from trivet.errors import ConfigError, Conflict, Corrupt, MissingExtra, NotFound, TrivetError
from trivet.ledger import Ledger, Metric, RunQuery
from trivet.ledger.naming import escape
from trivet.ledger.stores import engine
from trivet.ledger.stores.sql import open_store
from trivet.testing.ledger import LedgerContract
from trivet.testing.records import NOW, a_run, an_artifact

SQLITE = "sqlite:///.trivet/ledger.db"
PASSWORD = "hunter2-is-secret"
WRITERS, WRITINGS = 8, 12


class TestSqlite(LedgerContract):
    @pytest.fixture
    def store(self, tmp_path) -> Iterator[Ledger]:
        store = open_store(SQLITE, tmp_path)
        yield store
        store.close()


class TestPostgresql(LedgerContract):
    @pytest.fixture
    def store(self, postgresql_url, tmp_path) -> Iterator[Ledger]:
        store = open_store(postgresql_url, tmp_path)
        yield store
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Where processes meet: a fresh ledger in each engine, not yet made."""
    return SQLITE if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


# Processes.


def write_much(job):
    """One of several processes that write at once, the first of which also makes the tables."""
    url, root, worker = job
    store = open_store(url, root)
    versions = []
    for number in range(WRITINGS):
        artifact = an_artifact(worker * 1000 + number, kind="model")
        run = a_run(f"{worker}-{number:03}", outputs={"result": artifact.digest}, metrics={"n": number})
        store.write(artifact, run, Metric(run.id, "m", number, number, NOW))
        versions.append(int(store.point("model/shared", None, artifact.digest, by=str(worker)).label))
        with suppress(Conflict):
            store.point("model/shared", "champion", artifact.digest, by=str(worker), expect=artifact.digest)
    store.close()
    return versions


def test_eight_processes_at_once(url, tmp_path):
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        versions = pool.map(write_much, [(url, tmp_path, worker) for worker in range(WRITERS)], chunksize=1)
    store = open_store(url, tmp_path)
    total = WRITERS * WRITINGS
    assert sorted(chain(*versions)) == list(range(1, total + 1))
    assert all(mine == sorted(mine) for mine in versions)
    assert [one.label for one in store.pointers(name="model/shared")] == [str(one) for one in range(1, total + 1)]
    runs = store.runs(RunQuery(limit=1000))
    assert len(runs) == len(store.artifacts(limit=1000)) == total
    assert all(run.metrics == {"n": int(run.id[2:]), "m": int(run.id[2:])} for run in runs)
    store.close()


def claim(job):
    """One of several processes that want the same name."""
    url, root, worker, name = job
    store = open_store(url, root)
    mine = an_artifact(worker, kind="experiment")
    store.write(mine)
    try:
        store.point(name, "holder", mine.digest, by=str(worker), expect="")
    except Conflict:
        return None
    finally:
        store.close()
    return mine.digest


def test_of_eight_processes_that_claim_a_name_one_gets_it(url, tmp_path):
    name = f"experiment/{escape('flights / 2026: délai 🛫')}"
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        claimed = pool.map(claim, [(url, tmp_path, worker, name) for worker in range(WRITERS)], chunksize=1)
    store = open_store(url, tmp_path)
    [holder] = store.pointers(name=name, history=True)
    assert [one for one in claimed if one is not None] == [holder.digest]
    store.close()


ENDLESS = """
import sys
from pathlib import Path
from trivet.ledger import Metric
from trivet.ledger.stores.sql import open_store
from trivet.testing.records import NOW, a_run, an_artifact

store = open_store(sys.argv[1], Path(sys.argv[2]))
for number in range(1_000_000):
    artifact = an_artifact(number)
    run = a_run(f"{number:06}", outputs={"result": artifact.digest}, metrics={"a": 1.0, "b": 2.0})
    store.write(artifact, run, Metric(run.id, "c", 0, 3.0, NOW))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_what_it_was_told_is_written_and_nothing_half(url, tmp_path):
    with subprocess.Popen([sys.executable, "-c", ENDLESS, url, str(tmp_path)], stdout=subprocess.PIPE) as process:
        for _ in range(20):
            process.stdout.readline()
        process.kill()
        acknowledged = 20 + len(process.stdout.readlines())
    store = open_store(url, tmp_path)
    runs = store.runs(RunQuery(limit=1_000_000))
    assert len(runs) in {acknowledged, acknowledged + 1}  # the last may have been written and not yet told
    assert len(store.artifacts(limit=1_000_000)) == len(runs)
    for run in runs:
        assert run.metrics == {"a": 1.0, "b": 2.0, "c": 3.0}
        assert store.artifact(run.outputs["result"])
        assert len(store.metrics(run.id)) == 1
    store.write(a_run())  # and nobody has to clean up
    store.close()


def test_a_child_does_not_use_the_connections_of_its_parent(url, tmp_path):
    store = open_store(url, tmp_path)
    store.write(run := a_run())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.write(a_run(name="of the child"))
            os.write(writing, store.run(run.id).id.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() == run.id
    assert [run.name for run in store.runs()] == ["of the child", "fit"]
    store.close()


def test_reading_does_not_wait_for_a_writer(tmp_path):
    store = open_store(SQLITE, tmp_path)
    store.write(run := a_run())
    writer = sqlite3.connect(tmp_path / ".trivet" / "ledger.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM trivet_summaries")
    assert store.run(run.id) == run
    writer.close()
    store.close()


def test_a_writer_that_waits_too_long_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    store = open_store(SQLITE, tmp_path)
    writer = sqlite3.connect(tmp_path / ".trivet" / "ledger.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(TrivetError, match="another process holds it"):
        store.write(a_run())
    writer.close()
    store.write(a_run())
    assert len(store.runs()) == 1
    store.close()


def test_what_the_driver_says_while_it_opens_a_file_is_a_sentence(tmp_path):
    connected = engine.connect(SQLITE, tmp_path)
    with (
        pytest.raises(
            TrivetError, match=r"cannot be used: disk I/O error; the disk may be full\. Nothing of this call"
        ),
        engine.sentences(connected),
    ):
        raise sqlite3.OperationalError("disk I/O error")


# The file.


def pragma(store, name):
    with store._engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_writes_are_flushed_unless_asked_otherwise(tmp_path, query, level):
    store = open_store(SQLITE + query, tmp_path)
    assert pragma(store, "synchronous") == level
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "foreign_keys") == 1
    assert (tmp_path / ".trivet" / "ledger.db").is_file()
    store.close()


def test_a_ledger_is_there_when_opened_again(url, tmp_path):
    store = open_store(url, tmp_path)
    store.write(run := a_run(), artifact := an_artifact())
    pointer = store.point("model/delay", None, artifact.digest, by="ada")
    store.close()
    again = open_store(url, tmp_path)
    assert list(again.runs()) == [run]
    assert list(again.pointers()) == [pointer]
    again.close()


def test_questions_are_answered_by_an_index(tmp_path):
    from trivet.ledger.stores.schema import artifacts
    from trivet.ledger.stores.search import Search
    from trivet.ledger.stores.statements import ids_starting

    store = open_store(SQLITE, tmp_path)
    questions = [RunQuery(**{one: "x"}) for one in ("kind", "name", "status", "parent", "key", "input", "output")]
    with store._engine.connect() as connection:
        asked = [next(Search(question, "sqlite").statements(connection)).limit(9) for question in questions]
        statements = [*asked, ids_starting(artifacts.c.digest, "3f2a9c")]
        for statement in statements:
            text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
            assert any(line.startswith("SEARCH") for line in plan), (text, plan)
            scanned = [line for line in plan if line.startswith("SCAN") and "trivet_runs_deleted" not in line]
            assert not scanned, (text, plan)  # but for the bin, which has an index of nothing else
    store.close()


# Sentences.


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"This is not a database at all, but a text." * 100)
    with pytest.raises(Corrupt, match=r"damaged.*not a database"):
        open_store("sqlite:///ledger.db", tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(TrivetError, match="cannot be made"):
        open_store("sqlite:///taken/ledger.db", tmp_path)


@pytest.mark.parametrize("query", ["?synchronous=off", "?sychronous=full", "?mode=ro"])
def test_an_option_that_does_not_exist(tmp_path, query):
    with pytest.raises(ConfigError, match="synchronous=full or synchronous=normal"):
        open_store(SQLITE + query, tmp_path)


def nobody_listens():
    from tests.servers import free_port

    return f"postgresql://ada:{PASSWORD}@127.0.0.1:{free_port()}/trivet"


def the_whole_story(error):
    """Everything that a traceback would print."""
    import traceback

    return "".join(traceback.format_exception(error))


def test_a_server_that_does_not_answer(tmp_path):
    with pytest.raises(TrivetError, match=r"postgresql://ada:.*cannot be used: .*refused") as caught:
        open_store(nobody_listens(), tmp_path)
    assert PASSWORD not in the_whole_story(caught.value)


def test_a_server_that_repeats_the_password(tmp_path):
    with pytest.raises(TrivetError) as caught:
        open_store(nobody_listens() + f"?{PASSWORD}=1", tmp_path)
    assert PASSWORD not in the_whole_story(caught.value)


@pytest.mark.parametrize("url", [f"postgresql://ada:{PASSWORD}@host:port/db", f"postgresql:{PASSWORD}"])
def test_a_url_that_cannot_be_read(tmp_path, url):
    with pytest.raises(ConfigError, match="postgresql://USER@HOST:PORT/DATABASE") as caught:
        open_store(url, tmp_path)
    assert PASSWORD not in the_whole_story(caught.value)


def test_a_database_that_does_not_exist(tmp_path, postgresql_url):
    with pytest.raises(TrivetError, match='database "nowhere" does not exist'):
        open_store(postgresql_url.replace("/postgres", "/nowhere").replace("//nowhere", "//postgres"), tmp_path)


def test_the_values_of_a_statement_are_not_shown(tmp_path):
    store = open_store(SQLITE, tmp_path)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE trivet_summaries")
    with pytest.raises(TrivetError, match="no such table") as caught:
        store.write(a_run(parameters={"token": PASSWORD}, metrics={"m": 1.0}))
    assert PASSWORD not in the_whole_story(caught.value)
    store.close()


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path):
    store = open_store(SQLITE, tmp_path)
    store.write(run := a_run())
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=70")  # SQLite's own way to say how big the disk is
    with pytest.raises(TrivetError, match="full"):
        store.write(an_artifact(), a_run(parameters={"big": "x" * 1_000_000}))
    assert list(store.runs()) == [run]
    assert list(store.artifacts()) == []
    store.write(a_run())
    store.close()


def test_a_driver_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'trivet\[postgres\]'"):
        open_store("postgresql://127.0.0.1/trivet", tmp_path)


def test_half_of_a_surrogate_pair_is_not_found_either(tmp_path):
    store = open_store(SQLITE, tmp_path)
    with pytest.raises(TrivetError, match="text"):
        store.run("half \ud83d")
    with pytest.raises(NotFound):
        store.run("nul\0here")
    store.close()
