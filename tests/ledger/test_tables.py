from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import chain, count
from random import Random

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.ledger import tables as module
from trivet.ledger.tables import Tables


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path / "tables")


def numbers(*values):
    return pa.table({"n": pa.array(values, pa.int64())})


def test_each_append_is_a_version(tables):
    assert [tables.append("labels", numbers(1, 2)), tables.append("labels", numbers(3))] == [1, 2]
    assert tables.versions("labels") == [0, 1, 2]
    assert sorted(tables.read("labels")["n"].to_pylist()) == [1, 2, 3]
    assert sorted(tables.read("labels", version=1)["n"].to_pylist()) == [1, 2]
    assert tables.read("labels", version=0).num_rows == 0


def test_types_come_back(tables):
    at = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    rows = pa.table(
        {"id": ["🛫", None], "at": pa.array([at, None], pa.timestamp("us", "UTC")), "x": [float("nan"), None]}
        | {"many": [[1, 2], []], "yes": [True, None]}
    )
    tables.append("predictions", rows)
    back = tables.read("predictions")
    assert back.column("at").to_pylist() == [at, None]
    assert str(back.to_pylist()) == str(rows.to_pylist())


def test_columns_are_chosen_and_may_come_in_any_order(tables):
    tables.append("t", pa.table({"a": [1], "b": ["x"]}))
    tables.append("t", pa.table({"b": ["y"], "a": [2]}))
    assert tables.read("t", columns=["b"]).to_pydict().keys() == {"b"}
    assert sorted(tables.read("t")["a"].to_pylist()) == [1, 2]


@pytest.mark.parametrize(
    "rows",
    [
        {"n": ["text"]},
        {"n": [1.5]},
        {"m": [1]},
        {"n": [1], "m": [1]},
        {},
    ],
)
def test_rows_that_do_not_fit_are_refused_whole(tables, rows):
    tables.append("t", numbers(1))
    with pytest.raises(Invalid):
        tables.append("t", pa.table(rows))
    assert tables.read("t").to_pydict() == {"n": [1]}


def test_a_nanosecond_is_not_dropped(tables):
    exact, finer = (pa.table({"at": pa.array([nanos], pa.timestamp("ns", "UTC"))}) for nanos in (5_000, 5_001))
    tables.append("t", exact)
    with pytest.raises(Invalid, match="unchanged"):
        tables.append("t", finer)
    assert tables.read("t").num_rows == 1


def test_what_does_not_exist_is_not_found(tables):
    tables.append("predictions", numbers(1))
    with pytest.raises(NotFound, match="Did you mean 'predictions'"):
        tables.read("prediction")
    with pytest.raises(NotFound, match="predictions"):
        tables.versions("nothing_like_it")
    with pytest.raises(NotFound, match="It has 0 to 1"):
        tables.read("predictions", version=7)
    with pytest.raises(NotFound, match="column"):
        tables.read("predictions", columns=["m"])
    assert tables.names() == ["predictions"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "../up", "Upper", "1a", "a" * 65, "a b", "a\0"])
def test_names_are_checked(tables, name):
    for ask in (tables.read, tables.versions, lambda one: tables.append(one, numbers(1))):
        with pytest.raises(Invalid, match="not the name of a table"):
            ask(name)


def test_no_tables(tables):
    assert tables.names() == []


def append_many(job):
    root, worker = job
    return [Tables(root).append("shared", numbers(worker * 100 + number)) for number in range(10)]


