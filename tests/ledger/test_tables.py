from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from itertools import chain

import duckdb
import pyarrow as pa
import pytest

from trivet.errors import Invalid, NotFound
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