def test_processes_that_append_at_once_lose_nothing(tables, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.map(append_many, [(tmp_path / "tables", worker) for worker in range(3)], chunksize=1)
    expected = {worker: [worker * 100 + number for number in range(10)] for worker in range(3)}
    assert sorted(tables.read("shared")["n"].to_pylist()) == sorted(chain(*expected.values()))
    assert sorted(chain(*made)) == list(range(1, 31))  # each append its own version
    for worker, versions in enumerate(made):
        for version, value in zip(versions, expected[worker], strict=True):
            assert value in tables.read("shared", version=version)["n"].to_pylist()
            assert value not in tables.read("shared", version=version - 1)["n"].to_pylist()


def test_another_engine_reads_the_files(tables, tmp_path):
    tables.append("t", numbers(1, 2, 3))
    files = str(tmp_path / "tables" / "t" / "*.parquet")
    assert duckdb.execute("SELECT sum(n) FROM read_parquet(?)", [files]).fetchone() == (6,)


# --- questions with conditions, and joined files --------------------------------------------------------------


START = datetime(2026, 3, 1, 23, 59, 59, 999_000, tzinfo=UTC)
moments = st.integers(-3, 3_000).map(lambda n: START + timedelta(microseconds=n))
ids = st.integers(0, 40).map(lambda n: f"{n:02}") | st.sampled_from(
    ["a" * 127 + end for end in "abc"] + ["a" * 31, "é"]
)
batches = st.lists(st.lists(st.tuples(ids, moments), min_size=1, max_size=4), min_size=1, max_size=5)
conditions = st.lists(
    st.tuples(st.just("id"), st.sampled_from(["=", ">=", "<"]), ids)
    | st.tuples(st.just("at"), st.sampled_from(["=", ">=", "<"]), moments)
    | st.tuples(st.just("id"), st.just("in"), st.lists(ids, max_size=4)),
    max_size=3,
)
HOLDS = {"=": lambda a, b: a == b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "in": lambda a, b: a in b}


def batch(rows):
    return pa.table(
        {"id": [row[0] for row in rows], "at": pa.array([row[1] for row in rows], pa.timestamp("us", "UTC"))}
    )


@settings(max_examples=40, deadline=None)
@given(batches, conditions, st.sampled_from([None, "at"]), st.booleans())
def test_a_question_is_answered_as_by_reading_everything(tmp_path_factory, written, where, day_of, joined):
    tables = Tables(tmp_path_factory.mktemp("tables"))
    for rows in written:
        tables.append("t", batch(rows), day_of=day_of)
    if joined:
        tables.compact("t")
    found = tables.read("t", where=where)
    assert found.column_names == ["id", "at"]
    expected = [
        row
        for row in chain(*written)
        if all(HOLDS[how]({"id": row[0], "at": row[1]}[column], value) for column, how, value in where)
    ]
    assert sorted(zip(found["id"].to_pylist(), found["at"].to_pylist(), strict=True)) == sorted(expected)


def test_files_that_cannot_answer_are_not_opened(tables, tmp_path):
    for day in range(5):
        tables.append("t", batch([(f"{day}", START + timedelta(days=day))]), day_of="at")
    for path in (tmp_path / "tables" / "t").glob("day=*/*.parquet"):
        if "day=2026-03-03" not in str(path):
            path.write_bytes(b"opened")
    assert tables.read("t", where=[("id", "=", "2")])["id"].to_pylist() == ["2"]
    between = [("at", ">=", START + timedelta(days=1, hours=1)), ("at", "<", START + timedelta(days=2, hours=1))]
    assert tables.read("t", where=between)["id"].to_pylist() == ["2"]
    with pytest.raises(pa.ArrowInvalid):
        tables.read("t")


def test_an_unknown_condition(tables):
    tables.append("t", numbers(1))
    with pytest.raises(Invalid, match="There are: =, >=, <, in"):
        tables.read("t", where=[("n", "~", 1)])


def files_of(tables, name="t"):
    return DeltaTable(str(tables._root / name)).file_uris()


@pytest.mark.parametrize("day_of", [None, "at"])
def test_small_files_are_joined_and_older_versions_stay(tables, day_of):
    rows = [(f"{n:03}", START + timedelta(microseconds=n)) for n in range(module._MANY)]
    for row in rows:
        tables.append("t", batch([row]), day_of=day_of)
    before = tables.versions("t")[-1]
    old = DeltaTable(str(tables._root / "t"), version=before)
    assert tables.compact("t") == module._MANY - 1
    assert tables.compact("t") == 0
    assert len(files_of(tables)) == 1
    assert sorted(tables.read("t")["id"].to_pylist()) == [row[0] for row in rows]
    assert tables.read("t", version=10).num_rows == 10
    assert tables.read("t", version=before).num_rows == old.to_pyarrow_table().num_rows == len(rows)
    tables.append("t", batch([("zzz", START)]), day_of=day_of)
    assert tables.read("t").num_rows == len(rows) + 1


def test_a_day_that_is_over_is_joined_at_once_and_only_once(tables):
    for day in (0, 0, 0, 2):
        tables.append("t", batch([("a", START + timedelta(days=day))]), day_of="at")
    assert tables.compact("t") == 2
    versions = tables.versions("t")
    assert tables.compact("t") == 0
    assert tables.versions("t") == versions


def test_joining_writes_about_twice_what_appending_wrote(tables, monkeypatch):
    monkeypatch.setattr(module, "_MANY", 4)
    chance = Random(0)
    for _ in range(120):
        rows = batch([(f"{chance.getrandbits(256):x}", START) for _ in range(200)])
        tables.append("joined", rows, day_of="at")
        tables.append("loose", rows, day_of="at")
        tables.compact("joined")
    joined, loose = (_bytes_of_all_versions(tables._root / name) for name in ("joined", "loose"))
    assert len(files_of(tables, "joined")) < 60
    assert joined <= 3.1 * loose


def _bytes_of_all_versions(table):
    return sum(path.stat().st_size for path in table.rglob("*.parquet") if "_delta_log" not in path.parts)


def test_a_table_that_was_made_without_days_stays_so(tables):
    tables.append("t", batch([("a", START)]))
    tables.append("t", batch([("b", START)]), day_of="at")
    assert sorted(tables.read("t", where=[("at", "=", START)])["id"].to_pylist()) == ["a", "b"]
    assert not list((tables._root / "t").glob("day=*"))


def test_a_table_parted_by_day_needs_to_know_the_day(tables):
    tables.append("t", batch([("a", START)]), day_of="at")
    with pytest.raises(Invalid, match="parted by day"):
        tables.append("t", batch([("b", START)]))


_JOINER = """
import sys
from pathlib import Path
from trivet.ledger import tables
tables._MANY = 2
while True: tables.Tables(Path(sys.argv[1])).compact("t")
"""


def test_joining_may_be_killed_at_any_moment_while_others_append_and_read(tables):
    chance, expected = Random(0), []
    tables.append("t", batch([("first", START)]), day_of="at")
    for attempt in range(3):
        joiners = [subprocess.Popen([sys.executable, "-c", _JOINER, str(tables._root)]) for _ in range(2)]
        try:
            end = time.monotonic() + 1.5 + chance.random() / 2
            for number in count():
                tables.append("t", batch([(f"{attempt}-{number}", START + timedelta(days=number % 2))]), day_of="at")
                expected.append(f"{attempt}-{number}")
                assert tables.read("t").num_rows == len(expected) + 1
                if time.monotonic() > end:
                    break
            assert [joiner.poll() for joiner in joiners] == [None, None]
        finally:
            for joiner in joiners:
                joiner.kill()
                joiner.wait()
    assert sorted(tables.read("t")["id"].to_pylist()) == sorted([*expected, "first"])
    assert len(files_of(tables)) < len(expected)
